"""Saved and bare results are the same results: to the bit in tensors, to the byte in text."""

import datetime
import inspect
import pickle
import re
import warnings

import dateutil.tz
import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import same
from support.saved import BOUND, COVARIANCES, FRAME, GENERAL, MODELS, NEW, N, X, agree, estimator, looked_up, module

import betahat as bh
from betahat.covariance.base import Estimator, Resampling, SmallSample
from betahat.covariance.given import Given
from betahat.data.container import Container
from betahat.models.stored import RECORDS
from betahat.objectives.base import LinearIndex
from betahat.resampling.resamplers import Resampler
from betahat.resampling.weights import Scheme


@pytest.fixture(autouse=True)
def _quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_file_gives_the_same_results(name, tmp_path):
    robust = "HC0" if name in GENERAL else "HC1"
    results = MODELS[name]().fit(robust)
    path = results.save(tmp_path / "results.betahat")
    assert path == tmp_path / "results.betahat"
    loaded = bh.load(path)
    assert type(loaded) is type(results)
    agree(results, loaded)
    if name not in GENERAL:
        assert type(loaded.model) is type(results.model)
        agree(results, loaded, looked_up)
    again = bh.load(loaded.save(tmp_path / "again"))
    agree(results, again)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_bare_results_say_the_same(name, tmp_path):
    results = MODELS[name]().fit("HC0" if name in GENERAL else "HC1")
    fresh = MODELS[name]().fit("HC0" if name in GENERAL else "HC1")
    bare = fresh.remove_data()
    agree(results, bare)
    agree(results, bare.remove_data())
    agree(results, bh.load(bare.save(tmp_path / "bare")))
    agree(results, bh.load(results.save(tmp_path / "bare", remove_data=True)))
    assert (tmp_path / "bare").stat().st_size < 30_000
    fresh.with_cov("HC0")  # whose rows are still there


@pytest.mark.slow
@pytest.mark.parametrize("kind", COVARIANCES)
@pytest.mark.parametrize("name", ["regression", "logit", "network"])
def test_every_covariance_survives(name, kind, tmp_path):
    make = {
        "regression": lambda: bh.ols("y ~ x + c", FRAME),
        "logit": lambda: bh.logit("b ~ x", FRAME),
        "network": module,
    }
    results = make[name]().fit("HC0")
    try:
        results = results.with_cov(COVARIANCES[kind])
    except bh.BetahatError:
        pytest.skip("not defined for this model")
    bare, loaded = results.remove_data(), bh.load(results.save(tmp_path / "r"))
    agree(results, bare)
    agree(results, loaded)
    agree(results, bh.load(bare.save(tmp_path / "r")))
    if results.cov.draws is None:
        return
    for method in BOUND:
        with pytest.raises(bh.DataError, match="without their data"):
            bare.conf_int(method=method)
        if name == "network":
            continue
        try:
            expected = results.conf_int(method=method)
        except bh.EstimationError as error:
            with pytest.raises(bh.EstimationError, match=re.escape(str(error)[:60])):
                loaded.conf_int(method=method)
        else:
            same(expected, loaded.conf_int(method=method))


@pytest.mark.parametrize("name", ["formula", "formula of polars", "missing", "weights", "logit", "poisson", "mnlogit"])
def test_predictions_of_new_data_need_no_rows(name, tmp_path):
    results = MODELS[name]().fit("HC1")
    bare = results.remove_data()
    for other in (bare, bh.load(bare.save(tmp_path / "r")), bh.load(results.save(tmp_path / "r"))):
        same(results.predict(NEW), other.predict(NEW))
        if name != "mnlogit":
            same(results.get_prediction(NEW).summary_frame(), other.get_prediction(NEW).summary_frame())
    if name.startswith("formula"):
        with pytest.raises(bh.DataError, match="did not occur in the fit"):
            bh.load(bare.save(tmp_path / "r")).predict(NEW.assign(c="d"))


def test_aliased_columns_stay_aliased(tmp_path):
    results = bh.ols("y ~ x + twice + z", FRAME).fit("HC1", rank="drop")
    for other in (
        results.remove_data(),
        bh.load(results.save(tmp_path / "r")),
        bh.load(results.remove_data().save(tmp_path / "r")),
    ):
        assert other.aliased == ("twice",)
        agree(results, other)
        same(results.predict(NEW), other.predict(NEW))


