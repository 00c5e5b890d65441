"""maketables: an extractor that precedes the one for statsmodels, which claims anything with params, bse and pvalues."""

from __future__ import annotations

from functools import singledispatch
from types import ModuleType
from typing import Any

import pandas as pd

from betahat.data.frame import is_frame, to_pandas
from betahat.results.general import GeneralResults
from betahat.results.likelihood import MaximumLikelihoodResults
from betahat.results.linear import LinearResults
from betahat.results.statsmodels_names import Results

_COLUMNS = {
    "estimate": "b",
    "std.error": "se",
    "statistic": "t",
    "p.value": "p",
    "conf.low": "ci95l",
    "conf.high": "ci95u",
}


def register(extractors: ModuleType) -> None:
    """Let `ETable` take results; maketables' own `register_extractor` would put our extractor last."""
    extractors._EXTRACTOR_REGISTRY.insert(0, Extractor(extractors))


class Extractor:
    """maketables' protocol `ModelExtractor` for `Results`."""

    def __init__(self, extractors: ModuleType) -> None:
        """Keep maketables' module, which reads the labels of a dataframe."""
        self._extractors = extractors

    def can_handle(self, model: Any) -> bool:
        """Tell whether a model is a result of betahat."""
        return isinstance(model, Results)

    def coef_table(self, model: Results) -> pd.DataFrame:
        """Return one row for each coefficient: b, se, t, p and the bounds of 95% and 90% intervals."""
        wide, narrow = model.tidy(0.95), model.tidy(0.90)
        table = wide.rename(columns=_COLUMNS).assign(ci90l=narrow["conf.low"], ci90u=narrow["conf.high"])
        if model.fit.equations:  # a colon would be read as an interaction
            table["term"] = table["term"].str.replace(":", ", ", n=1)
        return table.set_index("term").rename_axis("Coefficient")

    def depvar(self, model: Results) -> str:
        """Return the name of the dependent variable."""
        return model.endog_name

    def fixef_string(self, model: Results) -> None:
        """Return None: there are no absorbed effects."""
        return

    def stat(self, model: Results, key: str) -> Any:
        """Return a statistic by its name in maketables, or None."""
        return _statistics(model).get(key)

    def vcov_info(self, model: Results) -> dict[str, Any]:
        """Return the label of the covariance and the names of the clusters."""
        columns = [way.column for way in model.cov.clusters if way.column]
        return {"vcov_type": model.cov_type, "clustervar": "+".join(columns) or None}

    def var_labels(self, model: Results) -> dict[str, str] | None:
        """Return the labels of the dataframe's columns, if it has any."""
        data = model.fit.given.user_data.data
        if data is None or not is_frame(data):
            return None
        labels: dict[str, str] = self._extractors.get_var_labels(to_pandas(data, None), include_defaults=True)
        return labels

    def supported_stats(self, model: Results) -> set[str]:
        """Return the names of the statistics that a model has."""
        return set(_statistics(model))

    def stat_labels(self, model: Results) -> dict[str, str]:
        """Name what maketables does not know."""
        return {"loss": "Loss"}

    def default_stat_keys(self, model: Results) -> list[str] | None:
        """Return what a table shows of a model; None leaves it to maketables: N and R2."""
        return None if isinstance(model, LinearResults) else ["N", *list(fit_statistics(model))[:2]]

    def sample_split(self, model: Results) -> None:
        """Return None: the model is of all its rows."""
        return


# maketables' names of what tables say of a fit.
_KEYS = {"R²": "r2", "Pseudo R²": "pseudo_r2", "Pseudo R² (CS)": "pseudo_r2", "Log-Likelihood": "ll"}


def _statistics(results: Results) -> dict[str, Any]:
    common = {
        "N": int(results.nobs),
        "se_type": results.cov_type,
        "df_model": results.df_model,
        "df_resid": results.df_resid,
    }
    return {**common, **fit_statistics(results)}


@singledispatch
def fit_statistics(results: Results) -> dict[str, float]:
    """Return the measures of fit of a type of model, by their names in maketables, the most important first; by default the one that tables show."""
    name, value = results.goodness
    return {_KEYS.get(name, name): value}


@fit_statistics.register
def _(results: LinearResults) -> dict[str, float]:
    return {
        "r2": results.rsquared,
        "adj_r2": results.rsquared_adj,
        "rmse": results.mse_resid**0.5,
        "fvalue": results.fvalue,
        "f_pvalue": results.f_pvalue,
        **_likelihood(results),
    }


@fit_statistics.register
def _(results: MaximumLikelihoodResults) -> dict[str, float]:
    name, value = results.goodness
    return {
        _KEYS.get(name, name): value,
        **_likelihood(results),
        "llnull": results.llnull,
        "llr": results.llr,
        "llr_df": results.df_model,
        "llr_p": results.llr_pvalue,
    }


@fit_statistics.register
def _(results: GeneralResults) -> dict[str, float]:
    return {"loss": results.loss} if not results.fit.objective.dispersion.likelihood else _likelihood(results)


def _likelihood(results: Results) -> dict[str, float]:
    return {"ll": results.llf, "aic": results.aic, "bic": results.bic}
