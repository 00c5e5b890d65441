"""Kernels of lags, automatic bandwidths, prewhitening, and the lagged products that they weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from betahat.data.threads import in_order
from betahat.errors import EstimationError, OptionError, is_one_of, listed, shown

KernelName = Literal["bartlett", "parzen", "quadratic-spectral", "tukey-hanning", "truncated"]

# Weights below this end a kernel that never quite vanishes: R's sandwich.
_VANISHED = 1e-7
# Rows in a chunk of the banded product; up to this many lags it beats the Fourier transform.
_CHUNK, _BANDED = 128, 512


@dataclass(frozen=True)
class Kernel:
    """A kernel of lags, with the constants of its automatic bandwidths.

    Attributes
    ----------
    weight : callable
        x -> k(x), for x of zero or more.
    constant : float
        c of the bandwidth c (n a(q))^(1 / (2 q + 1)).
    order : int
        q: 1 for Bartlett, 2 for the others.
    lag_rate : float or None
        The power of n in Newey and West's number of autocovariances; None where they gave none.
    """

    weight: Callable[[Tensor], Tensor]
    constant: float
    order: int
    lag_rate: float | None


def _parzen(x: Tensor) -> Tensor:
    inner = 1.0 - 6.0 * x.square() + 6.0 * x**3
    return torch.where(x < 0.5, inner, 2.0 * (1.0 - x).clamp_min(0.0) ** 3)


def _quadratic_spectral(x: Tensor) -> Tensor:
    y = 1.2 * math.pi * x
    safe = torch.where(x < 1e-3, 1.0, y)
    exact = 3.0 / safe.square() * (torch.sin(safe) / safe - torch.cos(safe))
    return torch.where(x < 1e-3, 1.0 - y.square() / 10.0 + y**4 / 280.0, exact)


def _tukey_hanning(x: Tensor) -> Tensor:
    return torch.where(x <= 1.0, 0.5 * (1.0 + torch.cos(math.pi * x)), 0.0)


# Andrews (1991), Econometrica 59(3), table I and equation 6.2; Newey and West (1994), Rev. Econ. Stud. 61(4), table II.
_KERNELS: dict[str, Kernel] = {
    "bartlett": Kernel(lambda x: (1.0 - x).clamp_min(0.0), 1.1447, 1, 2 / 9),
    "parzen": Kernel(_parzen, 2.6614, 2, 4 / 25),
    "quadratic-spectral": Kernel(_quadratic_spectral, 1.3221, 2, 2 / 25),
    "tukey-hanning": Kernel(_tukey_hanning, 1.7462, 2, None),
    "truncated": Kernel(lambda x: (x <= 1.0).to(x), 0.6611, 2, None),
}
_ALIASES = {"uniform": "truncated", "qs": "quadratic-spectral", "quadratic spectral": "quadratic-spectral"}


def kernel_name(name: str) -> KernelName:
    """Return a kernel's own name, or refuse one that nobody knows."""
    wanted = _ALIASES.get(name.lower(), name.lower()) if isinstance(name, str) else name
    if not is_one_of(wanted, _KERNELS):
        raise OptionError(f"kernel is {shown(name)}; use one of {listed(get_args(KernelName))}.")
    return cast(KernelName, wanted)


def weights_of_lags(kernel: KernelName, lags: int) -> Tensor:
    """Return (lags + 1,) the weights of the lags 0, 1, ..., `lags`, for Bartlett 1 - j / (lags + 1)."""
    if kernel == "quadratic-spectral":
        raise OptionError(
            "The quadratic-spectral kernel weights every lag, so it has no last one; pass bandwidth= and not maxlags=."
        )
    steps = torch.arange(lags + 1, dtype=torch.float64)
    return _KERNELS[kernel].weight(steps / (max(lags, 1) if kernel == "truncated" else lags + 1))


def weights_of_bandwidth(kernel: KernelName, bandwidth: float, count: int) -> Tensor:
    """Return the weights k(j / bandwidth) up to the last above 1e-7, of the lags below `count`."""
    steps = torch.arange(count, dtype=torch.float64)
    weights = _KERNELS[kernel].weight(steps / bandwidth) if bandwidth > 0 else (steps == 0).to(torch.float64)
    held = (weights.abs() > _VANISHED).nonzero().flatten()
    return weights[: int(held[-1]) + 1]


