"""Resampling of rows that are read in turn: a block's weights are drawn as it is read, for all replicates at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from betahat.calculus.problem import OfRows
from betahat.calculus.rows import Point, Rows, counted_influence, rows_of
from betahat.data.engine import Block, fold
from betahat.data.group_sums import sums_by_group
from betahat.data.row_codes import GROUP, RowCodes
from betahat.data.sample import COUNTS, Sample
from betahat.data.source import Derived, Source
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.objectives.base import Objective
from betahat.resampling.moments import (
    WIDE,
    SharedMoments,
    closed,
    exact,
    packed,
    penalty_of,
    penalty_slopes,
    point_of,
    row_products,
    score_factor,
    unpacked,
    unshared_information,
    width_of_products,
)
from betahat.resampling.refits import BYTES, FEW_BYTES, Drawing, Replicates, in_batches, refined, solved
from betahat.resampling.resamplers import Resampler
from betahat.resampling.targets import scaled_scores
from betahat.resampling.weights import Blocks, Independent, Multinomial, Scheme, Subsample

# The sums of products of units are kept if they are at most this many numbers.
_TABLE = 2**24
# So many weights are drawn at a time, and so many products of rows are made.
_WEIGHTS, _PIECE = 2**22, 2**18
# So many weights are drawn for rows that are asked for here and there.
_TAKEN = 2**20


@dataclass(frozen=True, eq=False)
class Drawn:
    """The weights of rows in some replicates.

    Attributes
    ----------
    scheme : Scheme
        Of the units.
    seed : int
    replicates : Tensor
        (R,) their numbers.
    of_units : Tensor or None
        (R, units) the weights of clusters; None where each row is a unit.
    """

    scheme: Scheme
    seed: int
    replicates: Tensor
    of_units: Tensor | None

    def __len__(self) -> int:
        """Return R."""
        return len(self.replicates)

    def some(self, which: Tensor | slice) -> Drawn:
        """Select replicates."""
        of_units = None if self.of_units is None else self.of_units[which]
        return replace(self, replicates=self.replicates[which], of_units=of_units)

    def weights(self, block: Block) -> Tensor:
        """Return (R, b) the weights of a block's rows."""
        if self.of_units is None:
            return self.from_place(block.start, len(block))
        spread = self.of_units[:, block[GROUP]].to(torch.float64)
        counts = block.get(COUNTS)
        return spread if counts is None else spread * counts

    def from_place(self, first: int, count: int) -> Tensor:
        """Return (R, b) the weights of rows that are units, from the `first` on."""
        assert isinstance(self.scheme, Independent)
        return self.scheme.draw_some(self.seed, self.replicates, first, count).to(torch.float64)


