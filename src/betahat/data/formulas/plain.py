"""Formulas of the command line: columns and known functions, and none of Python's or betahat's own."""

from __future__ import annotations

import pandas as pd
from formulaic.errors import FormulaicError
from formulaic.parser.types import Token

from betahat.data.formulas.expressions import ReasonError
from betahat.data.formulas.grammar import Parser
from betahat.data.formulas.harmless import HarmError, made_by, names_of
from betahat.errors import FormulaError, listed, shown


def check_plain(text: str, frame: pd.DataFrame) -> None:
    """Refuse a formula that runs code, before it is evaluated.

    Raises
    ------
    FormulaError
        It names what is no column, or calls what is neither one of NumPy's functions of numbers nor a transformation of formulas.
    """
    try:
        tokens = Parser().get_tokens(text)
    except (FormulaicError, ReasonError, RecursionError):
        return  # whoever evaluates it cannot read it either, and says why
    names = names_of(frame, {}, {}, ())
    absent = [
        token.token for token in tokens if token.kind is Token.Kind.NAME and token.token.strip("`") not in names.columns
    ]
    if absent:
        raise FormulaError(
            f"The formula {shown(text)} names {listed(absent)}, which the data do not have; the columns are "
            f"{listed(frame.columns, limit=12)}."
        )
    for token in tokens:
        if token.kind is Token.Kind.PYTHON:
            try:
                made_by(token.token, names, {})
            except HarmError as error:
                raise FormulaError(
                    f"The formula {shown(text)} holds {str(error)!r}, and on the command line formulas are columns, numbers, NumPy's functions of "
                    "numbers (np.log) and the transformations of formulas (C, bs, poly, ...); use Python for others."
                ) from error
