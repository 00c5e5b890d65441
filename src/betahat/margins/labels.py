"""What each margin is: its outcome, term, contrast and place, as names, as an index, and as columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import OptionError, listed
from betahat.lazy import lazily
from betahat.margins.comparing import COMPARISONS, SLOPES

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# The column of the positions of rows, which only numbers of single rows have.
ROW = "rowid"
_OWN = ("group", "term", "contrast")
# What numbers and variables of two values are compared at, which a name need not say.
_USUAL = {
    *("", "+1", "custom", *SLOPES.values()),
    *(
        one.label.format(high=high, low=low)
        for one in COMPARISONS.values()
        for high, low in (("1", "0"), ("True", "False"))
    ),
}


@dataclass(frozen=True)
class Words:
    """What (m,) numbers are, in words; "" where there is nothing to say."""

    outcomes: tuple[str, ...]
    terms: tuple[str, ...]
    contrasts: tuple[str, ...]
    places: tuple[str, ...]  # the values of `by`, or the position of the row


def labels_of(
    outcomes: Sequence[str],
    terms: Sequence[tuple[str, str]],
    places: pd.DataFrame | None,
    rows: int,
    said: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return a row for each number, outcome by outcome, in each term by term, and in each place by place; of single rows places is None, and `said` has values that tell them apart."""
    count, times = len(terms), max(len(outcomes), 1)
    made: dict[str, Any] = {}
    if outcomes:
        made["group"] = np.repeat(np.array(outcomes, dtype=object), count * rows)
    of_user = [] if places is None else list(places.columns)
    if any(term for term, _ in terms) or (
        not outcomes and "group" in of_user
    ):  # which is the outcome where it is the first column
        for name, part in zip(("term", "contrast"), zip(*terms, strict=True), strict=True):
            made[name] = np.tile(np.repeat(np.array(part, dtype=object), rows), times)
    taken = [name for name in of_user if name in made]
    if taken:
        raise OptionError(
            f"by has {listed(taken)}, which is also what a column of the table of margins is called; rename that column of the data."
        )
    if places is None:
        made[ROW] = np.tile(np.arange(rows), count * times)
        found = pd.DataFrame(made)
        if said is None or set(said.columns) & set(made):
            return found
        return found.join(said.iloc[made[ROW]].reset_index(drop=True))
    if count * times == 1:
        return pd.DataFrame(made, index=places.index).join(places)
    repeated = places.iloc[np.tile(np.arange(rows), count * times)].reset_index(drop=True)
    return pd.DataFrame(made, index=repeated.index).join(repeated)


def after_row(labels: pd.DataFrame) -> list[str]:
    """Return the columns that say of single rows which values of a grid they have."""
    names = list(labels.columns)
    return names[names.index(ROW) + 1 :] if ROW in names else []


def has_outcomes(labels: pd.DataFrame) -> bool:
    """Tell whether the column "group" has outcomes, and not the groups of a user's column of that name."""
    return len(labels.columns) > 0 and labels.columns[0] == "group"


def words_of(labels: pd.DataFrame) -> Words:
    """Return the words of each row of labels."""
    there = [name for name in _OWN if name in labels and (name != "group" or has_outcomes(labels))]
    own = {name: tuple(map(str, labels[name])) if name in there else ("",) * len(labels) for name in _OWN}
    others = [name for name in labels.columns if name not in there]
    if len(others) > 1:  # the position of a row says less than its values
        others = [name for name in others if name != ROW]
    parts = [[f"{name}={value}" for value in labels[name]] for name in others]
    places = tuple(map(", ".join, zip(*parts, strict=True))) if parts else ("",) * len(labels)
    return Words(own["group"], own["term"], own["contrast"], places)


def named(labels: pd.DataFrame, title_of_outcome: Callable[[str], str]) -> tuple[tuple[str, str], ...]:
    """Return the title and the name of each number: its place, or its term with the contrast where that is none of the usual ones or a term has several, under all that is said before."""
    words = words_of(labels)
    contrasts: dict[str, set[str]] = {}
    for term, contrast in zip(words.terms, words.contrasts, strict=True):
        contrasts.setdefault(term, set()).add(contrast)
    found = []
    for outcome, term, contrast, place in zip(words.outcomes, words.terms, words.contrasts, words.places, strict=True):
        usual = _USUAL.issuperset(contrast.split(", "))
        own = f"{term}: {contrast}" if contrast and (len(contrasts[term]) > 1 or not usual) else term
        titles = [part for part in (title_of_outcome(outcome) if outcome else "", own, place) if part]
        name = titles.pop() if own or place else "Prediction"
        found.append((", ".join(titles), name))
    return tuple(found)


def index_of(labels: pd.DataFrame, rows: pd.Index) -> Any:
    """Return the index of numbers of single rows, made without a string for each: the labels of the rows, below what else they are."""
    own = [name for name in _OWN if name in labels and len(labels[name].unique()) > 1]
    there = pd.Index(words_of(labels).places) if after_row(labels) else rows.take(labels[ROW].to_numpy())
    if not own:
        return there
    return pd.MultiIndex.from_arrays([*(labels[name] for name in own), there], names=[*own, there.name])


def places_of(labels: pd.DataFrame) -> list[tuple[str, list[int]]]:
    """Return the groups of `by` in words, with the positions of the numbers of each: none where terms have no groups, or outcomes stand above them."""
    words = words_of(labels)
    if ROW in labels or has_outcomes(labels) or not any(words.terms):
        return []
    found: dict[str, list[int]] = {}
    for position, place in enumerate(words.places):
        found.setdefault(place, []).append(position)
    return list(found.items()) if len(found) > 1 else []
