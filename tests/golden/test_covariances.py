"""HC, cluster-robust, HAC, panel and jackknife covariances and small-sample tests against R: sandwich, clubSandwich, plm.

`covariances.R` wrote R's numbers to `covariances.json`; every entry there is a test here, or it is counted in `SKIPPED`.
"""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.closeness import close, sizes_of

import betahat as bh

# The issue allows 1e-8. R is right to 4e-11 of the largest entry (README.md), and betahat is found within 4e-11 of it, of a
# glm within 1e-11: the worst are kernels of lags, whose terms cancel. The rest is room for another BLAS.
R_DIGITS = 1e-10
# Degrees of freedom are ratios of sums of fourth powers: R's are right to 1e-10, and betahat is found within 8e-11 of them.
DF_DIGITS = 1e-9
# R's bandwidths are right to 4e-10.
BANDWIDTH_DIGITS = 1e-9

GOLDEN = json.loads(Path(__file__).with_name("covariances.json").read_text())
RECORDS = {r["name"]: r for r in GOLDEN["records"]}
MODELS = {"identity": bh.OLS, "logit": bh.Logit, "probit": bh.Probit, "log": bh.Poisson}
KERNELS = {
    "Bartlett": "bartlett",
    "Parzen": "parzen",
    "Quadratic Spectral": "quadratic-spectral",
    "Tukey-Hanning": "tukey-hanning",
    "Truncated": "truncated",
}
RULES = {"bwAndrews": "andrews", "bwNeweyWest": "newey-west"}

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")  # R does not warn of few clusters

# What of R betahat has not, and how many entries of it there are.
SKIPPED = {
    "multi0=TRUE takes single rows for the finest intersection, whatever the labels say": 72,
    "two-way HC2 without cadjust: (G - 1)/G of CR2 in every term, which no kind has": 3,
    "Satterthwaite's df and HTZ of CR1": 111,
    "Naive-Fp has G - k degrees of freedom": 237,
}


@cache
def _columns(dataset):
    return {name: np.array(values) for name, values in GOLDEN["datasets"][dataset]["columns"].items()}


@cache
def _fit(name):
    r = RECORDS[name]
    model = bh.WLS if r["kind"] == "lm" and r["weights"] else MODELS[r["link"]]
    options = {key: np.array(r[key]) for key in ("weights", "offset") if r[key] is not None}
    fitted = {} if r["kind"] == "lm" else {"bread": "expected"}
    return model(np.array(r["response_values"]), np.array(r["design"]["rows"]), **options).fit(**fitted)


def _close_p(found, expected, log_slope):
    """Compare p-values: an error of a statistic, or of df, is one of p times the slope of its logarithm."""
    close(found, expected, DF_DIGITS, unit=np.maximum(expected, 1e-300) * np.maximum(1.0, log_slope))


# from R's call to betahat's estimator


def _clustered(r, e, groups):
    """Return sandwich's vcovCL as an estimator and a factor."""
    nobs, k = r["nobs"], len(r["coef"]["values"])
    psd = "repair" if e["fix"] else None
    if e["type"] in ("HC0", "HC1"):
        kind, factor = "CR1" if e["cadjust"] else "CR0", 1.0
        if e["type"] == "HC1":
            kind, factor = ("CR1S", 1.0) if e["cadjust"] else ("CR0", (nobs - 1) / (nobs - k))
        return bh.Cluster(groups, kind, psd=psd), factor
    if e["type"] == "HC3":
        return bh.Cluster(groups, "CR3" if e["cadjust"] else "jackknife", psd=psd), 1.0
    (count,) = {len(np.unique(column)) for column in groups} if len(groups) == 1 else {0}
    return bh.Cluster(groups, "CR2", psd=psd), 1.0 if e["cadjust"] else (count - 1) / count


def _hac(e):
    """Return NeweyWest, kernHAC and vcovHAC."""
    options = {"prewhiten": int(e["prewhite"]), "correction": e["adjust"]}
    if e["estimator"] == "NeweyWest":
        return bh.HAC(RULES.get(e["lag"], e["lag"]), **options)
    return bh.HAC(kernel=KERNELS[e["kernel"]], bandwidth=RULES.get(e["bw"], e["bw"]), **options)