def test_groups_are_looked_up_after_loading(tmp_path):
    data = FRAME.assign(
        day=pd.date_range("2020-01-01", periods=N).astype("datetime64[s]"), kind=pd.Categorical(FRAME.c, list("cba"))
    )
    data["part"] = pd.cut(FRAME.x, [-9, 0, 9])
    data["whole"] = FRAME.g.astype("Int64").mask(FRAME.g > 99)
    data["mixed"] = [1, "one"] * 30
    data["zone"] = data.day.dt.tz_localize("America/New_York")
    results = bh.ols("y ~ x", data).fit()
    loaded = bh.load(results.save(tmp_path / "r"))
    pd.testing.assert_frame_equal(loaded.fit.given.user_data.data, data)
    for column in ("kind", "day", "part", "whole", "zone"):
        estimator = bh.Cluster(column, "CR0")
        same(results.with_cov(estimator).cov_params(), loaded.with_cov(estimator).cov_params())


def test_unusual_times_are_stored_or_left_out(tmp_path):
    zones = [datetime.UTC, datetime.timezone(datetime.timedelta(hours=-5)), dateutil.tz.gettz("Europe/Rome")]
    days = pd.date_range("2020-01-01", periods=N, freq=pd.DateOffset(days=2, hours=1))
    data = FRAME.assign(**{f"zone{i}": days.tz_localize(zone) for i, zone in enumerate(zones)}).set_axis(days)
    with pytest.warns(bh.BetahatWarning, match="columns 'zone2' were left out"):
        bh.ols("y ~ x", data).fit().save(tmp_path / "r")
    found = bh.load(tmp_path / "r").fit.given.user_data.data
    pd.testing.assert_frame_equal(found, data.drop(columns="zone2"), check_freq=False)


def test_objects_of_the_users_are_left_out_with_a_warning(tmp_path):
    data = FRAME.assign(thing=[object() for _ in range(N)]).set_axis([complex(i, 1) for i in range(N)])
    results = bh.ols("y ~ x", data).fit()
    with pytest.warns(bh.BetahatWarning, match=r"columns 'thing' were left out.*labels of rows were saved as strings"):
        results.save(tmp_path / "r")
    loaded = bh.load(tmp_path / "r")
    agree(results, loaded)
    assert loaded.resid.index[1] == "(1+1j)"
    with pytest.raises(bh.OptionError, match="not a column of the model's data"):
        loaded.with_cov(bh.Cluster("thing"))


def test_what_needs_the_rows_says_so():
    bare = bh.ols("y ~ x", FRAME).fit("HC1").remove_data()
    asked = (
        lambda: bare.resid,
        lambda: bare.fittedvalues,
        bare.predict,
        lambda: bare.with_cov("HC3"),
        lambda: bare.with_cov(bh.Cluster("g")),
        lambda: bare.with_cov(bh.Bootstrap(9)),
        lambda: bare.with_cov(bh.HAC(1)),
        lambda: bare.with_cov(bh.Conley("x", "z", 1.0)),
        lambda: bare.get_influence().hat_matrix_diag,
        bare.get_prediction,
        lambda: bare.model.endog,
        bare.model.fit,
        lambda: bh.logit("b ~ x", FRAME).fit().remove_data().get_margeff(),
        lambda: bh.logit("b ~ x", FRAME).fit().remove_data().predict(),
        lambda: bh.mnlogit("m ~ x", FRAME).fit().remove_data().pred_table(),
        lambda: module().fit().remove_data().predict(FRAME[["x", "z"]]),
        lambda: module().fit().remove_data().with_cov("HC0"),
        lambda: estimator().fit().remove_data().with_cov("HC0"),
        lambda: module(penalty=0.5).fit().remove_data().with_cov("nonrobust"),
    )
    for ask in asked:
        with pytest.raises(bh.DataError, match="were kept without their data"):
            ask()
    same(bare.with_cov("nonrobust").bse, bh.ols("y ~ x", FRAME).fit().bse)


