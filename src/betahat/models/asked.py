"""Which columns of files a loss of parameters and data asks for, found by trying it on a few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from betahat.data.quiet import quiet
from betahat.errors import DataError, listed, shown
from betahat.models.options import Tensors, by_name
from betahat.models.row_losses import RowLosses, calling, tried, two_dicts


@dataclass(frozen=True, eq=False)
class Head:
    """The first rows of a dataset.

    Attributes
    ----------
    whole, first : str
        What the dataset is called, and the partition that these rows lie in.
    numbers : dict of str to Tensor
        (m,) the columns that are numbers.
    others : dict of str to str
        What the other columns are.
    """

    whole: str
    first: str
    numbers: dict[str, Tensor]
    others: dict[str, str]


def columns_asked_for(row_loss: Callable[..., Any], tensors: Tensors, start: Tensor, head: Head) -> list[str]:
    """Return the columns that a loss takes: those that its arguments name, or that it asks its second dict for; all numbers where it fails."""
    called = calling(row_loss, tensors, (*head.numbers, *head.others))
    named = [name for name in called.keys if name in called.names]
    if called.names and (two_dicts(called) is None or _works_by_name(called, start, head)):
        for name in named:
            _check_number(name, head)
        return named
    asked, errors = set[str](), []
    for rows in _rows_of(head):
        noted = _Noted(dict(zip(head.numbers, rows, strict=True)))
        gave = tried(lambda params, _, noted=noted: row_loss(by_name(params, tensors), noted), start, ())
        if not isinstance(gave, Exception):
            asked |= noted.asked
        elif isinstance(gave, KeyError) and gave.args[0] in noted.asked:
            errors.append(gave.args[0])
    if not asked and errors:
        _check_number(errors[0], head)
    return [name for name in head.numbers if name in asked] or list(head.numbers)


def _works_by_name(called: RowLosses, start: Tensor, head: Head) -> bool:
    """Tell whether a function of two arguments can do with the columns that they name."""
    numbers = replace(called, keys=tuple(head.numbers))
    return any(not isinstance(tried(numbers, start, rows), Exception) for rows in _rows_of(head))


def _rows_of(head: Head) -> Iterator[tuple[Tensor, ...]]:
    """Yield copies of the rows together, and of one of them: a loss may be written for either."""
    with quiet():
        yield tuple(column.clone() for column in head.numbers.values())
        yield tuple(column[0].clone() for column in head.numbers.values())


def _check_number(name: str, head: Head) -> None:
    if name in head.others:
        raise DataError(
            f"row_loss takes {shown(name)}, which is {head.others[name]} in {head.first}; pass a column of numbers, such as codes of categories, or days."
        )
    if name not in head.numbers:
        raise DataError(
            f"row_loss takes {shown(name)}, which is no column of {head.whole}; its columns are {listed([*head.numbers, *head.others])}."
        )


class _Noted(Mapping[str, Tensor]):
    """Columns by name, which notes what it is asked for."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self._columns = columns
        self.asked: set[Any] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.asked.add(name)
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        self.asked.update(self._columns)
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
