"""Tests and first stages of results by instruments against linearmodels and pyfixest, and laws that they obey."""

import math
import warnings

import numpy as np
import pandas as pd
import pyfixest
import pytest
from linearmodels.datasets import mroz
from linearmodels.iv import IV2SLS, IVGMM
from scipy import stats
from tests.support.closeness import close
from tests.support.instruments import annihilated, iv_data, meat_of

import betahat as bh
from betahat.errors import EstimationError, OptionError, WeakInstrumentWarning
from betahat.inference.anderson_rubin import ConfidenceSet
from betahat.inference.hypothesis import adjusted

# Both sides form products of the data.
CLOSE = 1e-8

pytestmark = pytest.mark.filterwarnings("ignore::betahat.WeakInstrumentWarning")

CASES = [(1, 1), (1, 4), (2, 3), (3, 6)]
COVARIANCES = {"unadjusted": "nonrobust", "robust": "HC0", "clustered": "cluster", "kernel": "HAC"}


@pytest.fixture(params=CASES, ids=str, scope="module")
def data(request):
    endogenous, excluded = request.param
    return iv_data(seed=sum(request.param), endogenous=endogenous, excluded=excluded)


def _theirs(data, kind, weights=None, model=IV2SLS):
    y, x, w, z, group, _ = data
    options = {"clustered": {"clusters": group}, "kernel": {"kernel": "bartlett", "bandwidth": 3}}.get(kind, {})
    return model(y, x, w, z, weights=weights).fit(cov_type=kind, **options)


def _estimator(data, kind):
    group = data[4]
    return {"clustered": bh.Cluster(group, kind="CR0"), "kernel": bh.HAC(3)}.get(kind, COVARIANCES[kind])


def _ours(data, kind, weights=None):
    y, x, w, z, *_ = data
    return bh.IV2SLS(y, x, w, z, weights=weights).fit(_estimator(data, kind))


def _same(ours, theirs, label=""):
    close([ours.statistic, ours.pvalue], [theirs.stat, theirs.pval], CLOSE, label=label)
    assert ours.df == theirs.df


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unadjusted", "robust", "clustered", "kernel"])
@pytest.mark.parametrize("weighted", [False, True])
def test_against_linearmodels(data, kind, weighted):
    weights = data[5] if weighted else None
    ours, theirs = _ours(data, kind, weights), _theirs(data, kind, weights)
    count, excluded = data[2].shape[1], data[3].shape[1]
    stage = theirs.first_stage
    _same(ours.first_stage.cragg_donald, stage.cragg_donald, "Cragg-Donald")
    close(ours.first_stage.cragg_donald.f_statistic, stage.cragg_donald_f, CLOSE)
    _same(ours.first_stage.kleibergen_paap, stage.kleibergen_paap, "rk")
    table, free = stage.diagnostics, len(data[0]) - data[1].shape[1] - excluded
    for (name, own), (_, row) in zip(ours.first_stage.items(), table.iterrows(), strict=True):
        close(own.partial_rsquared, row["partial.rsquared"], CLOSE)
        close(own.shea_rsquared, row["shea.rsquared"], CLOSE)
        # theirs is a chi-squared statistic, and the classical one divides by n
        scale = excluded if kind != "unadjusted" else len(data[0]) / free
        close(own.f_statistic * scale, row["f.stat"], CLOSE, label=name)
    if count == 1:
        factor = {"unadjusted": 1.0, "clustered": None}.get(kind, len(data[0]) / free)
        if factor:
            own = ours.first_stage.kleibergen_paap.f_statistic
            close(own / factor, stage.kleibergen_paap_f, CLOSE)
    _same(ours.wu_hausman(), theirs.wu_hausman())
    _same(ours.durbin(), theirs.durbin())
    if not weighted:
        _same(ours.wooldridge_score(), theirs.wooldridge_score) if kind == "robust" else None
        if kind != "unadjusted":
            _same(ours.wooldridge_regression(), theirs.wooldridge_regression)
    if excluded > count:
        _same(ours.sargan(), theirs.sargan)
        _same(ours.basmann(), theirs.basmann)
        if kind == "robust" and not weighted:
            _same(ours.wooldridge_overid(), theirs.wooldridge_overid)


