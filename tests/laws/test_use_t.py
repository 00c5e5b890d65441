"""One rule of t and z: what was asked for stays until something else is, by every route, in tables and pictures, and in files."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import betahat as bh

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# A p-value of the same statistic by scipy's distribution functions.
ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def _quiet():
    """Eight clusters are few, and thirty replicates too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ClusterWarning)
        warnings.simplefilter("ignore", bh.BootstrapWarning)
        yield


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(8)
    n = 40
    data = pd.DataFrame(
        {"a": rng.normal(size=n), "b": rng.normal(size=n), "firm": np.arange(n) % 8, "year": np.arange(n) // 8}
    )
    data["y"] = data["a"] + rng.normal(size=n) * (1 + data["a"].abs())
    data["few"], data["some"], data["kind"] = (data["y"] > 0) * 1, rng.poisson(1.0, n), rng.integers(0, 3, n)
    return data


def _module(data):
    x, y = (torch.tensor(data[names].to_numpy()) for names in (["a", "b"], ["y"]))
    return bh.TorchModel(torch.nn.Linear(2, 1).double(), torch.nn.MSELoss(), x, y)


def _own_loss(data):
    x, y = (torch.tensor(data[name].to_numpy()) for name in ("a", "y"))
    return bh.MEstimator(
        lambda p, d: torch.cosh(d["y"] - p["c"] - p["s"] * d["x"]).log(), {"c": 0.0, "s": 1.0}, {"x": x, "y": y}
    )


MODELS = {
    "OLS": lambda data: bh.ols("y ~ a + b", data),
    "WLS": lambda data: bh.wls("y ~ a + b", data, weights=np.arange(1.0, 41.0)),
    "Logit": lambda data: bh.logit("few ~ a", data),
    "Probit": lambda data: bh.probit("few ~ a", data),
    "Poisson": lambda data: bh.poisson("some ~ a", data),
    "MNLogit": lambda data: bh.mnlogit("kind ~ a", data),
    "TorchModel": _module,
    "MEstimator": _own_loss,
}
models = pytest.mark.parametrize("model", MODELS)
# Those of their own degrees of freedom keep them under t.
COVARIANCES = {
    "HC1": bh.HC1(),
    "HC0": bh.HC0(),
    "cluster": bh.Cluster(np.arange(40) % 8),
    "HAC": bh.HAC(2),
    "bootstrap": bh.Bootstrap(30, seed=1),
}


def _follows(res, use_t):
    """p-values, intervals, tests and tables are by t, or by the normal distribution."""
    df = res.cov.df_tests or res.df_resid
    law = stats.t(df) if use_t else stats.norm()
    table = res.coefficient_table()
    assert res.use_t is use_t
    np.testing.assert_allclose(table[:, 3], 2 * law.sf(np.abs(table[:, 2])), rtol=ROUNDING)
    np.testing.assert_array_equal(res.tidy()["p.value"], table[:, 3])
    reach = (res.interval_table(0.1)[:, 1] - table[:, 0]) / table[:, 1]
    np.testing.assert_allclose(reach, law.ppf(0.95), rtol=1e-9)  # ends less the estimate lose digits
    test = res.t_test(np.eye(len(table)))
    assert test.distribution == ("t" if use_t else "norm")
    np.testing.assert_allclose(np.asarray(test.pvalue), table[:, 3], rtol=1e-9)
    assert f"P>|{'t' if use_t else 'z'}|" in str(res.summary())
    ratio = bh.regtable(res, below="t").layout.sentences[0]
    assert ratio == f"{'t' if use_t else 'z'} statistics in parentheses."


@pytest.mark.parametrize("use_t", [True, False])
@pytest.mark.parametrize(
    ("model", "covariance"),
    [*((model, "HC1") for model in MODELS), *(("OLS", covariance) for covariance in COVARIANCES)],
)
def test_what_was_asked_for_stays(model, covariance, use_t, frame, tmp_path):
    estimator = COVARIANCES[covariance]
    start = MODELS[model](frame).fit(bh.HC0(), use_t=use_t)
    switched = start.with_cov("HC1").with_cov(estimator)
    _follows(switched, use_t)
    for again in (
        start.with_cov(estimator),
        start.get_robustcov_results(estimator),
        MODELS[model](frame).fit("HC0", {"use_t": use_t}).with_cov(estimator),
        MODELS[model](frame).fit("HC1").with_cov(estimator, {"use_t": use_t}),
        MODELS[model](frame).fit(estimator).with_use_t(use_t),
        switched.with_use_t(not use_t).with_use_t(use_t),
        switched.remove_data(),
    ):
        np.testing.assert_array_equal(again.coefficient_table(), switched.coefficient_table())
        assert again.use_t is use_t
    kept = bh.load(switched.save(tmp_path / "kept"))
    assert kept.use_t is use_t
    assert kept.with_use_t(None).use_t is (MODELS[model](frame).fit(estimator).use_t)


@models
def test_where_nothing_was_asked_for_each_covariance_has_its_own(model, frame):
    res = MODELS[model](frame).fit()
    assert not res.with_cov("HC0").use_t
    assert res.with_cov("HC0").with_cov("nonrobust" if model != "MEstimator" else "HC1").use_t is (
        model in ("OLS", "WLS", "TorchModel")
    )


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_degrees_of_freedom_of_their_own_come_back(frame, kind):
    res = bh.ols("y ~ a", frame).fit(bh.Cluster("firm", kind=kind))
    normal = res.with_use_t(False)
    assert not normal.use_t
    for again in (
        normal.with_use_t(True),
        normal.with_use_t(None),
        normal.with_cov(bh.Cluster("firm", kind=kind), use_t=True),
    ):
        np.testing.assert_array_equal(again.coefficient_table(), res.coefficient_table())
        assert again.f_test("a = 0").pvalue == res.f_test("a = 0").pvalue


def test_two_answers_are_one_too_many(frame):
    model = bh.ols("y ~ a", frame)
    assert model.fit("HC1", {"use_t": True}, use_t=True).use_t
    with pytest.raises(bh.OptionError, match="use_t is True, and False in cov_kwds"):
        model.fit("HC1", {"use_t": False}, use_t=True)


@models
@pytest.mark.parametrize("wrong", ["yes", np.array([True, False]), torch.ones(2), [True], {}, 2])
def test_what_is_no_yes_or_no(model, wrong, frame):
    with pytest.raises(bh.OptionError, match=r"use_t is .* use True for t"):
        MODELS[model](frame).fit("HC1", use_t=wrong)
    with pytest.raises(bh.OptionError, match=r"use_t is .* use True for t"):
        MODELS[model](frame).fit("HC1", {"use_t": wrong})


def test_tables_and_pictures_take_it(frame):
    res = bh.ols("y ~ a + b", frame).fit()
    for use_t in (True, False):
        wanted = [res.with_cov(cov, use_t=use_t) for cov in ("HC1", "HC3")]
        table = bh.regtable(res, cov=["HC1", "HC3"], use_t=use_t, below="p")
        for column, result in zip(table.to_frame(), wanted, strict=True):
            found = table.to_frame()[column].xs("P>|t|", level="statistic")
            np.testing.assert_array_equal(found, result.pvalues)
        assert bh.compare(res, ["HC1", "HC3"], use_t=use_t).to_text() == bh.compare(wanted[0], ["HC1", "HC3"]).to_text()
        left = bh.coefplot(res, cov=["HC1", "HC3"], use_t=use_t).collections
        right = bh.coefplot(wanted).collections
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one.get_segments(), other.get_segments())
        plt.close("all")
    for call in (bh.regtable, bh.coefplot, lambda res, use_t: bh.compare(res, ["HC1"], use_t=use_t)):
        with pytest.raises(bh.OptionError, match="use_t is"):
            call(res, use_t="t")


