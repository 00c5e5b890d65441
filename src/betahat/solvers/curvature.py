"""How a loss curves least around a point, by products of its Hessian with directions: Lanczos' method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.progress import progress
from betahat.solvers.triangles import inverse_triangle

# Added to an information of unit diagonal, so that it has a root where it is singular.
_RIDGE = 1e-9
# How probable it may be that a start hides the direction that is looked for.
_MISSED = 1e-6
# A direction is followed until what its product leaves beside it is so small a share of its curvature.
_SETTLED = 0.1
# Eigenvalues are looked at after so many products.
_EVERY = 3
# What is left of a product that lies in the space of those before it.
_NOTHING = 1e-10


@dataclass(frozen=True, eq=False)
class Lowest:
    """The direction in which a Hessian was found to curve least, measured by an information.

    Attributes
    ----------
    direction : Tensor
        (k,).
    curvature : float
        d'Hd / d'Ad.
    certain : bool
        Whether no direction curves downward, but for a probability of 1e-6.
    """

    direction: Tensor
    curvature: float
    certain: bool


def lowest_curvature(
    product: Callable[[Tensor], Tensor], information: Tensor, scale: Tensor, steps: int
) -> Lowest | None:
    """Look for the smallest eigenvalue of a Hessian in coordinates in which an information is the identity; None where it has no root.

    Where the two are of similar size those eigenvalues are near one, but for a few, which Lanczos' method finds first; their signs are
    the Hessian's own (Sylvester). From a random start, j steps err by more than a share e of the spectrum with a probability of at most
    1.648 sqrt(k) exp(-(2 j - 1) sqrt(e)), which is what makes the answer certain; the m largest eigenvalues cost no more than m steps.

    Parameters
    ----------
    product : callable
        (k,) d -> (k,) H d.
    information : Tensor
        (k, k) A.
    scale : Tensor
        (k,) the roots of its diagonal.
    steps : int
        The most products.

    References
    ----------
    Kuczynski and Wozniakowski (1992), SIAM Journal on Matrix Analysis and Applications 13(4), theorem 4.2.
    """
    width = len(scale)
    scaled = information / scale / scale[:, None]
    scaled.diagonal().add_(_RIDGE)
    lower, failed = torch.linalg.cholesky_ex(scaled)
    if bool(failed) or not bool(torch.isfinite(lower).all()):
        return None
    root = inverse_triangle(lower.mT) / scale[:, None]
    generator = torch.Generator(device="cpu").manual_seed(0)
    vector = torch.randn(width, generator=generator, dtype=torch.float64, device="cpu").to(scale)
    count = min(steps, width)
    basis, images, small = (
        vector.new_empty(count, width),
        vector.new_empty(count, width),
        vector.new_zeros(count, count),
    )
    trust = math.log(1.648 * math.sqrt(width) / _MISSED)
    for j in progress(range(count), "curvature"):
        basis[j] = vector / torch.linalg.vector_norm(vector)
        images[j] = root.mT @ product(root @ basis[j])
        inner = 0.5 * (
            basis[: j + 1] @ images[j] + images[: j + 1] @ basis[j]
        )  # of what is no Hessian, its symmetric part
        small[j, : j + 1] = small[: j + 1, j] = inner
        if not bool(torch.isfinite(inner).all()):
            return None
        rest = images[j] - basis[: j + 1].mT @ (basis[: j + 1] @ images[j])
        vector = rest - basis[: j + 1].mT @ (basis[: j + 1] @ rest)
        whole = j + 1 == width or bool(torch.linalg.vector_norm(vector) <= _NOTHING * small.diagonal().abs().max())
        if not whole and j + 1 < count and j % _EVERY:
            continue
        values, vectors = torch.linalg.eigh(small[: j + 1, : j + 1])
        low, weights = float(values[0]), vectors[:, 0]
        certain = low > 0.0 and (whole or _above_zero(values, trust))
        beside = torch.linalg.vector_norm(weights @ images[: j + 1] - low * (weights @ basis[: j + 1]))
        if whole or certain or (low < 0.0 and bool(beside <= _SETTLED * abs(low))):
            break
    return Lowest(root @ (weights @ basis[: j + 1]), low, certain)


def _above_zero(values: Tensor, trust: float) -> bool:
    """Tell whether (j,) Ritz values bound the spectrum away from zero: with m steps spent on the m largest, the others on what is below."""
    spent = torch.arange(len(values), dtype=values.dtype, device=values.device)
    share = (trust / (2.0 * (len(values) - spent) - 1.0)) ** 2
    error = share / (1.0 - 2.0 * share) * (values.flip(0) - values[0])
    return bool(((share < 0.25) & (error < values[0])).any())
