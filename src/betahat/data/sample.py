"""`Sample`: what every fit knows of its data, whatever the model; and `Batch`, the data of any torch model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from betahat.data.blocks import Block
from betahat.data.container import Container
from betahat.errors import listed


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the rows come from.

    Attributes
    ----------
    data : object
        The user's dataframe, or dict of columns, in which groups and times are looked up by name; None where there is none.
    rows : int
        How many rows it has.
    kept : Tensor or None
        (n,) the positions of the rows in use; None means all.
    """

    data: Any
    rows: int
    kept: Tensor | None = None


class Sample(Protocol):
    """Rows on one device, the parameters' names, and how results are handed back."""

    @property
    def origin(self) -> Origin:
        """Where the rows come from."""
        ...

    @property
    def container(self) -> Container:
        """How results are handed back."""
        ...

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        ...

    @property
    def nobs(self) -> int | float:
        """The number of observations, n: the sum of the frequency weights where there are some."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coefficients' columns, or of the parameters."""
        ...

    @property
    def width(self) -> int:
        """The number of those names."""
        ...

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """What goes through the row blocks."""
        ...

    @property
    def block_rows(self) -> int | None:
        """The rows in a block; None leaves it to the columns' width."""
        ...

    @property
    def counts(self) -> Tensor | None:
        """(n,) frequency weights: how often each row counts; None is once."""
        ...

    def take(self, rows: Tensor) -> Sample:
        """Keep some of the rows, by their positions."""
        ...

    def counted(self, counts: Tensor) -> Sample:
        """Let each row count so often, instead of its frequency weight."""
        ...

    def row_names(self, positions: Sequence[int]) -> str:
        """Name rows for a sentence."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """The inputs and the target of a torch model.

    Attributes
    ----------
    columns : tuple of Tensor
        What goes through the row blocks, the target last.
    names : tuple of str
        (k,) the parameters' names.
    container : Container
        How results are handed back.
    endog_name : str
        The target's name.
    nobs : int
        n.
    data : object
        The user's data, in which groups and times are looked up by name.
    block_rows : int or None
        The rows in a block; n where the rows cannot be told apart.
    counts : Tensor or None
        (n,) how often each row counts; None is once.
    """

    columns: tuple[Tensor, ...]
    names: tuple[str, ...]
    container: Container
    endog_name: str
    nobs: float
    data: Any = None
    block_rows: int | None = None
    counts: Tensor | None = None

    @property
    def origin(self) -> Origin:
        """The user's data, of which all rows are in use."""
        return Origin(self.data, len(self.columns[0]))

    @property
    def width(self) -> int:
        """k, the number of parameters."""
        return len(self.names)

    def take(self, rows: Tensor) -> Batch:
        """Keep some of the rows, by their positions; they have no origin.

        Parameters
        ----------
        rows : Tensor
            (m,) positions.

        Returns
        -------
        Batch
        """
        return replace(
            self, columns=tuple(column[rows] for column in self.columns), counts=None, nobs=len(rows), data=None
        )

    def counted(self, counts: Tensor) -> Batch:
        """Let each row count so often.

        Parameters
        ----------
        counts : Tensor
            (n,).

        Returns
        -------
        Batch
        """
        return replace(self, counts=counts, nobs=float(counts.sum()))

    def counts_of(self, block: Block) -> Tensor | None:
        """Return (b,) how often the rows of a block count.

        Parameters
        ----------
        block : Block
            Of `columns`.

        Returns
        -------
        Tensor or None
            (b,).
        """
        return None if self.counts is None else self.counts[block.start : block.start + len(block.columns[0])]

    def row_names(self, positions: Sequence[int]) -> str:
        """Name rows by the user's labels, else by their position in the data.

        Parameters
        ----------
        positions : sequence of int
            Of rows in use.

        Returns
        -------
        str
        """
        labels = self.container.row_labels
        return listed(positions if labels is None else labels[list(positions)])
