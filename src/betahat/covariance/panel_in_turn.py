"""Panels of rows that are read in turn, in the order of units or of periods: lags within units, of which only the last periods are held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import Rows
from betahat.covariance.kernels import cross_products, lagged_products, toeplitz, weighted_lags
from betahat.data.engine import Block, scan
from betahat.data.groups import Groups
from betahat.data.row_codes import GROUP, RowCodes
from betahat.errors import DataError, of_data
from betahat.fits.fit import Fit
from betahat.solvers.memory import check_numbers_fit

# So many numbers of cells are held beside the last periods.
_NUMBERS = 2**22


@dataclass(frozen=True, eq=False)
class PanelInTurn:
    """How the rows of a panel come.

    Attributes
    ----------
    units : Groups
    times : Groups or None
        The periods; None is each unit's rows in their order.
    by_units : bool
        Whether each unit's rows are together, in the order of time; otherwise each period's are.
    """

    units: Groups
    times: Groups | None
    by_units: bool

    def core(self, fit: Fit, weights: Tensor) -> Tensor:
        """Return (r, r) the weighted lagged products within units, of (L + 1,) weights of the lags."""
        lags = len(weights) - 1
        pieces = (self.piece(values, cells) for values, cells in fit.each_beside(self.cells, _influence))
        if self.by_units:
            return lagged_products(_units_apart(pieces, lags), weights, read=True)
        assert self.times is not None
        count = self.units.count
        check_numbers_fit((lags + 2) * count * fit.rank, f"The last {lags} periods of {count} units", fit.params.device)
        return _by_periods(pieces, weights, self.units, self.times, fit.rank)

    @property
    def cells(self) -> RowCodes:
        """Each row's unit and period as one number; its unit alone where there are no periods."""
        return (
            self.units.of_rows
            if self.times is None
            else self.units.of_rows.paired(self.times.of_rows, self.times.count)
        )

    def piece(self, values: Tensor, cells: Tensor) -> _Piece:
        """Return (b, r) values of rows with their units and periods."""
        if self.times is None:
            return _Piece(values, cells, None)
        return _Piece(values, cells.div(self.times.count, rounding_mode="floor"), cells % self.times.count)


@dataclass(frozen=True, eq=False)
class _Piece:
    """The (b, r) influence of rows, and (b,) their units and periods."""

    values: Tensor
    units: Tensor
    periods: Tensor | None

    def ahead(self, before: _Piece | None) -> tuple[Tensor, Tensor]:
        """Return (b,) whether a row's unit is that of the row before it, and how many periods it is after that."""
        units = self.units if before is None else torch.cat([before.units[-1:], self.units])
        same = units.diff() == 0
        if self.periods is None:
            steps = torch.ones_like(same, dtype=torch.int64)
        else:
            periods = (
                self.periods
                if before is None or before.periods is None
                else torch.cat([before.periods[-1:], self.periods])
            )
            steps = periods.diff()
        if before is None:
            same, steps = torch.cat([same.new_zeros(1), same]), torch.cat([steps.new_zeros(1), steps])
        return same, steps


def panel_in_turn(fit: Fit, units: Groups, times: Groups | None) -> PanelInTurn:
    """Find out how the rows of a panel come, by a pass over their labels; refuse other orders, and two rows in one cell."""
    plain = PanelInTurn(units, times, by_units=True)
    seen = torch.zeros(units.count, dtype=torch.bool, device=fit.params.device)
    by_units, by_periods = True, times is not None
    before: _Piece | None = None
    for cells in scan(plain.cells.beside(fit.sample.source.only()), _cells, fit.sample.engine):
        piece = plain.piece(cells, cells)
        same, steps = piece.ahead(before)
        new = piece.units[~same]
        by_units = (
            by_units
            and not bool((steps[same] <= 0).any())
            and not bool(seen[new].any())
            and len(torch.unique(new)) == len(new)
        )
        seen[new] = True
        by_periods = by_periods and not bool((steps < 0).any())
        if times is not None and bool((same & (steps == 0)).any()):
            raise _double(units, times, piece, int((same & (steps == 0)).to(torch.int8).argmax()))
        if not by_units and not by_periods:
            raise DataError(
                f"The rows of {units.name} are not together"
                + (
                    ", and without time= their order is not known; pass it"
                    if times is None
                    else f", nor are those of {times.name} in order; sort them by either, and by time within units"
                )
                + ", or read the rows into memory."
            )
        before = piece
    return PanelInTurn(units, times, by_units)


