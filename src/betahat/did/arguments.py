"""The outcome and the controls of an event study, which errors name as the user wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from betahat.errors import FormulaError, OptionError, shown

_SUCH = {"y": "np.log(wage)", "controls": "x1 + C(region)"}
# What a formula may hold that is none of its own signs: quoted text, and what stands in brackets without others inside.
_INNER = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^\[\]]*\]")
# The remedy of lags in formulas, which event studies have where they have units.
_ORDER = "pass time='...' beside the formula, and panel='...' where there are several units"


def check_arguments(y: Any, controls: Any) -> None:
    """Refuse what is no text, and texts that are whole formulas."""
    for option, text in (("y", y), ("controls", controls)):
        if option == "controls" and text is None:
            continue
        if not isinstance(text, str) or not text.strip():
            omit = ", or omit it" if option == "controls" else ""
            raise OptionError(f"{option} is {shown(text)}; pass a string, such as {_SUCH[option]!r}{omit}.")
        outside = _outside(text)
        if "~" in outside or "|" in outside:
            what = "the outcome alone" if option == "y" else "regressors alone"
            raise FormulaError(
                f"{option} is {shown(text)}; write {what}, without '~' and '|', such as {_SUCH[option]!r}."
            )


def of_arguments(
    error: FormulaError, arguments: dict[str, tuple[str, str]], read: Callable[[str], Any]
) -> FormulaError:
    """Return the error of a generated formula as one of the argument that causes it.

    `arguments` have, by option, the user's text and a short formula of it, and `read` reads a formula.
    """
    for option, (given, formula) in arguments.items():
        try:
            read(formula)
        except FormulaError as found:
            return FormulaError(_named(str(found), formula, f"{option}={given!r}", _SUCH[option]))
    return error


def _named(sentence: str, formula: str, argument: str, such: str) -> str:
    """Put an argument into a sentence in the place of its formula."""
    for part in (formula, formula.rpartition(" | ")[0] or formula):
        quoted = shown(part)
        for before in (f"The left-hand side of {quoted}", f"The formula {quoted}", quoted):
            sentence = sentence.replace(before, argument)
    sentence = sentence.replace(_ORDER, "pass unit, the column of the units, in which lags are taken")
    sentence = sentence.replace("stands on both sides of a bar in", "has fixed effects of its own, and stands in")
    return sentence.replace("'y ~ x1 + C(group)'", repr(such)).replace("leave it out on one side", "leave it out")


def _outside(text: str) -> str:
    """Return what stands outside of brackets and quotes."""
    while (less := _INNER.sub("", text)) != text:
        text = less
    return text