@pytest.mark.parametrize("kind", ["robust", "clustered"])
def test_hansens_j(data, kind):
    y, x, w, z, group, _ = data
    if z.shape[1] == w.shape[1]:
        return
    weight = {"clusters": group} if kind == "clustered" else {}
    gmm = IVGMM(y, x, w, z, weight_type=kind, center=False, **weight).fit()
    _same(_ours(data, kind).hansen_j(), gmm.j_stat)
    close(_ours(data, "unadjusted").hansen_j().statistic, _ours(data, "unadjusted").sargan().statistic, CLOSE)
    if kind == "robust":
        _same(bh.IVGMM(y, x, w, z).fit().hansen_j(), gmm.j_stat)


def test_c_statistic_is_a_difference_of_js():
    y, x, w, z, *_ = iv_data(excluded=4, seed=3)
    res = bh.IV2SLS(y, x, w, z).fit("HC0")
    residual, every = res.resid, np.column_stack([x, z])
    spread, regressors = meat_of(every * residual[:, None]), np.column_stack([x, w])

    def least(columns):
        root = np.linalg.cholesky(np.linalg.inv(spread[np.ix_(columns, columns)])).T
        moments, jacobian = root @ every[:, columns].T @ y, root @ every[:, columns].T @ regressors
        left = moments - jacobian @ np.linalg.lstsq(jacobian, moments, rcond=None)[0]
        return left @ left

    whole = least([*range(6)])
    close(res.hansen_j().statistic, whole, CLOSE)
    for names, kept in ((["z4"], [0, 1, 2, 3, 4]), (["z2", "z3"], [0, 1, 2, 5]), ("x1", [0, 2, 3, 4, 5])):
        found = res.c_statistic(names)
        close(found.statistic, whole - least(kept), 1e-7)
        assert found.df == (1 if isinstance(names, str) else len(names))
        assert found.statistic >= 0.0


@pytest.fixture(scope="module")
def panel():
    y, x, w, z, group, weights = iv_data(seed=11, excluded=3, nobs=240, groups=12)
    effect = np.random.default_rng(0).normal(size=12)[group]
    columns = {"y": y + effect, "x": x[:, 1], "w": w[:, 0] - effect, "firm": group, "v": weights}
    return pd.DataFrame(columns | {f"z{i}": z[:, i] for i in range(3)})