def _panel(e, unit, time):
    """Return vcovPL: Driscoll and Kraay where it aggregates, Newey and West in each unit otherwise."""
    lags = {"maxlags": e["lag_used"]} if e["lag"] is not None else {"bandwidth": e["bw"]}
    options = {"kernel": KERNELS[e["kernel"]], "correction": "hac" if e["adjust"] else None, **lags}
    return bh.DriscollKraay(time, **options) if e["aggregate"] else bh.PanelNeweyWest(unit, time, **options)


SCC = {"HC0": None, "HC1": "hac", "sss": "cluster"}


def _estimator(r, e):
    """Return betahat's estimator and the factor that makes it R's, or the reason why there is none."""
    columns = _columns(r["dataset"])
    groups = [columns[name] for name in e.get("cluster") or ()]
    time = columns.get(e.get("order_by"))
    if e.get("multi0"):
        return next(reason for reason in SKIPPED if reason.startswith("multi0"))
    if len(groups) > 1 and e["type"] == "HC2" and not e["cadjust"]:
        return next(reason for reason in SKIPPED if reason.startswith("two-way HC2"))
    match e["estimator"]:
        case "vcovHC":
            return getattr(bh, e["type"])(), 1.0
        case "vcovOPG":
            return bh.OPG(), 1.0
        case "vcovCL":
            return _clustered(r, e, groups)
        case "vcovCR":
            return bh.Cluster(groups[0], e["type"], target=_target(r, e)), 1.0
        case "NeweyWest" | "kernHAC" | "vcovHAC":
            return _hac(e), 1.0
        case "vcovPL":
            return _panel(e, groups[0], time), 1.0
        case "vcovPC":
            return bh.PanelCorrected(groups[0], time, pairwise=e["pairwise"]), 1.0
        case "vcovSCC":
            return bh.DriscollKraay(time, e["maxlag"], correction=SCC[e["type"]]), 1.0
        case "jackknife":
            options = {"center": e["center"], "refit": r["kind"] == "glm", "correction": e["center"] == "mean"}
            return bh.Jackknife(groups[0] if groups else None, **options), 1.0


def _target(r, e):
    """Name the working target: a choice of weighted least squares only."""
    return "inverse_weights" if e["inverse_var"] and r["kind"] == "lm" else "identity"


def _indefinite(e):
    """Tell whether R's matrix has a negative variance, or is far from positive semi-definite without."""
    values = np.linalg.eigvalsh(e["rows"])
    if (np.diagonal(e["rows"]) <= 0).any():
        return "negative variance"
    return "indefinite" if values[0] < -1e-12 * values[-1] else None


ENTRIES = [(r["name"], e) for r in GOLDEN["records"] for e in r["covariances"]]
MATCHED = [(name, e) for name, e in ENTRIES if not isinstance(_estimator(RECORDS[name], e), str)]
TESTS = [(r["name"], t) for r in GOLDEN["records"] for t in r["tests"]]


def _label(value):
    if isinstance(value, str):
        return value
    if "test" in value:
        more = value.get("constraints", value.get("contrast", ""))
        return f"{value['test']}-{value['vcov']}-{'-'.join(value['cluster'])}-{value['inverse_var']}-{more}"
    return (
        f"{value['call']}{' by ' + '-'.join(value['cluster'] or ['row']) if value['estimator'] == 'jackknife' else ''}"
    )


def _of_kind(*kinds, at):
    return [(name, t) for name, t in TESTS if t["test"] == at and t["vcov"] in kinds]


# the tests


def test_what_is_skipped():
    """Every entry of R is compared but for those in the list."""
    found = Counter(_estimator(RECORDS[name], e) for name, e in ENTRIES if (name, e) not in MATCHED)
    found["Satterthwaite's df and HTZ of CR1"] = sum(t["vcov"] == "CR1" for _, t in TESTS)
    found["Naive-Fp has G - k degrees of freedom"] = sum("Naive-Fp" in t for _, t in TESTS)
    assert found == SKIPPED
    assert len(ENTRIES) == 850
    assert len(TESTS) == 333


