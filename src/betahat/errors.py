"""Errors and warnings: sentences that say what was expected, what was passed, and what to do about it."""

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

# In characters: longer values are described by their type, longer strings are cut.
_SHOWN = 40
_LONGEST = 160
_HOME = os.path.dirname(__file__) + os.sep


class BetahatError(ValueError):
    """Base class of all errors of the package; a `ValueError`, so that existing handlers catch it."""


class DataError(BetahatError):
    """The data cannot be used as they are: shapes, missing values, types, names or devices."""


class FormulaError(BetahatError):
    """A formula, or a restriction written as a string, cannot be read or evaluated."""


class OptionError(BetahatError):
    """An unknown name or an invalid option; the message lists what is accepted."""


class EstimationError(BetahatError):
    """The estimate or its covariance is not defined for these data."""


class WorkerError(BetahatError):
    """Workers of an engine died, have other versions, or cannot be sent what they are to compute."""


class MissingPackageError(BetahatError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class BetahatWarning(UserWarning):
    """Base class of all warnings of the package."""


class CollinearityWarning(BetahatWarning):
    """The regressors are collinear."""


class ClusterWarning(BetahatWarning):
    """Clusters are few, consist of single rows, or determine a coefficient on their own, so that their standard errors are misleading."""


class BootstrapWarning(BetahatWarning):
    """So many bootstrap replicates have no estimate that the remaining ones are not representative."""


class ConvergenceWarning(BetahatWarning):
    """Parameters that are not at the optimum were accepted as they are."""


class WeakInstrumentWarning(BetahatWarning):
    """Instruments move the endogenous regressors so little that estimates are biased and their standard errors mislead."""


class RobustTestWarning(BetahatWarning):
    """A test that assumes homoskedastic errors was requested for results with a robust covariance."""


def optional_module(name: str, what: str, extra: str) -> ModuleType:
    """Import a module of an optional package; `what` begins the sentence ("Pictures need matplotlib"), `extra` is the extra that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(f"{what}, which is not installed: pip install 'betahat[{extra}]'.") from error


def user_level() -> int:
    """Return the ``stacklevel`` at which a warning raised by the caller points to the user's line, however deep inside the package it is raised."""
    frame: FrameType | None = sys._getframe(1)
    level = outside = 1
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_HOME) or (level == outside and file == functools.__file__):  # of a cached_property
            outside = level + 1
        frame, level = frame.f_back, level + 1
    return outside


def described(value: object) -> str:
    """Name the type of a value, with its article.

    >>> described(3), described([])
    ('an int', 'a list')
    """
    name = type(value).__name__
    letters = "AEFHILMNORSX" if name[:2].isupper() else "aeioAEIO"  # an RLM is spelt, and a Logit is not
    return f"{'an' if name[0] in letters else 'a'} {name}"


def is_flag(value: object) -> bool:
    """Tell whether a value is True or False, or equal to one of them (1 and 0).

    >>> is_flag(True), is_flag(0), is_flag("yes"), is_flag([True])
    (True, True, False, False)
    """
    return isinstance(value, Number | np.bool_) and value in (True, False)


def check_flag(name: str, value: object, *, none: bool = False) -> None:
    """Refuse a value that is not True or False: going by its truth would take "no" for True."""
    if not (is_flag(value) or (none and value is None)):
        raise OptionError(f"{name} is {shown(value)}; use {'True, False or None' if none else 'True or False'}.")


def shown(value: object) -> str:
    """Return a value as it is written in a sentence, or only its type if it would take up more than a few words.

    >>> shown("no"), shown(list(range(99)))
    ("'no'", 'a list')
    """
    text = repr(value)
    if isinstance(value, str):
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...{text[-1]}"
    return text if len(text) <= _SHOWN and "\n" not in text else described(value)


def of_data(value: object) -> object:
    """Return a value of the data as it is written in a sentence: years that are floats have no decimal point.

    >>> of_data(1939.0), of_data(np.float64(0.5)), of_data("1939.0")
    (1939, 0.5, '1939.0')
    """
    plain = value.item() if isinstance(value, np.generic) else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def is_one_of(value: object, choices: Iterable[object]) -> bool:
    """Tell whether a value of any type is one of the choices; arrays and lists never are.

    >>> is_one_of("a", ("a", None)), is_one_of(None, ("a", None)), is_one_of(["a"], ("a", None))
    (True, True, False)
    """
    plain = isinstance(value, str | int | np.bool_)
    return any(value is choice or (plain and value == choice) for choice in choices)


def check_number(**numbers: object) -> None:
    """Refuse options, given by name, that are not finite numbers."""
    for option, value in numbers.items():
        if not is_number(value):
            raise OptionError(f"{option} is {shown(value)}; pass a number.")


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a single finite number that fits into float64; True and False are not.

    >>> [is_number(value) for value in (1, np.float32(0.5), True, "1", 10**400)]
    [True, True, False, False, False]
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def texts_of(option: str, value: object, count: int, what: str) -> list[str]:
    """Return `count` names that the user passed, one for each of `what`, as strings."""
    names = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) else None
    if names is None or not all(isinstance(name, str | Number) for name in names):
        raise OptionError(f"{option} is {shown(value)}; pass a list of {counted(count, 'name')}, one for each {what}.")
    if len(names) != count:
        raise OptionError(f"{option} has {counted(len(names), 'name')} for {counted(count, what)}; pass one for each.")
    return list(map(str, names))


def text_of(option: str, value: object) -> str | None:
    """Return an optional string that the user passed; numbers are converted."""
    if value is None or isinstance(value, str | Number):
        return None if value is None else str(value)
    raise OptionError(f"{option} is {shown(value)}; pass a string.")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "row"), counted(3, "row")
    ('1 row', '3 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: object, *, limit: int = 8) -> str:
    """Quote and join the first `limit` names for a sentence, and count the rest.

    >>> listed(["a", "b"])
    "'a', 'b'"
    >>> listed(range(10), limit=2)
    "'0', '1' and 8 more"
    >>> listed([])
    'none'
    """
    items = [f"'{of_data(name)}'" for name in names]  # type: ignore[attr-defined]
    first = ", ".join(items[:limit]) or "none"
    return first if len(items) <= limit else f"{first} and {len(items) - limit} more"
