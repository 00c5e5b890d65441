"""The parts of a formula: `y ~ x | firm + year | price ~ z`, fixest's, with absorbed effects and instruments after bars."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import formulaic
from formulaic.errors import FormulaicError

from betahat.data.effects import EffectTerm, effect_terms
from betahat.data.formulas.expressions import ReasonError
from betahat.data.formulas.grammar import Parser, pieces
from betahat.errors import FormulaError, described, shown

_IN_BRACKETS = re.compile(r"\[[^\[\]~]*~[^\[\]~]*\]")


@dataclass(frozen=True)
class Parts:
    """A formula in its parts.

    Attributes
    ----------
    main : str
        The dependent variable and the exogenous regressors.
    effects : tuple of EffectTerm
        The absorbed effects.
    endogenous, instruments : str
        The endogenous regressors and the excluded instruments; empty where there are none.
    """

    main: str
    effects: tuple[EffectTerm, ...] = ()
    endogenous: str = ""
    instruments: str = ""

    @property
    def constant(self) -> bool:
        """Whether some effect has a dummy for each level, so that the constant is one of their sums."""
        return any(effect.constant for effect in self.effects)


def read_parts(text: str, option: str | None, bars: Collection[str]) -> Parts:
    """Split a formula at its bars, and refuse parts that a model does not take."""
    if not isinstance(text, str):
        raise FormulaError(
            f"A formula is a string such as 'y ~ x', not {described(text)}; for arrays use bh.OLS(endog, exog)."
        )
    parts = _split(text)
    asked = {"effects": bool(parts.effects), "instruments": bool(parts.instruments)}
    refused = [name for name, there in asked.items() if there and name not in bars]
    if refused and option is not None:
        raise FormulaError(
            f"The formula {shown(text)} has several parts, separated by |; write one, and the second beside it, {option}='~ ...'."
        )
    if refused:
        remedy = {
            "effects": "bh.ols, bh.wls, bh.poisson, bh.logit, bh.probit and bh.glm absorb effects; here write them as C(group)",
            "instruments": "bh.ols and bh.wls take instruments",
        }[refused[0]]
        raise FormulaError(
            f"The formula {shown(text)} has {refused[0]} after a bar, which this model does not take: {remedy}."
        )
    return parts


def _split(text: str) -> Parts:
    """Split a formula at the bars that stand in no bracket."""
    try:
        bars, tildes = _places(text)
    except ReasonError:  # what is wrong is said of the whole formula, by whoever parses it
        return Parts(text)
    if not bars:
        return Parts(text)
    edges = [-1, *bars, len(text)]
    main, *others = (text[start + 1 : stop] for start, stop in itertools.pairwise(edges))
    with_tilde = [any(start < tilde < stop for tilde in tildes) for start, stop in itertools.pairwise(edges[1:])]
    effects, endogenous, instruments = "", "", ""
    if with_tilde not in ([False], [True], [False, True]):
        raise FormulaError(
            f"The formula {shown(text)} has parts that cannot be told apart; after the regressors write absorbed effects, then instruments, such as "
            "'y ~ x | firm + year | price ~ z'."
        )
    if not with_tilde[0]:
        effects = others[0]
    if with_tilde[-1]:
        endogenous, _, instruments = others[-1].partition("~")
        if not endogenous.strip() or not instruments.strip():
            raise FormulaError(
                f"The part {shown(others[-1].strip())} of {shown(text)} has no {'instruments' if endogenous.strip() else 'endogenous variable'}; write both, such as "
                "'price ~ z1 + z2'."
            )
    return Parts(
        main.strip(),
        effect_terms(effects) if effects.strip() else _no_effects(text, with_tilde),
        endogenous.strip(),
        instruments.strip(),
    )


def _no_effects(text: str, with_tilde: list[bool]) -> tuple[EffectTerm, ...]:
    if with_tilde[0]:
        return ()
    raise FormulaError(
        f"The formula {shown(text)} has nothing between bars; name the effects to absorb, or leave the bar out."
    )


def _places(text: str) -> tuple[list[int], list[int]]:
    """Return the places of bars and tildes outside of brackets."""
    depth = 0
    bars: list[int] = []
    tildes: list[int] = []
    for piece in pieces(text):
        depth += (piece.kind == "open") - (piece.kind == "close")
        if not depth and piece.kind == "operator":
            (bars if piece.text == "|" else tildes if piece.text == "~" else []).append(piece.start)
    return bars, tildes


@lru_cache(maxsize=128)
def parsed(text: str, trials: bool) -> Any:
    """Return the terms of both sides; cached, as simulations read the same formula a thousand times, and never modified."""
    try:
        parser = Parser()
        tokens = parser.get_tokens(text)
        power = any(token.kind.value == "operator" and token.token in ("**", "^") for token in tokens)
        found = formulaic.Formula(text, _parser=parser, _ordering="degree" if power else "none")
    except (FormulaicError, ReasonError, RecursionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        remedy = "write it like 'y ~ x1 + C(group)'"
        if _IN_BRACKETS.search(text):  # as linearmodels has them
            remedy = "write endogenous regressors and their instruments after a bar, such as 'y ~ x | price ~ z1 + z2'"
        raise FormulaError(f"The formula {shown(text)} cannot be read: {reason}; {remedy}.") from error
    if getattr(found, "lhs", None) is None:
        raise FormulaError(f"The formula {shown(text)} has no left-hand side; write 'y ~ ...'.")
    _check_left(tokens, text, trials)
    return found


def _check_left(tokens: Sequence[Any], text: str, trials: bool) -> None:
    """Refuse operators on the left-hand side, which patsy reads as operators on terms, and R as arithmetic, but for "successes + failures"."""
    end = next(i for i, token in enumerate(tokens) if token.token == "~")
    operators = [token.token for token in tokens[:end] if token.kind.value == "operator"]
    if operators and not (trials and operators == ["+"]):
        left = text[: tokens[end].source_start].strip()
        raise FormulaError(
            f"The left-hand side {shown(left)} of {shown(text)} would be read as terms, like the right-hand side, and not computed as in R; "
            f"write I({left})."
        )
