"""Rows of regressors that a formula makes, with their places in the user's frame."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.sample import Sample
from betahat.did.two_stage import Imputed, Stage, imputed
from betahat.errors import BetahatWarning, counted, user_level
from betahat.models.likelihood import DiscreteModel
from betahat.models.linear import OLS, WLS, model_of_formula
from betahat.models.regressors import design_of_formula

if TYPE_CHECKING:
    import pandas as pd

D = TypeVar("D", bound=DiscreteModel)


def linear_model(
    text: str, frame: pd.DataFrame, weights: Any, names: Mapping[str, Any], order: Mapping[str, str]
) -> OLS | WLS:
    """Return the model of a formula, weighted where there are weights; `names` are the caller's variables, `order` the options of lags."""
    options = {"missing": "drop", **order}
    if weights is None:
        return model_of_formula(OLS, text, frame, options, names)
    return model_of_formula(WLS, text, frame, options | {"weights": weights}, names)


def index_model(
    kind: type[D], text: str, frame: pd.DataFrame, weights: Any, names: Mapping[str, Any], order: Mapping[str, str]
) -> D:
    """Return a model of counts or of a binary outcome of a formula."""
    model = kind.__new__(kind)
    options = {"missing": "drop", **order, **({} if weights is None else {"weights": weights})}
    model.sample, model.source = design_of_formula(text, frame, options, ("weights",), names, kind.__name__)
    model.recipe.check_endog(model.design, kind.__name__)
    return model


def design_of(sample: Sample) -> Design:
    """Return rows as those of regressors, which they are."""
    assert isinstance(sample, Design)
    return sample


def places_of(design: Design) -> np.ndarray:
    """Return (m,) the places of the rows in use in the user's frame."""
    used = design.user_data.in_use
    return np.arange(design.rows) if used is None else used.cpu().numpy()


def weights_of(design: Design) -> Tensor:
    """Return (m,) the weights of the rows."""
    one = torch.ones(design.rows, dtype=torch.float64, device=design.device)
    return one if design.weights is None else one * design.weights


def stage_of(design: Design, columns: Tensor, units: np.ndarray, untreated: np.ndarray) -> Stage:
    """Return the first stage of rows in use: their (m, q) columns, and in the user's frame the (n,) units and which rows are untreated."""
    rows = places_of(design)
    codes = torch.from_numpy(np.unique(units[rows], return_inverse=True)[1].reshape(-1))
    return Stage(
        design.column("endog").to(torch.float64),
        torch.from_numpy(untreated[rows]).to(design.device),
        codes.to(design.device),
        columns,
        None if design.weights is None else design.weights.to(torch.float64),
    )


def dummies_of(labels: np.ndarray, design: Design) -> Tensor:
    """Return (m, L) dummies of the (n,) labels of the user's rows, of those in use."""
    codes = torch.from_numpy(np.unique(labels[places_of(design)], return_inverse=True)[1].reshape(-1))
    return torch.nn.functional.one_hot(codes).to(design.device, torch.float64)


def determined(design: Design, stage: Callable[[Design], Stage]) -> tuple[Design, Imputed, Tensor]:
    """Fit the first stage, and leave out rows whose untreated outcome it does not determine; return those left, the fit, and their (m,) places."""
    found = imputed(stage(design))
    places = torch.arange(design.rows, device=design.device)
    if bool(found.known.all()):
        return design, found, places
    lost = int((~found.known).sum())
    warnings.warn(
        f"{counted(lost, 'row')} {'is' if lost == 1 else 'are'} left out, as the untreated rows say nothing of the fixed effects that they belong to.",
        BetahatWarning,
        stacklevel=user_level(),
    )
    left = design.in_use(places[found.known])
    return left, imputed(stage(left)), places[found.known]
