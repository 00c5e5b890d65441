"""Results never change, whatever happens to the user's data after the fit: they are kept, or a change is noticed."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import betahat as bh
from betahat.resampling import resamplers

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


def _columns(n=240, seed=4):
    rng = np.random.default_rng(seed)
    firm = rng.permutation(np.repeat(np.arange(n // 8), 8))
    x = rng.normal(size=n) + rng.normal(size=n // 8)[firm]
    y = 1 + 0.5 * x + rng.normal(size=n // 8)[firm] + rng.normal(size=n)
    yes, count = (y > 1) * 1.0, rng.poisson(np.exp(0.2 * x)) * 1.0
    return {"y": y, "x": x, "firm": firm, "t": np.argsort(np.argsort(y)), "yes": yes, "count": count}


def _lists(data):
    return {name: column.tolist() for name, column in data.items()}


FRAMES = {
    "pandas": pd.DataFrame,
    "pandas of one array": lambda data: pd.DataFrame(
        np.column_stack(list(data.values())), columns=list(data), copy=False
    ),
    "pandas, text": lambda data: pd.DataFrame(data).assign(firm=[f"f{code}" for code in data["firm"]]),
    "polars": pl.DataFrame,
    "dict of arrays": dict,
    "dict of lists": _lists,
    "dict of series": lambda data: {name: pd.Series(column) for name, column in data.items()},
    "dict of tensors": lambda data: {name: torch.tensor(column) for name, column in data.items()},
    "dict of pandas' arrays": lambda data: {name: pd.array(column) for name, column in data.items()},
}
VECTORS = {
    "pandas' arrays": pd.array,
    "text of pandas'": lambda column: pd.array(column, dtype="string") if column.dtype.kind == "U" else column,
    "categories": lambda column: pd.Categorical(column) if column.dtype.kind == "U" else column,
    "arrow's arrays": pa.array,
    "arrow's chunks": lambda column: pa.chunked_array([pa.array(column)]),
    "polars": pl.Series,
    "pandas": pd.Series,
    "indices": pd.Index,
    "tuples": lambda column: tuple(column.tolist()),
}


def _write_on(frame, name):
    """Change a column of any container in place, as its library does it."""
    column = frame[name]
    if isinstance(frame, pl.DataFrame):
        frame[0, name] = column[-1]
        frame.replace_column(frame.get_column_index(name), column.reverse().alias(name))
    elif isinstance(frame, pd.DataFrame):
        frame.loc[frame.index[:9], name] = column.iloc[-1]
        frame[name] = column.to_numpy()[::-1]
    elif isinstance(column, list):
        column.reverse()
    elif isinstance(column, pd.Series):
        column.iloc[:9] = column.iloc[-1]
    else:
        column[:9] = column[-1]


def _sort(frame):
    if isinstance(frame, pd.DataFrame):
        frame[:] = frame.sort_values("y", ignore_index=True).to_numpy()
    elif isinstance(frame, pl.DataFrame):
        columns = frame.sort("y").get_columns()
        for place, column in enumerate(columns):
            frame.replace_column(place, column)
    else:
        order = np.argsort(np.asarray(frame["y"]))
        for name in list(frame):
            frame[name] = [frame[name][i] for i in order]


def _drop(frame):
    if isinstance(frame, pl.DataFrame):
        frame.drop_in_place("firm")
    else:
        del frame["firm"]


def _add_rows(frame):
    if isinstance(frame, pl.DataFrame):
        frame.extend(frame.clone())
    elif isinstance(frame, pd.DataFrame):
        frame.loc[len(frame)] = frame.iloc[0]
    else:
        for name in frame:
            frame[name] = [*frame[name], frame[name][0]]


CHANGES = {"overwrite": lambda frame: _write_on(frame, "firm"), "sort": _sort, "drop": _drop, "add rows": _add_rows}
COVARIANCES = [bh.Cluster("firm"), bh.DriscollKraay("t", maxlags=2), bh.Conley("x", "t", 3.0, distance="planar")]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("container", FRAMES)
def test_names_are_looked_up_in_the_frame_of_the_fit(container, change):
    data = FRAMES[container](_columns())
    res = bh.ols("y ~ x", data).fit()
    expected = [res.with_cov(cov).bse for cov in COVARIANCES]
    CHANGES[change](data)
    for cov, before in zip(COVARIANCES, expected, strict=True):
        np.testing.assert_array_equal(res.with_cov(cov).bse, before)
    np.testing.assert_array_equal(res.model.fit(COVARIANCES[0]).bse, expected[0])


@pytest.mark.parametrize("model", ["OLS", "Logit", "Poisson", "MNLogit"])
def test_names_in_a_frame_of_regressors(model):
    """So are those in the exog of a model without a formula."""
    data = pd.DataFrame(_columns()).assign(one=1.0)
    y = data[{"OLS": "y", "Poisson": "count"}.get(model, "yes")]
    exog = data[["one", "x", "firm"]].copy()
    res = getattr(bh, model)(y, exog).fit()
    expected, spread = res.with_cov(bh.Cluster("firm")).bse, res.with_cov("HC0").bse
    exog.loc[:, "firm"] = exog["firm"].to_numpy()[::-1]
    exog.loc[:40, "x"] = 0.0
    np.testing.assert_array_equal(res.with_cov(bh.Cluster("firm")).bse, expected)
    np.testing.assert_array_equal(res.with_cov("HC0").bse, spread)


def test_arrow_over_an_array():
    """An arrow table is immutable, but it may lie in a NumPy array that is not."""
    columns = _columns()
    res = bh.ols("y ~ x", pa.table(columns)).fit()
    expected = res.with_cov(bh.Cluster("firm")).bse
    columns["firm"][:] = columns["firm"][::-1].copy()
    np.testing.assert_array_equal(res.with_cov(bh.Cluster("firm")).bse, expected)


def _answers(res):
    """What is computed of the rows when it is asked for."""
    found = [res.with_cov("HC3").bse, res.with_cov("jackknife").bse, res.resid, res.fittedvalues, res.predict()]
    return [np.asarray(part) for part in found]


KINDS = {
    "array": np.array,
    "Fortran": np.asfortranarray,
    "tensor": torch.tensor,
    "float32": lambda v: torch.tensor(v).float(),
}


@pytest.mark.parametrize("change", ["scale", "first column", "one number", "y"])
@pytest.mark.parametrize("rows", [80, 70_000], ids=["small", "large"])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_are_written_on(kind, rows, change):
    """Small ones are copies; of large ones, which lie where the user has them, a change is an error."""
    rng = np.random.default_rng(0)
    x = KINDS[kind](np.column_stack([np.ones(rows), rng.normal(size=(rows, 4))]))
    y = KINDS[kind](rng.normal(size=rows))
    res, expected = bh.OLS(y, x).fit(), _answers(bh.OLS(y, x).fit())
    if change == "scale":
        x *= 2
    elif change == "y":
        y[:9] = 7.0
    else:
        x[3 if change == "one number" else slice(None), 1] = 5.0
    if rows == 80 or change == "y":  # 70,000 numbers are few
        for found, wanted in zip(_answers(res), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    else:
        for ask in (lambda: res.with_cov("HC3"), lambda: res.resid, lambda: res.get_influence().hat_matrix_diag):
            with pytest.raises(bh.DataError, match="exog was changed in place after the model was made"):
                ask()


@pytest.mark.parametrize(
    "change",
    {
        "scale": lambda x: x.mul_(2.0),
        "one number": lambda x: x[31_077, 1].fill_(0.25),
        "two rows change places": lambda x: x.__setitem__([5, 60_000], x[[60_000, 5]].clone()),
        "sort": lambda x: x.copy_(x.sort(0).values),
        "past the version counter": lambda x: x.data.mul_(2.0),
        "through NumPy": lambda x: x.numpy().__setitem__((17, 3), 1.0),
    }.items(),
    ids=lambda change: change[0],
)
def test_every_change_of_large_data_is_noticed(change):
    rng = np.random.default_rng(0)
    x, y = torch.tensor(rng.normal(size=(70_000, 4))), torch.tensor(rng.normal(size=70_000))
    res = bh.OLS(y, x).fit("HC1")
    change[1](x)
    with pytest.raises(bh.DataError, match="changed in place"):
        res.with_cov("HC3")
    if change[0] in ("scale", "sort"):  # which a look at some of the rows shows
        for ask in (
            lambda: res.resid,
            lambda: res.get_influence().hat_matrix_diag,
            res.predict,
            res.model.fit,
        ):
            with pytest.raises(bh.DataError, match="changed in place"):
                ask()


@pytest.mark.parametrize("kind", ["pairs", "bayesian", "wild", "score", "residual", "parametric"])
@pytest.mark.parametrize("model", [bh.OLS, bh.Logit])
def test_no_bootstrap_draws_from_changed_data(model, kind, monkeypatch):
    """One number, which no look at some rows shows; whether the rows' scores are held or taken anew."""
    if model is bh.Logit and kind in ("wild", "residual"):
        pytest.skip("not defined")
    rng = np.random.default_rng(0)
    x, y = torch.tensor(rng.normal(size=(70_000, 4))), torch.tensor(rng.normal(size=70_000) > 0).double()
    res = model(y, x).fit()
    x[31_077, 1] = 0.25
    for table in (2**22, 1):
        monkeypatch.setattr(resamplers, "_TABLE", table)
        with pytest.raises(bh.DataError, match="exog was changed in place"):
            res.with_cov(bh.Bootstrap(5, kind, seed=1))


