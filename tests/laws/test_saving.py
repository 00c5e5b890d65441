"""Saved and bare results are the same results: to the bit in tensors, to the byte in text; and a file never runs anything."""

import datetime
import inspect
import json
import pickle
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import dateutil.tz
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import betahat as bh
from betahat.covariance.base import Resampling, SmallSample
from betahat.data.container import Container
from betahat.data.formulas.formula import rebuilt
from betahat.data.formulas.harmless import harm, names_of
from betahat.data.formulas.stored import StoredFormula
from betahat.models.stored import RECORDS
from betahat.objectives.base import Claim, LinearIndex
from betahat.resampling.resamplers import Resampler
from betahat.resampling.weights import Multinomial, Scheme
from betahat.results.general import GeneralResults
from betahat.saving import files, writing
from betahat.saving.records import fields_of

N = 60
R = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": R.normal(size=N),
        "z": R.uniform(1.0, 2.0, N),
        "g": np.arange(N) % 12,
        "t": np.arange(N) // 12,
        "w": R.uniform(0.5, 2.0, N),
        "f": R.integers(1, 4, N),
        "c": R.choice(["a", "b", "c"], N),
        "two words": R.normal(size=N),
    }
)
FRAME["y"] = 1.0 + FRAME.x + 0.5 * FRAME.z + R.normal(size=N)
FRAME["b"] = (FRAME.x + R.normal(size=N) > 0).astype(int)
FRAME["k"] = R.poisson(np.exp(0.3 * FRAME.x + 0.5))
FRAME["m"] = R.choice(["low", "middle", "high"], N)
FRAME["twice"] = 2.0 * FRAME.x
NEW = FRAME[["x", "z", "c", "two words", "g", "twice"]].iloc[:5].set_axis(list("pqrst"))
X = bh.add_constant(FRAME[["x", "z"]])
SHIFT = 0.25

# A summary shows the time at which it was asked for.
CLOCK = re.compile(r"\d\d:\d\d:\d\d|\w{3}, \d\d \w{3} \d{4}")


def _with_index(index):
    frame = FRAME.set_axis(index)
    return bh.OLS(frame.y, bh.add_constant(frame[["x", "z"]]))


def _tensors(dtype=torch.float64):
    return torch.tensor(FRAME.y.to_numpy(), dtype=dtype), torch.tensor(X.to_numpy(), dtype=dtype)


REGRESSIONS = {
    "arrays": lambda: bh.OLS(FRAME.y.to_numpy(), X.to_numpy()),
    "tensors": lambda: bh.OLS(*_tensors()),
    "float32": lambda: bh.OLS(*_tensors(torch.float32)),
    "frame": lambda: bh.OLS(FRAME.y, X),
    "strings": lambda: _with_index([f"row {i}" for i in range(N)]),
    "dates": lambda: _with_index(pd.date_range("2020-01-31", periods=N, freq="ME", tz="Europe/Berlin")),
    "periods": lambda: _with_index(pd.period_range("2020-01", periods=N, freq="M")),
    "levels": lambda: _with_index(pd.MultiIndex.from_arrays([FRAME.g, FRAME.t], names=["firm", None])),
    "numbers": lambda: _with_index(pd.Index(R.permutation(N), name="id")),
    "polars": lambda: bh.OLS(pl.DataFrame(FRAME)["y"], pl.DataFrame(X)),
    "pyarrow": lambda: bh.OLS(pa.table({"y": FRAME.y}), pa.Table.from_pandas(X, preserve_index=False)),
    "formula": lambda: bh.ols("np.log(z) ~ x + C(c) + I(x**2) + `two words`", FRAME),
    "formula of polars": lambda: bh.ols("y ~ bs(x, df=4) + c:z", pl.DataFrame(FRAME)),
    "missing": lambda: bh.ols("y ~ x + z", FRAME.assign(x=FRAME.x.where(FRAME.g != 3))),
    "weights": lambda: bh.wls("y ~ x + scale(z) + poly(x, 2)", FRAME, weights="w"),
    "dict": lambda: bh.ols("y ~ x", {"y": FRAME.y.to_numpy(), "x": FRAME.x.tolist(), "g": FRAME.g.to_numpy()}),
}
DISCRETE = {
    "logit": lambda: bh.logit("b ~ x + center(z)", FRAME, freq_weights="f"),
    "logit arrays": lambda: bh.Logit(FRAME.b.to_numpy(), X.to_numpy(), weights=FRAME.w.to_numpy()),
    "probit": lambda: bh.Probit(torch.tensor(FRAME.b.to_numpy()), torch.tensor(X.to_numpy())),
    "poisson": lambda: bh.poisson("k ~ x", FRAME, exposure="w", offset="z"),
    "mnlogit": lambda: bh.mnlogit("m ~ x + z", FRAME),
    "mnlogit arrays": lambda: bh.MNLogit(FRAME.m.to_numpy(), X.to_numpy()),
}


