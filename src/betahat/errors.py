"""What betahat raises and warns with: sentences that say what was expected, what came, what to do."""

import functools
import importlib
import math
import os
import sys
from collections.abc import Iterable, Mapping
from numbers import Number, Real
from types import FrameType, ModuleType
from typing import TypeGuard

import numpy as np

_SHOWN = 40
_LONGEST = 160
_HOME = os.path.dirname(__file__) + os.sep


class BetahatError(ValueError):
    """Base of every error of the package; a `ValueError`, so existing handlers catch it."""


class DataError(BetahatError):
    """The data cannot be used as they are: shapes, missing values, types, names, devices."""


class FormulaError(BetahatError):
    """A formula, or a restriction written as a string, cannot be read or evaluated."""


class OptionError(BetahatError):
    """A name or an option that nobody knows; the message lists the known ones."""


class EstimationError(BetahatError):
    """The estimate or its covariance is not defined on these data."""


class MissingPackageError(BetahatError, ImportError):
    """A package that only some of this needs is not installed; the message says how to install it."""


class BetahatWarning(UserWarning):
    """Base of every warning of the package."""


class CollinearityWarning(BetahatWarning):
    """The design has fewer independent columns than columns."""


class ClusterWarning(BetahatWarning):
    """Clusters that are few, single rows, or alone fix a coefficient, so that their standard errors mislead."""


class BootstrapWarning(BetahatWarning):
    """So many replicates of a bootstrap have no estimate that the others are no fair sample."""


class ConvergenceWarning(BetahatWarning):
    """Parameters that are not at the optimum were taken as they are."""


class RobustTestWarning(BetahatWarning):
    """A test that assumes homoskedastic errors was asked of a result with robust covariance."""


def optional_module(name: str, what: str, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Parameters
    ----------
    name : str
        The module.
    what : str
        What needs it, as the beginning of a sentence: "Pictures need matplotlib".
    extra : str
        The extra of this package that brings it.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(f"{what}, which is not installed: pip install 'betahat[{extra}]'.") from error


def user_level() -> int:
    """Return the ``stacklevel`` at which a warning made by the caller of this names the user's line, however deep in the package it is."""
    frame: FrameType | None = sys._getframe(1)
    level = found = 1
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_HOME) or (level == found and file == functools.__file__):  # a cached_property's
            found = level + 1
        frame, level = frame.f_back, level + 1
    return found


def described(value: object) -> str:
    """Name the type of a value, with its article.

    Examples
    --------
    >>> described(3), described([])
    ('an int', 'a list')
    """
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def is_flag(value: object) -> bool:
    """Tell whether a value says yes or no: True, False, or the numbers 1 and 0 that are equal to them.

    Examples
    --------
    >>> is_flag(True), is_flag(0), is_flag("yes"), is_flag([True])
    (True, True, False, False)
    """
    return isinstance(value, Number | np.bool_) and value in (True, False)


def check_flag(name: str, value: object, *, none: bool = False) -> None:
    """Refuse what is neither yes nor no, instead of going by its truth: "no" is true.

    Raises
    ------
    OptionError
    """
    if not (is_flag(value) or (none and value is None)):
        raise OptionError(f"{name} is {shown(value)}; use {'True, False or None' if none else 'True or False'}.")


def shown(value: object) -> str:
    """Return a value for a sentence, or its type where it takes more than some words.

    Examples
    --------
    >>> shown("no"), shown(list(range(99)))
    ("'no'", 'a list')
    """
    text = repr(value)
    if isinstance(value, str):
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...{text[-1]}"
    return text if len(text) <= _SHOWN and "\n" not in text else described(value)


def is_one_of(value: object, choices: Iterable[object]) -> bool:
    """Tell whether a value of any kind is one of the choices; an array or a list is none.

    Examples
    --------
    >>> is_one_of("a", ("a", None)), is_one_of(None, ("a", None)), is_one_of(["a"], ("a", None))
    (True, True, False)
    """
    plain = isinstance(value, str | int | np.bool_)
    return any(value is choice or (plain and value == choice) for choice in choices)


def check_number(**numbers: object) -> None:
    """Refuse options, by their names, that are no finite numbers."""
    for option, value in numbers.items():
        if not is_number(value):
            raise OptionError(f"{option} is {shown(value)}; pass a number.")


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is one finite number, which float64 holds.

    Examples
    --------
    >>> is_number(1), is_number(np.float32(0.5)), is_number(True), is_number("1"), is_number(10**400)
    (True, True, False, False, False)
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def texts_of(option: str, given: object, count: int, what: str) -> list[str]:
    """Return names that the user gave, one for each of so many things; labels that are no texts are written as such."""
    came = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping) else None
    if came is None or not all(isinstance(name, str | Number) for name in came):
        raise OptionError(f"{option} is {shown(given)}; pass a list of {counted(count, 'name')}, one for each {what}.")
    if len(came) != count:
        raise OptionError(f"{option} has {counted(len(came), 'name')} for {counted(count, what)}; pass one for each.")
    return list(map(str, came))


def text_of(option: str, given: object) -> str | None:
    """Return a text that the user gave, or nothing; numbers are written as texts."""
    if given is None or isinstance(given, str | Number):
        return None if given is None else str(given)
    raise OptionError(f"{option} is {shown(given)}; pass a text.")


def counted(number: int, noun: str) -> str:
    """Count things in words.

    Examples
    --------
    >>> counted(1, "row"), counted(3, "row")
    ('1 row', '3 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: object, *, limit: int = 8) -> str:
    """Join names for a sentence, and count what was left out.

    Parameters
    ----------
    names : iterable
        What to list; anything with a `str`.
    limit : int
        How many are written out.

    Returns
    -------
    str

    Examples
    --------
    >>> listed(["a", "b"])
    "'a', 'b'"
    >>> listed(range(10), limit=2)
    "'0', '1' and 8 more"
    >>> listed([])
    'none'
    """
    items = [f"'{name}'" for name in names]  # type: ignore[attr-defined]
    shown = ", ".join(items[:limit]) or "none"
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