@pytest.mark.filterwarnings("ignore")  # of pandas, about pyfixest
@pytest.mark.parametrize("vcov", ["hetero", {"CRV1": "firm"}])
def test_effective_f_of_pyfixest_where_it_is_right(panel, vcov):
    """With absorbed effects, and without exogenous regressors; its covariance of the first stage has a small-sample factor of its own."""
    theirs = pyfixest.feols("y ~ 1 | firm | w ~ z0 + z1 + z2", panel, vcov=vcov)
    theirs.IV_Diag()
    cov = "HC1" if vcov == "hetero" else bh.Cluster("firm", correction="fixest")
    stage = bh.ols("y ~ 1 | firm | w ~ z0 + z1 + z2", panel).fit(cov).first_stage["w"]
    close(stage.effective_f, theirs._eff_F, CLOSE)
    close(stage.params.to_numpy(), theirs._model_1st_stage.coef().to_numpy(), CLOSE)
    close(stage.bse.to_numpy(), theirs._model_1st_stage.se().to_numpy(), CLOSE)


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
@pytest.mark.parametrize("cov", ["nonrobust", "HC1", "HC3", "cluster"])
@pytest.mark.parametrize("weighted", [False, True])
def test_absorbed_effects_are_dummies(panel, cov, weighted):
    estimator = bh.Cluster("firm", correction="sandwich") if cov == "cluster" else cov
    weights = "v" if weighted else None
    names = [f"z{i}" for i in range(3)]
    absorbed = bh.IV2SLS.from_formula("y ~ x | firm | w ~ z0 + z1 + z2", panel, weights=weights).fit(estimator)
    dummies = bh.IV2SLS.from_formula("y ~ x + C(firm) | w ~ z0 + z1 + z2", panel, weights=weights).fit(estimator)
    one, other = absorbed.first_stage["w"], dummies.first_stage["w"]
    close(one.params[names], other.params[names], CLOSE)
    close(one.bse[names], other.bse[names], CLOSE)
    for name in ("f_statistic", "partial_rsquared", "effective_f"):
        close(getattr(one, name), getattr(other, name), CLOSE, label=name)
    close(one.critical_value(), other.critical_value(), 1e-6)
    for name in ("cragg_donald", "kleibergen_paap"):
        ours, theirs = getattr(absorbed.first_stage, name), getattr(dummies.first_stage, name)
        close([ours.statistic, ours.f_statistic], [theirs.statistic, theirs.f_statistic], CLOSE, label=name)
    close(np.array(absorbed.anderson_rubin().set), np.array(dummies.anderson_rubin().set), 1e-7)
    for test in ("wu_hausman", "durbin", "sargan", "basmann", "hansen_j", "wooldridge_score", "wooldridge_regression"):
        ours, theirs = getattr(absorbed, test)(), getattr(dummies, test)()
        close([ours.statistic, ours.pvalue], [theirs.statistic, theirs.pvalue], CLOSE, label=test)
        assert ours.df_denom == theirs.df_denom
    ours, theirs = absorbed.wooldridge_overid(), dummies.wooldridge_overid()
    close(ours.statistic, theirs.statistic, CLOSE)


def test_frequency_weights_are_repeated_rows():
    y, x, w, z, *_ = iv_data(seed=5, nobs=120)
    often = np.arange(120) % 3
    rows = np.repeat(np.arange(120), often)
    one = bh.IV2SLS(y, x, w, z, freq_weights=often).fit("HC1")
    other = bh.IV2SLS(y[rows], x[rows], w[rows], z[rows]).fit("HC1")
    (ours,), (theirs,) = one.first_stage.values(), other.first_stage.values()
    for name in ("f_statistic", "effective_f", "partial_rsquared"):
        close(getattr(ours, name), getattr(theirs, name), CLOSE, label=name)
    for test in ("sargan", "hansen_j", "wu_hausman", "wooldridge_score", "wooldridge_regression", "wooldridge_overid"):
        close(getattr(one, test)().pvalue, getattr(other, test)().pvalue, CLOSE, label=test)
    close(np.array(one.anderson_rubin().set), np.array(other.anderson_rubin().set), CLOSE)


def test_instruments_may_be_turned_and_ordered():
    y, x, w, z, group, _ = iv_data(seed=2, endogenous=2, excluded=4)
    turn = np.random.default_rng(1).normal(size=(4, 4))
    one, other = (bh.IV2SLS(y, x, w, columns).fit(bh.Cluster(group)) for columns in (z, z[:, ::-1] @ turn))
    for name in ("cragg_donald", "kleibergen_paap"):
        ours, theirs = getattr(one.first_stage, name), getattr(other.first_stage, name)
        close([ours.statistic, ours.f_statistic], [theirs.statistic, theirs.f_statistic], 1e-7, label=name)
    for ours, theirs in zip(one.first_stage.values(), other.first_stage.values(), strict=True):
        close(ours.f_statistic, theirs.f_statistic, 1e-7)
        close(ours.effective_f, theirs.effective_f, 1e-7)
        close(ours.sanderson_windmeijer.statistic, theirs.sanderson_windmeijer.statistic, 1e-7)
    close(one.anderson_rubin([1.0, 0.0]).statistic, other.anderson_rubin([1.0, 0.0]).statistic, 1e-7)


