"""Fits of likelihoods with absorbed effects, and what is said of the rows that they leave out."""

from __future__ import annotations

import warnings
from copy import copy
from typing import TypeVar

from torch import Tensor

from betahat.calculus.rows import Bread
from betahat.data.design import Design
from betahat.errors import BetahatWarning, OptionError, counted, listed, user_level
from betahat.fits.absorbed_index import fit_absorbed_index
from betahat.fits.fit import Fit
from betahat.models.cautions import warn_alone
from betahat.models.regressors import RegressorModel
from betahat.objectives.base import LinearIndex

M = TypeVar("M", bound=RegressorModel)

# Fewer rows per level than this bias coefficients by more than a thirtieth or so.
_FEW = 30


def fit_with_effects(design: Design, objective: LinearIndex, bread: Bread, start: Tensor | None) -> Fit:
    """Fit with absorbed effects, and say which rows were left out."""
    if start is not None:
        raise OptionError(
            "start_params are values of the regressors' coefficients alone, and the absorbed effects would need some, too; leave them out, so that the fit starts from the "
            "data."
        )
    found = fit_absorbed_index(objective, design, bread)
    used = found.fit.given
    assert isinstance(used, Design)
    warn_alone(used)
    left_out = found.uniform + found.separated
    names = listed([effect.name for effect in design.schema.effects])
    if left_out:
        binary = objective.support.binary
        bound = "0, or 1," if binary else "0"
        parts = [f"{found.uniform} in levels of {names} with {bound} in every row"] if found.uniform else []
        parts += (
            [f"{found.separated} separated by {'effects' if binary else 'regressors and effects'} together"]
            if found.separated
            else []
        )
        warnings.warn(
            f"{counted(left_out, 'row')} {'was' if left_out == 1 else 'were'} left out, since maximum likelihood fits a mean of {'0 or 1' if binary else '0'} there whatever the other "
            f"coefficients are: {' and '.join(parts)}.",
            BetahatWarning,
            stacklevel=user_level(),
        )
    if objective.support.binary:
        _warn_incidental(used)
    return found.fit


def _warn_incidental(design: Design) -> None:
    """Say that levels with few rows bias the coefficients (Neyman and Scott 1948, Econometrica 16(1))."""
    few = [
        f"{effect.name} has {float(design.nobs) / effect.count:.3g} rows per level"
        for effect in design.schema.effects
        if effect.constant and design.nobs < _FEW * effect.count
    ]
    if few:
        warnings.warn(
            f"{', '.join(few)}, and coefficients are biased by about one over that (incidental parameters), away from zero; use a linear probability model, bh.ols, regressors' "
            "means by level in the place of the effects, or a split-panel jackknife.",
            BetahatWarning,
            stacklevel=user_level(),
        )


def in_use_by(model: M, fit: Fit) -> M:
    """Return a model with the rows that a fit has in use, where it had to leave some out."""
    if fit.given is model.sample or not isinstance(fit.given, Design):
        return model
    used = copy(model)
    used.sample = fit.given
    return used
