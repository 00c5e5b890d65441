"""Results of statsmodels as columns of our tables and markers of our figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from betahat.covariance.base import Clustering
from betahat.data.printable import whole
from betahat.data.quiet import quiet
from betahat.tables.estimates import About
from betahat.tables.foreign import Foreign, estimates_of


def register(module: ModuleType) -> None:
    """Let `regtable` and `coefplot` take the results of models, and the marginal effects, that a module of statsmodels defines."""
    for name, read in _READERS[module.__name__].items():
        estimates_of.register(getattr(module, name), read)


def _read(result: Any) -> Sequence[Foreign]:
    terms = _terms(result)
    pvalues, tvalues = (_flat(getattr(result, name)) for name in ("pvalues", "tvalues"))
    table = np.column_stack([_flat(result.params), _flat(result.bse), tvalues, pvalues])
    use_t = bool(getattr(result, "use_t", False))
    df = getattr(result, "df_resid_inference", None)
    return (
        Foreign(
            "statsmodels",
            terms,
            table,
            lambda alpha: np.asarray(result.conf_int(alpha=alpha), dtype=float).reshape(-1, 2),
            endog_name=_endog_name(result),
            cov_type=str(getattr(result, "cov_type", "")),
            nobs=_nobs(result),
            use_t=use_t,
            df=getattr(result, "df_resid", None) if df is None else df,
            goodness=_goodness(result),
            known=About(source=result, fit=result, clusters=_clusters(result), single=_single(result, terms)),
        ),
    )


def _terms(result: Any) -> tuple[tuple[str, str], ...]:
    """Return the equation and the name of each parameter; those of several classes follow class by class."""
    params, model = result.params, result.model
    shape = np.shape(params)
    if len(shape) == 2:
        names = params.index if isinstance(params, pd.DataFrame) else model.exog_names
        classes = [label for place, label in sorted(model._ynames_map.items()) if place > 0]
        return tuple((f"{model.endog_names}={label}", str(name)) for label in classes for name in names)
    names = params.index if isinstance(params, pd.Series) else _names_of(model, shape[0])
    return tuple(("", whole(str(name))) for name in names)


def _names_of(model: Any, count: int) -> Sequence[str]:
    candidates = [getattr(model, "exog_names", None), getattr(model, "param_names", None)]
    found = next((names for names in candidates if names is not None and len(names) == count), None)
    return [f"b{i}" for i in range(count)] if found is None else found


def _flat(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=float).ravel(order="F")


def _endog_name(result: Any) -> str:
    name = getattr(result.model, "endog_names", "")
    return whole(name) if isinstance(name, str) else ", ".join(map(str, name))


def _nobs(result: Any) -> float | None:
    found = getattr(result, "nobs", None)
    if found is None:
        found = getattr(result.model, "nobs", None)
    return float(len(result.model.endog)) if found is None else float(found)


def _goodness(result: Any) -> tuple[str, float]:
    """Return what statsmodels' own summary says of the fit."""
    for name, label in (
        ("rsquared", "R²"),
        ("prsquared", "Pseudo R²"),
        ("pseudo_rsquared", "Pseudo R² (CS)"),
        ("llf", "Log-Likelihood"),
    ):
        # robust regression has the attribute, and no likelihood; a pseudo R² fits the model without regressors, which may warn
        with suppress(AttributeError, NotImplementedError), quiet():
            value = getattr(result, name)
            number = float(value() if callable(value) else value)
            if np.isfinite(number):
                return label, number
    return "", float("nan")


def _clusters(result: Any) -> tuple[Clustering, ...]:
    if getattr(result, "cov_type", "") != "cluster":
        return ()
    groups = result.cov_kwds["groups"]
    ways = list(groups.T) if isinstance(groups, np.ndarray) and groups.ndim == 2 else [groups]
    if isinstance(groups, pd.DataFrame):
        ways = [groups[name] for name in groups.columns]
    return tuple(Clustering(str(getattr(way, "name", None) or ""), len(pd.unique(pd.Series(way)))) for way in ways)


def _single(result: Any, terms: Sequence[tuple[str, str]]) -> frozenset[str]:
    """Return the parameters that are no coefficients: dispersion, cut points, variances of random effects."""
    model = result.model
    extra = (getattr(model, "k_extra", None) or 0) - (getattr(model, "k_inflate", None) or 0)
    fixed = getattr(result, "k_fe", None)
    first = len(terms) - max(extra, 0) if fixed is None else fixed
    return frozenset(name for _, name in terms[first:])


def _read_margins(result: Any) -> Sequence[Foreign]:
    """Read what `get_margeff` returns: the effects on each class are an equation."""
    frame = result.summary_frame()
    if isinstance(frame.index, pd.MultiIndex):
        terms = tuple((str(outcome), str(name)) for outcome, name in frame.index)
    else:
        terms = tuple(("", str(name)) for name in frame.index)
    model = result.results
    return (
        Foreign(
            "statsmodels",
            terms,
            frame.to_numpy(dtype=float)[:, :4],
            lambda alpha: result.summary_frame(alpha=alpha).to_numpy(dtype=float)[:, 4:],
            endog_name=_endog_name(model),
            cov_type=str(getattr(model, "cov_type", "")),
            nobs=_nobs(model),
            known=About(
                source=result, fit=model, clusters=_clusters(model), no_logarithms=frozenset(name for _, name in terms)
            ),
        ),
    )


# The classes of each module, and what reads them.
_READERS: dict[str, dict[str, Callable[[Any], Sequence[Foreign]]]] = {
    "statsmodels.base.model": {"Results": _read},
    "statsmodels.base.wrapper": {"ResultsWrapper": _read},
    "statsmodels.discrete.discrete_margins": {"DiscreteMargins": _read_margins},
}