@pytest.mark.parametrize("kind", ["unadjusted", "robust", "clustered", "kernel"])
def test_anderson_rubin_is_the_regression_on_instruments(data, kind):
    y, x, w, z, *_ = data
    res, values = _ours(data, kind), np.linspace(0.5, -0.3, w.shape[1])
    plain = bh.OLS(y - w @ values, np.column_stack([x, z])).fit(_estimator(data, kind))
    count, width = z.shape[1], x.shape[1] + z.shape[1]
    matrix = np.eye(width)[x.shape[1] :]
    wald = plain.f_test(matrix) if kind == "unadjusted" else plain.wald_test(matrix, use_f=False, scalar=True)
    found = res.anderson_rubin(values if len(values) > 1 else float(values[0]))
    close([found.statistic, found.pvalue], [float(np.squeeze(wald.statistic)), float(wald.pvalue)], CLOSE)
    assert found.df == count
    if w.shape[1] == 1 == z.shape[1]:
        assert res.anderson_rubin(float(res.params[-1])).statistic < 1e-15


def test_what_stata_prints():
    """``ivreg2 lwage exper expersq (educ = age kidslt6 kidsge6), robust`` and ``gfweakivtest`` of Mroz, as Windmeijer's page has them; 3.33 is their 1 / 0.3."""
    data = mroz.load()
    data = data[data.inlf == 1]
    res = bh.ols("lwage ~ exper + expersq | educ ~ age + kidslt6 + kidsge6", data).fit("HC1")
    stage = res.first_stage["educ"]
    printed = [stage.effective_f, stage.f_statistic, res.first_stage.cragg_donald.f_statistic]
    assert np.round(printed, 3).tolist() == [4.552, 5.021, 4.342]
    biases = (0.05, 0.1, 0.2, 1 / 3.33)
    assert [round(stage.critical_value(bias), 3) for bias in biases] == [15.711, 9.957, 6.749, 5.560]
    liml = [round(stage.critical_value(bias, estimator="liml"), 3) for bias in biases]
    assert liml == [15.406, 9.789, 6.654, 5.491]
    assert round(float(res.params["educ"]), 4) == 0.0964


def test_cr2_has_the_degrees_of_freedom_of_its_joint_tests():
    """The approximate Hotelling test, as the regression on the instruments has it."""
    y, x, w, z, group, _ = iv_data(seed=6, excluded=3, nobs=90, groups=15)
    cov, rows = bh.Cluster(group, kind="CR2"), np.eye(5)[2:]
    res = bh.IV2SLS(y, x, w, z).fit(cov)
    plain = bh.OLS(y - 0.5 * w[:, 0], np.column_stack([x, z])).fit(cov).f_test(rows)
    found = res.anderson_rubin(0.5)
    close([found.statistic, found.pvalue, found.df_denom], [plain.fvalue, plain.pvalue, plain.df_denom], CLOSE)
    (stage,) = res.first_stage.values()
    plain = bh.OLS(w[:, 0], np.column_stack([x, z])).fit(cov).f_test(rows)
    close([stage.f_statistic, stage.instruments_test.pvalue], [plain.fvalue, plain.pvalue], CLOSE)
    residual = annihilated(w[:, 0], np.column_stack([x, z]))
    plain = bh.OLS(y, np.column_stack([x, w, residual])).fit(cov).f_test(np.eye(4)[3:])
    close(
        [res.wooldridge_regression().statistic, res.wooldridge_regression().pvalue], [plain.fvalue, plain.pvalue], CLOSE
    )
    with pytest.raises(EstimationError, match="takes more than 2"):
        adjusted(3, 1.9, "CR2")


def test_instruments_that_explain_all_of_a_regressor():
    y, x, _, z, *_ = iv_data(seed=1, excluded=3)
    for cov in ("nonrobust", "HC1"):
        res = bh.IV2SLS(y, x, z[:, :1], z).fit(cov)
        found = res.anderson_rubin()
        for value in np.linspace(-5.0, 5.0, 21):
            assert (value in found) == (res.anderson_rubin(value).pvalue > 0.05)