@pytest.mark.parametrize("name", RECORDS)
def test_coefficients(name):
    r, res = RECORDS[name], _fit(name)
    close(res.params, r["coef"]["values"], R_DIGITS, unit=np.sqrt(np.diagonal(r["vcov"]["rows"])))
    close(res.cov_params(), r["vcov"]["rows"], R_DIGITS, unit=sizes_of(r["vcov"]["rows"]))
    assert res.df_resid == r["df_residual"]


DEFINED = [(name, e) for name, e in MATCHED if _indefinite(e) != "negative variance"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "e"), MATCHED, ids=_label)
def test_covariance(name, e):
    estimator, factor = _estimator(RECORDS[name], e)
    close(factor * _fit(name).with_cov(estimator).cov_params(), e["rows"], R_DIGITS, unit=sizes_of(np.abs(e["rows"])))


@pytest.mark.parametrize(("name", "e"), [pair for pair in MATCHED if pair not in DEFINED], ids=_label)
def test_negative_variances_have_no_root(name, e):
    """Of two ways of clustering, and of the truncated kernel: these coefficients have no standard error, the others have R's."""
    estimator, factor = _estimator(RECORDS[name], e)
    with pytest.warns(bh.ClusterWarning, match="no variance"):
        res = _fit(name).with_cov(estimator)
    variances = np.diagonal(e["rows"])
    assert np.isnan(np.asarray(res.bse)).tolist() == (variances < 0).tolist()
    there = variances > 0
    close(factor**0.5 * np.asarray(res.bse)[there], np.sqrt(variances[there]), R_DIGITS)
    assert np.isnan(np.asarray(res.pvalues)).tolist() == (variances < 0).tolist()


INDEFINITE = [(name, e) for name, e in DEFINED if _indefinite(e) and e["estimator"] == "vcovCL"]


@pytest.mark.parametrize(("name", "e"), INDEFINITE, ids=_label)
def test_several_ways_that_are_no_covariance(name, e):
    """Where R hands out a matrix that is not positive semi-definite betahat says so."""
    estimator, _ = _estimator(RECORDS[name], e)
    with pytest.warns(bh.ClusterWarning, match="not positive semi-definite"):
        _fit(name).with_cov(estimator)


BY_RULE = [(name, e) for name, e in MATCHED if "bandwidth" in e]


@pytest.mark.parametrize(("name", "e"), BY_RULE, ids=_label)
def test_automatic_bandwidth(name, e):
    """The bandwidth is R's: by number it makes the same matrix, and the note says what it was."""
    res = _fit(name).with_cov(_estimator(RECORDS[name], e)[0])
    if e["estimator"] == "NeweyWest":
        assert f"using {e['lag_used']} lags" in res.cov.note
        return
    options = {"kernel": KERNELS[e["kernel"]], "prewhiten": int(e["prewhite"]), "correction": e["adjust"]}
    again = _fit(name).with_cov(bh.HAC(bandwidth=e["bandwidth"], **options)).cov_params()
    close(res.cov_params(), again, BANDWIDTH_DIGITS, unit=sizes_of(again))
    assert f"bandwidth {e['bandwidth']:.4g}" in res.cov.note


@cache
def _results(name, kind, cluster, target):
    """Fit by a kind of clustering once for all its tests."""
    return _fit(name).with_cov(bh.Cluster(_columns(RECORDS[name]["dataset"])[cluster], kind, target=target))


def _tested(name, t):
    r = RECORDS[name]
    return _results(name, t["vcov"], t["cluster"][0], _target(r, t))


@pytest.mark.parametrize(("name", "t"), _of_kind("CR2", "CR3", at="coef_test"), ids=_label)
def test_coef_test(name, t):
    res, df = _tested(name, t), np.array(t["df"])
    close(res.bse, t["se"], R_DIGITS)
    close(res.cov.df, df, DF_DIGITS)
    close(res.tvalues, t["t"], R_DIGITS, unit=np.maximum(1.0, np.abs(t["t"])))
    _close_p(res.pvalues, t["p"], df)
    half = stats.t.ppf(0.975, df) * np.array(t["se"])
    close(res.conf_int(), np.array(t["estimate"])[:, None] + np.outer(half, [-1, 1]), DF_DIGITS, unit=half[:, None])


