"""`Sample`: what every fit knows of its data, whatever the model; and `Batch`, the data of any torch model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from betahat.data.blocks import Block
from betahat.data.container import Container
from betahat.data.kept import Seal, keep_columns
from betahat.errors import DataError, listed


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the rows come from.

    Attributes
    ----------
    data : object
        The user's dataframe, or dict of columns, in which groups and times are looked up by name; None where there is none.
        It is kept as it was, so that nothing that happens to the user's own reaches it.
    rows : int
        How many rows it has.
    kept : Tensor or None
        (n,) the positions of the rows in use; None means all.
    columns : dict of str to Seal
        Seals of columns of `data` whose memory is the user's, by name; under "" that of a whole frame.
    seals : tuple of Seal
        Those of the tensors in use whose memory is the user's.
    """

    data: Any
    rows: int
    kept: Tensor | None = None
    columns: dict[str, Seal] = field(default_factory=dict, metadata={"stored": False})
    seals: tuple[Seal, ...] = field(default=(), metadata={"stored": False})

    @classmethod
    def of(cls, data: Any, rows: int, seals: tuple[Seal, ...] = ()) -> Origin:
        """Keep the user's data.

        Parameters
        ----------
        data : object
            A dataframe, a series, a mapping of columns, or None.
        rows : int
            How many rows it has.
        seals : tuple of Seal
            Of the tensors in use.

        Returns
        -------
        Origin
        """
        kept, columns = keep_columns(data)
        return cls(kept, rows, None, columns, seals)

    def check(self, *, whole: bool = False) -> None:
        """Refuse tensors that were written on since they were read.

        Parameters
        ----------
        whole : bool
            Whether every bit is looked at, or some rows.

        Raises
        ------
        DataError
        """
        for seal in self.seals:
            seal.check(whole=whole)

    def check_column(self, name: str) -> None:
        """Refuse a column of the data that was written on.

        Parameters
        ----------
        name : str
            The column's.

        Raises
        ------
        DataError
        """
        for label in ("", name):
            if label in self.columns:
                self.columns[label].check(whole=True)


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

    def checked(self, *, whole: bool = False) -> Sample:
        """Return the sample, whose memory nobody has written on since it was read."""
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
    given : Origin or None
        Where the rows come from; None says that they are all there is.
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
    given: Origin | None = None
    block_rows: int | None = None
    counts: Tensor | None = None

    @property
    def origin(self) -> Origin:
        """The user's data, of which all rows are in use."""
        return Origin(None, len(self.columns[0])) if self.given is None else self.given

    @property
    def width(self) -> int:
        """k, the number of parameters."""
        return len(self.names)

    def checked(self, *, whole: bool = False) -> Batch:
        """Return the batch, whose memory nobody has written on since it was read.

        Parameters
        ----------
        whole : bool
            Whether every bit is looked at, or some rows.

        Returns
        -------
        Batch

        Raises
        ------
        DataError
            Large tensors or arrays, which are not copied, were changed in place.
        """
        if self.given is not None:
            self.given.check(whole=whole)
        return self

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
            self, columns=tuple(column[rows] for column in self.columns), counts=None, nobs=len(rows), given=None
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


@dataclass(frozen=True, eq=False)
class Removed:
    """What is kept of rows that are not: a `Sample` of which everything but the rows may be asked.

    Attributes
    ----------
    names : tuple of str
        The names of the coefficients' columns, or of the parameters.
    given_names : tuple of str or None
        The regressors' names where the user gave some.
    container : Container
        How results are handed back, without labels of rows.
    endog_name : str
        The dependent variable's name.
    nobs : float
        n.
    place : Tensor
        (0,) on the device of the data.
    terms : dict of str to list of int, or None
        A formula's terms and their columns.
    """

    names: tuple[str, ...]
    given_names: tuple[str, ...] | None
    container: Container
    endog_name: str
    nobs: float
    place: Tensor
    terms: dict[str, list[int]] | None = None

    @property
    def width(self) -> int:
        """The number of names."""
        return len(self.names)

    @property
    def device(self) -> torch.device:
        """Where the data were."""
        return self.place.device

    @property
    def origin(self) -> Origin:
        """Refuse: there are no rows."""
        refuse_rows()

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """Refuse: there are no rows."""
        refuse_rows()

    @property
    def block_rows(self) -> int | None:
        """Refuse: there are no rows."""
        refuse_rows()

    @property
    def counts(self) -> Tensor | None:
        """Refuse: there are no rows."""
        refuse_rows()

    def checked(self, *, whole: bool = False) -> Removed:
        """Return itself: there are no rows to change.

        Parameters
        ----------
        whole : bool
            Without a meaning here.

        Returns
        -------
        Removed
        """
        return self

    def take(self, rows: Tensor) -> Sample:
        """Refuse: there are no rows."""
        refuse_rows()

    def counted(self, counts: Tensor) -> Sample:
        """Refuse: there are no rows."""
        refuse_rows()

    def row_names(self, positions: Sequence[int]) -> str:
        """Refuse: there are no rows."""
        refuse_rows()


def refuse_rows() -> NoReturn:
    """Say that the rows are gone.

    Raises
    ------
    DataError
        Always.
    """
    raise DataError(
        "These results were kept without their data (by remove_data, or by saving a TorchModel or an MEstimator, which are code), and this "
        "needs the rows or the model itself; fit again, or keep the data."
    )
