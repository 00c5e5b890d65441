"""The wild cluster bootstrap-t of one linear restriction: its statistics for all null values at once, p-values and intervals."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.progress import progress
from betahat.resampling.weights import Scheme

# Sums that differ only in the order of their terms are equal: draws that reproduce the sample do not exceed it.
_TIE = 1e-9
# If I - A_g is within 1e-10 of singular, the cluster determines a direction on its own, and the pseudoinverse omits it.
_FULL = 1e-10
# Steps outward from a twentieth of a standard error, each a tenth farther out than the last; repeated while the last p-value exceeds alpha, up to
# 1e17 standard errors; then a step is divided into sections, down to 1e-13 of it.
_FIRST, _GROWTH, _STEPS, _LADDERS = 0.05, 1.1, 112, 4
_SECTIONS, _REFINEMENTS = 16, 11
# The size of a batch, in replicates times clusters.
_SIGNS = 2**22


@dataclass(frozen=True, eq=False)
class WildClusters:
    """What the test needs from a fit, in Z's coordinates, in which the columns U are orthonormal."""

    grams: Tensor  # (G, r, r) A_g = U_g' U_g
    scores: Tensor  # (G, r) s_g = U_g' e_g
    jackknifed: bool  # whether the residuals of a cluster are those of the fit without it (types 31 and 33)
    crv3: bool  # whether t statistics use CRV3 (types 13 and 33) or CRV1
    null: bool  # whether the null hypothesis is imposed on the data that are drawn (WCR) or not (WCU)
    factor: float  # the small-sample factor of the variance, which is the same in all statistics


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of draws as functions of tau, the distance R b - q in units of |Z'R'|."""

    numerator: Tensor  # (2, B) n_0 and n_1: the numerator of a draw is n_0 + tau n_1
    denominator: Tensor  # (3, B) d_0, d_1, d_2: its squared denominator is d_0 + 2 tau d_1 + tau^2 d_2
    error: Tensor  # () the standard error of tau in the sample

    def draws(self, tau: Tensor) -> Tensor:
        """Return (..., B) t* at (...) values of tau."""
        at = tau[..., None]
        top = self.numerator[0] + at * self.numerator[1]
        bottom = self.denominator[0] + at * (2.0 * self.denominator[1] + at * self.denominator[2])
        drawn: Tensor = top / bottom.clamp_min(0.0).sqrt()
        return drawn

    def pvalue(self, tau: Tensor) -> Tensor:
        """Return (...) the shares of draws with |t*| > |t|."""
        bound = (tau / self.error).abs() * (1.0 + _TIE)
        return (self.draws(tau).abs() > bound[..., None]).to(torch.float64).mean(-1)

    def bound(self, alpha: float, sign: float) -> Tensor:
        """Return () one end of the convex hull of all tau whose p-values exceed alpha; infinite if there is none.

        P-values need not decrease monotonically. They are evaluated at steps outward, each a tenth farther out than the last, to 2,000 standard errors,
        and further if they still exceed alpha; the end lies within the step after the last one that does.
        """
        ladder = _FIRST * _GROWTH ** torch.arange(_STEPS, dtype=torch.float64).to(self.error) * sign * self.error
        inside = torch.zeros_like(self.error)
        for _ in range(_LADDERS):
            accepted = (self.pvalue(ladder) > alpha).nonzero().flatten().tolist()
            last = accepted[-1] if accepted else -1
            inside = inside if last < 0 else ladder[last]
            if last + 1 < len(ladder):
                break
            ladder = ladder * (ladder[-1] / ladder[0])
        else:
            return torch.full_like(self.error, sign * torch.inf)
        outside = ladder[last + 1]
        for _ in range(_REFINEMENTS):
            sections = inside + self._shares * (outside - inside)
            rejected = self.pvalue(sections[1:-1]) <= alpha
            place = int(rejected.to(torch.int64).argmax()) if bool(rejected.any()) else len(rejected)
            inside, outside = sections[place], sections[place + 1]
        return 0.5 * (inside + outside)

    @property
    def _shares(self) -> Tensor:
        return torch.linspace(0.0, 1.0, _SECTIONS + 1, dtype=torch.float64).to(self.error)


def wild_statistics(sample: WildClusters, direction: Tensor, scheme: Scheme, seed: int, reps: int) -> Statistics:
    """Return the bootstrap statistics of a restriction R b = q for all q; `direction` is (r,) t = Z'R' / |Z'R'|, `scheme` draws the signs v.

    With the scores of restricted residuals s_g + A_g t tau, and, if jackknifed, C_g = (I - A_g P)^-1 with P = I - t t', a draw has the step
    d = sum of v_g s~_g and the scores v_g s~_g - A_g d. Its numerator is t'd, and its squared denominator is the factor times the sum of squares
    of l_g'(v_g s~_g - A_g d), with l_g = t for CRV1 and (I - A_g)^-1 t for CRV3. All are linear in tau, so that the sums of squares of three
    products suffice for every null value. MacKinnon, Nielsen and Webb (2023), Fast and reliable jackknife and bootstrap methods for
    cluster-robust inference, J. Appl. Econometrics 38(5); Roodman, MacKinnon, Nielsen and Webb (2019), Fast and wild, Stata Journal 19(1).
    """
    grams, scores = sample.grams, sample.scores
    left = _without_each(grams, direction.expand_as(scores)) if sample.crv3 else direction.expand_as(scores)
    error = (sample.factor * (left * scores).sum(1).square().sum()).sqrt()
    plain = [scores]
    if sample.null:
        plain.append(grams @ direction)
    if sample.jackknifed:
        plain = [_jackknifed(grams, part, direction if sample.null else None) for part in plain]
    own, across = [(left * part).sum(1) for part in plain], torch.einsum("gr,grq->gq", left, grams)
    numbers = torch.arange(reps, device=scores.device)
    pieces = []
    for some in progress(torch.split(numbers, max(_SIGNS // len(scores), 1)), "wild bootstrap"):
        signs = scheme(seed, some)
        steps = [signs @ part for part in plain]
        spread = [signs * mine - step @ across.mT for mine, step in zip(own, steps, strict=True)]
        tops = [step @ direction for step in steps]
        squares = [(one * other).sum(1) for one, other in itertools.combinations_with_replacement(spread, 2)]
        pieces.append(torch.stack([*tops, *squares]))
    joint = torch.cat(pieces, 1)
    numerator, denominator = joint[: len(plain)], sample.factor * joint[len(plain) :]
    return Statistics(_padded(numerator, 2), _padded(denominator, 3), error)


def _padded(values: Tensor, rows: int) -> Tensor:
    """Append rows of zeros, for statistics that do not depend on tau."""
    return torch.nn.functional.pad(values, (0, 0, 0, rows - len(values)))


def _without_each(grams: Tensor, vectors: Tensor) -> Tensor:
    """Return (G, r) (I - A_g)^-1 v_g, with the pseudoinverse."""
    spectrum, basis = torch.linalg.eigh(torch.eye(grams.shape[1]).to(grams) - grams)
    inverse = torch.where(spectrum > _FULL, spectrum.reciprocal(), 0.0)
    turned = inverse * (basis.mT @ vectors[:, :, None])[:, :, 0]
    back: Tensor = basis @ turned[:, :, None]
    return back[:, :, 0]


def jackknifed_scores(grams: Tensor, scores: Tensor) -> Tensor:
    """Return (G, r) (I - A_g)^-1 s_g: the scores of residuals of the fit without each cluster."""
    return _jackknifed(grams, scores, None)


def _jackknifed(grams: Tensor, scores: Tensor, direction: Tensor | None) -> Tensor:
    """Return (G, r) (I - A_g P)^-1 s_g = s_g + A_g P (I - P A_g P)^-1 P s_g, with P the projection orthogonal to a direction, if one is given."""
    if direction is None:
        return scores + (grams @ _without_each(grams, scores)[:, :, None])[:, :, 0]
    project = torch.eye(len(direction)).to(grams) - torch.outer(direction, direction)
    inside = _without_each(project @ grams @ project, scores @ project) @ project
    return scores + (grams @ inside[:, :, None])[:, :, 0]
