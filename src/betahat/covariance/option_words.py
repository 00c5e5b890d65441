"""The options of an estimator in words, by which tables and pictures tell covariances of one name apart."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any

OptionWords = tuple[tuple[str, str], ...]

_WORDS = {"maxlags": "{} lags", "kernel": "{} kernel", "prewhiten": "prewhitened by VAR({})", "kind": "{}"}


def options_in_words(estimator: Any) -> OptionWords:
    """Return the name of each option that is a word or a number, and what to say of it: nothing where there is none."""
    if not is_dataclass(estimator) or isinstance(estimator, type):
        return ()
    values = {entry.name: getattr(estimator, entry.name) for entry in fields(estimator)}
    return tuple(
        (name, option_in_words(name, value)) for name, value in values.items() if value is None or _is_plain(value)
    )


def option_in_words(name: str, value: Any) -> str:
    """Return an option in words.

    Examples
    --------
    >>> options = {"maxlags": 4, "correction": False, "seed": 1}
    >>> [option_in_words(*option) for option in options.items()]
    ['4 lags', 'no correction', 'seed 1']
    """
    words = name.replace("_", " ")
    if value is None or (name == "prewhiten" and not value):
        return ""
    if isinstance(value, bool):
        return words if value else f"no {words}"
    shown = value if isinstance(value, str) else f"{value:.6g}"
    if (name, shown) == ("maxlags", "1"):
        return "1 lag"
    return _WORDS.get(name, words + " {}").format(shown)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | Real)
