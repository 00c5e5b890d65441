"""Cox's partial likelihood: loss, gradient, information and score residuals from one pass of cumulative sums over sorted rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from betahat.calculus.rows import Bread, Point, Rows, root_of_counts, rows_of, times
from betahat.data.engine import Block
from betahat.data.products import cross, gram, weighted_gram
from betahat.data.risk_sets import RiskSets, Segments, risk_sets
from betahat.data.threads import remembered
from betahat.errors import EstimationError, OptionError
from betahat.objectives.partial_likelihood import PartialLikelihood, Ties

# Indices that are farther apart leave exponentials without a digit.
_UNDERFLOW = 600.0


@dataclass(frozen=True, eq=False)
class Hazards:
    """Sorted rows at an index: the hazard that each is exposed to, and the means of x over the rows at risk.

    With r = w exp(x'b), S a sum of r over rows at risk, and dL the growth of the cumulative hazard at the time of an event, row i has the
    martingale w_i d_i - r_i L_i, L_i the growth while it was at risk. The gradient is minus the sum of martingales times x, and the information
    the sum of r_i L_i x_i x_i' less that of m m' over events, m the mean of x over the rows at risk.

    Attributes
    ----------
    objective : PartialLikelihood
        How ties are treated.
    sets : RiskSets
        Who is at risk when.
    x : Tensor
        (n, k) regressors about their means in each stratum, sorted as all that follows.
    index : Tensor
        (n,) x'b + offset.
    status : Tensor or None
        (n,) 1 for an event, 0 without; None is an event in each row.
    weights, counts : Tensor or None
        (n,).
    """

    objective: PartialLikelihood
    sets: RiskSets
    x: Tensor
    index: Tensor
    status: Tensor | None
    weights: Tensor | None
    counts: Tensor | None

    @remembered
    def top(self) -> Tensor:
        """(n,) or () the largest index of the stratum, which is taken off so that nothing overflows."""
        return _largest(self.index, self.sets.strata)

    @remembered
    def risk(self) -> Tensor:
        """(n,) r = w exp(index) of a copy of each row, over exp(top)."""
        return times(torch.exp(self.index - self.top), self.weights)

    @remembered
    def event(self) -> Tensor:
        """(n,) w for an event, 0 without."""
        status = torch.ones_like(self.index) if self.status is None else self.status
        return times(status, self.weights)

    def by_tie(self, values: Tensor) -> Tensor:
        """Return (G, ...) the sums of values of rows over ties."""
        return values.new_zeros(len(self.sets.ends), *values.shape[1:]).index_add_(0, self.sets.group, values)

    @remembered
    def _mass(self) -> Tensor:
        """(G,) the weight of the events of each tie."""
        return self.by_tie(times(self.event, self.counts))

    @remembered
    def tied(self) -> Tensor:
        """(m,) the ties that have events."""
        return (self._mass > 0).nonzero().flatten()

    @remembered
    def mass(self) -> Tensor:
        """(m,) the weight of the events."""
        return self._mass[self.tied]

    @remembered
    def at_risk(self) -> Tensor:
        """(m,) S, over exp(top); at least that of the events, which entries may round away."""
        return torch.maximum(self.sets.over_risk_sets(times(self.risk, self.counts), self.tied), self._events)

    @remembered
    def _events(self) -> Tensor:
        """(m,) E, the sum of r over the events."""
        return self.by_tie(times(self.risk, self.happened, self.counts))[self.tied]

    @remembered
    def happened(self) -> Tensor:
        """(n,) 1 for an event with weight, 0 without."""
        return (self.event > 0).to(self.index)

    @remembered
    def ties(self) -> Ties:
        """What the ties add to the loss and to the hazard."""
        count = self.by_tie(times(self.happened, self.counts))[self.tied]
        return self.objective.ties(self.at_risk, self._events, self.mass, count)

    @remembered
    def of_events(self) -> tuple[Tensor, Tensor]:
        """(e,) the rows with an event in a tie with weight, and which of the m ties it is."""
        group, place = self.sets.group, (self._mass > 0).cumsum(0) - 1
        rows = ((self.event > 0) & (self._mass > 0)[group]).nonzero().flatten()
        return rows, place[group[rows]]

    @remembered
    def losses(self) -> Tensor:
        """(n,) of an event w (log S - index), by Efron the mean of the logarithms."""
        rows, tie = self.of_events
        if bool(self.index.max() - self.index.min() < _UNDERFLOW):
            level = self.top if self.top.ndim == 0 else self.top[rows]
            each = (self.ties.logs / self.mass)[tie] + level
        else:
            each = self._mean_logs[tie]
        return torch.zeros_like(self.index).index_copy_(0, rows, self.event[rows] * (each - self.index[rows]))

    @property
    def _mean_logs(self) -> Tensor:
        """(m,) the mean of log(S - f E) over the events of each tie where exp(index - top) vanishes, as it does on the way to a likelihood's supremum."""
        logs = self.index + times(torch.ones_like(self.index), self.weights, self.counts).log()
        whole = self.sets.log_over_risk_sets(logs, self.tied)
        rows, tie = self.of_events
        share = torch.zeros_like(whole).index_add_(0, tie, torch.exp(logs[rows] - whole[tie]))
        count = self.by_tie(times(self.happened, self.counts))[self.tied]
        return whole + self.objective.ties(torch.ones_like(whole), share, self.mass, count).logs / self.mass

    def exposed(self, growth: Tensor) -> Tensor:
        """Return (n, ...) the sum of (m, ...) growth over the events at which each row was at risk, up to its own time."""
        return self.sets.up_to_time(growth, self.tied)

    @remembered
    def exposure(self) -> Tensor:
        """(n,) L exp(top), not negative; of an event by Efron without the part of its own tie."""
        rows, tie = self.of_events
        found = self.exposed(self.ties.hazard)
        return found.index_add_(0, rows, -self.ties.own[tie]).clamp_min_(0.0)

    @remembered
    def martingale(self) -> Tensor:
        """(n,) w d - r L of a copy of each row."""
        return self.event - self.risk * self.exposure

    @remembered
    def mean(self) -> Tensor:
        """(m, k) xS, the mean of x over the rows at risk, weighted by r."""
        return (
            self.sets.over_risk_sets(self.x * times(self.risk, self.counts)[:, None], self.tied) / self.at_risk[:, None]
        )

    @remembered
    def _apart(self) -> tuple[Tensor, Tensor] | None:
        """(t,) the ties that Efron's terms tilt, and (t, k) xS - xE, how far the mean of their events is from that of those at risk."""
        some = (self.ties.tilt > 0).nonzero().flatten()
        if not len(some):
            return None
        rows, tie = self.of_events
        number = torch.full_like(self.tied, -1).index_copy_(0, some, torch.arange(len(some), device=some.device))[tie]
        rows, number = rows[number >= 0], number[number >= 0]
        sums = self.x.new_zeros(len(some), self.x.shape[1])
        sums.index_add_(
            0,
            number,
            self.x[rows] * times(self.risk[rows], None if self.counts is None else self.counts[rows])[:, None],
        )
        return some, self.mean[some] - sums / self._events[some, None]

    def tilted(self, factor: Tensor, tilt: Tensor) -> Tensor:
        """Return (m, k) factor xS + tilt (xS - xE), for (m,) factor and tilt."""
        found, apart = self.mean * factor[:, None], self._apart
        return found if apart is None else found.index_add_(0, apart[0], apart[1] * tilt[apart[0], None])

    @remembered
    def event_mean(self) -> Tensor:
        """(m, k) the mean of x that an event is compared with: xS, by Efron the mean over the terms of its tie."""
        return self.tilted(torch.ones_like(self.mass), self.ties.tilt)

    def gradient(self) -> Tensor:
        """Return (k,) minus the sum of martingales times x."""
        return -cross(self.x, times(self.martingale, self.counts))

    def information(self) -> Tensor:
        """Return (k, k) the Hessian of the loss."""
        return self._information(self.exposure, torch.ones_like(self.mass))

    def information_times(self, factor: Tensor) -> Tensor:
        """Return (k, k) the sum of the information of each tie, times its (m,) factor."""
        rows, tie = self.of_events
        exposure = self.exposed(self.ties.hazard * factor)
        return self._information(exposure.index_add_(0, rows, -(self.ties.own * factor)[tie]), factor)

    def _information(self, exposure: Tensor, factor: Tensor) -> Tensor:
        """Return (k, k) the sum of r L x x' less that of the means over the events, given (n,) L and (m,) factors of the events."""
        own = weighted_gram(self.x, times(self.risk * exposure, self.counts))
        found = own - weighted_gram(self.event_mean, self.mass * factor)
        if self._apart is None:
            return found
        some, apart = self._apart
        return found - weighted_gram(apart, (self.ties.spread * factor)[some])

    def scores(self) -> Tensor:
        """Return (n, k) the score residuals of a copy of each row.

        They are derivatives of the sum of all scores by the weight of a row: w d (x - m) - r times the integral of x - m over dL.
        """
        rows, tie = self.of_events
        found = self.exposed(self.tilted(self.ties.hazard, self.ties.hazard_tilt))
        own = self.tilted(self.ties.own, self.ties.own_tilt)
        found.index_add_(0, rows, own[tie], alpha=-1.0).mul_(self.risk[:, None])
        found.addcmul_(self.x, self.martingale[:, None])
        return found.index_add_(0, rows, self.event_mean[tie] * self.event[rows, None], alpha=-1.0)


def _largest(index: Tensor, strata: Segments) -> Tensor:
    """Return (n, ...) the largest of (n, ...) numbers in the stratum, or (...) in all of them where there is one."""
    if len(strata.sizes) == 1:
        return index.amax(0)
    places = strata.of_rows.reshape(-1, *[1] * (index.ndim - 1)).expand_as(index)
    largest = index.new_full((len(strata.sizes), *index.shape[1:]), -torch.inf)
    return largest.scatter_reduce_(0, places, index, "amax")[strata.of_rows]


@dataclass(frozen=True, eq=False)
class PartialRows(Rows):
    """All rows of a sample under a partial likelihood, in the order of the data.

    Attributes
    ----------
    objective : PartialLikelihood
        The loss.
    start, at
        As in `Rows`; the rows are all, so that the first is 0.
    block : Block
        The columns: `exog`, the times' keys `stop` and `start`, `stratum`, `status`, `weights`, `offset`, `counts`.
    counts : Tensor or None
        (n,).
    """

    objective: PartialLikelihood
    start: int
    at: Point
    block: Block
    counts: Tensor | None

    def __len__(self) -> int:
        """Return n."""
        return len(self.block)

    @remembered
    def sets(self) -> RiskSets:
        """Who is at risk when."""
        return risk_sets(self.block["stop"], self.block.get("start"), self.block.get("stratum"))

    @remembered
    def centre(self) -> Tensor:
        """(s, k) the mean of the regressors in each stratum."""
        x, strata = self.block["exog"], self.sets.strata
        if len(strata.sizes) == 1:
            return x.mean(0, keepdim=True)
        sums = x.new_zeros(len(strata.sizes), x.shape[1]).index_add_(0, strata.of_rows, self.sets.sorted(x))
        return sums / strata.sizes[:, None]

    @remembered
    def _x(self) -> Tensor:
        """(n, k) sorted regressors less `centre`, on which nothing depends but digits."""
        x, strata = self.sets.sorted(self.block["exog"]), self.sets.strata
        return x - (self.centre if len(strata.sizes) == 1 else self.centre[strata.of_rows])

    def _sorted(self, name: str) -> Tensor | None:
        column = self.block.get(name)
        return None if column is None else self.sets.sorted(column)

    def hazards(self, params: Tensor, counts: Tensor | None) -> Hazards:
        """Return the hazards at (k,) parameters, each row as often as (n,) counts say."""
        offset, status, weights = (self._sorted(name) for name in ("offset", "status", "weights"))
        index = self._x @ params if offset is None else self._x @ params + offset
        counts = None if counts is None else self.sets.sorted(counts)
        return Hazards(self.objective, self.sets, self._x, index, status, weights, counts)

    @remembered
    def here(self) -> Hazards:
        """The hazards at the point."""
        return self.hazards(self.at.params, self.counts)

    @property
    def losses(self) -> Tensor:
        """(n,) the share of each event."""
        return self.sets.unsorted(self.here.losses)

    def constant(self, phi: Tensor) -> None:
        """Return None: the loss is minus the log-likelihood."""
        return

    def gradient(self) -> Tensor:
        """Return (k,)."""
        return self.here.gradient()

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (n, k) score residuals, each row times its `factor`."""
        return times(self.sets.unsorted(self.here.scores()), factor)

    @property
    def leverage(self) -> Tensor:
        """Refuse: rows have no information of their own."""
        self._refuse_leverage()

    @property
    def hat_rows(self) -> Tensor:
        """Refuse: rows have no information of their own."""
        self._refuse_leverage()

    def _refuse_leverage(self) -> NoReturn:
        raise EstimationError(
            "The information of a partial likelihood belongs to sets of rows at risk and not to single rows, so there is no leverage, which HC2 to "
            "HC5, CR2, CR3 and the one-step jackknife take; use HC0 (Lin and Wei), HC1, CR0 or CR1, or bh.Jackknife(refit=True)."
        )

    def curvatures(self) -> Tensor:
        """Return zero: it is not known."""
        return self.at.params.new_zeros(())

    def information(self, bread: Bread) -> Tensor:
        """Return (k, k) the Hessian, or the sum of s s'."""
        if bread is Bread.OBSERVED:
            return self.here.information()
        if bread is Bread.OPG:
            return gram(self.scores(), root_of_counts(self.counts))
        raise OptionError(
            f"bread={bread.value!r} needs the distribution of endog, and a partial likelihood leaves that of the times open; use 'observed' or 'opg'."
        )

    def whitened(self, bread: Bread) -> None:
        """Return None: the information is no sum of squares of rows."""
        return

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r); replicates have risk sets of their own, and the scores sum to martingales times x."""
        assert targets is None, "a partial likelihood draws no times"
        offset = self._sorted("offset")
        index = self._x @ (self.at.params + steps @ self.at.root.mT).mT
        index = index if offset is None else index + offset[:, None]
        counts = self.counts if weights is None else weights.mT
        often = torch.ones_like(index) if counts is None else self.sets.sorted(counts).to(index).expand_as(index)
        martingale = _martingales(self.here, index, often)
        return martingale.mT @ (self._x @ self.at.root)


def _martingales(here: Hazards, index: Tensor, often: Tensor) -> Tensor:
    """Return (n, R) the martingales of sorted rows at (n, R) indices, each row as `often`, (n, R), as a replicate says, times that."""
    sets = here.sets
    happened, tied = here.happened, (here.by_tie(here.happened) > 0).nonzero().flatten()
    rows = happened.nonzero().flatten()
    event = here.event[:, None] * often
    top = _largest(index, sets.strata)
    risk = times(torch.exp(index - top), here.weights) * often
    events, mass, count = (
        here.by_tie(part)[tied] for part in (risk * happened[:, None], event, often * happened[:, None])
    )
    at_risk = torch.maximum(sets.over_risk_sets(risk, tied), events)
    there = mass > 0
    ties = here.objective.ties(at_risk[there], events[there], mass[there], count[there])
    hazard, own = (torch.zeros_like(mass).masked_scatter_(there, part) for part in (ties.hazard, ties.own))
    place = torch.zeros_like(sets.ends).index_fill_(0, tied, 1).cumsum(0) - 1
    exposure = sets.up_to_time(hazard, tied)
    exposure.index_add_(0, rows, own[place[sets.group[rows]]], alpha=-1.0)
    return event - risk * exposure


@rows_of.register
def _(objective: PartialLikelihood, block: Block, at: Point) -> Rows:
    return PartialRows(objective, block.start, at, block, block.get("counts"))


def partial_rows(rows: Rows) -> PartialRows:
    """Return the rows of a partial likelihood, for what is defined for those alone."""
    assert isinstance(rows, PartialRows), "only PHReg asks for hazards"
    return rows
