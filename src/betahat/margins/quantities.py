"""Predictions, comparisons and slopes as functions of the parameters, their averages, and their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.autodiff import forward, row_jacobian, summed_jacobian
from betahat.data.engine import THREADS, Block, Engine, fold, gather
from betahat.data.source import Held
from betahat.errors import DataError
from betahat.margins.changes import Change
from betahat.margins.comparing import Comparing
from betahat.margins.grid import Grid
from betahat.objectives.base import Route

Mean = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# What operations raise that torch differentiates backward alone; that a module cannot be called is a DataError.
BACKWARD_ALONE = (RuntimeError, NotImplementedError, DataError)


@dataclass(frozen=True)
class Point:
    """Where the mean of one index is needed, or its slope; two that are equal are computed once.

    Attributes
    ----------
    changes : tuple
        (name, Change) pairs of variables that are others than in the grid.
    slope : str or None
        For the slope in a variable, which.
    name : str
        That variable.
    """

    changes: tuple[tuple[str, Change], ...] = ()
    slope: str | None = None
    name: str = ""

    @property
    def by_values(self) -> bool:
        """Whether the variable's own values are needed."""
        return self.slope in ("eyex", "dyex")

    def columns(self, grid: Grid) -> dict[int, Tensor]:
        """Return by their places the (m,) regressors that change, or the derivatives of the regressors."""
        if self.slope is not None:
            return grid.direction(self.name)
        return grid.changed(dict(self.changes)) if self.changes else {}

    def values(self, grid: Grid) -> Tensor:
        """Return (m,) the variable."""
        return torch.tensor(grid.frame[self.name].to_numpy(float)).to(grid.exog.device)


