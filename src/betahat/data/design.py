"""`Design`: the columns of one estimation problem, their names, and the checks at the door."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from betahat.data.blocks import Block, gather, gram, total
from betahat.data.container import Container, to_numpy
from betahat.data.kept import SMALL
from betahat.data.modes import check_held
from betahat.data.sample import Origin
from betahat.data.threads import remembered
from betahat.errors import DataError, EstimationError, counted, listed

# Up to a quarter of a million numbers, TSQR takes one or two blocks, and no longer than the Gram route.
_SMALL = SMALL


@dataclass(frozen=True)
class Constant:
    """What the columns say of a constant.

    Attributes
    ----------
    count : int or None
        1 if there is one, 0 if the user said that there is none, None if only the rank can tell.
    index : int or None
        The column that is the constant.
    """

    count: int | None
    index: int | None


class Observed(NamedTuple):
    """A block of a design: (b, k) x, (b,) y, and (b,) weights, offset and counts where there are some."""

    x: Tensor
    y: Tensor
    weights: Tensor | None
    offset: Tensor | None
    counts: Tensor | None


@dataclass(frozen=True, eq=False)
class Design:
    """The data of one problem, all on one device.

    Attributes
    ----------
    endog : Tensor
        (n,) the dependent variable.
    exog : Tensor
        (n, k) the regressors.
    weights : Tensor or None
        (n,) analytic weights: proportional to the inverse of a row's variance.
    offset : Tensor or None
        (n,) what the linear index has beside x'b.
    counts : Tensor or None
        (n,) frequency weights: how often a row occurs.
    container : Container
        How results are handed back.
    endog_name : str
    given_names : tuple of str or None
        The regressors' names where the user gave some.
    hasconst : bool or None
        What the user says of a constant; None looks for one.
    given : Origin or None
        Where the rows come from; None says that they are all there is.
    terms : dict of str to list of int, or None
        A formula's terms and their columns.
    """

    endog: Tensor
    exog: Tensor
    weights: Tensor | None
    container: Container
    endog_name: str = "y"
    given_names: tuple[str, ...] | None = None
    hasconst: bool | None = None
    given: Origin | None = None
    terms: dict[str, list[int]] | None = None
    offset: Tensor | None = None
    counts: Tensor | None = None

    @property
    def nobs(self) -> int | float:
        """n: the number of rows, or the sum of the frequency weights."""
        return self.rows if self.counts is None else self._counted

    @remembered
    def _counted(self) -> float:
        total = float(self.counts.sum(dtype=torch.float64)) if self.counts is not None else 0.0
        return int(total) if total.is_integer() else total

    @property
    def origin(self) -> Origin:
        """Where the rows come from."""
        return Origin(None, self.rows) if self.given is None else self.given

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.exog.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.exog.device

    @property
    def width(self) -> int:
        """k, the number of regressors."""
        return self.exog.shape[1]

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """exog, endog and, where there are some, weights, offset and counts: what goes through the row blocks."""
        beside = (self.weights, self.offset, self.counts)
        return (self.exog, self.endog, *(column for column in beside if column is not None))

    @property
    def block_rows(self) -> None:
        """None: the columns' width decides."""
        return

    def read(self, block: Block) -> Observed:
        """Name the columns of a block.

        Parameters
        ----------
        block : Block
            Of `columns`.

        Returns
        -------
        Observed
            (b, k) exog, (b,) endog, and (b,) weights, offset and counts where there are some.
        """
        x, y, *beside = block.columns
        there = iter(beside)
        weights, offset, counts = (
            None if column is None else next(there) for column in (self.weights, self.offset, self.counts)
        )
        return Observed(x, y, weights, offset, counts)

    @remembered
    def names(self) -> tuple[str, ...]:
        """The regressors' names; unnamed ones are x1, x2, ..., and the first that does not vary is const."""
        if self.given_names is not None:
            return self.given_names
        names = [f"x{i}" for i in range(1, self.width + 1)]
        if self.unvarying:
            names = [*names[: self.unvarying[0]], "const", *names[self.unvarying[0] : -1]]
        return tuple(names)

    @remembered
    def unvarying(self) -> tuple[int, ...]:
        """The columns that have one value in every row."""
        first = self.exog[0].to(torch.float64)
        (varies,) = total(lambda block: (torch.ne(block.columns[0], first).sum(0),), self.exog)
        return tuple(i for i, count in enumerate(varies.tolist()) if count == 0)

    @remembered
    def constant(self) -> Constant:
        """Look for a column that does not vary, by statsmodels' rules.

        With several, the first column of ones, else the first that is not zero.
        """
        if self.hasconst is False:
            return Constant(0, None)
        values = self.exog[0].tolist()
        nonzero = [i for i in self.unvarying if values[i] != 0]
        ones = [i for i in nonzero if values[i] == 1]
        if nonzero:
            return Constant(1, (ones or nonzero)[0])
        return Constant(1 if self.hasconst else None, None)

    @property
    def small(self) -> bool:
        """Whether the regressors are at most a quarter of a million numbers, a block or two."""
        return self.exog.numel() <= _SMALL

    @remembered
    def moments(self) -> tuple[Tensor, Tensor]:
        """(k, k) X'WX and (k,) X'Wy."""
        whitened_columns = self.columns[: 2 + (self.weights is not None)]
        (joint,) = total(_joint_products, *whitened_columns)
        return joint[:-1, :-1], joint[:-1, -1]

    def select(self, columns: Sequence[int]) -> Design:
        """Keep some of the regressors.

        Parameters
        ----------
        columns : sequence of int
            Their positions.

        Returns
        -------
        Design
        """
        index = list(columns)
        names = tuple(self.names[i] for i in index)
        return replace(self, exog=self.exog[:, index], given_names=names)

    def every(self, step: int) -> Design:
        """Keep the rows 0, step, 2 step, ...: a sample to start from.

        Parameters
        ----------
        step : int
            How far from one to the next.

        Returns
        -------
        Design
        """
        return self._cut(slice(None, None, step))

    def checked(self, *, whole: bool = False) -> Design:
        """Return the design, whose memory nobody has written on since it was read.

        Parameters
        ----------
        whole : bool
            Whether every bit is looked at, which takes a tenth of X'X, or some rows.

        Returns
        -------
        Design

        Raises
        ------
        DataError
            Large tensors or arrays, which are not copied, were changed in place.
        """
        if self.given is not None:
            self.given.check(whole=whole)
        return self

    def take(self, rows: Tensor) -> Design:
        """Keep some of the rows, by their positions; they have no origin.

        Parameters
        ----------
        rows : Tensor
            (m,) positions.

        Returns
        -------
        Design
        """
        return self._cut(rows)

    def counted(self, counts: Tensor) -> Design:
        """Let each row count so often, instead of its frequency weight.

        Parameters
        ----------
        counts : Tensor
            (n,).

        Returns
        -------
        Design
        """
        return replace(self, counts=counts)

    def _cut(self, rows: Tensor | slice) -> Design:
        weights, offset, counts = (
            None if column is None else column[rows] for column in (self.weights, self.offset, self.counts)
        )
        exog, endog = self.exog[rows], self.endog[rows]
        return replace(self, exog=exog, endog=endog, weights=weights, offset=offset, counts=counts, given=None)

    def row_names(self, positions: Sequence[int]) -> str:
        """Name rows for a sentence by the user's labels, else by their position in the data.

        Parameters
        ----------
        positions : sequence of int
            Of rows in use.

        Returns
        -------
        str
        """
        labels = self.container.row_labels
        if labels is not None:
            return listed(labels[list(positions)])
        if self.origin.kept is not None:
            return listed(self.origin.kept[list(positions)].tolist())
        return listed(positions)