def _module(penalty=None, linear=True):
    torch.manual_seed(0)
    module = nn.Linear(2, 1) if linear else nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    return bh.TorchModel(module.double(), nn.MSELoss(), FRAME[["x", "z"]], FRAME[["y"]], penalty=penalty)


def _row_loss(p, d):
    return nn.functional.huber_loss(d["x"] * p["a"] + p["const"], d["y"], reduction="none")


def _estimator(**options):
    data = {"x": FRAME.x.to_numpy(), "y": FRAME.y.to_numpy()}
    return bh.MEstimator(_row_loss, {"a": np.zeros(()), "const": np.zeros(())}, data, **options)


GENERAL = {
    "linear module": _module,
    "penalised module": lambda: _module(penalty=0.5),
    "network": lambda: _module(penalty=0.1, linear=False),
    "row loss": _estimator,
    "penalised row loss": lambda: _estimator(penalty=lambda p: p["a"] ** 2),
}
MODELS = {**REGRESSIONS, **DISCRETE, **GENERAL}
CLUSTERS = FRAME.g.to_numpy()
COVARIANCES = {
    "nonrobust": "nonrobust",
    "fixed scale": bh.FixedScale(2.0),
    "HC3": "HC3",
    "opg": "OPG",
    "CR2": bh.Cluster("g", "CR2"),
    "CR1 on t": lambda fit: replace(bh.Cluster(CLUSTERS)(fit), df=11.0),
    "two ways": bh.Cluster(["g", "t"]),
    "jackknife": bh.Jackknife(clusters="g"),
    "HAC": bh.HAC(2),
    "given": lambda fit: bh.Covariance(fit.bread, "my own", "By hand", torch.arange(3.0, 3.0 + len(fit.params))),
    "pairs": bh.Bootstrap(59, seed=1),
    "clusters drawn": bh.Bootstrap(59, seed=1, clusters="g"),
    "wild": bh.Bootstrap(59, "wild", seed=1),
    "wild clusters": bh.Bootstrap(59, "wild", seed=1, clusters="g", variant="31"),
    "score": bh.Bootstrap(59, "score", seed=1),
    "residual": bh.Bootstrap(59, "residual", seed=1),
    "parametric": bh.Bootstrap(59, "parametric", seed=1),
    "bayesian": bh.Bootstrap(59, "bayesian", seed=1),
    "poisson": bh.Bootstrap(59, "poisson", seed=1),
    "blocks": bh.Bootstrap(59, "stationary", seed=1, block_length=3),
    "subsample": bh.Bootstrap(59, "subsample", seed=1, size=40),
}
FREE = ("normal", "percentile", "basic", "sup-t")
BOUND = ("studentized", "bca")


@pytest.fixture(autouse=True)
def _quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.BetahatWarning)
        yield