def _kinds(table):
    return [cell.text for line in table.layout.foot if line.name == "Std. errors" for cell in line.cells]


def test_columns_that_differ_in_it_say_so(frame):
    res = bh.ols("y ~ a", frame).fit()
    both = [res.with_cov("HC1"), res.with_cov("HC1", use_t=True)]
    assert _kinds(bh.regtable(both)) == ["HC1, z", "HC1, t"]
    assert _kinds(bh.regtable(both, use_t=True)) == ["HC1", "HC1"]
    assert _kinds(bh.regtable([res, bh.logit("few ~ a", frame).fit()])) == ["nonrobust", "nonrobust"]
    legend = bh.coefplot(both, cov=[None, None]).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["HC1, z", "HC1, t"]
    plt.close("all")


DIFFERENT = {
    "lags": ([bh.HAC(1), bh.HAC(4)], ["HAC, 1 lag", "HAC, 4 lags"]),
    "lags by the rule": ([bh.HAC(), bh.HAC(2)], ["HAC, 3 lags", "HAC, 2 lags"]),
    "kernels": ([bh.HAC(2), bh.HAC(2, kernel="parzen")], ["HAC, bartlett kernel", "HAC, parzen kernel"]),
    "bandwidths": ([bh.HAC(bandwidth=3.0), bh.HAC(2)], ["HAC, bandwidth 3", "HAC, 2 lags"]),
    "prewhitening": ([bh.HAC(2), bh.HAC(2, prewhiten=1)], ["HAC", "HAC, prewhitened by VAR(1)"]),
    "correction": ([bh.HAC(2), bh.HAC(2, correction=True)], ["HAC, no correction", "HAC, correction"]),
    "factors of clusters": (
        [bh.Cluster("firm"), bh.Cluster("firm", correction="stata")],
        ["cluster by firm", "cluster by firm, correction stata"],
    ),
    "ways": ([bh.Cluster("firm"), bh.Cluster("year")], ["cluster by firm", "cluster by year"]),
    "ways and factors": (
        [bh.Cluster("firm"), bh.Cluster("year", correction="stata")],
        ["cluster by firm", "cluster by year, correction stata"],
    ),
    "lags of a panel": (
        [bh.DriscollKraay("year", 1), bh.DriscollKraay("year", 2, correction=None)],
        ["hac-groupsum, 1 lag, correction cluster", "hac-groupsum, 2 lags"],
    ),
    "scales": ([bh.FixedScale(), bh.FixedScale(2.0)], ["fixed scale, scale 1", "fixed scale, scale 2"]),
    "seeds": ([bh.Bootstrap(30, seed=1), bh.Bootstrap(30, seed=2)], ["bootstrap, seed 1", "bootstrap, seed 2"]),
    "no difference": (["HC1", "HC1"], ["HC1 #1", "HC1 #2"]),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_options_are_told_where_they_differ(case, frame):
    """In compare, in tables of one model or of several, and in the legends of pictures."""
    covariances, heads = DIFFERENT[case]
    res = bh.ols("y ~ a + b", frame).fit()
    heads = [
        head.replace("bootstrap", res.with_cov(covariances[0]).cov_type) if "seed" in head else head for head in heads
    ]
    assert list(bh.compare(res, covariances).to_frame())[1:] == heads
    kinds = _kinds(bh.regtable(res, cov=covariances))
    assert kinds == [head.replace(" by firm", "").replace(" by year", "").partition(" #")[0] for head in heads]
    legends = [
        bh.coefplot(res, cov=covariances).get_legend(),
        bh.plot_cov(res, covariances, relative=False).get_legend(),
    ]
    for legend in legends:
        assert [text.get_text() for text in legend.get_texts()] == heads
    plt.close("all")


def test_options_of_estimators_of_ones_own_and_of_files(frame, tmp_path):
    res = bh.ols("y ~ a + b", frame).fit(bh.HAC(1))
    again = bh.load(res.save(tmp_path / "one"))
    assert _kinds(bh.regtable([again, res.with_cov(bh.HAC(2))])) == ["HAC, 1 lag", "HAC, 2 lags"]
