"""Absorbed effects: what the user writes of them, their labels as codes, and their dummies without the dummies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.errors import DataError, FormulaError, listed, of_data, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_NAME = r"(?:`[^`]+`|[^\W\d][\w.]*)"
_TERM = re.compile(rf"({_NAME}(?:\s*\^\s*{_NAME})*)\s*(?:(\[\[|\[)\s*({_NAME}(?:\s*,\s*{_NAME})*)\s*(\]\]|\]))?")
_CATEGORY = re.compile(rf"(C|i|factor|as\.factor)\(\s*({_NAME})\s*\)")
# pandas' words for what labels are, and ours.
_KINDS = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "numbers"),
    **dict.fromkeys(("datetime64", "datetime", "date"), "dates"),
    "string": "text",
    "boolean": "truth values",
    "period": "periods",
}
# Of so many rows it is cheap to ask whether they differ within a level.
_FEW = 4096
CODES, SLOPES = "effects", "slopes"


@dataclass(frozen=True, eq=False)
class Effect:
    """The dummies of an effect, without the dummies.

    Attributes
    ----------
    name : str
        What to call it.
    codes : Tensor
        (n,) int64, each row's level, from 0 to `count` - 1.
    count : int
        How many levels there are; some may have no row.
    variables : Tensor or None
        (n, v) float64 variables that have a coefficient for each level; None is none.
    constant : bool
        Whether each level has a dummy, too.
    """

    name: str
    codes: Tensor
    count: int
    variables: Tensor | None = None
    constant: bool = True

    @property
    def width(self) -> int:
        """How many coefficients each level has."""
        return self.constant + (0 if self.variables is None else self.variables.shape[1])

    def same_in_each(self, values: Tensor) -> bool:
        """Tell whether (n,) values are the same in each level; a few rows mostly tell that they are not."""
        for rows in (slice(_FEW), slice(None)):
            codes, own = self.codes[rows], values[rows]
            of_level = own.new_zeros(self.count)
            of_level[codes] = own
            if not torch.equal(of_level[codes], own):
                return False
        return True


@dataclass(frozen=True)
class EffectTerm:
    """An effect as it is written: `firm`, `origin^year`, `firm[t]` or `firm[[t]]`.

    Attributes
    ----------
    columns : tuple of str
        The columns whose combinations are the levels.
    variables : tuple of str
        The variables that have a coefficient for each level.
    constant : bool
        Whether each level has a dummy, too.
    """

    columns: tuple[str, ...]
    variables: tuple[str, ...] = ()
    constant: bool = True

    @property
    def name(self) -> str:
        """As it is written."""
        own = "^".join(self.columns)
        if not self.variables:
            return own
        inside = ", ".join(self.variables)
        return f"{own}[{inside}]" if self.constant else f"{own}[[{inside}]]"


@dataclass(frozen=True, eq=False)
class Levels:
    """An absorbed effect without its rows.

    Attributes
    ----------
    name : str
        What to call it.
    labels : tuple of pandas.Index
        The labels of each column whose combinations are the levels.
    members : Tensor
        (count, c) the place of each level's label among those of each column.
    columns : tuple of str
        The columns' names; empty where a vector has none.
    variables : tuple of str
        The variables that have a coefficient for each level.
    constant : bool
        Whether each level has a dummy, too.
    """

    name: str
    labels: tuple[pd.Index, ...]
    members: Tensor
    columns: tuple[str, ...]
    variables: tuple[str, ...] = ()
    constant: bool = True

    @property
    def count(self) -> int:
        """How many levels there are."""
        return len(self.members)

    @property
    def index(self) -> pd.Index:
        """(count,) the levels' labels, of several columns as a pandas.MultiIndex."""
        parts = [labels[self.members[:, i].cpu().numpy()] for i, labels in enumerate(self.labels)]
        if len(parts) == 1:
            return parts[0].rename(self.name)
        return pd.MultiIndex.from_arrays(parts, names=list(self.columns))


