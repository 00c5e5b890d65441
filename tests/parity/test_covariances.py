"""Cluster-robust, HAC and panel covariances, and the tests and summaries that go with them, against live statsmodels."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from support.discrete import CONVERGED
from support.summaries import check_summaries

import betahat as bh

LINEAR, BINARY = ("OLS", "WLS"), ("Logit", "Probit")
MODELS = (*LINEAR, *BINARY, "Poisson", "MNLogit")
# As many units as periods: statsmodels counts the units where it means the periods (test_degrees_of_driscoll_and_kraay).
UNITS = PERIODS = 12


def _panel():
    """Draw a balanced panel, sorted by unit and period, whose errors are correlated in both."""
    rng = np.random.default_rng(11)
    unit, time = np.repeat(np.arange(UNITS), PERIODS), np.tile(np.arange(PERIODS), UNITS)
    n = len(unit)
    frame = pd.DataFrame({"unit": unit, "time": time, "x1": rng.normal(size=n) + rng.normal(size=UNITS)[unit]})
    frame["x2"] = rng.uniform(size=n) + 0.3 * rng.normal(size=PERIODS)[time]
    index = 0.3 + 0.5 * frame["x1"] - 0.4 * frame["x2"]
    shared = rng.normal(size=UNITS)[unit] + rng.normal(size=PERIODS)[time]
    frame["y"] = index + shared + rng.normal(size=n) * (0.5 + frame["x2"].abs())
    frame["yes"] = (index + shared + rng.logistic(size=n) > 0) * 1
    frame["count"] = rng.poisson(np.exp(index + 0.3 * shared))
    utilities = np.column_stack([np.zeros(n), index + 2 * shared, 0.2 - 0.5 * frame["x1"] - 2 * shared])
    frame["choice"] = np.argmax(utilities + rng.gumbel(size=(n, 3)), 1)
    frame["w"] = rng.uniform(0.3, 2.5, size=n)
    return frame


DATA = _panel()
RESPONSES = {"OLS": "y", "WLS": "y", "Logit": "yes", "Probit": "yes", "Poisson": "count", "MNLogit": "choice"}
UNIT, TIME = DATA["unit"].to_numpy(), DATA["time"].to_numpy()

CLUSTERS = {
    "one-way": {"groups": UNIT},
    "two-way": {"groups": np.column_stack([UNIT, TIME])},
}
OPTIONS = [
    (None, {}),
    (True, {}),
    (False, {"use_correction": False}),
    (True, {"df_correction": False}),
    (None, {"use_correction": False, "df_correction": False}),
]
SERIES = [
    *({"maxlags": lags} for lags in (0, 1, 5, 30)),
    {"maxlags": 4, "use_correction": True},
    {"maxlags": 4, "kernel": "uniform"},
    {"maxlags": 4, "kernel": "bartlett", "use_correction": True},
]
PANELS = [
    ("hac-panel", {"groups": UNIT, "maxlags": 2}),
    ("hac-panel", {"groups": UNIT, "time": TIME, "maxlags": 0}),
    ("hac-panel", {"groups": UNIT, "time": TIME, "maxlags": 3, "use_correction": "cluster"}),
    ("hac-panel", {"groups": UNIT, "maxlags": 3, "use_correction": False, "kernel": "uniform"}),
    ("hac-panel", {"groups": UNIT, "maxlags": 11, "df_correction": False}),
    ("hac-groupsum", {"time": TIME, "maxlags": 2}),
    ("hac-groupsum", {"time": TIME, "maxlags": 0, "use_correction": "hac"}),
    ("hac-groupsum", {"time": TIME, "maxlags": 3, "use_correction": False}),
    ("hac-groupsum", {"time": TIME, "maxlags": 4, "df_correction": False}),
]


def _model(package, model, data=DATA):
    """Build a model of the dataframe's columns."""
    weights = {"weights": data["w"]} if model == "WLS" else {}
    return getattr(package, model)(data[RESPONSES[model]], sm.add_constant(data[["x1", "x2"]]), **weights)


def _both(quiet, model, cov_type, cov_kwds, use_t=None):
    mine = _model(bh, model).fit(cov_type, cov_kwds, use_t=use_t)
    extra = {} if model in LINEAR else CONVERGED
    return mine, quiet(_model(sm, model).fit, cov_type=cov_type, cov_kwds=dict(cov_kwds), use_t=use_t, **extra)