def test_weights_and_offsets_are_kept():
    data = _columns()
    x = np.column_stack([np.ones(240), data["x"]])
    offset, weights, counts = np.full(240, 0.1), np.linspace(0.5, 2, 240), np.full(240, 2.0)
    models = [
        (bh.WLS(data["y"], x, weights), weights),
        (bh.Poisson(data["count"], x, offset=offset), offset),
        (bh.Logit(data["yes"], x, freq_weights=counts), counts),
    ]
    for model, vector in models:
        res = model.fit()
        before = res.with_cov("HC0").bse
        vector[:] = 3.0
        np.testing.assert_array_equal(res.with_cov("HC0").bse, before)
        np.testing.assert_array_equal(model.fit("HC0").bse, before)


def _network(x, y):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
    return bh.TorchModel(net, torch.nn.MSELoss(), x, y, penalty=1.0)


def _linear(x, y):
    return bh.TorchModel(torch.nn.Linear(2, 1), torch.nn.MSELoss(), x, y)


def _row_loss(p, d):
    return torch.log(torch.cosh(d["y"][:, 0] - d["x"] @ p["b"]))


def _estimator(x, y):
    return bh.MEstimator(_row_loss, {"b": torch.zeros(2)}, {"x": x, "y": y})


@pytest.mark.parametrize("make", [_network, _linear, _estimator])
@pytest.mark.parametrize("rows", [60, 140_000], ids=["small", "large"])
def test_data_of_torch_models(make, rows):
    if rows > 60 and make is _network:
        pytest.skip("the fit of a large network takes long, and the data are kept in the same place")
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(rows, 2)))
    y = 2 * torch.tanh(x[:, :1] - 0.5) + torch.tensor(rng.normal(size=(rows, 1)))
    res = make(x, y).fit()
    asks = [lambda: res.with_cov("HC0").bse]
    asks += [] if make is _estimator else [res.predict, lambda: res.resid]
    expected = [ask() for ask in asks]
    x.mul_(1.5)
    y.add_(1.0)
    for ask, before in zip(asks, expected, strict=True):
        if rows == 60:
            assert torch.equal(ask(), before)
        else:
            with pytest.raises(bh.DataError, match=r"(inputs|data\['x'\]) was changed in place"):
                ask()


