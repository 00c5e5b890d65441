"""Cox's partial likelihood: who of the rows at risk has an event, and how events at the same time share their risk set."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from betahat.objectives.base import Objective
from betahat.objectives.dispersion import Unity

TiesName = Literal["breslow", "efron"]


@dataclass(frozen=True, eq=False)
class Ties:
    """Sums over the events of each tie, of the terms log(S - f E) that they add to the loss.

    S is the sum of w exp(x'b) over the rows at risk, E that over the events of the tie, f the share of these that a term leaves out, and v a
    term's weight. With u = f E / (S - f E), a term's mean of x is xS + u (xS - xE), xS and xE the means over the rows at risk and over the events.

    Attributes
    ----------
    logs : Tensor
        (m,) the sum of v log(S - f E).
    hazard : Tensor
        (m,) the sum of v / (S - f E), by which the cumulative hazard grows.
    own : Tensor
        (m,) the sum of v f / (S - f E), the part of that which the events themselves are not exposed to.
    tilt : Tensor
        (m,) the mean of u, weighted by v.
    spread : Tensor
        (m,) the sum of v (u - tilt)^2.
    hazard_tilt, own_tilt : Tensor
        (m,) the sums of u v / (S - f E) and of u v f / (S - f E).
    """

    logs: Tensor
    hazard: Tensor
    own: Tensor
    tilt: Tensor
    spread: Tensor
    hazard_tilt: Tensor
    own_tilt: Tensor


@dataclass(frozen=True)
class PartialLikelihood(Objective):
    """Minus the logarithm of Cox's partial likelihood, a sum over events whose terms have all rows at risk in them.

    References
    ----------
    Cox (1972), J. R. Stat. Soc. B 34(2); Therneau and Grambsch (2000), Modeling Survival Data, chapter 3.
    """

    dispersion = Unity()
    autodiff = None
    affine = True
    output_loss = None
    separable = False
    separation = (
        "at each event the row that has it comes first among those at risk, as where a category has no events (R: coefficient may be infinite). "
        "Leave such columns out, merge categories, or stratify by them."
    )

    def derivatives(self, bread: str) -> str:
        """Return how they are taken."""
        return "closed form, by cumulative sums over the rows at risk"

    @abstractmethod
    def ties(self, at_risk: Tensor, events: Tensor, mass: Tensor, count: Tensor) -> Ties:
        """Return the sums over ties, given (m,) S and E, the weight of the events, and their number."""


@dataclass(frozen=True)
class Breslow(PartialLikelihood):
    """Each event of a tie has the whole risk set: log(S) times the weight of the events (Breslow 1974, Biometrics 30(1))."""

    def ties(self, at_risk: Tensor, events: Tensor, mass: Tensor, count: Tensor) -> Ties:
        """Return log S and 1 / S times the weight."""
        none = torch.zeros_like(mass)
        return Ties(mass * at_risk.log(), mass / at_risk, none, none, none, none, none)


@dataclass(frozen=True)
class Efron(PartialLikelihood):
    """The l-th of d events of a tie has a risk set without l / d of them: log(S - l/d E), each of the mean weight (Efron 1977, JASA 72(359)).

    With frequency weights d is the number of copies, and an event that counts a fraction of a copy adds that fraction of a term.
    """

    def ties(self, at_risk: Tensor, events: Tensor, mass: Tensor, count: Tensor) -> Ties:
        """Return the sums over l = 0, ..., d - 1."""
        plain = Breslow().ties(at_risk, events, mass, count)
        tied = (count > 1.0).nonzero().flatten()
        if not len(tied):
            return plain
        at_risk, events, mass, count = (of[tied] for of in (at_risk, events, mass, count))
        terms = count.ceil().long()
        tie = torch.repeat_interleave(terms)
        first = terms.cumsum(0) - terms
        place = (torch.arange(len(tie), device=tie.device) - first[tie]).to(count)
        share = place / count[tie]
        weight = (mass / count)[tie] * (count[tie] - place).clamp_max(1.0)
        left = at_risk[tie] - share * events[tie]
        ratio = share * events[tie] / left

        def summed(terms: Tensor) -> Tensor:
            return torch.zeros_like(mass).index_add_(0, tie, terms)

        hazard = weight / left
        tilt = summed(weight * ratio) / mass
        found = {
            "logs": summed(weight * left.log()),
            "hazard": summed(hazard),
            "own": summed(hazard * share),
            "tilt": tilt,
            "spread": summed(weight * (ratio - tilt[tie]).square()),
            "hazard_tilt": summed(hazard * ratio),
            "own_tilt": summed(hazard * share * ratio),
        }
        return Ties(**{name: getattr(plain, name).index_copy(0, tied, values) for name, values in found.items()})