def _double(units: Groups, times: Groups, piece: _Piece, row: int) -> DataError:
    assert piece.periods is not None
    unit = of_data(units.labels[int(piece.units[row])])
    period = of_data(times.labels[int(piece.periods[row])])
    return DataError(
        f"{units.name} and {times.name} have several rows in one cell, ({unit}, {period}); a panel has one row for each unit and period: add them up, "
        "or cluster."
    )


def _cells(block: Block) -> Tensor:
    return block[GROUP]


def _influence(rows: Rows) -> Tensor:
    return rows.influence()


def _units_apart(pieces: Iterable[_Piece], lags: int) -> Iterator[Tensor]:
    """Yield (b, r) blocks with as many rows of zeros between units as there are lags, and for periods that a unit has not at most as many."""
    before: _Piece | None = None
    for piece in pieces:
        same, steps = piece.ahead(before)
        places = torch.where(same, steps.clamp_max(lags + 1), lags + 1).cumsum(0) - 1
        joint = piece.values.new_zeros(int(places[-1]) + 1, piece.values.shape[1])
        yield joint.index_copy_(0, places, piece.values)
        before = piece


def _by_periods(pieces: Iterable[_Piece], weights: Tensor, units: Groups, times: Groups, width: int) -> Tensor:
    """Return (r, r) the weighted lagged products of units whose periods come one after the other: the last L of them are held."""
    count = units.count
    half = weights.clone()
    half[0] *= 0.5
    band, lags = toeplitz(half), len(half) - 1
    held = weights.new_zeros(lags + 1, count, width)  # the last of which are those of the period `last`
    taken = torch.zeros(count, dtype=torch.bool, device=weights.device)  # which units have a row in that period
    total, last = weights.new_zeros(width, width), 0
    for piece in _of_few_periods(pieces, count * width):
        assert piece.periods is not None
        first = int(piece.periods[0])
        ahead = int(piece.periods[-1]) - first + 1
        window = piece.values.new_zeros(lags + ahead, count, width)
        back = min(first - last, lags + 1)  # of what is held, so many periods are too long ago
        window[: lags + 1 - back] = held[back:]
        fresh = piece.values.new_zeros(ahead * count, width)
        places = (piece.periods - first) * count + piece.units
        often = torch.bincount(places, minlength=ahead * count).view(ahead, count)
        often[0] += taken if first == last else 0
        if bool((often > 1).any()):
            raise _double(units, times, piece, int((often.flatten()[places] > 1).to(torch.int8).argmax()))
        fresh[places] = piece.values
        window[lags:] += fresh.view(ahead, count, width)
        mixed = weighted_lags(half, band, window.flatten(1)).reshape(-1, width)
        total = total + cross_products(fresh, mixed)
        held, last, taken = window[-lags - 1 :], first + ahead - 1, often[-1] > 0
    return total + total.mT


def _of_few_periods(pieces: Iterable[_Piece], width: int) -> Iterator[_Piece]:
    """Cut blocks so that the cells of `width` numbers for each of their periods are not too many."""
    few = max(_NUMBERS // width, 1)
    for piece in pieces:
        assert piece.periods is not None
        _, sizes = torch.unique_consecutive(
            (piece.periods - piece.periods[0]).div(few, rounding_mode="floor"), return_counts=True
        )
        cuts = sizes.tolist()
        yield from map(
            _Piece, torch.split(piece.values, cuts), torch.split(piece.units, cuts), torch.split(piece.periods, cuts)
        )
