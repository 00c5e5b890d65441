"""Logit, Probit, Poisson, MNLogit and nonlinear least squares against R: glm, sandwich, multinom and nls.

`glm.R` wrote R's numbers to `glm.json`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import close, same_covariance
from torch import nn

import betahat as bh

# The issue allows 1e-7. Against 40 digits R is right to 1e-13 in a covariance (glm.R starts glm again at its own
# answer until it rests), and betahat is found within 2e-13 of it; ten times that is room for another BLAS.
R_DIGITS = 2e-12
# vcov of multinom is a pseudo-inverse by the singular values of badly scaled columns: right to 1.5e-11.
MULTINOM = 5e-11
HC = ("HC0", "HC1", "HC2", "HC3")

GOLDEN = json.loads(Path(__file__).with_name("glm.json").read_text())
GLMS, MULTINOMS, CURVES = ({r["name"]: r for r in GOLDEN[kind]} for kind in ("glm", "multinom", "nls"))
MODELS = {"logit": bh.Logit, "probit": bh.Probit, "log": bh.Poisson}
FORMULAS = {"logit": bh.logit, "probit": bh.probit, "log": bh.poisson}


@dataclass(frozen=True, eq=False)
class Case:
    """R's record, and betahat's fit of the same arrays."""

    r: dict
    res: bh.Results

    @property
    def x(self):
        return np.array(self.r["design"]["rows"])

    @property
    def se(self):
        return np.array(self.r["se"])


def _extra(r):
    return {key: np.array(r[key]) for key in ("weights", "offset") if r[key] is not None}


def _model(r):
    return MODELS[r["link"]](np.array(r["response_values"]), np.array(r["design"]["rows"]), **_extra(r))


@pytest.fixture(scope="module", params=GLMS)
def case(request):
    r = GLMS[request.param]
    return Case(r, _model(r).fit(bread="expected"))


def _close_p(found, expected, z):
    """Compare p-values: an error of z is z dz of the logarithm of p. Below 1e-300 they run out of exponents."""
    z = np.asarray(z)
    close(found, expected, R_DIGITS, unit=np.maximum(expected, 1e-300) * np.maximum(1.0, z**2))


def _log_likelihood(r):
    """Return the sum of w l. R's own logLik of a binomial rounds the weights; a 0/1 model's deviance is -2 sum w l."""
    return -0.5 * r["deviance"] if r["family"] == "binomial" else r["logLik"]["value"]


def test_all_models_are_there():
    assert list(GLMS) == [
        "logit_birthwt",
        "logit_mtcars",
        "logit_infert",
        "probit_pima",
        "probit_mtcars",
        "poisson_warpbreaks",
        "poisson_sprays",
        "poisson_quine",
        "poisson_insurance",
        "logit_weighted",
        "probit_weighted",
        "poisson_weighted",
        "poisson_weighted_offset",
    ]
    assert list(MULTINOMS) == ["multinom_iris", "multinom_infert"]
    assert list(CURVES) == ["nls_puromycin", "nls_dnase"]


def test_numpy_in_numpy_out(case):
    assert isinstance(case.res.params, np.ndarray)
    assert isinstance(case.res.cov_params(), np.ndarray)


def test_coefficients(case):
    r, res = case.r, case.res
    close(res.params, r["coef"]["values"], R_DIGITS, unit=case.se)
    close(res.bse, r["se"], R_DIGITS)
    close(res.tvalues, r["z_values"], R_DIGITS, unit=np.maximum(1.0, np.abs(r["z_values"])))
    _close_p(res.pvalues, r["p_values"], r["z_values"])
    close(res.conf_int(), r["confint"]["rows"], R_DIGITS, unit=case.se[:, None])
    assert not res.use_t


def test_vcov(case):
    same_covariance(case.res.cov_params(), case.r["vcov"]["rows"], R_DIGITS)


def test_likelihood(case):
    r, res = case.r, case.res
    llf, k = _log_likelihood(r), len(r["se"])
    close(res.llf, llf, R_DIGITS)
    close(res.aic, -2 * llf + 2 * k, R_DIGITS)
    close(res.bic, -2 * llf + k * np.log(r["nobs"]), R_DIGITS)
    close(res.llr, r["null_deviance"] - r["deviance"], R_DIGITS)
    if not r["logLik"]["rounds_weights"]:
        close(res.llf, r["logLik"]["value"], R_DIGITS)
        close(res.aic, r["AIC"], R_DIGITS)
        close(res.bic, r["BIC"], R_DIGITS)


def test_degrees_of_freedom(case):
    assert case.res.nobs == case.r["nobs"]
    assert case.res.df_resid == case.r["df_residual"]
    assert case.res.df_model == case.r["logLik"]["df"] - 1


@pytest.mark.parametrize("kind", HC)
def test_vcov_hc(case, kind):
    expected = case.r["vcovHC"][kind]
    same_covariance(case.res.with_cov(kind).cov_params(), expected, R_DIGITS)
    same_covariance(_model(case.r).fit(cov_type=kind, bread="expected").cov_params(), expected, R_DIGITS)


def test_vcov_opg(case):
    expected = case.r["vcovOPG"]["rows"]
    same_covariance(case.res.with_cov("OPG").cov_params(), expected, R_DIGITS)
    same_covariance(case.res.with_cov(bh.OPG()).cov_params(), expected, R_DIGITS)


def test_coeftest(case):
    res, r = case.res.with_cov("HC3"), case.r["coeftest_HC3"]
    close(res.params, r["estimate"], R_DIGITS, unit=r["se"])
    close(res.bse, r["se"], R_DIGITS)
    close(res.tvalues, r["z"], R_DIGITS, unit=np.maximum(1.0, np.abs(r["z"])))
    _close_p(res.pvalues, r["p"], r["z"])


def test_hatvalues_and_scores(case):
    fit, r = case.res.fit, case.r
    close(fit.map_rows(lambda rows: rows.leverage), r["hatvalues"], R_DIGITS)
    scores = fit.map_rows(lambda rows: rows.scores()).numpy()
    expected = np.array(r["estfun"]["rows"])
    close(scores[: len(expected)], expected, R_DIGITS, unit=np.abs(scores).max(0))


def test_predict(case):
    r = case.r["predict"]
    rows = [i - 1 for i in r["rows"]]
    offset = None if case.r["offset"] is None else np.array(case.r["offset"])[rows]
    close(case.res.predict(case.x[rows], offset=offset), r["response"], R_DIGITS)
    close(case.res.predict(case.x[rows], offset=offset, which="linear"), r["link"], R_DIGITS, unit=1.0)
    frame = case.res.get_prediction(case.x[rows], offset=offset).summary_frame()
    close(frame["predicted"], r["response"], R_DIGITS)
    close(frame["se"], r["response_se"], R_DIGITS)


@pytest.mark.parametrize("name", ["poisson_insurance", "poisson_weighted_offset"])
def test_exposure_is_an_offset_of_its_logarithm(name):
    r = GLMS[name]
    weights = None if r["weights"] is None else np.array(r["weights"])
    model = bh.Poisson(
        np.array(r["response_values"]),
        np.array(r["design"]["rows"]),
        exposure=np.exp(np.array(r["offset"])),
        weights=weights,
    )
    res = model.fit(bread="expected")
    close(res.params, r["coef"]["values"], R_DIGITS, unit=r["se"])
    same_covariance(res.with_cov("HC3").cov_params(), r["vcovHC"]["HC3"], R_DIGITS)


@pytest.mark.parametrize("name", ["logit_birthwt", "poisson_insurance", "logit_weighted", "poisson_weighted"])
def test_the_breads_agree_for_a_canonical_link(name):
    r = GLMS[name]
    res = _model(r).fit()
    same_covariance(res.cov_params(), r["vcov"]["rows"], R_DIGITS)
    same_covariance(res.with_cov("HC2").cov_params(), r["vcovHC"]["HC2"], R_DIGITS)


@pytest.mark.parametrize("name", ["probit_pima", "probit_mtcars", "probit_weighted"])
def test_the_default_bread_of_probit_is_not_r_s(name):
    r = GLMS[name]
    res = _model(r).fit()
    close(res.params, r["coef"]["values"], R_DIGITS, unit=r["se"])
    same_covariance(res.with_cov("OPG").cov_params(), r["vcovOPG"]["rows"], R_DIGITS)
    assert (np.abs(res.bse / r["se"] - 1.0) > 1e-3).any()


@pytest.mark.parametrize("name", [name for name, r in GLMS.items() if r["weights"] is None and r["offset"] is None])
def test_formula(name):
    """A formula makes R's columns, categories before numbers as in statsmodels, and so R's numbers."""
    r = GLMS[name]
    data = pd.DataFrame(r["data"])
    for variable, levels in (r["levels"] or {}).items():
        data[variable] = pd.Categorical(data[variable], categories=levels)
    model = FORMULAS[r["link"]](r["formula"], data)
    res = model.fit("HC1", bread="expected")
    names_of_r = {re.sub(r"\[T\.(.*?)\]", r"\1", name): name for name in res.params.index}
    order = [names_of_r[name.replace("(Intercept)", "Intercept")] for name in r["design"]["names"]]
    assert np.array_equal(model.exog[order], r["design"]["rows"])
    close(res.params[order], r["coef"]["values"], R_DIGITS, unit=r["se"])
    same_covariance(res.cov_params().loc[order, order], r["vcovHC"]["HC1"], R_DIGITS)


@pytest.mark.parametrize("name", MULTINOMS)
def test_multinom(name):
    r = MULTINOMS[name]
    x = np.array(r["design"]["rows"])
    res = bh.MNLogit(np.array(r["codes"]), x).fit()
    error = np.sqrt(np.diagonal(r["vcov"]["rows"])).reshape(len(r["coef"]["rows"]), -1)
    close(res.params, np.transpose(r["coef"]["rows"]), R_DIGITS, unit=error.T)
    same_covariance(res.cov_params(), r["vcov"]["rows"], MULTINOM)
    close(res.llf, r["logLik"]["value"], R_DIGITS)
    close(res.aic, r["AIC"], R_DIGITS)
    assert res.nobs == r["nobs"]
    close(res.predict(x[[i - 1 for i in r["predict"]["rows"]]]), r["predict"]["probabilities"], R_DIGITS)


class MichaelisMenten(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.Vm, self.K = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in start)

    def forward(self, x):
        return self.Vm * x / (self.K + x)


class Logistic(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.Asym, self.xmid, self.scal = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in start)

    def forward(self, x):
        return self.Asym / (1.0 + torch.exp((self.xmid - x.log()) / self.scal))


MODULES = {"nls_puromycin": MichaelisMenten, "nls_dnase": Logistic}


def _curve(name):
    """Fit from R's answer with two digits, so that the way to the optimum is betahat's own."""
    r = CURVES[name]
    start = [float(f"{value:.2g}") for value in r["coef"]["values"]]
    x, y = (torch.tensor(r["data"][key], dtype=torch.float64) for key in ("conc", r["response"]))
    return bh.TorchModel(MODULES[name](start), nn.MSELoss(), x, y)


@pytest.mark.parametrize("name", CURVES)
def test_nls(name):
    r = CURVES[name]
    res = _curve(name).fit(bread="gauss-newton")
    assert res.df_resid == r["df_residual"]
    close(res.params, r["coef"]["values"], R_DIGITS, unit=r["se"])
    close(res.scale**0.5, r["sigma"], R_DIGITS)
    same_covariance(res.cov_params(), r["vcov"]["rows"], R_DIGITS)
    same_covariance(res.with_cov("HC0").cov_params(), r["sandwich"]["rows"], R_DIGITS)


@pytest.mark.parametrize("name", CURVES)
def test_the_hessian_is_another_bread(name):
    res = _curve(name).fit(bread="observed")
    assert (np.abs(np.asarray(res.bse) / CURVES[name]["se"] - 1.0) > 1e-3).any()


@pytest.mark.parametrize("name", ["logit_birthwt", "logit_mtcars"])
def test_torch_model_of_a_logit(name):
    """A linear layer and nn.BCEWithLogitsLoss are a logit, and its standard errors R's."""
    r = GLMS[name]
    x = torch.tensor(r["design"]["rows"], dtype=torch.float64)
    y = torch.tensor(r["response_values"], dtype=torch.float64)[:, None]
    layer = nn.Linear(x.shape[1], 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(r["coef"]["values"]).mul(0.9))
    res = bh.TorchModel(layer, nn.BCEWithLogitsLoss(), x, y).fit()
    close(res.params, r["coef"]["values"], R_DIGITS, unit=r["se"])
    same_covariance(res.cov_params(), r["vcov"]["rows"], R_DIGITS)
    for kind in HC:
        same_covariance(res.with_cov(kind).cov_params(), r["vcovHC"][kind], R_DIGITS)
    same_covariance(res.with_cov("OPG").cov_params(), r["vcovOPG"]["rows"], R_DIGITS)


class ProbitMean(nn.Module):
    """A probability, so that its loss is nn.BCELoss, which is not of a linear index."""

    def __init__(self, width):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(width, dtype=torch.float64))

    def forward(self, x):
        return torch.special.ndtr(x @ self.beta)[:, None]


# The leverage of a module takes l'' where bread="expected" has E(l''): HC2 is 6%, HC3 13% off in a standard error.


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3"])
@pytest.mark.parametrize("name", ["probit_pima", "probit_mtcars"])
def test_torch_model_of_a_probit(name, kind):
    """Fisher's information of a module's output makes R's standard errors, where the link is not canonical."""
    r = GLMS[name]
    x = torch.tensor(r["design"]["rows"], dtype=torch.float64)
    y = torch.tensor(r["response_values"], dtype=torch.float64)[:, None]
    res = bh.TorchModel(ProbitMean(x.shape[1]), nn.BCELoss(), x, y).fit(bread="expected")
    close(res.params, r["coef"]["values"], R_DIGITS, unit=r["se"])
    same_covariance(res.cov_params(), r["vcov"]["rows"], R_DIGITS)
    same_covariance(res.with_cov(kind).cov_params(), r["vcovHC"][kind], R_DIGITS)
