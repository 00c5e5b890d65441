"""Results of linearmodels as columns of our tables and markers of our figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from betahat.covariance.base import Clustering
from betahat.tables.estimates import About
from betahat.tables.foreign import Foreign, estimates_of

# What linearmodels calls effects that are neither of entities nor of times.
_OTHER = re.compile(r"Other Effect \((.*)\)")


def register(module: ModuleType) -> None:
    """Let `regtable` and `coefplot` take the results that a module of linearmodels defines."""
    for name, read in _READERS[module.__name__].items():
        estimates_of.register(getattr(module, name), read)


def _read(result: Any) -> Sequence[Foreign]:
    terms = tuple(("", str(name)) for name in result.params.index)
    return (_column(result, result, terms, _endog_name(result.model.dependent), _kind(result)),)


def _read_system(system: Any) -> Sequence[Foreign]:
    """Read a system of equations: one column each."""
    return tuple(
        _column(
            equation,
            system,
            tuple(("", str(name)) for name in equation.params.index),
            equation.dependent,
            _kind(system),
        )
        for equation in system.equations.values()
    )


def _endog_name(dependent: Any) -> str:
    """Return the name of a dependent variable, which panels keep under another attribute."""
    names = getattr(dependent, "vars", None)
    return str((dependent.cols if names is None else names)[0])


def _column(result: Any, fit: Any, terms: tuple[tuple[str, str], ...], endog_name: Any, cov_type: str) -> Foreign:
    table = np.column_stack([result.params, result.std_errors, result.tstats, result.pvalues]).astype(float)
    return Foreign(
        "linearmodels",
        terms,
        table,
        lambda alpha: np.asarray(result.conf_int(1.0 - alpha), dtype=float),
        endog_name=str(endog_name),
        cov_type=cov_type,
        nobs=float(result.nobs),
        use_t=_uses_t(result),
        df=float(result.df_resid),
        goodness=("R²", float(result.rsquared)),
        known=About(
            source=result, fit=fit, effects=_effects(result), clusters=_clusters(fit), statistics=_statistics(result)
        ),
    )


def _kind(result: Any) -> str:
    """Return what linearmodels calls the covariance, whose attribute has another name in each of its parts."""
    for name in ("cov_type", "cov_estimator", "_cov_type"):
        kind = getattr(result, name, None)
        if isinstance(kind, str):
            return kind if " " in kind else kind.lower()
    return ""


def _uses_t(result: Any) -> bool:
    debiased = getattr(result, "debiased", None)
    return bool(getattr(result, "_debiased", False) if debiased is None else debiased)


def _effects(result: Any) -> tuple[str, ...]:
    """Return the absorbed effects by the names of their columns, where these are known."""
    model = getattr(result, "model", None)
    absorbed = getattr(getattr(model, "_absorb", None), "columns", ())
    frame = getattr(getattr(model, "dependent", None), "dataframe", None)
    names = dict(zip(("Entity", "Time"), () if frame is None else frame.index.names, strict=False))
    included = [_OTHER.sub(r"\1", effect) for effect in getattr(result, "included_effects", ())]
    return tuple(str(names.get(effect) or effect) for effect in (*included, *absorbed))


def _clusters(result: Any) -> tuple[Clustering, ...]:
    config = getattr(result, "cov_config", {})
    labels = config.get("clusters") if isinstance(config, dict) else None
    if labels is None:
        return ()
    ways = pd.DataFrame(np.asarray(labels))
    return tuple(Clustering("", int(ways[place].nunique())) for place in ways.columns)


def _statistics(result: Any) -> dict[str, Any]:
    """Return statistics under the names that our results have."""
    others = {"llf": getattr(result, "loglik", None), "rsquared_within": getattr(result, "rsquared_within", None)}
    return {name: float(value) for name, value in others.items() if value is not None}


# The classes of each module, and what reads them.
_READERS: dict[str, dict[str, Callable[[Any], Sequence[Foreign]]]] = {
    "linearmodels.iv.results": {"OLSResults": _read, "AbsorbingLSResults": _read},
    "linearmodels.panel.results": {"PanelResults": _read},
    "linearmodels.system.results": {"SystemResults": _read_system},
}