def _compare(mine, theirs, close, wald=True):
    """Compare everything that a covariance decides."""
    error = np.asarray(theirs.bse)
    assert mine.use_t == theirs.use_t
    close(mine.params, theirs.params, np.maximum(np.abs(np.asarray(theirs.params)), error))
    close(mine.bse, theirs.bse, label="bse")
    flat = error.ravel("F")
    close(mine.cov_params(), theirs.cov_params(), np.outer(flat, flat), label="cov_params")
    size = np.maximum(1.0, np.abs(np.asarray(theirs.tvalues)))
    close(mine.tvalues, theirs.tvalues, size, label="tvalues")
    close(mine.pvalues, theirs.pvalues, np.asarray(theirs.pvalues) * size**2, label="pvalues")
    for alpha in (0.05, 0.3):
        bounds = np.asarray(theirs.conf_int(alpha))
        close(mine.conf_int(alpha), bounds, np.abs(bounds).max(-1, keepdims=True), label="conf_int")
    if not wald:
        return
    names = list(mine.params.index)
    for rows in (np.eye(3)[1:], np.array([[0, 1.0, -2.0]])):
        for use_f in (True, False):
            got = mine.wald_test(rows, use_f=use_f)
            wanted = theirs.wald_test(rows, use_f=use_f, scalar=True)
            close(got.statistic, wanted.statistic, label="wald")
            close(got.pvalue, wanted.pvalue, wanted.pvalue * max(1.0, 2 * wanted.statistic), label="wald p")
            assert got.df_denom == wanted.df_denom, names
        got, wanted = mine.f_test(rows), theirs.f_test(rows)
        close(got.fvalue, wanted.fvalue, label="f_test")
        assert (got.df_num, got.df_denom) == (wanted.df_num, wanted.df_denom)
    got, wanted = mine.t_test(np.eye(3)), theirs.t_test(np.eye(3))
    close(got.pvalue, wanted.pvalue, wanted.pvalue * np.maximum(1.0, wanted.statistic**2), label="t_test")
    assert got.distribution == wanted.distribution


def _compare_overall(mine, theirs, close):
    """Compare the F test of all slopes, which linear models have."""
    close(mine.fvalue, theirs.fvalue, label="fvalue")
    close(mine.f_pvalue, theirs.f_pvalue, theirs.f_pvalue * max(1.0, 2 * theirs.fvalue), label="f_pvalue")
    assert mine.df_resid == theirs.df_resid


@pytest.mark.filterwarnings("ignore:.*not positive semi-definite:betahat.ClusterWarning")  # of MNLogit
@pytest.mark.parametrize(("use_t", "options"), OPTIONS)
@pytest.mark.parametrize("ways", CLUSTERS)
@pytest.mark.parametrize("model", MODELS)
def test_cluster(model, ways, options, use_t, close, quiet):
    mine, theirs = _both(quiet, model, "cluster", CLUSTERS[ways] | options, use_t)
    _compare(mine, theirs, close, wald=model != "MNLogit")
    if model in LINEAR:
        _compare_overall(mine, theirs, close)