def whitened(block: Block) -> tuple[Tensor, Tensor]:
    """Return sqrt(w) x and sqrt(w) y of a block of (exog, endog, weights)."""
    x, y, *weights = block.columns
    if not weights:
        return x, y
    factor = weights[0].sqrt()
    return x * factor[:, None], y * factor


def check_shapes(endog: Tensor, exog: Tensor, vectors: Mapping[str, Tensor]) -> None:
    """Refuse data whose shapes, types or devices cannot be estimated from.

    Raises
    ------
    DataError
        For lengths that differ, empty data, several devices.
    """
    for label, values in (("endog", endog), *vectors.items()):
        if values.device != exog.device:
            target = values.device if exog.device.type == "meta" else exog.device
            raise DataError(
                f"{label} is on {values.device} and exog on {exog.device}; move all of them to one device, with .to({str(target)!r}) say."
            )
        check_held(exog, "exog")
        if values.shape[0] != exog.shape[0]:
            raise DataError(
                f"{label} has {values.shape[0]} rows and exog has {exog.shape[0]}; pass as many rows of one as of the other."
            )
    if exog.numel() == 0:
        raise DataError(
            f"The data are empty: exog has shape {tuple(exog.shape)}; pass at least one row and one column."
        )


def check_size(nobs: float, width: int) -> None:
    """Refuse a design without a degree of freedom left: n must exceed k."""
    if nobs <= width:
        raise EstimationError(
            f"With {counted(int(nobs), 'row')} for {counted(width, 'coefficient')} no degree of freedom is left for the errors; "
            "use more rows or fewer columns."
        )


