"""Stars: thresholds of p-values, their marks and their note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from betahat.errors import OptionError

# True is 10%, 5% and 1%; numbers are thresholds of *, ** and so on; a mapping names the marks.
Stars = bool | Sequence[float] | Mapping[str, float]


@dataclass(frozen=True)
class Marks:
    """Marks and their thresholds.

    Attributes
    ----------
    levels : tuple of (str, float)
        Each mark with the p-value that it stands for, the largest first.
    """

    levels: tuple[tuple[str, float], ...]

    def __call__(self, pvalue: float) -> str:
        """Return the mark of a p-value: that of the smallest threshold above it."""
        return next((mark for mark, level in reversed(self.levels) if pvalue < level), "")

    @property
    def note(self) -> str:
        """The sentence that explains them."""
        return ", ".join(f"{mark} p<{level:g}" for mark, level in self.levels)


def read_stars(given: Stars) -> Marks:
    """Read the option `stars` of a table.

    Examples
    --------
    >>> marks = read_stars((0.05, 0.01))
    >>> marks(0.03), marks(0.001), marks(0.05), marks.note
    ('*', '**', '', '* p<0.05, ** p<0.01')
    >>> read_stars({"+": 0.1, "*": 0.05})(0.07)
    '+'
    """
    if given is False:
        return Marks(())
    if given is True:
        given = (0.1, 0.05, 0.01)
    try:
        if isinstance(given, Mapping):
            levels = [(str(mark), float(level)) for mark, level in given.items()]
        else:
            levels = [("*" * i, level) for i, level in enumerate(sorted(map(float, given), reverse=True), 1)]
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _unreadable(given) from error
    levels.sort(key=lambda pair: -pair[1])
    if not all(mark and 0.0 < level < 1.0 for mark, level in levels) or len(set(dict(levels).values())) < len(levels):
        raise _unreadable(given)
    return Marks(tuple(levels))


def _unreadable(given: object) -> OptionError:
    return OptionError(
        f"stars is {given!r}; pass False for none, thresholds between 0 and 1, such as (0.05, 0.01), or marks with theirs, such as "
        "{'+': 0.1, '*': 0.05}."
    )
