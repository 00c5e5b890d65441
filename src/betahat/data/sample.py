"""`Sample`: a schema and the rows of a source; `Batch`, the data of any torch model, and what is left where the rows are gone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import torch
from torch import Tensor

from betahat.data.container import Container
from betahat.data.engine import THREADS, Block, Engine, column_of_rows, fold, scan
from betahat.data.schema import Schema
from betahat.data.source import Gone, Source, Span, refuse_rows
from betahat.data.threads import remembered
from betahat.data.turned import taken
from betahat.data.user_data import UserData
from betahat.errors import listed

COUNTS, WEIGHTS = "counts", "weights"
_BESIDE = (COUNTS, WEIGHTS)


@dataclass(frozen=True, eq=False)
class Sample(ABC):
    """What every fit knows of its data, whatever the model.

    Attributes
    ----------
    schema : Schema
        Names, and how results are handed back.
    source : Source
        The rows; `counts` are (n,) frequency weights, where there are some.
    engine : Engine
        Who takes passes over them.
    """

    schema: Schema
    source: Source
    engine: Engine = field(default=THREADS, metadata={"stored": False})

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of the coefficients' columns, or of the parameters."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Their number, without finding them."""

    @property
    @abstractmethod
    def target(self) -> Tensor:
        """(n, ...) what is explained."""

    @property
    @abstractmethod
    def explained(self) -> str:
        """The column of what is explained."""

    @remembered
    def _squares(self) -> dict[str, float]:
        return {}

    def squares(self, name: str) -> float:
        """Return the sum of the squares of a column, once.

        Parameters
        ----------
        name : str
            "endog", "offset", or the number of a column.

        Returns
        -------
        float
            Of all rows, whatever their weights.
        """
        if name not in self._squares:
            (found,) = fold(self.source.only(name), _squares_of_column, self.engine)
            self._squares[name] = float(found)
        return self._squares[name]

    def largest(self, names: Sequence[str]) -> float:
        """Return the largest absolute value in floating-point columns.

        Parameters
        ----------
        names : sequence of str
            Theirs.

        Returns
        -------
        float
            0 where there are none.
        """
        return max(scan(self.source.only(*names), _largest_in_block, self.engine))

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the columns other than counts and weights."""
        return tuple(name for name in self.source.shapes if name not in _BESIDE)

    @property
    def target_alone(self) -> bool:
        """Whether there is a target and nothing beside it: a module holds its own inputs."""
        return len(self.data) == 1

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.source.rows

    @property
    def block_rows(self) -> int:
        """The rows in a block."""
        return self.engine.block_rows(self.source)

    @property
    def blocks(self) -> int:
        """The blocks of a pass."""
        return -(-self.rows // self.block_rows)

    @property
    def device(self) -> torch.device:
        """Where the rows are, or were."""
        return self.source.device

    @property
    def user_data(self) -> UserData:
        """Where the rows come from."""
        return self.source.user_data

    @property
    def container(self) -> Container:
        """How results are handed back."""
        return self.schema.container

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        return self.schema.endog_name

    @property
    def nobs(self) -> int | float:
        """n: the number of rows, or the sum of the frequency weights."""
        return self.rows if COUNTS not in self.source.shapes else self._counted

    @remembered
    def _counted(self) -> int | float:
        (summed,) = fold(self.source.only(COUNTS), _sum_of_counts, self.engine)
        total = float(summed)
        return int(total) if total.is_integer() else total

    @property
    def counts(self) -> Tensor | None:
        """(n,) how often each row counts; None means once."""
        return self.column(COUNTS) if COUNTS in self.source.shapes else None

    @property
    def weights(self) -> Tensor | None:
        """(n,) analytic weights: proportional to the inverse of a row's variance; None is one."""
        return self.column(WEIGHTS) if self.weighted else None

    @property
    def weighted(self) -> bool:
        """Whether there are analytic weights."""
        return WEIGHTS in self.source.shapes

    def column(self, name: str) -> Tensor:
        """Return a whole column in memory, for what has a number for each row; passes go by blocks.

        Parameters
        ----------
        name : str
            "exog", "endog", "weights", "offset" or "counts".

        Returns
        -------
        Tensor
            (n, ...).
        """
        return column_of_rows(self.source, name)

    def take(self, places: Tensor) -> Self:
        """Keep some of the rows, which are no longer those of the user's data.

        Parameters
        ----------
        places : Tensor
            (m,) their positions.

        Returns
        -------
        Sample
            Of the same class.
        """
        return replace(self, source=taken(self.source, places))

    def counted(self, counts: Tensor) -> Self:
        """Replace the frequency weights.

        Parameters
        ----------
        counts : Tensor
            (n,).

        Returns
        -------
        Sample
            Of the same class.
        """
        return self.replaced({COUNTS: counts})

    def replaced(self, columns: Mapping[str, Tensor]) -> Self:
        """Put tensors in the place of columns, or beside them.

        Parameters
        ----------
        columns : mapping of str to Tensor
            (n, ...) each.

        Returns
        -------
        Sample
            Of the same class.
        """
        return replace(self, source=self.source.replaced(columns))

    def row_names(self, positions: Sequence[int]) -> str:
        """Name rows in use for a sentence by the user's labels, else by their position in the data, or in the partition that they are read from.

        Parameters
        ----------
        positions : sequence of int
            Among the rows in use.

        Returns
        -------
        str
            Joined by commas.
        """
        if self.source.in_turn:
            return listed([_in_partition(self.source.spans, position) for position in positions])
        labels, used = self.container.row_labels, self.user_data.in_use
        if labels is not None:
            return listed(labels[list(positions)])
        return listed(positions if used is None else used[list(positions)].tolist())


