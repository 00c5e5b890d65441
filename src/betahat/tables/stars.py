"""Stars: the marks of p-values, their thresholds, and the note that explains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from betahat.errors import OptionError, shown

# True is 10%, 5% and 1%; numbers are the thresholds of *, ** and so on; the keys of a mapping are the marks.
Stars = bool | Sequence[float] | Mapping[str, float]


@dataclass(frozen=True)
class Marks:
    """Marks with their thresholds, the largest first."""

    levels: tuple[tuple[str, float], ...]

    def __call__(self, pvalue: float) -> str:
        """Return the mark of the smallest threshold above a p-value."""
        return next((mark for mark, level in reversed(self.levels) if pvalue < level), "")

    @property
    def note(self) -> str:
        """The sentence that explains the marks."""
        return ", ".join(f"{mark} p<{level:g}" for mark, level in self.levels)


def read_stars(stars: Stars) -> Marks:
    """Read the option `stars` of a table.

    >>> marks = read_stars((0.05, 0.01))
    >>> marks(0.03), marks(0.001), marks(0.05), marks.note
    ('*', '**', '', '* p<0.05, ** p<0.01')
    >>> read_stars({"+": 0.1, "*": 0.05})(0.07)
    '+'
    """
    if stars is False:
        return Marks(())
    if stars is True:
        stars = (0.1, 0.05, 0.01)
    try:
        if isinstance(stars, Mapping):
            levels = [(str(mark), float(level)) for mark, level in stars.items()]
        else:
            levels = [("*" * i, level) for i, level in enumerate(sorted(map(float, stars), reverse=True), 1)]
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _unreadable(stars) from error
    levels.sort(key=lambda pair: -pair[1])
    if not all(mark and 0.0 < level < 1.0 for mark, level in levels) or len(set(dict(levels).values())) < len(levels):
        raise _unreadable(stars)
    return Marks(tuple(levels))


def _unreadable(stars: object) -> OptionError:
    return OptionError(
        f"stars is {shown(stars)}; pass False for none, thresholds between 0 and 1, such as (0.05, 0.01), or marks with their thresholds, such as "
        "{'+': 0.1, '*': 0.05}."
    )
