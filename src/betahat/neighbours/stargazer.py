"""stargazer: `register_class`, with a function that returns the numbers of a result under stargazer's names."""

from __future__ import annotations

from functools import singledispatch
from types import ModuleType
from typing import Any

from betahat.results.likelihood import MaximumLikelihoodResults
from betahat.results.linear import LinearResults
from betahat.results.statsmodels_names import Results


def register(stargazer: ModuleType) -> None:
    """Let `Stargazer([...])` take results."""
    stargazer.register_class(Results, model_data)


def model_data(results: Results) -> dict[str, Any]:
    """Return the numbers that stargazer prints for a model; it skips lines that are None."""
    table = results.tidy().set_index("term")
    nothing = dict.fromkeys(("r2", "r2_adj", "pseudo_r2", "resid_std_err", "f_statistic", "f_p_value"))
    return {
        "dependent_variable": results.endog_name,
        "cov_names": table.index.to_numpy(),
        "cov_values": table["estimate"],
        "cov_std_err": table["std.error"],
        "p_values": table["p.value"],
        "conf_int_low_values": table["conf.low"],
        "conf_int_high_values": table["conf.high"],
        "nobs": results.nobs,
        "degree_freedom": results.df_model,
        "degree_freedom_resid": results.df_resid,
        **nothing,
        **fit_statistics(results),
    }


@singledispatch
def fit_statistics(results: Results) -> dict[str, Any]:
    """Return the measures of fit of a type of model, by their names in stargazer."""
    return {}


@fit_statistics.register
def _(results: LinearResults) -> dict[str, Any]:
    return {
        "r2": results.rsquared,
        "r2_adj": results.rsquared_adj,
        "resid_std_err": results.mse_resid**0.5,
        "f_statistic": results.fvalue,
        "f_p_value": results.f_pvalue,
    }


@fit_statistics.register
def _(results: MaximumLikelihoodResults) -> dict[str, Any]:
    name, value = results.goodness
    return {"pseudo_r2": value} if name.startswith("Pseudo R²") else {}