def _in_partition(spans: Sequence[Span], position: int) -> str:
    """Name a row by its place among those in use of a partition."""
    span = next(span for span in spans if position < span.stop)
    return f"complete row {position - span.start + 1} of {span.name}"


S = TypeVar("S", bound=Sample)


@dataclass(frozen=True, eq=False)
class Batch(Sample):
    """The inputs and the target of a torch model, or the data of a loss of its own: columns called by their numbers, the target last."""

    @property
    def names(self) -> tuple[str, ...]:
        """(k,) the parameters' names."""
        assert self.schema.given_names is not None
        return self.schema.given_names

    @property
    def width(self) -> int:
        """k, the number of parameters."""
        return len(self.names)

    @property
    def explained(self) -> str:
        """The column of what is explained."""
        return self.data[-1]

    @property
    def target(self) -> Tensor:
        """(n, ...) what is explained."""
        return self.column(self.explained)

    @property
    def outputs(self) -> int:
        """How many numbers a row of the target has."""
        return math.prod(self.source.shapes[self.data[-1]])


def _largest_in_block(block: Block) -> float:
    sizes = (float(part.abs().max()) for part in block.columns.values() if part.is_floating_point())
    return max(sizes, default=0.0)


def _squares_of_column(block: Block) -> tuple[Tensor]:
    (values,) = block.columns.values()
    return (values.to(torch.float64).square().sum(),)


def _sum_of_counts(block: Block) -> tuple[Tensor]:
    return (block[COUNTS].sum(dtype=torch.float64),)


def by_engine(sample: S, engine: Engine) -> S:
    """Return a sample whose passes an engine takes."""
    return sample if engine is sample.engine else replace(sample, engine=engine)


def in_order_of_call(block: Block) -> tuple[Tensor, ...]:
    """Return (b, ...) the columns of a `Batch`, as a module or a loss is called with them."""
    return tuple(part for name, part in block.columns.items() if name.isdigit())


@dataclass(frozen=True, eq=False)
class WithoutRows(Sample):
    """What is kept of rows that are gone: everything but they may be asked."""

    source: Source = field(default=Gone(), metadata={"stored": False})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coefficients' columns, or of the parameters."""
        assert self.schema.names is not None
        return self.schema.names

    @property
    def width(self) -> int:
        """Their number."""
        return len(self.names)

    @property
    def explained(self) -> str:
        """Refuse."""
        refuse_rows()

    @property
    def target(self) -> Tensor:
        """Refuse."""
        refuse_rows()

    @property
    def device(self) -> torch.device:
        """Where the rows were."""
        return self.schema.device

    @property
    def nobs(self) -> int | float:
        """N."""
        assert self.schema.nobs is not None
        return self.schema.nobs


def without_rows(sample: Sample) -> WithoutRows:
    """Return what stays of a sample whose rows go."""
    if isinstance(sample, WithoutRows):
        return sample
    schema = replace(
        sample.schema,
        container=sample.container.relabelled([]),
        names=sample.names,
        nobs=sample.nobs,
        place=torch.empty(0, device=sample.device),
        effects=(),
    )
    return WithoutRows(schema)