def test_bare_results_weigh_the_same_for_any_sample(tmp_path):
    def size(n, cov_type, remove_data=True):
        rng = np.random.default_rng(1)
        frame = pd.DataFrame({"x": rng.normal(size=n), "c": rng.choice(list("abc"), n), "g": rng.integers(0, 12, n)})
        frame = frame.assign(y=frame.x + rng.normal(size=n)).set_axis([f"row {i}" for i in range(n)])
        results = bh.ols("y ~ x + C(c)", frame).fit(cov_type)
        return results.save(tmp_path / "r", remove_data=remove_data).stat().st_size

    for cov_type in ("HC1", bh.Cluster("g", "CR2"), bh.Bootstrap(99, seed=1)):
        small, large = size(60, cov_type), size(100_000, cov_type)
        assert abs(large - small) < 200
        assert large < 20_000
    assert size(100_000, "HC1", remove_data=False) > 3_000_000


def test_bare_results_weigh_little_in_memory():
    n = 20_000
    index = pd.MultiIndex.from_arrays([np.arange(n), [f"row {i}" for i in range(n)]])
    frame = pd.DataFrame({"x": np.linspace(0.0, 1.0, n), "y": np.linspace(0.0, 1.0, n) ** 2}, index=index)
    for results in (bh.ols("y ~ x", frame).fit(bh.Bootstrap(99, seed=1)), bh.OLS(frame.y, frame[["x"]]).fit("HC3")):
        results.summary()
        assert len(pickle.dumps(results.remove_data())) < 20_000 < 10 * n < len(pickle.dumps(results))


def test_the_table_has_every_record_that_results_may_hold():
    for base in (LinearIndex, Container, SmallSample, Resampling, Resampler, Scheme):
        ours = {cls for cls in _below(base) if cls.__module__.startswith("betahat.") and not inspect.isabstract(cls)}
        assert ours
        # need rows, which go; or are made of margins each time
        elsewhere = {"betahat.resampling.in_turn", "betahat.margins.pairs"}
        assert {cls for cls in ours if cls.__module__ not in elsewhere} <= set(RECORDS)
    estimators = {cls for cls in _below(Estimator) if cls.__module__.startswith("betahat.")}
    assert estimators - set(RECORDS) == {Given}  # a matrix is not stored as what estimated it


def _below(cls):
    return {part for below in cls.__subclasses__() for part in (below, *_below(below))}


def test_tensors_are_the_same_bits_in_the_same_order(tmp_path):
    model = bh.OLS(torch.tensor(FRAME.y.to_numpy()), torch.tensor(X.to_numpy().T.copy()).mT)
    results = model.fit()
    loaded = bh.load(results.save(tmp_path / "r"))
    assert loaded.fit.sample.exog.stride() == results.fit.sample.exog.stride() == (1, N)
    assert loaded.fit.sample is loaded.fit.given is loaded.model.sample
    for name in ("params", "root", "triangle", "loss"):
        assert torch.equal(getattr(loaded.fit, name), getattr(results.fit, name))


class Mine(SmallSample):
    def t_df(self, matrix):
        return torch.full((len(matrix),), 5.0)

    def f_df(self, matrix):
        return 5.0


def test_an_object_of_the_users_is_refused(tmp_path):
    results = bh.ols("y ~ x", FRAME).fit(lambda fit: bh.Covariance(fit.bread, "mine", "", 5.0, small_sample=Mine()))
    with pytest.raises(bh.DataError, match="contain a Mine, which is code"):
        results.save(tmp_path / "r")
    assert not list(tmp_path.iterdir())


def test_wild_replicates_of_a_quantile_are_kept(tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=40)
    res = bh.QuantReg(x + rng.normal(size=40), np.column_stack([np.ones(40), x])).fit()
    made = res.with_cov(bh.Bootstrap(9, "wild", seed=1))
    again = bh.load(made.save(tmp_path / "median.betahat"))
    np.testing.assert_array_equal(again.bse, made.bse)
    np.testing.assert_array_equal(again.conf_int(method="basic", alpha=0.3), made.conf_int(method="basic", alpha=0.3))
