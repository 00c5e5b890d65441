"""Results of pyfixest as columns of our tables and markers of our figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from betahat.covariance.base import Clustering
from betahat.tables.estimates import About
from betahat.tables.foreign import Foreign, estimates_of


def register(module: ModuleType) -> None:
    """Let `regtable` and `coefplot` take the models that a module of pyfixest defines."""
    for name, read in _READERS[module.__name__].items():
        estimates_of.register(getattr(module, name), read)


def _read_several(models: Any) -> Sequence[Foreign]:
    """Read the estimation of many formulas: a column each."""
    return tuple(column for model in models.all_fitted_models.values() for column in _read(model))


def _read(model: Any) -> Sequence[Foreign]:
    table = model.tidy()
    df = float(model._df_t)
    normal = not np.isfinite(df)
    return (
        Foreign(
            "pyfixest",
            tuple(("", str(name)) for name in table.index),
            table[["Estimate", "Std. Error", "t value", "Pr(>|t|)"]].to_numpy(dtype=float),
            lambda alpha: model.confint(alpha=alpha).to_numpy(dtype=float),
            endog_name=str(model._depvar),
            cov_type=str(model._vcov_type_detail),
            nobs=float(model._N),
            use_t=not normal,
            df=None if normal else df,
            goodness=_goodness(model),
            known=About(
                source=model,
                fit=model,
                effects=_effects(model),
                clusters=_clusters(model),
                statistics=_statistics(model),
            ),
        ),
    )


def _effects(model: Any) -> tuple[str, ...]:
    effects = model._fixef
    return tuple(map(str.strip, effects.split("+"))) if isinstance(effects, str) and effects != "0" else ()


def _clusters(model: Any) -> tuple[Clustering, ...]:
    """Return the ways of clustering; where there are two, pyfixest's own counts are the smaller of both."""
    if not model._is_clustered:
        return ()
    labels = model._cluster_df
    return tuple(Clustering(str(name), int(labels[name].nunique())) for name in model._clustervar)


def _goodness(model: Any) -> tuple[str, float]:
    found = _statistics(model)
    for name, label in (("rsquared", "R²"), ("prsquared", "Pseudo R²"), ("llf", "Log-Likelihood")):
        if name in found:
            return label, found[name]
    return "", float("nan")


# What our results call the statistics that pyfixest keeps under private names.
_NAMES = {
    "rsquared": "_r2",
    "rsquared_adj": "_adj_r2",
    "rsquared_within": "_r2_within",
    "prsquared": "_pseudo_r2",
    "llf": "_loglik",
    "df_resid": "_df_t",
}


def _statistics(model: Any) -> dict[str, float]:
    """Return statistics under the names that our results have."""
    values = {name: getattr(model, own, None) for name, own in _NAMES.items()}
    return {name: float(value) for name, value in values.items() if value is not None and np.isfinite(value)}


# The classes of each module, and what reads them.
_READERS: dict[str, dict[str, Callable[[Any], Sequence[Foreign]]]] = {
    "pyfixest.estimation.models.feols_": {"Feols": _read},
    "pyfixest.estimation.FixestMulti_": {"FixestMulti": _read_several},
}
