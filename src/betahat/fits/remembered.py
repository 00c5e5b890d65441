"""Functions of a fit that remember what they found."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, Generic, ParamSpec, TypeVar

from betahat.fits.fit import Fit

P = ParamSpec("P")
T = TypeVar("T")


class of_fit(Generic[P, T]):  # noqa: N801  # it is written as a decorator
    """A function of a fit, called once for each fit and each set of its other arguments, which must be hashable.

    What it found is kept in the fit, under the function itself, and goes when the rows go.
    """

    def __init__(self, function: Callable[Concatenate[Fit, P], T]) -> None:
        """Take the function."""
        self.function = function
        update_wrapper(self, function)

    def __reduce__(self) -> str:
        """Pickle as a function is: by its name."""
        return self.function.__qualname__

    def __call__(self, fit: Fit, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returned."""
        key = (self, *args, *kwargs.items())
        if key not in fit.sums:
            fit.sums[key] = self.function(fit, *args, **kwargs)
        found: T = fit.sums[key]
        return found

    def learn(self, value: T, fit: Fit, *args: P.args, **kwargs: P.kwargs) -> None:
        """Remember a value that was found in another way."""
        fit.sums.setdefault((self, *args, *kwargs.items()), value)
