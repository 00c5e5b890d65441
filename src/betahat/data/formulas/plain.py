"""Formulas on the command line: columns and known functions only, no other Python."""

from __future__ import annotations

import pandas as pd
from formulaic.errors import FormulaicError
from formulaic.parser.types import Token

from betahat.data.formulas.allowed import allowed_names
from betahat.data.formulas.expressions import ReasonError
from betahat.data.formulas.grammar import Parser
from betahat.data.formulas.harmless import HarmError, made_by
from betahat.errors import FormulaError, listed, shown


def check_plain(text: str, frame: pd.DataFrame) -> None:
    """Refuse a formula that would run code, before it is evaluated."""
    try:
        tokens = Parser().get_tokens(text)
    except (FormulaicError, ReasonError, RecursionError):
        return  # the fit cannot read it either, and says why
    names = allowed_names(frame, {}, {}, ())
    absent = [
        token.token for token in tokens if token.kind is Token.Kind.NAME and token.token.strip("`") not in names.columns
    ]
    if absent:
        raise FormulaError(
            f"The formula {shown(text)} refers to {listed(absent)}, which the data do not have; the columns are "
            f"{listed(frame.columns, limit=12)}."
        )
    for token in tokens:
        if token.kind is Token.Kind.PYTHON:
            try:
                made_by(token.token, names, {})
            except HarmError as error:
                raise FormulaError(
                    f"The formula {shown(text)} contains {str(error)!r}, but on the command line formulas may only contain columns, numbers, NumPy's "
                    "elementwise functions (np.log) and the transformations of formulas (C, bs, poly, ...); use Python for others."
                ) from error
