"""Our results as marginaleffects' model class; imported only when the first result is passed, as it imports marginaleffects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from marginaleffects.classes import ModelAbstract, ModelVault
from marginaleffects.utils import ingest

from betahat.data.container import to_numpy
from betahat.inference.effects import refuse_effects
from betahat.inference.margins import Response
from betahat.margins.subject import Kind, Subject
from betahat.models.regressors import RegressorModel
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.poisson import PoissonLog
from betahat.results.statsmodels_names import Results

_OFFSET = "offset of the fit"
_POLARS_2 = int(pl.__version__.partition(".")[0]) >= 2
# The names of the columns of marginaleffects' own results, which it refuses in the data.
_RESERVED = {"rowid", "type", "group", "estimate", "std_error", "p_value", "s_value", "conf_low", "conf_high"}
_RESERVED |= {"term", "contrast", "statistic"}
_AUTODIFF: dict[type, tuple[str, str | None, str | None]] = {
    Gaussian: ("linear", None, None),
    Logistic: ("glm", "binomial", "logit"),
    Normit: ("glm", "binomial", "probit"),
    PoissonLog: ("glm", "poisson", "log"),
}


class Model(ModelAbstract):  # type: ignore[misc]
    """Results as marginaleffects reads them: coefficients, their covariance, the data, and means for new data."""

    model: Results

    def __init__(self, results: Results) -> None:
        """Take results, whose data are read only when they are needed: `hypotheses` needs none."""
        names = [name for name in results.names if name not in results.aliased]
        vault = ModelVault(coef=to_numpy(results.fit.params).copy(), coefnames=np.array(names), package="betahat")
        ModelAbstract.__init__(self, results, vault)

    def validation(self) -> None:
        """Check nothing: betahat has already read the formula and the data."""

    # inference

    def get_vcov(self, vcov: Any = True) -> np.ndarray | None:
        """Return the (k, k) covariance of the results, or that of another name or estimator, whose degrees of freedom are used from then on."""
        if vcov is None or vcov is False:
            return None
        if vcov is not True:
            self.model = self.model.with_cov(vcov)
        return to_numpy(self.model.cov.matrix)

    @property
    def df_resid(self) -> float:
        """The degrees of freedom of t tests, infinite for the normal distribution; an error if they differ between coefficients."""
        df: float | None = self.model._pair.df
        return float("inf") if df is None else float(df)

    def get_df(self) -> float:
        """Return the denominator degrees of freedom of joint tests; an error if `df_resid` is one."""
        _, denominator = self.df_resid, self.model._pair.df_denom
        return float(denominator)

    # data

    @cached_property
    def _subject(self) -> Subject:
        return self.model._subject(None)

    @property
    def _response(self) -> Response:
        if not self.model.fit.objective.dispersion.squares:
            refuse_effects(
                self.model.fit,
                "Marginal effects on the mean need",
                "use the coefficients, which need none, or write the effects as C(group)",
            )
        return self._subject.response

    @property
    def _predictors(self) -> list[str]:
        return list(self._subject.variables)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        """(n, ...) the user's own columns for a formula, otherwise the regressors."""
        response, source, frame = self._response, self._subject.source, self._subject.frame
        if source is not None:
            others = {name for name in frame.columns if name not in _RESERVED and frame[name].dtype != object}
            frame = frame[[name for name in frame.columns if name in others.union(source.variables)]]
        added = {} if response.offset is None else {_OFFSET: to_numpy(response.offset)}
        if isinstance(self.model.model, RegressorModel) and response.endog_name not in frame:
            added[response.endog_name] = to_numpy(self.model.model.design.endog)
        return frame.assign(**added)

    @cached_property
    def _data(self) -> pl.DataFrame:
        return _with_levels(self._frame, self._predictors)

    def get_modeldata(self) -> pl.DataFrame:
        """Return the rows of the sample, with all columns of a formula's dataframe."""
        return self._data

    def get_formula(self) -> str:
        """Return a formula that only names the variables, with which marginaleffects finds rows with missing values."""
        return "1 ~ " + " + ".join(["1", *(f"`{name}`" for name in self._predictors)])

    def find_predictors(self) -> list[str] | None:
        """Return the variables that the mean depends on, or None if there are none."""
        return list(self._predictors) or None

    def find_variables(self) -> list[str]:
        """Return the dependent variable, if it is a column, and the predictors."""
        return [name for name in (self.model.endog_name, *self._predictors) if name in self._data.columns]

    def get_variable_type(self, name: str | None = None) -> Any:
        """Return the type of one variable or of all; a number that the formula treats as a category is a category."""
        return self._types if name is None else self._types[name]

    @cached_property
    def _types(self) -> dict[str, str]:
        known = {name: self._subject.kind(name) is Kind.CATEGORY for name in self._predictors}
        return {name: _type(self._data[name], known.get(name, False)) for name in self.find_variables()}

    # means

    def get_exog(self, newdata: pl.DataFrame) -> np.ndarray:
        """Return the (m, k) regressors of new data, followed by their offset if the fit had one."""
        response = self._response
        plain = newdata.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String)).to_pandas()
        exog = to_numpy(self._subject.read(plain))
        if response.offset is None:
            return exog
        offset = newdata[_OFFSET].to_numpy() if _OFFSET in newdata.columns else np.zeros(len(exog))
        return np.column_stack([exog, offset])

    def get_predict(self, params: np.ndarray, newdata: np.ndarray) -> pl.DataFrame:
        """Return the means at (k,) parameters: one row for each row of the regressors, or, with several classes, for each row of each class."""
        response = self._response
        theta = torch.as_tensor(params, dtype=torch.float64, device=response.exog.device)
        exog = torch.tensor(np.asarray(newdata, dtype=float), device=response.exog.device)
        exog, offset = (exog, None) if response.offset is None else (exog[:, :-1], exog[:, -1])
        with torch.no_grad():
            means = to_numpy(response.mean(theta, exog, offset))
        rows = pl.Series("rowid", np.arange(len(means)), dtype=pl.Int32)
        if means.shape[1] == 1:
            return pl.DataFrame([rows, pl.Series("estimate", means[:, 0])])
        groups = [name.removeprefix(f"{response.endog_name}=") for name in response.outcomes]
        parts = [
            pl.DataFrame([rows, pl.Series("estimate", means[:, i])]).with_columns(group=pl.lit(group))
            for i, group in enumerate(groups)
        ]
        return pl.concat(parts).select("rowid", "group", "estimate")

    def get_autodiff_args(self) -> dict[str, str | None] | None:
        """Return what marginaleffects needs to differentiate a linear index exactly, with jax."""
        known = _AUTODIFF.get(type(self.model.fit.objective)) if isinstance(self.model.model, RegressorModel) else None
        return None if known is None else dict(zip(("model_type", "family", "link"), known, strict=True))