@pytest.mark.parametrize("cov_kwds", SERIES, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_hac(model, cov_kwds, close, quiet):
    mine, theirs = _both(quiet, model, "HAC", cov_kwds, use_t=True if cov_kwds["maxlags"] == 5 else None)
    _compare(mine, theirs, close, wald=model != "MNLogit")
    if model in LINEAR:
        _compare_overall(mine, theirs, close)


@pytest.mark.parametrize(("cov_type", "cov_kwds"), PANELS)
@pytest.mark.parametrize("model", MODELS)
def test_panel(model, cov_type, cov_kwds, close, quiet):
    mine, theirs = _both(quiet, model, cov_type, cov_kwds, use_t=True if cov_kwds["maxlags"] == 2 else None)
    _compare(mine, theirs, close, wald=model != "MNLogit")
    if model in LINEAR:
        _compare_overall(mine, theirs, close)


@pytest.mark.parametrize(("use_t", "options"), OPTIONS)
@pytest.mark.parametrize("cov_type", ["cluster-crv3", "cluster-jk"])
@pytest.mark.parametrize("model", LINEAR)
def test_jackknife_of_clusters(model, cov_type, use_t, options, close, quiet):
    mine, theirs = _both(quiet, model, cov_type, {"groups": UNIT, **options}, use_t)
    _compare(mine, theirs, close)
    _compare_overall(mine, theirs, close)


@pytest.mark.parametrize("lags", [0, 2, 7])
@pytest.mark.parametrize("alias", ["nw-panel", "nw-groupsum"])
def test_aliases(alias, lags, close, quiet):
    kwds = {"maxlags": lags, **({"groups": UNIT} if alias == "nw-panel" else {"time": TIME})}
    _compare(*_both(quiet, "OLS", alias, kwds), close)


def test_switching_covariances(close):
    """`get_robustcov_results` takes the same options; statsmodels goes on with t, as before the switch."""
    mine, theirs = _model(bh, "OLS").fit(), _model(sm, "OLS").fit()
    for cov_type, kwds in (
        ("cluster", {"groups": UNIT}),
        ("HAC", {"maxlags": 3}),
        ("hac-panel", {"groups": UNIT, "maxlags": 2}),
        ("hac-groupsum", {"time": TIME, "maxlags": 2}),
    ):
        got, wanted = (res.get_robustcov_results(cov_type, use_t=True, **kwds) for res in (mine, theirs))
        close(got.bse, wanted.bse)
        close(got.pvalues, wanted.pvalues, wanted.pvalues * np.maximum(1.0, np.abs(wanted.tvalues)))
        close(got.conf_int(), wanted.conf_int(), np.abs(wanted.conf_int()).max(1, keepdims=True))


def test_automatic_lags(close):
    """Without maxlags, statsmodels' rule 4 (n / 100)^(2/9), which its fit cannot be told to use."""
    mine, theirs = (
        _model(bh, "OLS").fit(cov_type="HAC"),
        _model(sm, "OLS").fit(cov_type="HAC", cov_kwds={"maxlags": None}),
    )
    close(mine.bse, theirs.bse)


@pytest.mark.parametrize("labels", ["strings", "categories", "dates", "floats", "gaps"])
@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_labels_of_any_kind(labels, close):
    """statsmodels takes whole numbers; any labels that tell the same rows apart are the same groups."""
    made = {
        "strings": DATA["unit"].map("unit {:02d}".format),
        "categories": DATA["unit"].map("unit {:02d}".format).astype("category"),
        "dates": pd.Timestamp("2020-01-01") + pd.to_timedelta(DATA["unit"], unit="D"),
        "floats": DATA["unit"] / 7,
        "gaps": DATA["unit"] ** 2 * 10 - 5,
    }
    theirs = _model(sm, "OLS").fit(cov_type="cluster", cov_kwds={"groups": UNIT})
    for groups in (made[labels], made[labels].to_numpy(), made[labels].tolist()):
        close(_model(bh, "OLS").fit(cov_type="cluster", cov_kwds={"groups": groups}).bse, theirs.bse)
    frame = pd.DataFrame({"u": made[labels], "t": DATA["time"].astype(str)})
    theirs = _model(sm, "OLS").fit(cov_type="cluster", cov_kwds={"groups": np.column_stack([UNIT, TIME])})
    close(_model(bh, "OLS").fit(cov_type="cluster", cov_kwds={"groups": frame}).bse, theirs.bse)
    close(_model(bh, "OLS").fit(cov_type="cluster", cov_kwds={"groups": [frame["u"], frame["t"]]}).bse, theirs.bse)


@pytest.mark.parametrize("missing", [False, True])
def test_formulas(missing, close):
    """A name is a column of the data; rows with missing values drop out of the labels too."""
    data = DATA.assign(y=DATA["y"].where(DATA.index % 17 != 3)) if missing else DATA
    formula, kept = "y ~ x1 + x2", data["y"].notna()
    mine = bh.ols(formula, data).fit(cov_type="cluster", cov_kwds={"groups": "unit"})
    theirs = smf.ols(formula, data).fit(cov_type="cluster", cov_kwds={"groups": UNIT[kept]})
    close(mine.bse, theirs.bse)
    close(mine.pvalues, theirs.pvalues, theirs.pvalues * np.maximum(1.0, theirs.tvalues**2))
    for given in (data["unit"], data["unit"][kept], UNIT, UNIT[kept]):
        close(bh.ols(formula, data).fit(cov_type="cluster", cov_kwds={"groups": given}).bse, theirs.bse)
    mine = bh.ols(formula, data).fit(cov_type="cluster", cov_kwds={"groups": ["unit", "time"]})
    theirs = smf.ols(formula, data).fit(cov_type="cluster", cov_kwds={"groups": np.column_stack([UNIT, TIME])[kept]})
    close(mine.bse, theirs.bse)
    mine = bh.ols(formula, data).fit(cov_type="hac-groupsum", cov_kwds={"time": "time", "maxlags": 2})
    theirs = smf.ols(formula, data).fit(cov_type="hac-groupsum", cov_kwds={"time": TIME[kept], "maxlags": 2})
    close(mine.bse, theirs.bse)


def test_rows_need_not_be_sorted(close):
    """statsmodels needs a panel sorted by unit and time."""
    mixed = DATA.sample(frac=1.0, random_state=3)
    for cov_type, kwds in (
        ("hac-panel", {"groups": "unit", "time": "time", "maxlags": 3}),
        ("hac-groupsum", {"time": "time", "maxlags": 3}),
    ):
        mine = bh.ols("y ~ x1 + x2", mixed).fit(cov_type, kwds)
        arrays = {name: DATA[value].to_numpy() if isinstance(value, str) else value for name, value in kwds.items()}
        close(mine.bse, smf.ols("y ~ x1 + x2", DATA).fit(cov_type=cov_type, cov_kwds=arrays).bse)


# summaries


SUMMARIES = [
    ("cluster", {"groups": UNIT}, None),
    ("cluster", {"groups": UNIT}, True),
    ("cluster", {"groups": UNIT, "df_correction": False}, None),
    ("cluster", {"groups": np.column_stack([UNIT, TIME])}, None),
    ("HAC", {"maxlags": 4}, None),
    ("HAC", {"maxlags": 12, "use_correction": True}, True),
    ("hac-panel", {"groups": UNIT, "maxlags": 2}, None),
    ("hac-panel", {"groups": UNIT, "maxlags": 2, "use_correction": "cluster"}, True),
    ("hac-groupsum", {"time": TIME, "maxlags": 2}, None),
]
OF_LINEAR = [
    *((name, {"groups": UNIT}, use_t) for name in ("cluster-crv3", "cluster-jk") for use_t in (None, True)),
    *((name, {"groups": UNIT, "df_correction": False}, None) for name in ("cluster-crv3", "cluster-jk")),
]


@pytest.mark.parametrize(
    ("model", "cov_type", "cov_kwds", "use_t"),
    [
        *((model, *options) for model in MODELS for options in SUMMARIES),
        *((model, *options) for model in LINEAR for options in OF_LINEAR),
    ],
)
@pytest.mark.filterwarnings("ignore:.*not positive semi-definite:betahat.ClusterWarning")  # of MNLogit
def test_summary(model, cov_type, cov_kwds, use_t, quiet):
    mine, theirs = _both(quiet, model, cov_type, cov_kwds, use_t)
    check_summaries(mine, theirs, quiet)


# where betahat differs, and means to


def test_degrees_of_driscoll_and_kraay(quiet):
    """statsmodels counts how often time turns back, the units; T - 1 is right, whatever the order of the rows."""
    few = DATA[DATA["time"] < 10]
    kwds = {"time": few["time"].to_numpy(), "maxlags": 2}
    mine, theirs = (
        _model(package, "OLS", few).fit(cov_type="hac-groupsum", cov_kwds=kwds, use_t=True) for package in (bh, sm)
    )
    assert theirs.df_resid_inference == UNITS - 1
    assert mine.f_test(np.eye(3)).df_denom == mine.t_test(np.eye(3)).df_denom == 10 - 1
    by_time = few.sort_values("time", kind="stable")
    kwds = {"time": by_time["time"].to_numpy(), "maxlags": 2}
    assert quiet(_model(sm, "OLS", by_time).fit, cov_type="hac-groupsum", cov_kwds=kwds).df_resid_inference == 0
    again = _model(bh, "OLS", by_time).fit(cov_type="hac-groupsum", cov_kwds=kwds, use_t=True)
    np.testing.assert_allclose(again.pvalues, mine.pvalues, rtol=1e-9)


def test_labels_of_other_factors():
    """Without statsmodels' factor the estimator is CR0, and is called that."""
    res, kwds = _model(bh, "OLS").fit(), {"groups": UNIT, "use_correction": False}
    found = res.with_cov("cluster", kwds)
    assert found.cov_type == "CR0"
    assert "CR0" in str(found.summary())
    assert _model(sm, "OLS").fit(cov_type="cluster", cov_kwds=kwds).cov_type == "cluster"
    kinds = ("CR0", "CR1", "CR1p", "CR2", "CR3")
    assert [res.with_cov(bh.Cluster(UNIT, kind)).cov_type for kind in kinds] == list(kinds)


@pytest.mark.parametrize("cov_type", ["cluster-crv3", "cluster-jk"])
def test_summary_of_the_jackknife_without_its_factor(cov_type, quiet):
    """The label is that of the deviations: from the estimate, or from the mean."""
    mine, theirs = _both(quiet, "OLS", cov_type, {"groups": UNIT, "use_correction": False})
    assert mine.cov_type == theirs.cov_type
    assert str(mine.summary()) == str(theirs.summary())


def test_misspelled_options_are_refused():
    """statsmodels ignores them."""
    _model(sm, "OLS").fit(cov_type="cluster", cov_kwds={"groups": UNIT, "use_corection": False})
    with pytest.raises(bh.OptionError, match="use_corection"):
        _model(bh, "OLS").fit(cov_type="cluster", cov_kwds={"groups": UNIT, "use_corection": False})


@pytest.mark.parametrize("lags", [1, 3, 6])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore:.*not positive semi-definite:betahat.ClusterWarning")
def test_uniform_kernel_of_sums(model, lags, close, quiet):
    """statsmodels hands out the uniform kernel's negative variances, whose errors are NaN; all of them negative is an error."""
    kwds = {"time": TIME, "maxlags": lags, "kernel": "uniform"}
    extra = {} if model in LINEAR else CONVERGED
    theirs = quiet(_model(sm, model).fit, cov_type="hac-groupsum", cov_kwds=kwds, **extra)
    wanted = np.asarray(theirs.cov_params())
    if (np.diagonal(wanted) < 0).all():
        with pytest.raises(bh.EstimationError, match="no coefficient a variance"):
            _model(bh, model).fit("hac-groupsum", kwds)
    else:
        mine, error = _model(bh, model).fit("hac-groupsum", kwds), np.sqrt(np.abs(np.diagonal(wanted)))
        close(mine.cov_params(), wanted, np.outer(error, error))
        close(mine.bse, quiet(lambda: theirs.bse))


def test_two_ways_without_a_variance(quiet):
    """A negative variance is NaN in statsmodels, and in betahat with a warning, or repaired."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = np.column_stack([np.ones(60), rng.normal(size=(60, 3))]), rng.normal(size=60)
        groups = np.column_stack([np.repeat(np.arange(12), 5), np.tile(np.arange(12), 5)])
        theirs = quiet(sm.OLS(y, x).fit, cov_type="cluster", cov_kwds={"groups": groups})
        if np.isnan(quiet(lambda fit=theirs: fit.bse)).any():
            break
    with pytest.warns(bh.ClusterWarning, match="psd='repair'"):
        mine = bh.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": groups})
    np.testing.assert_allclose(mine.bse, quiet(lambda: theirs.bse), rtol=1e-9)
    np.testing.assert_allclose(mine.cov_params(), theirs.cov_params(), rtol=1e-9, atol=1e-12)
    res = bh.OLS(y, x).fit("cluster", {"groups": groups, "psd": "repair"})
    assert (res.bse > 0).all()
    assert "set to zero" in res.cov.note


def test_order_and_gaps_of_a_panel(close):
    """statsmodels takes neighbouring rows for neighbours in time; with `time` betahat counts the periods that occur."""
    holes = DATA[(DATA["unit"] + 2 * DATA["time"]) % 7 != 0]
    kwds = {"groups": holes["unit"].to_numpy(), "time": holes["time"].to_numpy(), "maxlags": 2}
    theirs = _model(sm, "OLS", holes).fit(cov_type="hac-panel", cov_kwds=kwds)
    close(
        _model(bh, "OLS", holes).fit(cov_type="hac-panel", cov_kwds={k: kwds[k] for k in ("groups", "maxlags")}).bse,
        theirs.bse,
    )
    assert (
        np.abs(_model(bh, "OLS", holes).fit(cov_type="hac-panel", cov_kwds=kwds).bse / theirs.bse - 1.0) > 1e-4
    ).any()
