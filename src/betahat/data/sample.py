"""`Sample`: what every fit knows of its data, whatever the model; and `Batch`, the data of any torch model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from betahat.data.container import Container
from betahat.errors import listed


class Sample(Protocol):
    """Rows on one device, the parameters' names, and how results are handed back."""

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
    block_rows : int or None
        The rows in a block; n where the rows cannot be told apart.
    """

    columns: tuple[Tensor, ...]
    names: tuple[str, ...]
    container: Container
    endog_name: str
    nobs: int
    block_rows: int | None = None

    @property
    def width(self) -> int:
        """k, the number of parameters."""
        return len(self.names)

    def row_names(self, positions: Sequence[int]) -> str:
        """Name rows by the user's labels, else by their position in the data."""
        labels = self.container.row_labels
        return listed(positions if labels is None else labels[list(positions)])