def same(one, other):
    """Equal to the bit, and of one kind, whatever they are."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True)
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    else:
        np.testing.assert_equal(one, other)


def said(results):
    """Everything that results say without a look at the rows."""
    names, last = results.names, [i for i, name in enumerate(results.names) if name not in results.aliased][-1]
    row = np.eye(len(names))[last]
    yield repr(results)
    yield CLOCK.sub("", results.summary().as_text())
    yield CLOCK.sub("", results.summary(alpha=0.1).as_latex())
    yield from (results.params, results.bse, results.pvalues, results.conf_int(), results.cov_params())
    yield from (results.tidy(), results.glance(), results.coefficient_table(), results.normalized_cov_params)
    yield from (results.df_resid, results.nobs, results.diagnostics, results.goodness, results.use_t, results.cov_kwds)
    yield from (results.t_test(row).conf_int(), str(results.t_test((row, 0.3))), str(results.wald_test(row)))
    yield str(results.delta(lambda p: torch.exp(p[last])))
    yield bh.regtable([results], stats=["cov_type", "clusters", "nobs", "goodness"]).to_text()
    if not isinstance(results, GeneralResults):
        yield CLOCK.sub("", results.summary2().as_text())
    if results.fit.problem.penalty is None and results.fit.objective.claim is not Claim.NONE:
        yield results.with_cov("fixed scale").bse
    if results.cov.draws is not None:
        yield results.cov.draws
        for method in FREE:
            yield results.conf_int(method=method)
        yield results.bootstrap_pvalues()


def looked_up(results):
    """What needs the rows."""
    yield from (results.fittedvalues, results.resid_response if _discrete(results) else results.resid)
    yield from (results.model.endog, results.model.exog, results.with_cov("HC1").bse, results.predict())
    if _discrete(results):
        yield results.get_margeff().summary_frame()
    else:
        yield results.get_influence().hat_matrix_diag
        yield results.get_prediction().summary_frame()


def _discrete(results):
    return not isinstance(results.model, bh.OLS | bh.WLS)


def agree(results, other, what=said):
    for one, two in zip(what(results), what(other), strict=True):
        same(one, two)


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


@pytest.mark.parametrize("kind", COVARIANCES)
@pytest.mark.parametrize("name", ["regression", "logit", "network"])
def test_every_covariance_survives(name, kind, tmp_path):
    make = {
        "regression": lambda: bh.ols("y ~ x + c", FRAME),
        "logit": lambda: bh.logit("b ~ x", FRAME),
        "network": _module,
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
        with pytest.raises(bh.DataError, match="did not see"):
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
    pd.testing.assert_frame_equal(loaded.fit.given.origin.data, data)
    for column in ("kind", "day", "part", "whole", "zone"):
        estimator = bh.Cluster(column, "CR0")
        same(results.with_cov(estimator).cov_params(), loaded.with_cov(estimator).cov_params())


def test_unusual_times_are_stored_or_left_out(tmp_path):
    zones = [datetime.UTC, datetime.timezone(datetime.timedelta(hours=-5)), dateutil.tz.gettz("Europe/Rome")]
    days = pd.date_range("2020-01-01", periods=N, freq=pd.DateOffset(days=2, hours=1))
    data = FRAME.assign(**{f"zone{i}": days.tz_localize(zone) for i, zone in enumerate(zones)}).set_axis(days)
    with pytest.warns(bh.BetahatWarning, match="columns 'zone2' were left out"):
        bh.ols("y ~ x", data).fit().save(tmp_path / "r")
    found = bh.load(tmp_path / "r").fit.given.origin.data
    pd.testing.assert_frame_equal(found, data.drop(columns="zone2"), check_freq=False)


def test_objects_of_the_users_are_left_out_with_a_warning(tmp_path):
    data = FRAME.assign(thing=[object() for _ in range(N)]).set_axis([complex(i, 1) for i in range(N)])
    results = bh.ols("y ~ x", data).fit()
    with pytest.warns(bh.BetahatWarning, match=r"columns 'thing' were left out.*labels were stored as text"):
        results.save(tmp_path / "r")
    loaded = bh.load(tmp_path / "r")
    agree(results, loaded)
    assert loaded.resid.index[1] == "(1+1j)"
    with pytest.raises(bh.OptionError, match="no column of the model's data"):
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
        lambda: _module().fit().remove_data().predict(FRAME[["x", "z"]]),
        lambda: _module().fit().remove_data().with_cov("HC0"),
        lambda: _estimator().fit().remove_data().with_cov("HC0"),
        lambda: _module(penalty=0.5).fit().remove_data().with_cov("nonrobust"),
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
        assert ours <= set(RECORDS)


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
    with pytest.raises(bh.DataError, match="hold a Mine, which is code"):
        results.save(tmp_path / "r")
    assert not list(tmp_path.iterdir())


# broken files and bad places


@pytest.fixture
def saved(tmp_path):
    return bh.ols("y ~ np.log(z) + C(c)", FRAME).fit("HC1").save(tmp_path / "r")


def parts(path):
    """Return the version, the tree and the tensors of a file."""
    with safe_open(path, framework="pt") as file:
        version, _, tree = file.metadata()["betahat"].split(" ", 2)
        return version, json.loads(tree), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def forged(path, edit=None):
    """Write a file anew with another tree."""
    _, tree, tensors = parts(path)
    tree = edit(tree) or tree if edit else tree
    save_file(tensors, path, files.header(tree if isinstance(tree, str) else json.dumps(tree), tensors))
    return path


def _set(*keys, to):
    def edit(tree):
        node = tree
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = to

    return edit


FIT = ("fields", "fit", "fields")
FORGERIES = {
    "unknown record": _set("record", to="Popen"),
    "import path": _set("record", to="os.system"),
    "class that is no enumeration": _set(*FIT, "bread_kind", to={"enum": ["OLS", "x"]}),
    "unknown member": _set(*FIT, "bread_kind", to={"enum": ["Bread", "__class__"]}),
    "enumeration as a record": _set(*FIT, "bread_kind", to={"record": "Bread", "fields": {}}),
    "another field": _set(*FIT, "evil", to=1),
    "missing field": lambda tree: tree["fields"]["fit"]["fields"].pop("root") and None,
    "wrong type": _set(*FIT, "params", to="abc"),
    "wrong kind of record": _set(*FIT, "problem", to={"record": "Tensors", "fields": {}}),
    "function in a field": _set("fields", "cov", "fields", "label", to={"eval": "1 + 1"}),
    "no such place": _set(*FIT, "given", to={"same": 10**6}),
    "place before the first": _set(*FIT, "given", to={"same": -1}),
    "no such tensor": _set(*FIT, "params", to={"tensor": "t999", "order": [0, 1]}),
    "other sizes": _set("fields", "cov", "fields", "matrix", to={"tensor": "t0", "order": [0, 1]}),
    "not finite": lambda tree: '{"tuple": [NaN]}',
    "no record at all": lambda tree: "3",
    "another record": lambda tree: '{"record": "Tensors", "fields": {}}',
    "no JSON": lambda tree: "{",
    "deep": lambda tree: '{"tuple": [' * 100_000,
    "deep and closed": lambda tree: '{"tuple": [' * 20_000 + "]}" * 20_000,
    "many digits": lambda tree: "9" * 100_000,
    "unhashable key": lambda tree: '{"dict": [[{"list": []}, 1]]}',
    "object array": _set(*FIT, "facts", to={"array": "t0", "dtype": "|O8", "shape": [1]}),
    "huge shape": _set(*FIT, "facts", to={"array": "t0", "dtype": "<f8", "shape": [10**18]}),
    "file as a time zone": _set(
        *FIT, "facts", to={"labels": {"zoned": 1, "zone": "dateutil//etc/passwd"}, "name": None, "freq": None}
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused(name, saved):
    with pytest.raises(bh.DataError, match=r"holds what this betahat does not save|holds no results|no whole file"):
        bh.load(forged(saved, FORGERIES[name]))


def _nodes(node, path=()):
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _nodes(child, (*path, key))


def test_a_tree_with_any_node_replaced_is_read_or_refused(saved):
    whole, refused = saved.read_bytes(), 0
    paths = list(_nodes(parts(saved)[1]))[1:]
    junk = [
        None,
        {},
        [],
        "x",
        -1,
        1e300,
        True,
        {"same": 3},
        {"tensor": "t1", "order": [0]},
        {"dict": []},
        {"tuple": [1]},
    ]
    for turn, path in enumerate(paths):
        saved.write_bytes(whole)
        forged(saved, _set(*path, to=junk[turn % len(junk)]))
        try:
            bh.load(saved)
        except bh.DataError:
            refused += 1
    assert refused > 0.7 * len(paths) > 100


def test_a_tree_that_is_not_forged_is_read(saved):
    assert bh.load(forged(saved)).cov_type == "HC1"


def test_files_of_others_are_refused(saved, tmp_path):
    for header, sentence in {
        "3 - {}": r"newer betahat \(version 3",
        "-1 - {}": "without results of betahat",
        "\N{SUPERSCRIPT TWO} - {}": "without results of betahat",
        "1": "was changed after it was written",
    }.items():
        save_file({"a": torch.ones(1)}, saved, {"betahat": header})
        with pytest.raises(bh.DataError, match=sentence):
            bh.load(saved)
    save_file({"a": torch.ones(1)}, tmp_path / "weights")
    with pytest.raises(bh.DataError, match="without results of betahat"):
        bh.load(tmp_path / "weights")
    for content in (b"", b"x", b"\x80\x04\x95", b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}"):
        (tmp_path / "bytes").write_bytes(content)
        with pytest.raises(bh.DataError, match="no whole file"):
            bh.load(tmp_path / "bytes")


def test_truncated_files_are_refused(saved):
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(bh.DataError, match="no whole file"):
            bh.load(saved)


def test_a_single_bit_that_flips_is_seen(saved):
    whole = saved.read_bytes()
    for place in [*range(8, len(whole), len(whole) // 200), len(whole) - 1]:
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(bh.DataError, match=r"whole file|was changed after|without results"):
            bh.load(saved)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_results_make_the_same_bytes(name, tmp_path):
    results = MODELS[name]().fit("HC0" if name in GENERAL else "HC1")
    first = results.save(tmp_path / "r").read_bytes()
    assert bh.load(tmp_path / "r").save(tmp_path / "again").read_bytes() == first
    assert results.save(tmp_path / "r").read_bytes() == first
    if name in ("formula", "weights"):  # formulaic's set of factors has another order in each process
        assert list(bh.load(tmp_path / "r").model.source.factors) == sorted(map(str, results.model.source.spec.factors))


def test_a_field_that_came_later_has_its_default(saved):
    def edit(tree):
        for field in ("df_tests", "clusters"):
            del tree["fields"]["cov"]["fields"][field]

    agree(bh.load(saved), bh.load(forged(saved, edit)))


def test_fields_are_read_in_the_order_of_the_file(tmp_path, monkeypatch):
    """A later version may order its fields otherwise, and a node is referred to by its number in the file."""
    results = bh.ols("y ~ x", FRAME).fit(bh.Cluster("g", "CR2"))
    monkeypatch.setattr(writing, "fields_of", lambda cls: (names := fields_of(cls)) and names[::-1])
    loaded = bh.load(results.save(tmp_path / "r"))
    agree(results, loaded)
    agree(results, loaded, looked_up)


def test_bad_places(tmp_path, saved):
    results = bh.load(saved)
    for path in (None, 3, [1]):
        for act in (results.save, bh.load):
            with pytest.raises(bh.OptionError, match="pass the name of a file"):
                act(path)
    assert bh.load(results.save(str(tmp_path / "é").encode())).names == results.names
    with pytest.raises(bh.DataError, match="There is no folder"):
        results.save(tmp_path / "nowhere" / "r")
    with pytest.raises(bh.DataError, match="is a folder"):
        results.save(tmp_path)
    with pytest.raises(bh.DataError, match="is a folder"):
        bh.load(tmp_path)
    with pytest.raises(bh.DataError, match="does not exist"):
        bh.load(tmp_path / "absent")
    with pytest.raises(bh.OptionError, match="device is 'nowhere'"):
        bh.load(saved, device="nowhere")
    assert bh.load(saved, device="cpu").params.equals(results.params)


@pytest.mark.parametrize("step", ["save_file", "replace"])
def test_a_save_that_fails_leaves_the_old_file(step, saved, monkeypatch):
    before, results = saved.read_bytes(), bh.ols("y ~ x", FRAME).fit()

    def fail(*given):
        if step == "save_file":
            Path(given[1]).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(*((files, "save_file") if step == "save_file" else (files.os, "replace")), fail)
    with pytest.raises(bh.DataError, match="No space left"):
        results.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    monkeypatch.undo()
    results.save(saved)
    assert bh.load(saved).names == ("Intercept", "x")


# no code is run

CANARY = "__import__('pathlib').Path({path!r}).touch()"
WATCHED = (
    "exec",
    "compile",
    "pickle.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess",
    "marshal.",
    "code.__new__",
    "ctypes",
)
SEEN: list[str] | None = None


def _watch(event, arguments):
    if SEEN is not None and event.startswith(WATCHED):
        SEEN.append(f"{event} {arguments!r:.200}")


def test_loading_compiles_and_executes_nothing(saved):
    global SEEN  # noqa: PLW0603
    bh.load(saved)  # which reads the annotations of our own records, once
    sys.addaudithook(_watch)
    hostile = saved.with_name("hostile")
    hostile.write_bytes(saved.read_bytes())
    forged(hostile, _replaced_factor("np.log(z)", CANARY.format(path=str(saved.with_name("canary")))))
    SEEN = []
    try:
        bh.load(saved)
        bh.load(hostile)
        assert not SEEN
        eval("1 + 1")
        assert SEEN  # the watch is on
    finally:
        SEEN = None


def _replaced_factor(old, new):
    return lambda tree: json.loads(json.dumps(tree).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))


HOSTILE = {
    "import": CANARY,
    "in a call": "np.log(" + CANARY + " or z)",
    "lambda": "(lambda: " + CANARY + ")()",
    "list": "[" + CANARY + " for i in (1,)][0]",
    "attribute": "np.log.__class__.__base__.__subclasses__()",
    "numpy's own": "np.load('x', allow_pickle=True)",
    "numpy's function": "np.vectorize(print)(z)",
    "numpy's file": "np.fromfile({path!r})",
    "builtin": "open({path!r}, 'w')",
    "builtin as a value": "I(open)",
    "quoted builtin": "I(`open`)",
    "quoted import": "I(`__import__`)",
    "method": "z.to_csv({path!r})",
    "format": "f'{{" + CANARY + "}}'",
    "word that breaks out": 'poly(z, raw="] or ' + CANARY + ' #")',
    "quotation mark": 'C(c, levels=["a\'b"])',
    "keyword": "center(z, _state=np)",
    "out": "np.log(z, out=z)",
    "star": "np.log(*[z])",
    "walrus": "(q := z)",
    "item": "z[0]",
    "tower": "9 ** 9 ** 9 ** 9",
    "words times a number": "'a' * 10",
    "list times a number": "[0] * 10",
    "words of a column times a number": "c * 10",
    "words that a function hands on": "I('a') * 10",
    "a list that a function hands on": "I([0]) * 10",
    "words that are numbers to NumPy": "np.multiply(c, 10)",
    "a list among columns": "np.add([[1], [2]], z)",
    "two numbers of a function": "np.modf(z) * 10",
    "a format": "I('%9d') % 5",
    "integers without end": "np.square(99999999999999999999)",
    "integers that grow": "np.square(9999999999 * 9999999999)",
    "integers of objects": "np.power(z, 2, dtype='O')",
    "a truth of columns": "((z is z) + 8) ** 9",
    "not a column": "(not z) ** 9",
    "shift": "1 << 99",
    "written into": "np.log(z, z) + z",
    "written into a logarithm": "log(z, z) + z",
    "memory as it was": "np.log(z, where=False)",
    "many columns": "bs(z, df=10000)",
    "high degree": "poly(z, 10000)",
    "comment": "z # `",
    "newline": "z\n",
    "evaluator": "C(c, contr.custom(print))",
    "syntax": "z +",
    "stranger": "hashed(c, levels=3, hash_func=print)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_formula_is_never_evaluated(name, saved):
    canary = saved.with_name("canary")
    expression = HOSTILE[name].format(path=str(canary))
    forged(saved, _replaced_factor("np.log(z)", expression))
    loaded = bh.load(saved)
    assert expression in loaded.model.source.factors
    agree(bh.ols("y ~ np.log(z) + C(c)", FRAME).fit("HC1").remove_data(), loaded, lambda r: iter([r.bse.to_numpy()]))
    with pytest.raises(bh.FormulaError, match="not evaluated"):
        loaded.predict(NEW)
    assert not canary.exists()


@pytest.mark.parametrize("method", ["lookup", "literal", "unknown"])
@pytest.mark.parametrize("expression", [CANARY, "Q(" + CANARY + " or 'z')", "center(" + CANARY + " or z)"])
def test_nor_one_that_claims_to_be_a_name(method, expression, saved):
    canary = saved.with_name("canary")

    def edit(tree):
        hostile = _replaced_factor("np.log(z)", expression.format(path=str(canary)))(tree)
        return json.dumps(hostile).replace('"method": "python"', f'"method": "{method}"')

    loaded = bh.load(forged(saved, edit))
    with pytest.raises(bh.FormulaError):
        loaded.predict(NEW)
    assert not canary.exists()


def test_functions_are_numpys_computations_alone(saved):
    def edit(tree):
        forged = json.dumps(_replaced_factor("np.log(z)", "f(z)")(tree))
        return forged.replace('"functions": {"dict": []}', '"functions": {"dict": [["f", "load"], ["g", "nowhere"]]}')

    loaded = bh.load(forged(saved, edit))
    assert loaded.model.source.functions == {"f": "load", "g": "nowhere"}
    with pytest.raises(bh.FormulaError, match=r"'f\(z\)', which is no computation"):
        loaded.predict(NEW)
    loaded.model.source.factors.pop("f(z)")
    with pytest.raises(bh.FormulaError, match="not evaluated"):
        loaded.predict(NEW)


@pytest.mark.parametrize("name", ["import", "lambda"])
def test_the_check_is_what_holds_it_back(name, saved):
    canary = saved.with_name("canary")
    forged(saved, _replaced_factor("np.log(z)", HOSTILE[name].format(path=str(canary))))
    source = bh.load(saved).model.source
    with pytest.raises((bh.BetahatError, TypeError)):
        rebuilt(source.text, source._spec(), {}, NEW)
    assert canary.exists()


def _own(values):
    return values**2


@pytest.mark.parametrize("text", ["y ~ _own(x)", "y ~ I(x > SHIFT) + _own(z)"])
def test_functions_of_the_users_are_not_stored(text, tmp_path):
    loaded = bh.load(bh.ols(text, FRAME).fit().save(tmp_path / "r"))
    with pytest.raises(bh.FormulaError, match=r"'_own\(.\)', which is no computation"):
        loaded.predict(NEW)
    np.testing.assert_array_equal(loaded.predict(loaded.model.exog, transform=False), loaded.fittedvalues)


@pytest.mark.parametrize(
    ("expression", "context"),
    [
        ("word * 10", {"word": "a"}),
        ("word % 5", {"word": "%9d"}),
        ("many * 10", {"many": [0]}),
        ("large * 2", {"large": 10**30}),
        ("np.left_shift(large, 10)", {"large": 2**63}),
        ("many + x", {"many": np.ones((3, 3))}),
        ("bs(x, df=size)", {"size": 10_000}),
        ("log(x)", {"log": Multinomial(5, 5)}),
        ("np.log(x)", {"np": 1.0}),
    ],
)
def test_what_a_file_says_of_the_users_names_is_not_trusted(expression, context):
    assert harm(expression, names_of(NEW, context, {}, ())) == expression


def test_arithmetic_of_numbers_is_harmless():
    names = names_of(NEW.assign(day=pd.Timestamp("2020-01-01")), {"SHIFT": SHIFT, "two": 2, "few": np.ones(5)}, {}, ())
    for expression in (
        *("2**x + x**z + x**20 + two**x", "x / (24 * 3600) + x / np.log(2)", "I((c == 'a') * x) - SHIFT * few"),
        *("np.clip(x, a_min=0, a_max=1) + np.round(z, 2)", "C(np.where(x > 1, 'a', 'b'))", "day - day"),
        *("np.where(c == 'a', x, -x) * 2 + Q('two words') * lag(x)", "exp2(x) + log(`two words`, ) * two"),
    ):
        assert harm(expression, names) is None, expression


logarithm = np.log
HARMLESS = (
    "np.log(z) + numpy.sqrt(z)",
    "logarithm(z) + log(z) + I(x * 2 - SHIFT) + np.where(x > SHIFT, 1, 0)",
    "C(c, Treatment('b')) + C(g, contr.sum) + bs(x, df=5, degree=2) + cr(z, df=4)",
    "poly(x, 3) + standardize(x) + center(z):C(c) + (x + z)**2",
    "`two words` + np.exp(`two words`) + Q('two words') + I((x > 0) & (z < 1.5))",
    "C(c, levels=['c', 'b', 'a']) + {x**2} + lag(x)",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_formulas_predict_after_loading(text, tmp_path):
    import numpy  # noqa: F401

    results = bh.ols(f"y ~ {text}", FRAME).fit()
    loaded = bh.load(results.save(tmp_path / "r"))
    assert isinstance(loaded.model.source, StoredFormula)
    same(results.predict(NEW), loaded.predict(NEW))
    same(results.predict(NEW), loaded.predict(NEW))  # nothing was learnt in between
