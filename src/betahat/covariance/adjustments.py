"""What CR2 and CR3 make of clusters: adjusted scores and what degrees of freedom need, of b clusters of m rows at a time.

With H_gg a cluster's block of the hat matrix, CR3 takes (I - H_gg)^-1, and CR2 the inverse root of the residuals' covariance. None of them
needs an m x m matrix: whitened errors of one variance leave functions of the (r, r) products U'U, weights beside them an R of [U, W U],
and variances that differ between rows a rational function of B = f (I - U U') f, each term of which is diagonal but for r columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from betahat.solvers.roots import inverse_root_terms

# An eigenvalue of I - H within 1e-10 of zero: the cluster alone fixes that direction.
FIXED = 1e-10
# A Cholesky factor of I - H with a diagonal below this is left to the eigenvalues.
_CLOSE = 1e-2
# Up to so many rows for each coefficient, m x m matrices take less time than (r, r) matrices for each term.
_FEW_ROWS = 2
# So many numbers are made of rows at a time, or of so many rows.
_NUMBERS, _ROWS = 2**20, 16


class Adjustment(NamedTuple):
    """The adjustment K of b clusters; see `satterthwaite.Adjusted`.

    Attributes
    ----------
    scores : Tensor
        (b, r) K'e.
    own : Tensor
        (b, r, r) N.
    reach : Tensor
        (b, p, r) T.
    fixed : Tensor
        (b,) whether the cluster alone fixes some direction.
    """

    scores: Tensor
    own: Tensor
    reach: Tensor
    fixed: Tensor


def half_adjusted(grams: Tensor, sums: Tensor) -> Adjustment:
    """Return CR2 of (b, r, r) U'U and (b, r) U'e, whose whitened errors e have one variance: K = U L, L = (I - U'U)^(-1/2)."""
    spectrum, vectors = torch.linalg.eigh(grams)
    held = spectrum < 1.0 - FIXED
    inverse_root = torch.where(held, 1.0 - spectrum, torch.inf).rsqrt()
    return _mapped(grams, sums, (vectors * inverse_root[:, None]) @ vectors.mT, ~held.all(1))


def fully_adjusted(grams: Tensor, sums: Tensor) -> Adjustment:
    """Return CR3 of (b, r, r) U'U and (b, r) U'e: K = U L, L = (I - U'U)^-1, whose scores are the steps to the fits without each cluster."""
    inverse, fixed = _inverse(grams)
    return _mapped(grams, sums, inverse, fixed)


def steps_without(grams: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (b, r) scores of CR3 alone, and (b,) whether the cluster fixes a direction; see `fully_adjusted`."""
    lower, failed = torch.linalg.cholesky_ex(torch.eye(grams.shape[1]).to(grams) - grams)
    scores = torch.cholesky_solve(sums[:, :, None], lower)[:, :, 0]
    fixed = torch.zeros_like(failed, dtype=torch.bool)
    close = _close(lower, failed)
    if len(close):
        inverse, fixed[close] = _inverse_by_eigenvalues(grams[close])
        scores[close] = (inverse @ sums[close][:, :, None])[:, :, 0]
    return scores, fixed


def half_of_pairs(pairs: Tensor, middle: Tensor) -> Adjustment:
    """Return CR2 of weighted least squares whose errors have the same variance: K = (I + P C P')^(-1/2) W U, P = [U, W U].

    `pairs` is (b, m, 2 r + 1) P and the residuals, `middle` is (2 r, 2 r) C. With P = Q R, the root is that of I + R C R' in the columns of Q,
    so that no product of P loses digits.
    """
    width = len(middle) // 2
    short = pairs.shape[2] - pairs.shape[1]
    padded = pairs if short <= 0 else torch.nn.functional.pad(pairs, (0, 0, 0, short))
    whole = torch.linalg.qr(padded, mode="r").R
    right, errors = whole[:, :-1, :-1], whole[:, :-1, -1:]
    spectrum, vectors = torch.linalg.eigh(torch.eye(2 * width).to(middle) + right @ middle @ right.mT)
    held = spectrum > FIXED
    inverse = torch.where(held, spectrum, torch.inf).rsqrt()
    weights = (vectors * inverse[:, None]) @ (vectors.mT @ right[:, :, width:])
    return Adjustment((weights.mT @ errors)[:, :, 0], weights.mT @ weights, right.mT @ weights, ~held.all(1))


def half_of_pair_products(products: Tensor, middle: Tensor) -> Adjustment:
    """Return `half_of_pairs` from the (b, 2 r + 1, 2 r + 1) products of [P, e].

    With M = P'P = R'R and S the (2 r, r) columns of the identity for which P S = W U, the root is I + P C R'g(R C R')R^-T..., so that K = P L,
    L = S + C R' g(R C R') R S, and g(x) = ((1 + x)^(-1/2) - 1) / x has no pole at zero: what rounding M does to R moves L by as little. P's columns are
    scaled to length one first.
    """
    width = len(middle) // 2
    scale = products.diagonal(dim1=1, dim2=2)[:, :-1].sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    whole = products[:, :-1, :-1] / scale[:, :, None] / scale[:, None]
    sums = products[:, :-1, -1:] / scale[:, :, None]
    inside = scale[:, :, None] * middle * scale[:, None]
    sizes, turn = torch.linalg.eigh(whole)
    right = sizes.clamp_min(0.0).sqrt()[:, :, None] * turn.mT
    spectrum, vectors = torch.linalg.eigh(right @ inside @ right.mT)
    held = spectrum > FIXED - 1.0
    root = torch.where(held, 1.0 + spectrum, torch.inf).sqrt()
    slopes = torch.where(held, -(root * (1.0 + root)).reciprocal(), -spectrum.reciprocal())
    chosen = torch.diag_embed(scale)[:, :, width:]
    weights = chosen + inside @ (right.mT @ ((vectors * slopes[:, None]) @ (vectors.mT @ (right @ chosen))))
    reach = whole @ weights
    return Adjustment((weights.mT @ sums)[:, :, 0], weights.mT @ reach, scale[:, :, None] * reach, ~held.all(1))


def full_of_pairs(products: Tensor) -> Adjustment:
    """Return CR3 of the (b, 2 r + 1, 2 r + 1) products of [P, e], as `half_of_pairs`: K = W U (I - U'W U)^-1."""
    width = products.shape[2] // 2
    inverse, fixed = _inverse(products[:, :width, width:-1])
    reach = products[:, :-1, width:-1] @ inverse
    scores = (inverse.mT @ products[:, width:-1, -1:])[:, :, 0]
    return Adjustment(scores, inverse.mT @ reach[:, width:], reach, fixed)


def half_of_rows(rows: Tensor) -> Adjustment:
    """Return CR2 if the error variances f differ between rows: K = f B^(-1/2) U, B = f (I - U U') f.

    `rows` is (b, m, r + 2) U, whitened residuals e, and f, which is zero in rows that do not count. Many roots make the variance unbiased;
    this is the one of R's ``clubSandwich::vcovCR``.
    """
    hats, errors, spread = rows[:, :, :-2], rows[:, :, -2], rows[:, :, -1]
    largest = spread.amax(1, keepdim=True)
    spread = torch.where(
        spread > 0, spread / largest, 1.0
    )  # K is the same whatever the unit of f; a row without U may have any
    grams = hats.mT @ hats
    if hats.shape[1] <= _FEW_ROWS * hats.shape[2]:
        return _by_eigenvectors(hats, errors, spread, torch.linalg.eigvalsh(grams))
    free = 1.0 - grams.diagonal(dim1=1, dim2=2).sum(1)  # not more than the smallest eigenvalue of I - U'U
    close = free < 0.5
    if not bool(close.any()):
        return _by_terms(hats, errors, spread, grams, free)
    spectrum, vectors = torch.linalg.eigh(grams[close])
    found = _in_eigenvectors(hats[close] @ vectors, errors[close], spread[close], spectrum, vectors)
    if bool(close.all()):
        return found
    other = _by_terms(hats[~close], errors[~close], spread[~close], grams[~close], free[~close])
    joint = Adjustment(*(part.new_empty(len(close), *part.shape[1:]) for part in found))
    for whole, some, rest in zip(joint, found, other, strict=True):
        whole[close], whole[~close] = some, rest
    return joint


def _by_eigenvectors(hats: Tensor, errors: Tensor, spread: Tensor, spectrum: Tensor) -> Adjustment:
    """Return `half_of_rows` from the (b, m, m) B; `spectrum`, (b, r), is that of U'U, the directions that the cluster fixes being its ones."""
    scaled = spread[:, :, None] * hats
    values, vectors = torch.linalg.eigh(torch.diag_embed(spread.square()) - scaled @ scaled.mT)
    lost = (spectrum > 1.0 - FIXED).sum(1)
    inverse = values.clamp_min(torch.finfo(values.dtype).tiny).rsqrt()
    inverse = inverse.masked_fill(torch.arange(inverse.shape[1], device=lost.device) < lost[:, None], 0.0)
    weights = spread[:, :, None] * ((vectors * inverse[:, None]) @ (vectors.mT @ hats))
    scores = (weights.mT @ errors[:, :, None])[:, :, 0]
    return Adjustment(scores, weights.mT @ weights, hats.mT @ weights, lost > 0)


def _in_eigenvectors(hats: Tensor, errors: Tensor, spread: Tensor, spectrum: Tensor, vectors: Tensor) -> Adjustment:
    """Return `half_of_rows` of clusters that fix some direction, or nearly so, where U is already U V, V the (b, r, r) eigenvectors of U'U."""
    lost = spectrum > 1.0 - FIXED
    slack = torch.where(lost, 0.0, 1.0 - spectrum)
    least = torch.where(lost, 1.0, slack).amin(1)
    return _turned_back(_by_terms(hats, errors, spread, torch.diag_embed(spectrum), least, slack, lost), vectors)


def _turned_back(found: Adjustment, vectors: Tensor) -> Adjustment:
    """Return the adjustment of U from that of U V."""
    return Adjustment(
        (vectors @ found.scores[:, :, None])[:, :, 0],
        vectors @ found.own @ vectors.mT,
        vectors @ found.reach @ vectors.mT,
        found.fixed,
    )


def _by_terms(
    hats: Tensor,
    errors: Tensor,
    spread: Tensor,
    grams: Tensor,
    least: Tensor,
    slack: Tensor | None = None,
    lost: Tensor | None = None,
) -> Adjustment:
    """Return `half_of_rows` by B^(-1/2) = sum of c (B + s)^-1, in which B + s is f^2 + s less r columns.

    By Woodbury's identity, with h = f / (f^2 + s) and S = I - U' f h U = (I - U'U) + U' s / (f^2 + s) U, no difference of which loses digits,
    f (B + s)^-1 U = f h / f U + f h U S^-1 U' h U. The sum of c h is 1, whence K = U + sum of c f h U S^-1 R, R = U' h U. So U'K and K'e are
    sums of (r, r) products; and K'K = U'P U + (U'K)'U'K, since K'(I - U U')K = U'P U, P the projection on what B leaves.

    Where U'U a = a the null space of B is N = U a / f. (B + s)^-1 is N (N'N)^-1 N' / s there, and is taken off.

    Parameters
    ----------
    hats, errors, spread
        (b, m, r) U, (b, m) e, (b, m) f, whose largest is one.
    grams : Tensor
        (b, r, r) U'U.
    least : Tensor
        (b,) at most the smallest eigenvalue of I - U'U that is not zero.
    slack, lost : Tensor, optional
        (b, r) the eigenvalues of I - U'U, and which are zero, of clusters whose U'U is diagonal.
    """
    condition = float((spread.amin(1).square() * least).reciprocal().max())
    few = max(_NUMBERS // grams.numel(), 1)
    terms = inverse_root_terms(condition).to(hats)
    parts = (
        _weighted(hats, errors, spread, partial(shifted, shifts, factors))
        for shifts, factors in zip(*(torch.split(part, few) for part in terms), strict=True)
    )
    inverses = None if lost is None else _weighted(hats, errors, spread, inverses_of)[0]
    return _of_terms(parts, inverses, terms, grams, (hats.mT @ errors[:, :, None])[:, :, 0], slack, lost)


def half_of_sums(products: Tensor, beside: Tensor, grams: Tensor, sums: Tensor, terms: Tensor) -> Adjustment:
    """Return `half_of_rows` from sums over the rows of a cluster.

    These are (b, 2 J + 2, r, r) of w u u' and (b, 2 J + 2, r) of w u e, for the weights `shifted` and `inverses_of` by f over the cluster's largest,
    (b, r, r) U'U and (b, r) U'e, of (2, J) `terms`.
    """
    free, count = 1.0 - grams.diagonal(dim1=1, dim2=2).sum(1), terms.shape[1]
    if not bool((free < 0.5).any()):
        return _of_terms([(products[:, : 2 * count], beside)], None, terms, grams, sums, None, None)
    spectrum, vectors = torch.linalg.eigh(grams)
    lost = spectrum > 1.0 - FIXED
    turned = vectors[:, None].mT @ products @ vectors[:, None]
    parts = [(turned[:, : 2 * count], beside @ vectors)]
    slack = torch.where(lost, 0.0, 1.0 - spectrum)
    found = _of_terms(
        parts, turned[:, 2 * count :], terms, torch.diag_embed(spectrum), (sums[:, None] @ vectors)[:, 0], slack, lost
    )
    return _turned_back(found, vectors)


def least_slack(grams: Tensor) -> Tensor:
    """Return (b,) at most the smallest eigenvalue of I - U'U that is not zero, of (b, r, r) U'U."""
    free = 1.0 - grams.diagonal(dim1=1, dim2=2).sum(1)
    spectrum = torch.linalg.eigvalsh(grams)
    own = torch.where(spectrum > 1.0 - FIXED, 1.0, 1.0 - spectrum).amin(1)
    return torch.where(free < 0.5, own, free)


def _of_terms(
    parts: Iterable[tuple[Tensor, Tensor]],
    inverses: Tensor | None,
    terms: Tensor,
    grams: Tensor,
    sums: Tensor,
    slack: Tensor | None,
    lost: Tensor | None,
) -> Adjustment:
    """Return `_by_terms` from the sums over rows of some terms after the others, and (b, 2, r, r) those of `inverses_of` where directions are lost."""
    width = grams.shape[1]
    free = torch.eye(width).to(grams) - grams if slack is None else torch.diag_embed(slack)
    reach, scores = grams.clone(), sums.clone()
    for products, beside in parts:
        rest, cross = products.chunk(2, 1)
        lower, _ = torch.linalg.cholesky_ex(free[:, None] + rest)
        solved = torch.cholesky_solve(cross, lower)
        reach += (solved - cross).sum(1)  # U' f h U S^-1 R = (I - S) S^-1 R
        scores += torch.einsum("bjrs,bjr->bs", solved, sums[:, None] - beside[:, : rest.shape[1]])
    if lost is None or inverses is None:
        return Adjustment(scores, grams + reach.mT @ reach, reach, torch.zeros_like(grams[:, 0, 0], dtype=torch.bool))
    one, two = inverses.unbind(1)
    across = one.masked_fill(~lost[:, :, None], 0.0)
    both = lost[:, :, None] & lost[:, None]
    lower = torch.linalg.cholesky(torch.where(both, two, torch.diag_embed((~lost).to(two))))
    null = torch.cholesky_solve(across, lower)  # of which U / f makes Q Q'U
    at_zero = (terms[1] / terms[0]).sum()
    reach = reach - at_zero * (grams @ null)
    scores = scores - at_zero * (null.mT @ sums[:, :, None])[:, :, 0]
    return Adjustment(scores, grams - across.mT @ null + reach.mT @ reach, reach, lost.any(1))


def shifted(shifts: Tensor, factors: Tensor, spread: Tensor) -> Tensor:
    """Return (b, m, 2 J) s / (f^2 + s), and c f / (f^2 + s)."""
    apart = (spread.square()[:, :, None] + shifts).reciprocal()
    return torch.cat([shifts * apart, factors * spread[:, :, None] * apart], 2)


def inverses_of(spread: Tensor) -> Tensor:
    """Return (b, m, 2) 1 / f and its square."""
    inverse = spread.reciprocal()
    return torch.stack([inverse, inverse.square()], 2)


def _weighted(hats: Tensor, errors: Tensor, spread: Tensor, weigh: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Return (b, J, r, r) the sums of w u u' and (b, J, r) those of w u e, for J weights of a row by its f, some rows at a time.

    The products u_i u_j of a row are taken once, those of i and i + d, modulo r, for d from 0 to r / 2.
    """
    count, _, width = hats.shape
    apart = width // 2 + 1
    found = hats.new_zeros(())
    step = max(_NUMBERS // (count * (apart + 1) * width), _ROWS)
    for parts in zip(*(torch.split(part, step, 1) for part in (hats, errors, spread)), strict=True):
        rows, residuals, spreads = parts
        shifted = torch.cat([rows, rows], 2).unfold(2, width, 1)[:, :, :apart]
        products = torch.cat([(rows[:, :, None] * shifted).flatten(2), rows * residuals[:, :, None]], 2)
        found = torch.baddbmm(found, weigh(spreads).mT, products)
    place = torch.arange(width, device=hats.device)
    ahead = (place - place[:, None]) % width  # from i to j
    places = torch.where(ahead < apart, ahead * width + place[:, None], (-ahead % width) * width + place)
    return found[:, :, places], found[:, :, apart * width :]


def _inverse(grams: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b, r, r) (I - M)^-1, and (b,) whether M has an eigenvalue of one, whose direction is left out."""
    eye = torch.eye(grams.shape[1]).to(grams)
    lower, failed = torch.linalg.cholesky_ex(eye - grams)
    inverse = torch.cholesky_solve(eye.expand_as(lower), lower)
    fixed = torch.zeros_like(failed, dtype=torch.bool)
    close = _close(lower, failed)
    if len(close):
        inverse[close], fixed[close] = _inverse_by_eigenvalues(grams[close])
    return inverse, fixed


def _close(lower: Tensor, failed: Tensor) -> Tensor:
    """Return the places of Cholesky factors that are not there, or nearly singular."""
    return ((failed != 0) | (lower.diagonal(dim1=1, dim2=2).amin(1) < _CLOSE)).nonzero().flatten()


def _inverse_by_eigenvalues(grams: Tensor) -> tuple[Tensor, Tensor]:
    spectrum, vectors = torch.linalg.eigh(grams)
    held = spectrum < 1.0 - FIXED
    reciprocal = torch.where(held, 1.0 - spectrum, torch.inf).reciprocal()
    return (vectors * reciprocal[:, None]) @ vectors.mT, ~held.all(1)


def _mapped(grams: Tensor, sums: Tensor, maps: Tensor, fixed: Tensor) -> Adjustment:
    """Return the adjustment K = U L of (b, r, r) maps L."""
    reach = grams @ maps
    return Adjustment((maps.mT @ sums[:, :, None])[:, :, 0], maps.mT @ reach, reach, fixed)