def _type(column: pl.Series, is_category: bool) -> str:
    """Return marginaleffects' name for the type of a variable."""
    if column.dtype == pl.Boolean:
        return "boolean"
    if is_category or not column.dtype.is_numeric():
        return "character"
    if set(column.unique()) <= {0, 1}:
        return "binary"
    return "integer" if column.dtype.is_integer() else "numeric"


def _with_levels(frame: pd.DataFrame, predictors: Sequence[str]) -> pl.DataFrame:
    """Convert a dataframe to polars: strings become Enums whose levels are ordered as in the fit, categories of numbers become numbers.

    With polars 2, strings remain strings: to compare the levels of an Enum, marginaleffects 0.6.0 calls a method that polars 2 has removed.
    """
    levels = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            known = column.cat.remove_unused_categories().cat.categories
            if all(isinstance(level, str) for level in known):
                levels[name] = list(known)
            else:
                frame = frame.assign(**{name: column.astype(known.dtype)})
        elif pd.api.types.is_string_dtype(column):
            levels[name] = sorted(column.dropna().unique())
    data: pl.DataFrame = ingest(frame)
    if _POLARS_2:
        return data.with_columns(pl.col(name).cast(pl.String) for name in levels if name in predictors)
    return data.with_columns(pl.col(name).cast(pl.String).cast(pl.Enum(known)) for name, known in levels.items())