def effect_terms(text: str) -> tuple[EffectTerm, ...]:
    """Read effects that are joined by +; those of the same columns are one, with the variables of all."""
    found: dict[tuple[str, ...], EffectTerm] = {}
    for written in re.split(r"\+(?![^\[]*\])", text):
        match = _TERM.fullmatch(written.strip())
        category = _CATEGORY.fullmatch(written.strip())
        if category is not None:
            raise FormulaError(
                f"Absorbed effects are columns, whose values are the levels, and {shown(written.strip())} is none; write {category[2]}, without {category[1]}()."
            )
        if match is None or (match[2] is not None and len(match[2]) != len(match[4])):
            raise FormulaError(
                f"The absorbed effects {shown(text.strip())} cannot be read at {shown(written.strip())}; write columns, such as 'firm + year', "
                "'origin^year' for combinations, 'firm[t]' for slopes of their own, or 'firm[[t]]' for slopes alone."
            )
        columns = tuple(part.strip().strip("`") for part in match[1].split("^"))
        variables = () if match[3] is None else tuple(part.strip().strip("`") for part in match[3].split(","))
        term = EffectTerm(columns, variables, match[2] != "[[")
        before = found.get(columns)
        if before is not None:
            joint = tuple(dict.fromkeys((*before.variables, *term.variables)))
            term = EffectTerm(columns, joint, before.constant or term.constant)
        found[columns] = term
    return tuple(found.values())


def new_codes(levels: Levels, columns: Sequence[Any]) -> Tensor:
    """Return (m,) the levels of new rows from the labels in each of the effect's columns, -1 where one is missing; refuse levels that the fit has not seen."""
    labels = [pd.Index(column) for column in columns]
    sizes = [len(known) for known in levels.labels]
    pairs = list(zip(levels.labels, labels, strict=True))
    places = torch.stack([torch.from_numpy(known.get_indexer(asked)) for known, asked in pairs], 1)
    missing = torch.stack([torch.as_tensor(asked.isna()) for asked in labels], 1).any(1)
    own = joint_codes(levels.members.cpu().unbind(1), sizes)
    order = own.argsort()
    wanted = joint_codes(places.unbind(1), sizes)
    codes: Tensor = order[torch.searchsorted(own[order], wanted).clamp_max(len(own) - 1)]
    unseen = ((own[codes] != wanted) | (places < 0).any(1)) & ~missing
    if bool(unseen.any()):
        _check_kinds(levels, pairs)
        told = dict.fromkeys(
            "^".join(str(of_data(part[row])) for part in labels) for row in unseen.nonzero().flatten().tolist()
        )
        raise DataError(
            f"The new data have levels of {levels.name} that the fit has not seen: {listed(list(told), limit=8)}; leave those rows out, or fit with data that have them."
        )
    return codes.masked_fill(missing, -1)


def _check_kinds(levels: Levels, pairs: Sequence[tuple[pd.Index, pd.Index]]) -> None:
    """Refuse labels of another kind than the fit's, such as text for numbers."""
    for name, (known, asked) in zip(levels.columns, pairs, strict=True):
        fitted, new = _kind(known), _kind(asked)
        if fitted and new and fitted != new:
            raise DataError(
                f"{name or levels.name} has {fitted} in the fit and {new} in the new data; convert one of the two, so that the labels are the same."
            )


def _kind(labels: pd.Index) -> str | None:
    """Return what labels are, in a word; None where they are several things."""
    some = labels.dtype.categories if isinstance(labels.dtype, pd.CategoricalDtype) else labels
    return _KINDS.get(pd.api.types.infer_dtype(some, skipna=True))


def joint_codes(codes: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Return (m,) one number for each combination of (m,) codes below `sizes`, in lexical order."""
    joint = codes[0]
    for own, size in zip(codes[1:], sizes[1:], strict=True):
        joint = joint * size + own
    return joint