def test_groups_by_name_of_torch_models():
    columns = _columns()
    frame = pd.DataFrame({name: columns[name] for name in ("x", "firm")})
    y, x = torch.tensor(columns["y"]), columns["x"]
    data = {"x": columns["x"], "y": columns["y"], "firm": columns["firm"].astype(float)}
    loss = lambda p, d: (d["y"] - p["a"] - p["b"] * d["x"]) ** 2  # noqa: E731
    for model, given in (
        (bh.TorchModel(torch.nn.Linear(2, 1), torch.nn.MSELoss(), frame, y[:, None]), frame),
        (bh.MEstimator(loss, {"a": 0.0, "b": 0.0}, data), data),
    ):
        res = model.fit()
        before = res.with_cov(bh.Cluster("firm")).bse
        _write_on(given, "firm")
        assert np.array_equal(np.array(res.with_cov(bh.Cluster("firm")).bse), np.array(before))
        del given["firm"]
        assert np.array_equal(np.array(res.with_cov(bh.Cluster("firm")).bse), np.array(before))
    del x


LABELS = {
    "array": np.array,
    "list": list,
    "tensor": torch.tensor,
    "series": pd.Series,
    "polars": pl.Series,
    "frame": lambda v: pd.DataFrame({"firm": v}),
    "dict": lambda v: {"firm": np.array(v)},
    "list of arrays": lambda v: [np.array(v), np.arange(len(v)) // 60],
}


@pytest.mark.parametrize("kind", LABELS)
def test_estimators_keep_their_labels(kind):
    """An estimator is what it was made as, although its vector is written on."""
    columns = _columns()
    res = bh.ols("y ~ x", pd.DataFrame(columns)).fit()
    labels = LABELS[kind](columns["firm"])
    cov = bh.Cluster(labels)
    before = res.with_cov(cov).bse
    inner = labels["firm"] if kind in ("frame", "dict") else labels[0] if kind == "list of arrays" else labels
    if kind == "frame":
        labels["firm"] = 0
    elif kind == "list":
        labels[:] = labels[::-1]
    else:
        inner[np.arange(9) if kind == "polars" else slice(9)] = int(inner[100])
    np.testing.assert_array_equal(res.with_cov(cov).bse, before)


def test_every_estimator_keeps_what_it_is_given():
    t, unit, place = np.tile(np.arange(24), 10), np.repeat(np.arange(10), 24), np.linspace(0, 9, 240)
    matrix = np.array([[0.04, 0.01], [0.01, 0.04]])
    made = [
        bh.DriscollKraay(t, 2),
        bh.PanelNeweyWest(unit, t, 2),
        bh.PanelCorrected(unit, t),
        bh.Jackknife(unit),
        bh.Conley(place, place, 50.0),
        bh.Bootstrap(20, "pairs", clusters=unit, seed=1),
        bh.Bootstrap(20, "moving-block", time=t, block_length=3, seed=1),
        bh.Given(matrix),
    ]
    res = bh.ols("y ~ x", pd.DataFrame(_columns())).fit()
    before = [res.with_cov(cov).bse for cov in made]
    for vector in (t, unit, place):
        vector[:] = vector[::-1].copy() + 1
        vector[:50] = vector[60]
    matrix[:] = 1.0
    for cov, expected in zip(made, before, strict=True):
        np.testing.assert_array_equal(res.with_cov(cov).bse, expected)


@pytest.mark.parametrize("kind", ["array", "tensor", "text", "arrow"])
def test_large_columns_that_are_written_on(kind):
    """A dict's large arrays, and arrow tables over them, are shared; a change is an error where the column is asked for."""
    columns = _columns(n=280_000)
    shared = columns["firm"].astype(object) if kind == "text" else columns["firm"].copy()
    column = torch.from_numpy(shared) if kind == "tensor" else shared
    data = {"y": columns["y"], "x": columns["x"], "firm": column}
    res = bh.ols("y ~ x", pa.table(data) if kind == "arrow" else data).fit()
    before = res.with_cov(bh.Cluster("firm")).bse
    np.testing.assert_array_equal(res.with_cov(bh.Cluster("firm")).bse, before)
    shared[:] = shared[::-1].copy()
    with pytest.raises(bh.DataError, match="changed in place"):
        res.with_cov(bh.Cluster("firm"))
    res.with_cov(bh.Cluster(columns["firm"]))


def test_a_large_frame_is_not_copied():
    """pandas copies on write, so that a shallow copy is a frame of its own; polars' columns never change."""
    columns = _columns(n=80_000)
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns)):
        res = bh.ols("y ~ x", frame).fit()
        kept = res.model.data.frame
        if isinstance(frame, pd.DataFrame):
            assert kept is not frame
            assert np.shares_memory(kept["firm"].to_numpy(), frame["firm"].to_numpy())
        expected = res.with_cov(bh.Cluster("firm")).bse
        _write_on(frame, "firm")
        np.testing.assert_array_equal(res.with_cov(bh.Cluster("firm")).bse, expected)


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_of_any_kind_are_kept_and_stored(vector, tmp_path):
    plain = {"y": np.array([1.0, 2, 4, 3, 5, 9]), "x": np.array([1.0, 2, 2, 3, 5, 4]), "f": np.array(list("aabbcc"))}
    by_firm = bh.Cluster("f", kind="CR2")
    expected = bh.ols("y ~ x", plain).fit(by_firm).bse
    res = bh.ols("y ~ x", {name: VECTORS[vector](column) for name, column in plain.items()}).fit()
    res.save(tmp_path / "res.bh")
    for found in (res, bh.load(tmp_path / "res.bh")):
        np.testing.assert_array_equal(found.with_cov(by_firm).bse, expected)
