"""`UserData`: the dataframe in which groups and times are looked up by name, and which of its rows are in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from betahat.data.kept import Seal, keep_columns


@dataclass(frozen=True, eq=False)
class UserData:
    """The user's own data, of which rows are in use.

    Attributes
    ----------
    data : object
        The user's dataframe, or dict of columns, in which groups and times are looked up by name; None where there is none.
        It is kept as it was, so that nothing that happens to the user's own reaches it.
    rows : int
        How many rows it has.
    in_use : Tensor or None
        (n,) the positions of the rows in use; None means all.
    columns : dict of str to Seal
        Seals of columns of `data` whose memory is the user's, by name; under "" that of a whole frame.
    seals : tuple of Seal
        Those of the tensors in use whose memory is the user's.
    """

    data: Any
    rows: int
    in_use: Tensor | None = None
    columns: dict[str, Seal] = field(default_factory=dict, metadata={"stored": False})
    seals: tuple[Seal, ...] = field(default=(), metadata={"stored": False})

    @classmethod
    def of(cls, data: Any, rows: int, seals: tuple[Seal, ...] = ()) -> UserData:
        """Keep the user's data: a dataframe, a series, a mapping of columns, or None."""
        kept, columns = keep_columns(data)
        return cls(kept, rows, None, columns, seals)

    def check(self, *, whole: bool) -> None:
        """Refuse tensors that were written on since they were read; some rows are compared, or every bit."""
        for seal in self.seals:
            seal.check(whole=whole)

    def check_column(self, name: str) -> None:
        """Refuse a column of the data that was written on."""
        for label in ("", name):
            if label in self.columns:
                self.columns[label].check(whole=True)