@pytest.mark.parametrize(("name", "t"), _of_kind("CR1", at="coef_test"), ids=_label)
def test_coef_test_by_the_number_of_clusters(name, t):
    """clubSandwich's naive t takes G - 1, and so does CR1 of betahat where t is asked for."""
    columns = _columns(RECORDS[name]["dataset"])
    res = _fit(name).with_cov(bh.Cluster(columns[t["cluster"][0]], "CR1"), use_t=True)
    close(res.bse, t["se"], R_DIGITS)
    close(res.cov.df, t["df_naive"][0], R_DIGITS)
    _close_p(res.pvalues, t["p_naive"], res.cov.df)


@pytest.mark.parametrize(("name", "t"), _of_kind("CR1", "CR2", "CR3", at="linear_contrast"), ids=_label)
def test_linear_contrast(name, t):
    test = _tested(name, t).t_test(np.array(t["contrast"]))
    close(test.effect[0], t["estimate"], R_DIGITS, unit=t["se"])
    close(np.ravel(test.sd)[0], t["se"], R_DIGITS)
    if t["vcov"] == "CR1":
        return
    close(np.ravel(test.df_denom)[0], t["df"], DF_DIGITS)
    _close_p(test.pvalue, t["p"], t["df"])
    close(test.conf_int(1 - t["level"])[0], [t["low"], t["high"]], DF_DIGITS, unit=t["se"])


@pytest.mark.parametrize(("name", "t"), _of_kind("CR1", "CR2", "CR3", at="Wald_test"), ids=_label)
def test_wald_test(name, t):
    res, restrictions = _tested(name, t), np.array(t["constraints"], dtype=float)
    chi = res.wald_test(restrictions, use_f=False)
    q, wanted = len(restrictions), t["chi-sq"]
    assert chi.df_num == q == wanted["df_num"]
    close(chi.statistic / q, wanted["Fstat"], R_DIGITS)
    _close_p(chi.pvalue, wanted["p_val"], chi.statistic)
    test, wanted = res.f_test(restrictions), t["Naive-F" if t["vcov"] == "CR1" else "HTZ"]
    assert test.df_num == wanted["df_num"]
    close(test.df_denom, wanted["df_denom"], DF_DIGITS)
    close(test.fvalue, wanted["Fstat"], DF_DIGITS)
    _close_p(test.pvalue, wanted["p_val"], wanted["df_denom"])
    if q == 1 and t["vcov"] != "CR1":
        close(np.ravel(res.t_test(restrictions).df_denom)[0], wanted["df_denom"], DF_DIGITS)


@pytest.mark.parametrize("name", ["lm_petersen", "lm_produc_unbalanced", "wls_produc_unbalanced", "poisson_epil"])
def test_formula_and_names_of_columns(name):
    """A formula with the names of the columns of a dataframe makes the numbers of the arrays."""
    r = RECORDS[name]
    data = pd.DataFrame(_columns(r["dataset"]))
    formula = r["formula"].replace("log(", "np.log(").replace("I(x^2)", "I(x**2)")
    names = ["firm", "state", "subject"]
    group = next(g for g in names if g in data)
    if r["kind"] == "glm":
        formula = formula.replace("trt", "C(trt, Treatment('placebo'))")
        res = bh.poisson(formula, data).fit(bread="expected")
    else:
        res = bh.wls(formula, data, data["emp"]).fit() if r["weights"] else bh.ols(formula, data).fit()
    for kind in ("CR0", "CR1S", "CR2", "CR3"):
        mine = res.with_cov(bh.Cluster(group, kind)).bse.sort_values().to_numpy()
        close(mine, np.sort(_fit(name).with_cov(bh.Cluster(_columns(r["dataset"])[group], kind)).bse), R_DIGITS)