@dataclass(frozen=True, eq=False)
class _Sums:
    """A term of blocks: (R, p + 1) the sums of weights times what `made` gives of rows, and of the weights."""

    drawn: Drawn
    made: OfRows[Tensor]
    step: int | None  # how many rows at a time; None is all of a block

    def __call__(self, block: Block) -> tuple[Tensor]:
        rows, parts = len(block), []
        for start in range(0, rows, self.step or rows):
            piece = _piece(block, start, start + (self.step or rows))
            values = self.made(_bare(piece))
            values = torch.cat([values, torch.ones_like(values[:, :1])], 1)
            few = max(_WEIGHTS // len(piece), 1)
            numbers = range(0, len(self.drawn), few)
            found = [self.drawn.some(slice(top, top + few)).weights(piece) @ values for top in numbers]
            parts.append(found[0] if len(found) == 1 else torch.cat(found))
        return (sum(parts[1:], parts[0]),)


@dataclass(frozen=True, eq=False)
class _Scores:
    """A term of blocks: (R, r) the sums of scores at b + Z d under the weights of each replicate."""

    drawn: Drawn
    steps: Tensor
    objective: Objective
    at: Point

    def __call__(self, block: Block) -> tuple[Tensor]:
        rows = rows_of(self.objective, _bare(block), self.at)
        chunk = max(_PIECE // len(block), 1)
        parts = []
        for top in range(0, len(self.steps), chunk):
            some = slice(top, top + chunk)
            parts.append(rows.resampled_scores(self.steps[some], self.drawn.some(some).weights(block), None))
        return (torch.cat(parts),)


def _piece(block: Block, start: int, stop: int) -> Block:
    if stop - start >= len(block):
        return block
    return Block(block.start + start, {name: part[start:stop] for name, part in block.columns.items()})


def _bare(block: Block) -> Block:
    return Block(block.start, {name: part for name, part in block.columns.items() if name != GROUP})


def _with_codes(source: Source, codes: RowCodes | None) -> Source:
    return source if codes is None else codes.beside(source)


def _summed(fit: Fit, codes: RowCodes | None, drawn: Drawn, made: OfRows[Tensor], width: int) -> Tensor:
    step = (
        max(_PIECE // width, 1) if closed(fit) else None
    )  # code of the user's is called for as many rows as it is made for
    (sums,) = fold(_with_codes(fit.sample.source, codes), _Sums(drawn, made, step), fit.problem.engine)
    return sums


@dataclass(frozen=True, eq=False)
class InTurn(Drawing):
    """Other weights of rows, drawn as these are read.

    Attributes
    ----------
    codes : RowCodes or None
        The rows' clusters.
    drawn : Drawn
    often : Tensor
        (R,) the sum of the weights over the number of rows.
    """

    codes: RowCodes | None
    drawn: Drawn
    often: Tensor

    def some(self, which: Tensor) -> InTurn:
        """Select replicates."""
        return InTurn(self.codes, self.drawn.some(which), self.often[which])

    def scores_at(self, fit: Fit, steps: Tensor) -> Tensor:
        """Take a pass over the rows."""
        term = _Scores(self.drawn, steps, fit.objective, point_of(fit))
        (sums,) = fold(_with_codes(fit.sample.source, self.codes), term, fit.problem.engine)
        if fit.problem.penalty is not None:
            sums = sums - self.often[:, None] * penalty_slopes(fit, fit.params + steps @ fit.root.mT)
        return sums

    def sample(self, fit: Fit, which: int) -> Sample:
        """Let rows count as often as they weigh, so that a penalty is as large."""
        base, one = fit.sample, self.drawn.some(slice(which, which + 1))
        source = _with_codes(base.source, self.codes)
        return replace(base, source=Reweighted(source, one, 1.0 / float(self.often[which])))


@dataclass(frozen=True, eq=False)
class Reweighted(Derived):
    """A source whose rows count as often as they weigh in a replicate.

    Attributes
    ----------
    base : Source
        With the rows' clusters, where these are drawn.
    drawn : Drawn
        One replicate.
    factor : float
        What weights are multiplied by.
    """

    drawn: Drawn
    factor: float

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**{name: shape for name, shape in self.base.shapes.items() if name != GROUP}, COUNTS: ()}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and draw."""
        below = self._below(names)
        found = dict(zip(below, self.base.read(below, start, stop), strict=True)) if below else {}
        if COUNTS in names:
            clusters = self.drawn.of_units is not None
            weights = (
                self.drawn.weights(Block(start, found)) if clusters else self.drawn.from_place(start, stop - start)
            )
            found[COUNTS] = weights[0] * self.factor
        return tuple(found[name] for name in names)

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and draw for those that lie among them, some at a time."""
        below = self._below(names)
        found = dict(zip(below, self.base.take(below, places), strict=True)) if below else {}
        if COUNTS in names:
            if self.drawn.of_units is not None:
                found[COUNTS] = self.drawn.weights(Block(0, found))[0] * self.factor
            else:
                found[COUNTS] = torch.zeros(len(places), dtype=torch.float64, device=self.device)
                for first in range(0, self.rows, _TAKEN):
                    some = (places >= first) & (places < first + _TAKEN)
                    if bool(some.any()):
                        drawn = self.drawn.from_place(first, min(_TAKEN, self.rows - first))[0]
                        found[COUNTS][some] = drawn[places[some] - first] * self.factor
        return tuple(found[name] for name in names)

    def _below(self, names: Sequence[str]) -> list[str]:
        """Return the base's columns that are read for some of these."""
        below = [name for name in names if name != COUNTS]
        if COUNTS in names and self.drawn.of_units is not None:
            below += [GROUP, *([COUNTS] if COUNTS in self.base.shapes else [])]
        return below

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == COUNTS else self.base.held(name)


@dataclass(frozen=True, eq=False)
class WeightedInTurn(Resampler):
    """Rows, or clusters, with other weights.

    Attributes
    ----------
    fit : Fit
    scheme : Scheme
        Of the units.
    codes : RowCodes or None
        The rows' clusters; None where each row is a unit.
    seed, reps : int
    """

    fit: Fit
    scheme: Scheme
    codes: RowCodes | None
    seed: int
    reps: int

    def refits(self) -> Replicates:
        """Refit: one pass of least squares, and one for each step of other models, for a batch of replicates."""
        fit = self.fit
        if closed(fit) and not packed(fit):
            raise EstimationError(
                f"The bootstrap of rows that are read sums the products of at most {WIDE} coefficients, and there are {fit.rank}; use kind='score', which "
                "refits nothing."
            )
        made = OfRows(row_products(fit), fit.objective, point_of(fit))
        shared = SharedMoments(unshared_information(fit), penalty_of(fit), score_factor(fit))

        def refit(replicates: Tensor) -> Replicates:
            of_units = None if self.codes is None else self.scheme(self.seed, replicates)
            drawn = Drawn(self.scheme, self.seed, replicates, of_units)
            table = self._table
            if table is not None and of_units is not None:
                sums = of_units.to(torch.float64) @ table
            else:
                sums = _summed(fit, self.codes, drawn, made, width_of_products(self.fit))
            often = sums[:, -1] / float(fit.nobs)
            moments = unpacked(fit, sums[:, :-1])
            if shared.rest is not None or shared.penalty is not None:
                moments = replace(moments, often=often)
            first = solved(moments, shared)
            return first.replicates if exact(fit) else refined(fit, InTurn(self.codes, drawn, often), first)

        width = (
            8 * (0 if self.codes is None else self.scheme.units) + 8 * width_of_products(self.fit) + 24 * fit.rank**2
        )
        return in_batches(self.reps, width, fit.params.device, refit, BYTES)

    @cached_property
    def _table(self) -> Tensor | None:
        """(units, p + 1) the sums over each cluster, if they fit into memory."""
        if self.codes is None or self.scheme.units * (width_of_products(self.fit) + 1) > _TABLE:
            return None
        fit = self.fit
        term = _Counted(OfRows(row_products(fit), fit.objective, point_of(fit)))
        return sums_by_group(fit.sample.source, self.codes, self.scheme.units, term, fit.problem.engine)

    def variances(self, found: Replicates) -> Tensor:
        """Refuse: each replicate would take passes of its own."""
        raise EstimationError(_NO_SAMPLES)

    def influence(self) -> Tensor:
        """Return the sums of scores by cluster; undefined for blocks, and for samples of another size, and too many of rows."""
        fewer = isinstance(self.scheme, Multinomial) and self.scheme.draws != self.scheme.units
        if self.codes is None or fewer or isinstance(self.scheme, Blocks | Subsample):
            raise EstimationError(_NO_UNITS)
        return self.fit.sum_groups(self.codes, self.scheme.units, counted_influence)


@dataclass(frozen=True, eq=False)
class _Counted:
    """What is made of a block's rows as often as they count, and how often that is."""

    made: OfRows[Tensor]

    def __call__(self, block: Block) -> Tensor:
        values, counts = self.made(block), block.get(COUNTS)
        values = torch.cat([values, torch.ones_like(values[:, :1])], 1)
        return values if counts is None else values * counts[:, None]


@dataclass(frozen=True, eq=False)
class MultipliedInTurn(Resampler):
    """Scores of rows times random numbers of mean 0 and variance 1: one pass for all replicates.

    Attributes
    ----------
    fit : Fit
    scheme : Scheme
        The multipliers.
    seed, reps : int
    power : float
        Scores are divided by (1 - leverage)^power.
    """

    fit: Fit
    scheme: Scheme
    seed: int
    reps: int
    power: float

    def refits(self) -> Replicates:
        """Multiply."""
        fit = self.fit
        made = OfRows(_Scaled(self.power), fit.objective, fit.point)
        slope = 0.0 if fit.problem.penalty is None else fit.sum_rows(_summed_scores) / float(fit.nobs)

        def multiply(replicates: Tensor) -> Replicates:
            sums = _summed(fit, None, Drawn(self.scheme, self.seed, replicates, None), made, fit.rank)
            steps = sums[:, :-1] - sums[:, -1:] * slope
            return Replicates(steps, torch.isfinite(steps).all(1))

        return in_batches(self.reps, 8 * (fit.rank + 1), fit.params.device, multiply, BYTES)

    def variances(self, found: Replicates) -> Tensor:
        """Refuse: each replicate would take passes of its own."""
        raise EstimationError(_NO_SAMPLES)

    def influence(self) -> Tensor:
        """Refuse: multipliers of mean zero are not weights of units."""
        raise EstimationError(_NO_UNITS)


@dataclass(frozen=True, eq=False)
class ClustersMultiplied(Resampler):
    """The scores of clusters times random numbers.

    Attributes
    ----------
    fit : Fit
    scheme : Scheme
        The multipliers.
    scores : Tensor
        (G, r).
    seed, reps : int
    """

    fit: Fit
    scheme: Scheme
    scores: Tensor
    seed: int
    reps: int

    def refits(self) -> Replicates:
        """Multiply."""

        def multiply(replicates: Tensor) -> Replicates:
            steps = self.scheme(self.seed, replicates) @ self.scores
            return Replicates(steps, torch.isfinite(steps).all(1))

        return in_batches(self.reps, 8 * self.scheme.units, self.fit.params.device, multiply, FEW_BYTES)

    def variances(self, found: Replicates) -> Tensor:
        """Refuse: each replicate would take passes of its own."""
        raise EstimationError(_NO_SAMPLES)

    def influence(self) -> Tensor:
        """Refuse: multipliers of mean zero are not weights of units."""
        raise EstimationError(_NO_UNITS)


@dataclass(frozen=True)
class _Scaled:
    """The scores of rows over (1 - leverage)^power."""

    power: float

    def __call__(self, rows: Rows) -> Tensor:
        return scaled_scores(rows, self.power)


def _summed_scores(rows: Rows) -> Tensor:
    return counted_influence(rows).sum(0)


_NO_SAMPLES = "method='studentized' needs the standard error of each replicate, which takes passes of its own over rows that are read; use 'percentile' or 'basic'."
_NO_UNITS = (
    "method='bca' needs the influence of the units that are drawn, which are too many where rows are read, but for clusters that are drawn whole; use "
    "'percentile' or 'basic', or clusters=."
)
