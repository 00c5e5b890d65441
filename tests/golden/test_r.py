"""Nine linear models against R: lm, sandwich, lmtest and car, as `linear.R` wrote them to `linear.json`."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, sizes_of

import betahat as bh

# R is right to 1e-11 (`linear_check.py` says so for each quantity), betahat to about as much; an element
# near zero after cancellation is compared by the size of its row and column, see `_scale`.
R_DIGITS = 2e-11
# A residual is y - x'b with b in double precision: rounding b leaves eps * sum_j |x_j b_j|, a few times for
# the sum, whatever the solver. On longley those terms are 3,500 and the smallest residual is 0.013.
ROUNDINGS = 10
# R squares the condition of longley in its sandwich, and loses these digits (README, "Tolerances").
# tests/laws/test_sandwich.py holds the same matrices against 50-digit arithmetic.
LONGLEY_SANDWICH = 5e-7
LONGLEY_PVALUE = 3e-6

MODELS = {model["name"]: model for model in json.loads(Path(__file__).with_name("linear.json").read_text())["models"]}
HC = ("HC0", "HC1", "HC2", "HC3")


@dataclass(frozen=True, eq=False)
class Case:
    """R's record, and betahat's fit of the same data."""

    r: dict
    res: bh.Results
    x: pd.DataFrame

    @property
    def kept(self):
        return [i for i, value in enumerate(self.r["coef"]["values"]) if value is not None]

    @property
    def influence(self):
        return self.res.get_influence()

    @property
    def row_digits(self):
        """The relative error that rounding the coefficients leaves in the smallest residual."""
        terms = (np.abs(self.x.to_numpy()) @ np.abs(self.res.params.fillna(0.0))).max()
        smallest = min(abs(value) for value in self.r["residuals"])
        return max(R_DIGITS, ROUNDINGS * np.finfo(float).eps * terms / smallest)

    def slopes(self):
        return np.eye(self.x.shape[1])[[self.x.columns.get_loc(name) for name in self.r["f_slopes"]["hypothesis"]]]


def _fit(name):
    r = MODELS[name]
    x = pd.DataFrame(r["design"]["rows"], columns=r["design"]["names"], index=r["row_names"], dtype=float)
    y = pd.Series(r["data"][r["response"]], index=x.index, name=r["response"], dtype=float)
    model = bh.WLS(y, x, weights=r["data"][r["weights"]]) if r["weights"] else bh.OLS(y, x)
    if name != "mtcars_aliased":
        return Case(r, model.fit(rank="drop"), x)
    with pytest.warns(bh.CollinearityWarning, match="'wt2' depends linearly on the columns before; it was left out"):
        return Case(r, model.fit(rank="drop"), x)


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    return _fit(request.param)


@pytest.fixture(scope="module")
def mtcars():
    return _fit("mtcars")


def test_all_models_are_there():
    assert list(MODELS) == [
        "mtcars",
        "longley",
        "swiss",
        "swiss_weighted",
        "stackloss",
        "cars_weighted",
        "cars_no_intercept",
        "mtcars_aliased",
        "warpbreaks",
    ]
    assert all(model["refused"] is None for model in MODELS.values())


COEFFICIENTS = {
    "coef": lambda case: (case.res.params, case.r["coef"]["values"]),
    "se": lambda case: (case.res.bse, case.r["se"]),
    "t_values": lambda case: (case.res.tvalues, case.r["t_values"]),
    "p_values": lambda case: (case.res.pvalues, case.r["p_values"]),
    "confint": lambda case: (case.res.conf_int(), case.r["confint"]["rows"]),
}
SCALARS = {
    "sigma": lambda case: (case.res.scale**0.5, case.r["sigma"]),
    "deviance": lambda case: (case.res.ssr, case.r["deviance"]),
    "r_squared": lambda case: (case.res.rsquared, case.r["r_squared"]),
    "adj_r_squared": lambda case: (case.res.rsquared_adj, case.r["adj_r_squared"]),
    "F": lambda case: (case.res.fvalue, case.r["fstatistic"]["value"]),
    "F p-value": lambda case: (case.res.f_pvalue, case.r["fstatistic"]["p_value"]),
    "logLik": lambda case: (case.res.llf, case.r["logLik"]["value"]),
    # R counts sigma as a parameter.
    "AIC": lambda case: (case.res.aic + 2, case.r["AIC"]),
    "BIC": lambda case: (case.res.bic + np.log(case.r["nobs"]), case.r["BIC"]),
    "AIC with sigma": lambda case: (case.res.info_criteria("aic", dk_params=1), case.r["AIC"]),
    "BIC with sigma": lambda case: (case.res.info_criteria("bic", dk_params=1), case.r["BIC"]),
}
ROWS = {
    "hatvalues": lambda case: (case.influence.hat_matrix_diag, case.r["hatvalues"]),
    "rstandard": lambda case: (case.influence.resid_studentized_internal, case.r["rstandard"]),
    "rstudent": lambda case: (case.influence.resid_studentized_external, case.r["rstudent"]),
    "cooks_distance": lambda case: (case.influence.cooks_distance[0], case.r["cooks_distance"]),
    "dffits": lambda case: (case.influence.dffits[0], case.r["dffits"]),
    "dfbeta": lambda case: (case.influence.dfbeta, case.r["dfbeta"]["rows"]),
    "dfbetas": lambda case: (case.influence.dfbetas, case.r["dfbetas"]["rows"]),
}


@pytest.mark.parametrize("quantity", [*COEFFICIENTS, *SCALARS])
def test_number(case, quantity):
    close(*(COEFFICIENTS | SCALARS)[quantity](case), R_DIGITS)


@pytest.mark.parametrize("quantity", ROWS)
def test_rows(case, quantity):
    found, expected = ROWS[quantity](case)
    # An element of dfbeta may be zero but for rounding: its size is its column's.
    scale = np.abs(expected).max(0) if np.ndim(expected) == 2 else None
    power = 2 if quantity == "cooks_distance" else 1
    close(found, expected, power * (R_DIGITS if quantity == "hatvalues" else case.row_digits), unit=scale)


def test_degrees_of_freedom(case):
    r, res = case.r, case.res
    assert res.nobs == r["nobs"]
    assert res.df_resid == r["df_residual"] == r["fstatistic"]["df_denom"]
    assert res.df_model == r["fstatistic"]["df_num"]
    assert res.fit.rank == r["rank"] == r["logLik"]["df"] - 1
    assert res.k_constant == int(r["intercept"])


def test_labels(case):
    res, names = case.res, case.r["coef"]["names"]
    assert list(res.params.index) == names
    assert list(res.cov_params().index) == list(res.cov_params().columns) == case.r["vcov"]["names"] == names
    assert list(res.conf_int().index) == case.r["confint"]["names"]
    assert list(res.resid.index) == list(case.influence.dfbetas.index) == case.r["row_names"]
    assert list(case.influence.dfbeta.columns) == list(case.influence.dfbetas.columns) == case.r["dfbetas"]["names"]
    assert res.aliased == tuple(name for i, name in enumerate(names) if i not in case.kept)


def test_vcov(case):
    expected = case.r["vcov"]["rows"]
    close(case.res.cov_params(), expected, R_DIGITS, unit=sizes_of(expected))


@pytest.mark.parametrize(
    ("attribute", "key"), [("resid", "residuals"), ("fittedvalues", "fitted"), ("wresid", "weighted_residuals")]
)
def test_residuals(case, attribute, key):
    expected = case.r[key] if case.r[key] is not None else case.r["residuals"]
    # A residual has the rounding error of the number that it is left over from.
    close(getattr(case.res, attribute), expected, R_DIGITS, unit=np.abs(case.r["data"][case.r["response"]]).max())


@pytest.mark.parametrize("kind", HC)
def test_vcov_hc(case, kind):
    expected = case.r["vcovHC"][kind]
    found = case.res.with_cov(kind).cov_params()
    kept = [found.index[i] for i in case.kept]
    assert kept == case.r["vcovHC"]["names"]
    tolerance = LONGLEY_SANDWICH if case.r["name"] == "longley" else R_DIGITS
    close(found.loc[kept, kept], expected, tolerance, unit=sizes_of(expected))
    aliased = found.drop(index=kept)
    assert aliased.isna().all(axis=None) or aliased.empty
    close(getattr(case.res, f"{kind}_se").iloc[case.kept], np.sqrt(np.diagonal(expected)), tolerance)


def test_coeftest(case):
    res, r = case.res.with_cov("HC3", use_t=True), case.r["coeftest_HC3"]
    longley = case.r["name"] == "longley"
    table = res.tidy().set_index("term").loc[r["names"]]
    close(table["estimate"], r["estimate"], R_DIGITS)
    close(table["std.error"], r["se"], LONGLEY_SANDWICH if longley else R_DIGITS)
    close(table["statistic"], r["t"], LONGLEY_SANDWICH if longley else R_DIGITS)
    close(table["p.value"], r["p"], LONGLEY_PVALUE if longley else R_DIGITS)


@pytest.mark.parametrize("kind", ["classical", "HC1"])
def test_f_of_the_slopes(case, kind):
    found, r = case.res.with_cov(kind).f_test(case.slopes()), case.r["f_slopes"][kind]
    longley = case.r["name"] == "longley" and kind == "HC1"
    assert (found.df_num, found.df_denom) == (r["df_num"], r["df_denom"])
    close(found.fvalue, r["F"], LONGLEY_SANDWICH if longley else R_DIGITS)
    close(found.pvalue, r["p_value"], LONGLEY_PVALUE if longley else R_DIGITS)
    if case.r["intercept"]:
        overall = case.res.with_cov(kind)
        close(overall.fvalue, r["F"], LONGLEY_SANDWICH if longley else R_DIGITS)


@pytest.mark.parametrize("kind", ["classical", "HC1"])
def test_linear_hypothesis(mtcars, kind):
    r = mtcars.r["linear_hypothesis"]
    found, expected = mtcars.res.with_cov(kind).f_test(r["hypothesis"]), r[kind]
    assert (found.df_num, found.df_denom) == (expected["df_num"], expected["df_denom"])
    close(found.fvalue, expected["F"], R_DIGITS)
    close(found.pvalue, expected["p_value"], R_DIGITS)


@pytest.mark.parametrize("kind", ["classical", "HC3"])
def test_delta_method(mtcars, kind):
    expected = mtcars.r["delta_method"][kind]
    found = mtcars.res.with_cov(kind, use_t=False).delta(lambda p: p["wt"] / p["hp"])
    close(found.estimate, expected["estimate"], R_DIGITS)
    close(found.bse, expected["se"], R_DIGITS)
    close(found.conf_int(), [expected["lwr"], expected["upr"]], R_DIGITS)


@pytest.mark.parametrize("kind", ["confidence", "prediction", "prediction_weighted"])
def test_predict(case, kind):
    expected = case.r["predict"][kind]
    if expected is None:
        assert kind == "prediction_weighted"
        assert not case.r["weights"]
        return
    rows = [i - 1 for i in case.r["predict"]["rows"]]
    weights = np.array(case.r["data"][case.r["weights"]])[rows] if kind == "prediction_weighted" else None
    found = case.res.get_prediction(case.x.iloc[rows], weights=weights)
    close(found.predicted_mean, expected["fit"], R_DIGITS)
    close(case.res.predict(case.x.iloc[rows]), expected["fit"], R_DIGITS)
    close(found.conf_int(obs=kind != "confidence").T, [expected["lwr"], expected["upr"]], R_DIGITS)
    if "se_fit" in expected:
        close(found.se_mean, expected["se_fit"], R_DIGITS)


@pytest.mark.parametrize("name", ["mtcars", "cars_weighted", "cars_no_intercept", "warpbreaks"])
def test_formula(name):
    """A formula makes R's design, the categories in R's order, and so R's numbers."""
    r = MODELS[name]
    data = pd.DataFrame(r["data"], index=r["row_names"])
    for variable, levels in (r["levels"] or {}).items():
        data[variable] = pd.Categorical(data[variable], categories=levels)
    model = bh.wls(r["formula"], data, weights=r["weights"]) if r["weights"] else bh.ols(r["formula"], data)
    assert np.array_equal(model.exog, r["design"]["rows"])
    res = model.fit()
    close(res.params, r["coef"]["values"], R_DIGITS)
    close(res.bse, r["se"], R_DIGITS)
    new = data.iloc[[i - 1 for i in r["predict"]["rows"]]]
    close(res.predict(new), r["predict"]["confidence"]["fit"], R_DIGITS)


def test_aliased_columns_are_nan_and_named():
    case = _fit("mtcars_aliased")
    res, r = case.res, case.r
    assert res.aliased == ("wt2",)
    assert np.flatnonzero(np.isnan(res.params)).tolist() == [r["coef"]["names"].index("wt2")]
    with pytest.raises(bh.EstimationError, match="'wt2', omitted as collinear"):
        res.t_test("wt2 = 0")
    # A linear function that leaves the aliased column alone has a variance.
    row = np.array([[0.0, 1.0, 0.0, -2.0, 0.0, 0.0]])
    close(res.cov_params(r_matrix=row), np.square(res.t_test(row).sd), R_DIGITS)
    close(res.cov_params(column=1), r["se"][1] ** 2, R_DIGITS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.CollinearityWarning)
        minimum_norm = res.model.fit()
    # Both solutions have the same fitted values and the same dispersion.
    close(minimum_norm.fittedvalues, r["fitted"], R_DIGITS)
    close(minimum_norm.scale**0.5, r["sigma"], R_DIGITS)