def lagged_products(blocks: Iterable[Tensor], weights: Tensor, *, read: bool = False) -> Tensor:
    """Return w_0 Gamma_0 + sum of w_j (Gamma_j + Gamma_j'), Gamma_j the sum of s_t s_(t-j)', for (b, k) blocks of s in the order of time.

    `weights` are (L + 1,), for lags 0 to L. The weighted lags of a block are one product with a banded Toeplitz matrix, and only the last L rows
    are carried over. Many lags take a Fourier transform of all rows, unless these are `read` in turn and not to be held.
    """
    lags = len(weights) - 1
    if lags > _BANDED and not read:
        return _by_fourier(torch.cat(list(blocks)), weights)
    half = weights.clone()
    half[0] *= 0.5
    total = sum(in_order(partial(_lagged, half, toeplitz(half)), _windows(blocks, lags)))
    assert isinstance(total, Tensor)
    return total + total.mT


def _windows(blocks: Iterable[Tensor], lags: int) -> Iterator[Tensor]:
    """Yield (L + b, k) blocks below the L rows before them, zeros before the first."""
    carried: Tensor | None = None
    for block in blocks:
        carried = block.new_zeros(lags, block.shape[1]) if carried is None else carried
        window = torch.cat([carried, block])
        carried = window[len(window) - lags :]
        yield window


def _lagged(half: Tensor, band: Tensor, window: Tensor) -> Tensor:
    """Return (k, k) the products of a window's rows with the weighted sums of those up to L before them."""
    return cross_products(window[len(half) - 1 :], weighted_lags(half, band, window))


def weighted_lags(half: Tensor, band: Tensor, window: Tensor) -> Tensor:
    """Return (b, k) the weighted sums of the rows of an (L + b, k) window up to L before each of the last b; `band` is `toeplitz(half)`."""
    lags = len(half) - 1
    return _banded(window, band.to(window), lags) if lags else half.to(window) * window


def toeplitz(half: Tensor) -> Tensor:
    """Return (c, c + L) T with (T window)_i = the sum of half_j window_(i + L - j)."""
    lags = len(half) - 1
    places = torch.arange(_CHUNK, device=half.device)[:, None] + lags - torch.arange(lags + 1, device=half.device)
    return half.new_zeros(_CHUNK, _CHUNK + lags).scatter_(1, places, half.expand(_CHUNK, -1))