@dataclass(frozen=True, eq=False)
class Quantity(ABC):
    """A number for each row and outcome.

    Attributes
    ----------
    term, contrast : str
        The variable, and what is compared with what.
    grid : Grid
        The rows.
    """

    term: str
    contrast: str
    grid: Grid

    @property
    @abstractmethod
    def columns(self) -> dict[str, Tensor]:
        """(m, ...) what is needed of each row, which is read anew each time."""

    @abstractmethod
    def parts(self, mean: Mean, theta: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Return the (b, J) numbers of each row that are averaged."""

    def combined(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Return (..., J) of the averages of the parts, or of those of one row."""
        return parts[0]

    @property
    def points(self) -> tuple[Point, ...]:
        """Where the mean or a slope is averaged, a point for each part; none where only the parts say it."""
        return ()


@dataclass(frozen=True, eq=False)
class Prediction(Quantity):
    """The mean."""

    @property
    def columns(self) -> dict[str, Tensor]:
        """The regressors and the offset."""
        return self.grid.columns

    @property
    def points(self) -> tuple[Point, ...]:
        """The rows as they are."""
        return (Point(),)

    def parts(self, mean: Mean, theta: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Return the means."""
        return (mean(theta, block["exog"], block.get("offset")),)


@dataclass(frozen=True, eq=False)
class Comparison(Quantity):
    """The mean where some variables are high compared with that where they are low.

    Attributes
    ----------
    high, low : mapping of str to Change
        By variable.
    comparing : Comparing
        How both are compared.
    """

    high: Mapping[str, Change]
    low: Mapping[str, Change]
    comparing: Comparing

    @property
    def columns(self) -> dict[str, Tensor]:
        """The regressors and the offset, and the regressors that are others at each end."""
        found = self.grid.columns
        for end, changes in (("high", self.high), ("low", self.low)):
            found |= numbered(end, self.grid.changed(changes), len(self.grid))
        return found

    @property
    def points(self) -> tuple[Point, ...]:
        """Both ends."""
        return Point(tuple(self.high.items())), Point(tuple(self.low.items()))

    def parts(self, mean: Mean, theta: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Return both means."""
        offset = block.get("offset")
        return tuple(mean(theta, replaced(block, end), offset) for end in ("high", "low"))

    def combined(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Return a ratio of averages, say."""
        return self.comparing.function(*parts)


@dataclass(frozen=True, eq=False)
class Slope(Quantity):
    """The derivative of the mean in a variable, as it is or as an elasticity.

    Attributes
    ----------
    slope : str
        "dydx", "eyex", "eydx" or "dyex".
    """

    slope: str

    @property
    def columns(self) -> dict[str, Tensor]:
        """The regressors and the offset, the regressors' derivatives, and of an elasticity the variable."""
        found = self.grid.columns | numbered("direction", self.grid.direction(self.term), len(self.grid))
        if self.slope in ("eyex", "dyex"):
            found["values"] = torch.tensor(self.grid.frame[self.term].to_numpy(float)).to(self.grid.exog.device)
        return found

    @property
    def points(self) -> tuple[Point, ...]:
        """The slope."""
        return (Point(slope=self.slope, name=self.term),)

    def parts(self, mean: Mean, theta: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Return the derivatives."""
        x, offset = block["exog"], block.get("offset")
        direction = replaced(block, "direction", torch.zeros_like(x))
        value, found = along(lambda point: mean(theta, point, offset), x, direction)
        if self.slope in ("eyex", "dyex"):
            found = found * block["values"][:, None]
        return (found / value if self.slope in ("eyex", "eydx") else found,)


def numbered(end: str, columns: Mapping[int, Tensor], rows: int) -> dict[str, Tensor]:
    """Return (m,) columns under names that say which of the regressors they are."""
    return {f"{end}:{place}": column.expand(rows) for place, column in columns.items()}


def replaced(block: Block, end: str, regressors: Tensor | None = None) -> Tensor:
    """Return (b, p) the regressors of a block, or others, with those of an end in their places."""
    found = block["exog"].clone() if regressors is None else regressors
    for name, column in block.columns.items():
        if name.startswith(end):
            found[:, int(name.partition(":")[2])] = column
    return found


@dataclass(frozen=True, eq=False)
class Groups:
    """Which rows are averaged together.

    Attributes
    ----------
    codes : Tensor
        (m,) the group of each row.
    count : int
        G.
    weights : Tensor or None
        (m,).
    """

    codes: Tensor
    count: int
    weights: Tensor | None


def along(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (b, J) values of a row-wise function at (b, p) points, and their derivatives along (b, p) directions."""
    try:
        return forward(function, x, direction)
    except BACKWARD_ALONE:
        further = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        value = function(leaf)
        slopes = [
            torch.autograd.grad(part.sum(), leaf, create_graph=True)[0] if part.requires_grad else torch.zeros_like(x)
            for part in value.unbind(1)
        ]
        found = torch.stack([(slope * direction).sum(1) for slope in slopes], 1)
    return (value, found) if further else (value.detach(), found.detach())


def rowwise(quantity: Quantity, mean: Mean, params: Tensor, engine: Engine = THREADS) -> tuple[Tensor, Tensor]:
    """Return (m, J) the numbers of each row and (m, J, k) their derivatives."""

    def both(block: Block) -> Tensor:
        def of(theta: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
            rows = Block(block.start, dict(zip(block.columns, columns, strict=True)))
            return quantity.combined(quantity.parts(mean, theta, rows))

        columns = tuple(block.columns.values())
        with torch.no_grad():
            value = of(params, columns)
        try:
            slopes = row_jacobian(of, params, columns, Route.FORWARD)
        except BACKWARD_ALONE:
            slopes = row_jacobian(of, params, columns, Route.BACKWARD)
        return torch.cat([value[..., None], slopes], -1)

    found = gather(Held(dict(quantity.columns)), both, engine)
    return found[..., 0], found[..., 1:]


def averaged(
    quantity: Quantity, groups: Groups, mean: Mean, params: Tensor, engine: Engine = THREADS
) -> tuple[Tensor, Tensor]:
    """Return (G, J) the averages in groups and (G, J, k) their derivatives."""
    total, slope, size = sums_of(quantity, groups, mean, params, engine)
    means, slopes = total / size[:, None, None], slope / size[:, None, None, None]
    found, weight = of_averages(quantity, means)
    return found, (weight[..., None] * slopes).sum(1)


def sums_of(
    quantity: Quantity, groups: Groups, mean: Mean, params: Tensor, engine: Engine = THREADS
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (G, parts, J) sums in groups, (G, parts, J, k) their derivatives, and (G,) how many rows they are of."""

    def sums(block: Block) -> tuple[Tensor, ...]:
        often, codes = counts_of(block, params), block["codes"]

        def total(theta: Tensor) -> Tensor:
            return sums_over(parts_of(quantity, mean, theta, block) * often[:, None, None], codes, groups.count)

        value, slope = _derived(total, params)
        return value, slope, sums_over(often, codes, groups.count)

    total, slope, size = fold(rows_in_groups(quantity, groups), sums, engine)
    return total, slope, size


def parts_of(quantity: Quantity, mean: Mean, theta: Tensor, block: Block) -> Tensor:
    """Return (b, parts, J) what is averaged."""
    return torch.stack(quantity.parts(mean, theta, block), 1)


def of_averages(quantity: Quantity, means: Tensor) -> tuple[Tensor, Tensor]:
    """Return (..., J) what is made of (..., parts, J) averages, and (..., parts, J) its derivatives in them."""
    with torch.enable_grad():
        leaf = means.detach().requires_grad_(True)
        found = quantity.combined(leaf.unbind(-2))
        (weights,) = torch.autograd.grad(found.sum(), leaf)
    return found.detach(), weights


def rows_in_groups(quantity: Quantity, groups: Groups) -> Held:
    """Return the columns of a quantity with the groups of rows, and their weights."""
    weights = {} if groups.weights is None else {"weights": groups.weights}
    return Held({**quantity.columns, "codes": groups.codes, **weights})


def counts_of(block: Block, like: Tensor) -> Tensor:
    """Return (b,) how much each row counts."""
    weights = block.get("weights")
    return torch.ones(len(block), dtype=like.dtype, device=like.device) if weights is None else weights.to(like)


def sums_over(values: Tensor, codes: Tensor, count: int) -> Tensor:
    """Return (G, ...) sums of (b, ...) values."""
    if count == 1:
        return values.sum(0, keepdim=True)
    return values.new_zeros(count, *values.shape[1:]).index_add(0, codes, values)


def _derived(function: Callable[[Tensor], Tensor], params: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function of the parameters and its derivatives, (..., k), backward where it has fewer values than there are parameters."""
    with torch.no_grad():
        value = function(params)

    def flat(theta: Tensor) -> Tensor:
        return function(theta).flatten()

    forward = value.numel() > len(params)
    try:
        slopes = summed_jacobian(flat, params, Route.FORWARD if forward else Route.BACKWARD)
    except BACKWARD_ALONE:
        if not forward:
            raise
        slopes = summed_jacobian(flat, params, Route.BACKWARD)
    return value, slopes.reshape(*value.shape, len(params))