@pytest.mark.parametrize("cov", ["nonrobust", "HC1", "HC3", "CR2", "HAC"])
def test_anderson_rubins_set_by_inversion_on_a_grid(cov):
    y, x, w, z, group, _ = iv_data(seed=6, excluded=3, nobs=90, groups=15)
    res = bh.IV2SLS(y, x, w, z).fit({"CR2": bh.Cluster(group, kind="CR2"), "HAC": bh.HAC(2)}.get(cov, cov))
    values = np.linspace(-3.0, 4.0, 36)
    pvalues = [res.anderson_rubin(value).pvalue for value in values]
    for alpha in (0.05, 0.5):
        found = res.anderson_rubin(alpha=alpha)
        for value, p in zip(values, pvalues, strict=True):
            if abs(p - alpha) > 1e-9:
                assert (value in found) == (p > alpha), (value, p, found)
        for end in (end for interval in found.set for end in interval if math.isfinite(end)):
            close(res.anderson_rubin(end).pvalue, alpha, 1e-7)


def test_conditional_likelihood_ratio():
    y, x, w, z, *_ = iv_data(seed=6, excluded=3, nobs=90)
    res = bh.IV2SLS(y, x, w, z).fit()
    found = res.conditional_likelihood_ratio()
    assert isinstance(found, ConfidenceSet)
    for interval in found.set:
        for end in interval:
            if math.isfinite(end):
                close(res.conditional_likelihood_ratio(end).pvalue, 0.05, 1e-7)
    assert bh.IVLIML(y, x, w, z).fit().params[-1] in found
    with pytest.raises(EstimationError, match="assumes errors of one variance"):
        res.with_cov("HC1").conditional_likelihood_ratio()


def test_first_stages_are_results_of_least_squares(data):
    y, x, w, z, group, weights = data
    for cov in ("nonrobust", "HC3", bh.Cluster(group, kind="CR2"), bh.Bootstrap(reps=30, seed=1)):
        stages = bh.IV2SLS(y, x, w, z, weights=weights).fit(cov).first_stage
        assert len(stages) == w.shape[1]
        for column, (name, stage) in enumerate(stages.items()):
            plain = bh.WLS(w[:, column], np.column_stack([x, z]), weights=weights).fit(cov)
            close(stage.params, plain.params, CLOSE)
            close(stage.bse, plain.bse, CLOSE)
            close(stage.resid, plain.resid, CLOSE, unit=np.abs(w).max())
            close([stage.rsquared, stage.fvalue], [plain.rsquared, plain.fvalue], CLOSE)
            assert stage.endog_name == name
            assert name in stages
            assert str(stage.summary()).count("z1") == 1
            assert len(stage.glance()) == 1
            close(stage.predict(np.column_stack([x, z])[:3]), plain.fittedvalues[:3], CLOSE, unit=np.abs(w).max())
            assert stage.effective_f > 0


def test_the_summary_of_first_stages():
    y, x, w, z, group, _ = iv_data(excluded=4)
    res = bh.IV2SLS(y, x, w, z).fit(bh.Cluster(group))
    text = str(res.first_stage)
    for words in (
        "effective F",
        "Cragg-Donald F",
        "Kleibergen-Paap rk: F",
        "Simplified critical values",
        "by size: 10% 24.58",
    ):
        assert words in text
    assert "refits" in str(bh.IV2SLS(y, x, w, z).fit(bh.Bootstrap(reps=20, seed=1)).first_stage)
    y, x, w, z, *_ = iv_data(endogenous=2, excluded=2)
    assert "by size: 10% 7.03" in bh.IV2SLS(y, x, w, z).fit().first_stage.summary()
    assert bh.IV2SLS(y, x, w, z).fit().first_stage.stock_yogo().bias == {}


# warnings and errors


def test_weak_instruments_warn_and_strong_ones_do_not():
    for kind in ("HC1", bh.Bootstrap(reps=20, seed=1)):
        for endogenous in (1, 2):
            y, x, w, z, *_ = iv_data(endogenous=endogenous, excluded=4, strength=0.05)
            with pytest.warns(WeakInstrumentWarning, match="anderson_rubin"):
                bh.IV2SLS(y, x, w, z).fit(kind)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                bh.IV2SLS(y, x, w + 20.0 * z[:, :endogenous], z).fit(kind)
                bh.IV2SLS(y, x, w + 1e4 * z[:, :endogenous], z).fit(kind)