def check_weights(weights: Tensor | None) -> None:
    """Refuse weights that are negative, or all zero."""
    if weights is None:
        return
    negative = int((weights < 0).sum())
    if negative:
        raise DataError(
            f"weights has {counted(negative, 'negative value')}; weights are inverse variances: pass numbers of zero or more."
        )
    if not bool(weights.any()):
        raise DataError("weights are all zero, so no row counts; pass a positive weight for the rows to use.")


def check_numbers(label: str, values: Tensor) -> None:
    """Refuse missing and infinite values of one column."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise DataError(
            f"{label} has {counted(bad, 'missing or infinite value')}; pass missing='drop' to leave out rows with missing ones, or "
            "fill them in."
        )


def check_counts(counts: Tensor | None) -> None:
    """Refuse frequency weights that do not count."""
    if counts is None:
        return
    check_numbers("freq_weights", counts)
    bad = int(((counts < 0) | (counts != counts.round())).sum())
    if bad:
        raise DataError(
            f"freq_weights has {counted(bad, 'value')} that no row can occur; pass whole numbers of zero or more, or weights= "
            "for analytic weights."
        )
    if not bool(counts.any()):
        raise DataError("freq_weights are all zero, so no row counts; pass a positive number for the rows to use.")


def check_finite(design: Design) -> None:
    """Refuse NaN and infinite values; name the columns and count the rows.

    A sum is finite only if all of its terms are. Of large data these are the sums that a fit begins with.

    Raises
    ------
    DataError
    """
    columns = design.columns
    sums = [float(found) for found in column_sums(columns if design.small else columns[2:])]
    sums += [] if design.small else [float(part.sum()) for part in design.moments]
    if all(map(math.isfinite, sums)):
        return
    bad = to_numpy(gather(_not_finite, *columns))
    if not bad.any():
        return
    names = design.given_names or [f"column {i}" for i in range(design.width)]
    others = (("weights", design.weights), ("offset", design.offset), ("freq_weights", design.counts))
    labels = [*names, design.endog_name, *(label for label, column in others if column is not None)]
    counts = bad.sum(0)
    told = ", ".join(f"{labels[i]} ({counts[i]})" for i in np.flatnonzero(counts)[:8])
    nan = any(bool(torch.isnan(column).any()) for column in columns)
    infinite = any(bool(torch.isinf(column).any()) for column in columns)
    what = " or ".join(["missing"] * nan + ["infinite"] * infinite)
    remedy = "pass missing='drop' to leave those rows out, or fill them in" if nan else "replace them"
    rows = int(bad.any(1).sum())
    raise DataError(
        f"{what.capitalize()} values in {rows} of {len(bad)} rows, in columns (and how many): {told}; {remedy}."
    )


def column_sums(columns: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return () the sum of each column in double precision; of large ones by blocks, since torch's copies them in it first."""
    small = sum(column.numel() for column in columns) <= _SMALL
    return [column.sum(dtype=torch.float64) for column in columns] if small else total(_sums, *columns)


def _joint_products(block: Block) -> tuple[Tensor]:
    x, y, *weights = block.columns
    scale = weights[0].sqrt() if weights else None
    return (gram(x, scale, y if scale is None else scale * y),)


def _sums(block: Block) -> tuple[Tensor, ...]:
    return tuple(column.sum(dtype=torch.float64) for column in block.columns)


def _not_finite(block: Block) -> Tensor:
    return ~torch.isfinite(torch.cat([column.reshape(len(column), -1) for column in block.columns], 1))