def _banded(window: Tensor, band: Tensor, lags: int) -> Tensor:
    rows, width = len(window) - lags, window.shape[1]
    whole = rows - rows % _CHUNK
    parts = []
    if whole:
        pieces = window.as_strided((whole // _CHUNK, _CHUNK + lags, width), (_CHUNK * width, width, 1))
        parts.append(torch.bmm(band.expand(len(pieces), -1, -1), pieces).reshape(whole, width))
    if whole < rows:
        left = rows - whole
        parts.append(band[:left, : left + lags] @ window[whole:])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def cross_products(left: Tensor, right: Tensor) -> Tensor:
    """Return left' right by batched products of chunks; see `blocks.gram`."""
    step = 1024
    whole = len(left) - len(left) % step
    if not whole:
        return left.mT @ right
    chunks = (part[:whole].reshape(-1, step, part.shape[1]) for part in (left, right))
    first, second = chunks
    product = torch.bmm(first.mT, second).sum(0)
    return product if whole == len(left) else product + left[whole:].mT @ right[whole:]


def _by_fourier(scores: Tensor, weights: Tensor) -> Tensor:
    size = 1 << (len(scores) + len(weights)).bit_length()
    half = weights.to(scores)
    half = torch.cat([half[:1] * 0.5, half[1:]])
    spectrum = torch.fft.rfft(scores, size, dim=0) * torch.fft.rfft(half, size)[:, None]
    smooth = torch.fft.irfft(spectrum, size, dim=0)[: len(scores)]
    total = cross_products(scores, smooth)
    return total + total.mT


# prewhitening


def prewhitened(scores: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Fit a vector autoregression without intercept; return (n - p, k) its residuals and (k, k) D = (I - sum A_l)^-1.

    References
    ----------
    Andrews and Monahan (1992), Econometrica 60(4).
    """
    nobs, width = scores.shape
    check_autoregression(nobs, width, order)
    past = past_of(scores, order)
    left, right = torch.linalg.qr(past)
    slopes = torch.linalg.solve_triangular(right, left.mT @ scores[order:], upper=True)
    return scores[order:] - past @ slopes, recoloured(slopes)


def check_autoregression(nobs: int, width: int, order: int) -> None:
    """Refuse an autoregression of so few rows that it would fit them."""
    if nobs <= order * (width + 1):
        raise EstimationError(
            f"A vector autoregression of order {order} of {width} scores needs more than {order * (width + 1)} rows, and there are {nobs}; "
            "pass prewhiten=0."
        )


def past_of(scores: Tensor, order: int) -> Tensor:
    """Return (n - p, p k) the p rows before each of (n, k) from the p-th on, the nearest first."""
    return torch.cat([scores[order - lag : len(scores) - lag] for lag in range(1, order + 1)], 1)


def recoloured(slopes: Tensor) -> Tensor:
    """Return (k, k) D = (I - sum A_l)^-1 of (p k, k) the A_l', one below the other."""
    width = slopes.shape[1]
    total = slopes.view(-1, width, width).sum(0).mT
    found: Tensor = torch.linalg.solve(torch.eye(width).to(total) - total, torch.eye(width).to(total))
    return found


# bandwidths


def andrews(scores: Tensor, kernel: KernelName, weights: Tensor) -> float:
    """Return Andrews' bandwidth for (n, k) scores, by a first-order autoregression of each column; `weights` are (k,), zero for the constant.

    Andrews (1991), Econometrica 59(3), equations 6.2 and 6.4.
    """
    centred = scores - scores.mean(0)
    nobs, (past, now) = len(scores), (centred[:-1], centred[1:])
    past, now = past - past.mean(0), now - now.mean(0)
    rho = (past * now).sum(0) / past.square().sum(0)
    return andrews_of(rho, (now - rho * past).square().sum(0) / (nobs - 1), nobs, kernel, weights)


def andrews_of(rho: Tensor, noise: Tensor, nobs: int, kernel: KernelName, weights: Tensor) -> float:
    """Return Andrews' bandwidth from (k,) first-order autoregressions of the columns and the variances of what they leave."""
    below = (weights * noise.square() / (1.0 - rho) ** 4).sum()
    if _KERNELS[kernel].order == 1:
        top = (weights * 4.0 * (rho * noise).square() / ((1.0 - rho) ** 6 * (1.0 + rho) ** 2)).sum()
    else:
        top = (weights * 4.0 * (rho * noise).square() / (1.0 - rho) ** 8).sum()
    return _bandwidth(kernel, float(top / below) * nobs)


def newey_west(scores: Tensor, kernel: KernelName, weights: Tensor, nobs: int, order: int) -> float:
    """Return Newey and West's bandwidth, by the autocovariances of a weighted sum of the columns; arguments as in `andrews`.

    `nobs` is the number of rows before prewhitening of this `order`. Newey and West (1994), Rev. Econ. Stud. 61(4).
    """
    series = scores @ weights
    last = min(last_autocovariance(kernel, nobs, order), len(series) - 1)
    sizes = torch.stack([series[lag:] @ series[: len(series) - lag] for lag in range(last + 1)])
    return newey_west_of(sizes, nobs, kernel)


def last_autocovariance(kernel: KernelName, nobs: int, order: int) -> int:
    """Return how far the autocovariances of Newey and West's rule go."""
    rate = _KERNELS[kernel].lag_rate
    if rate is None:
        raise OptionError(
            f"Newey and West give no bandwidth for the {kernel} kernel; use 'bartlett', 'parzen' or 'quadratic-spectral', or "
            "bandwidth='andrews'."
        )
    return int((3.0 if order else 4.0) * (nobs / 100.0) ** rate)


def newey_west_of(sizes: Tensor, nobs: int, kernel: KernelName) -> float:
    """Return Newey and West's bandwidth from autocovariances."""
    chosen, steps = _KERNELS[kernel], torch.arange(len(sizes)).to(sizes)
    level = sizes[0] + 2.0 * sizes[1:].sum()
    slope = 2.0 * (steps[1:] ** chosen.order * sizes[1:]).sum()
    return _bandwidth(kernel, float((slope / level) ** 2) * nobs)


def _bandwidth(kernel: KernelName, size: float) -> float:
    chosen = _KERNELS[kernel]
    found: float = chosen.constant * size ** (1.0 / (2 * chosen.order + 1))
    return found