def test_two_instruments_of_one_variance_are_compared_with_what_is_not_biased():
    """Two instruments have no Nagar bias under one variance: 3.0 is the value that F exceeds by chance."""
    y, x, w, z, *_ = iv_data(excluded=2)
    (stage,) = bh.IV2SLS(y, x, w, z).fit().first_stage.values()
    close(stage.critical_value(), stats.chi2.isf(0.05, 2) / 2, 1e-6)
    close(stage.critical_value(simplified=True), stats.ncx2.isf(0.05, 2, 20.0) / 2, 1e-6)


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_what_is_refused():
    y, x, w, z, *_ = iv_data(endogenous=2, excluded=2)
    res = bh.IV2SLS(y, x, w, z).fit("HC1")
    (first, _) = res.first_stage.values()
    for refused, error, words in (
        (lambda: res.first_stage["y"], OptionError, "'y' is no endogenous regressor"),
        (first.critical_value, EstimationError, "are for one endogenous regressor"),
        (lambda: first.critical_value(bias=2.0), OptionError, "bias is 2.0"),
        (lambda: first.critical_value(estimator="gmm"), OptionError, "estimator is 'gmm'; use"),
        (lambda: first.critical_value(estimator="liml", simplified=True), OptionError, "'liml' and simplified"),
        (first.remove_data, EstimationError, "A first stage is part of"),
        (res.anderson_rubin, EstimationError, "There are 2 endogenous regressors"),
        (lambda: res.anderson_rubin(1.0), OptionError, "value is 1.0; pass 2 numbers"),
        (lambda: res.wu_hausman("x1"), OptionError, "variables is 'x1'"),
        (res.sargan, EstimationError, "more instruments than endogenous"),
        (res.hansen_j, EstimationError, "more instruments than endogenous"),
    ):
        with pytest.raises(error, match=words):
            refused()
    y, x, w, z, group, _ = iv_data(excluded=4)
    model = bh.IV2SLS(y, x, w, z)
    res, gmm = model.fit("HC1"), bh.IVGMM(y, x, w, z).fit()
    for refused, error, words in (
        (lambda: res.anderson_rubin("zero"), OptionError, "pass a number"),
        (lambda: res.c_statistic("z9"), OptionError, "pass names of instruments"),
        (lambda: res.c_statistic(["z1", "z2", "z3", "z4"]), OptionError, "only 3 can be left out"),
        (gmm.sargan, EstimationError, "use hansen_j"),
        (gmm.wooldridge_overid, EstimationError, "use hansen_j"),
        (lambda: res.with_cov(np.eye(3)).first_stage, EstimationError, "alone, or came from a file"),
        (lambda: res.with_cov(bh.HAC("newey-west")).anderson_rubin(), EstimationError, "no quadratic form"),
        (lambda: model.fit(bh.Bootstrap(reps=20, seed=1)).hansen_j(), EstimationError, "refits; use 'HC0'"),
        (lambda: model.fit(bh.Cluster(group % 3)).anderson_rubin(), EstimationError, "only has rank 2"),
    ):
        with pytest.raises(error, match=words):
            refused()


def test_naive_effective_f_with_exogenous_regressors():
    """By the paper's formula: everything is made free of the exogenous regressors first."""
    y, x, w, z, *_ = iv_data(exogenous=3, excluded=3)
    (stage,) = bh.IV2SLS(y, x, w, z).fit("HC0").first_stage.values()
    free, own = annihilated(z, x), annihilated(w[:, 0], x)
    pi = np.linalg.lstsq(free, own, rcond=None)[0]
    residual, products = own - free @ pi, free.T @ free
    inverse = np.linalg.inv(products)
    variance = inverse @ meat_of(free * residual[:, None]) @ inverse
    close(stage.effective_f, pi @ products @ pi / np.trace(variance @ products), CLOSE)
