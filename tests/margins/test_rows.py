"""Margins of results whose rows are not in memory: read in parts, kept without data, loaded, pickled."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

# Sums over files in another order than over rows.
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(8)
    n = 200
    found = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "w": rng.uniform(1.0, 3.0, n),
            "d": rng.integers(0, 2, n),
            "old": rng.uniform(size=n) < 0.4,
            "g": rng.choice(["a", "b", "c"], n),
            "firm": rng.integers(0, 9, n),
            "t": rng.uniform(0.5, 2.0, n),
            "often": rng.integers(1, 4, n),
        }
    )
    index = 0.4 * found.x + 0.5 * found.d - 0.4 * (found.g == "b") + 0.2 * found.w - 0.5
    found["y"] = index + rng.normal(size=n)
    found["yes"] = (rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-index))).astype(float)
    found["count"] = rng.poisson(np.exp(index)).astype(float)
    found.loc[7, "x"] = np.nan
    return found


@pytest.fixture(scope="module")
def files(frame, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for i in range(3):
        frame.iloc[i * 80 : (i + 1) * 80].to_parquet(folder / f"{i}.parquet")
    return str(folder / "*.parquet")


RIGHT = "x * d + np.log(w) + C(g) + old"
CALLS = [
    ("avg_slopes", {}),
    ("avg_slopes", {"by": ["d", "g"]}),
    ("avg_comparisons", {"variables": {"x": 2, "g": "pairwise"}, "comparison": "ratio"}),
    ("avg_predictions", {"variables": "g"}),
    ("avg_predictions", {"variables": {"x": [0, 1]}, "by": ["x", "old"]}),
    ("avg_slopes", {"variables": "x", "wts": "t"}),
]


def _same(one, other):
    np.testing.assert_allclose(one.estimates, other.estimates, **CLOSE)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-10)
    assert one.names == other.names


@pytest.fixture(scope="module")
def both(frame, files):
    return [bh.logit(f"yes ~ {RIGHT}", data).fit("HC1") for data in (frame, files)]


@pytest.mark.parametrize(("call", "options"), CALLS)
def test_files_are_averaged_in_parts(both, call, options):
    held, read = both
    _same(getattr(read, call)(**options), getattr(held, call)(**options))


def test_models_of_files(frame, files):
    for fit in (
        lambda data: bh.poisson(f"count ~ {RIGHT}", data, exposure="t", freq_weights="often").fit(),
        lambda data: bh.ols("y ~ x * C(g) + w | firm", data).fit("HC1"),
        lambda data: bh.logit("yes ~ x + w", data).fit(bh.Bootstrap(20, seed=1)),
    ):
        held, read = fit(frame), fit(files)
        _same(read.avg_slopes(by="d"), held.avg_slopes(by="d"))
        _same(read.avg_slopes(newdata=frame.head(5)), held.avg_slopes(newdata=frame.head(5)))
    one, other = (res.avg_slopes().conf_int(0.2, method="percentile") for res in (read, held))
    np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda res: res.slopes(), "nothing with a number for each row is returned; use avg_slopes"),
        (lambda res: res.avg_predictions(newdata="mean"), "typical rows need all of them at once"),
        (lambda res: res.avg_comparisons({"x": "sd"}), "needs all values of 'x' at once"),
        (lambda res: res.avg_predictions("x"), "needs all values of 'x' at once"),
        (lambda res: res.avg_slopes(by="nobody"), "'nobody' is not a column of the data"),
        (lambda res: res.avg_slopes(wts=[1.0]), "pass the name of a column"),
        (lambda res: bh.ols("y ~ x | firm", res).fit().avg_predictions(), "depend on the absorbed effects"),
    ],
)
def test_what_is_refused_of_files(files, call, sentence):
    res = files if "absorbed" in sentence else bh.ols("y ~ x + C(g)", files).fit()
    with pytest.raises(bh.BetahatError, match=sentence):
        call(res)


@pytest.mark.parametrize(
    "fit",
    [
        lambda df: bh.ols(f"y ~ {RIGHT}", df).fit("HC1"),
        lambda df: bh.mnlogit("g ~ x * d + np.log(w)", df).fit(),
        lambda df: bh.zeroinflatedpoisson("count ~ x", df, exog_infl="~ w").fit(),
        pytest.param(lambda df: bh.logit("yes ~ x + d", df).fit(bh.Bootstrap(20, seed=3)), marks=pytest.mark.slow),
        pytest.param(lambda df: bh.ols("y ~ x * d | firm", df).fit(), marks=pytest.mark.slow),
    ],
)
def test_results_from_files_and_without_data(frame, fit):
    res, new = fit(frame), frame.head(6)[["x", "w", "d", "g", "old"]]
    expected = res.avg_comparisons(newdata=new), res.avg_slopes("x", newdata=new)
    whole, bare = io.BytesIO(), io.BytesIO()
    res.save(whole), res.save(bare, remove_data=True)
    loaded = [bh.load(io.BytesIO(file.getvalue())) for file in (whole, bare)]
    for other in (*loaded, pickle.loads(pickle.dumps(res))):
        _same(other.avg_slopes("x", newdata=new), expected[1])
        _same(other.avg_comparisons(newdata=new), expected[0])
    _same(loaded[0].avg_slopes("x"), res.avg_slopes("x"))
    with pytest.raises(bh.DataError, match="kept without their data, so that margins need newdata"):
        loaded[1].avg_slopes()


def test_columns_without_data(frame):
    X = bh.add_constant(frame[["x", "w", "d"]].fillna(0.0))
    res, bare = bh.Logit(frame.yes, X).fit(), io.BytesIO()
    res.save(bare, remove_data=True)
    other = bh.load(io.BytesIO(bare.getvalue()))
    _same(other.avg_slopes(newdata=X.head(9)), res.avg_slopes(newdata=X.head(9)))
    with pytest.raises(bh.DataError, match="newdata lacks 'const', whose value is not known"):
        other.avg_slopes(newdata=X.head(9)[["x", "w", "d"]])


def test_batches_need_new_data(frame):
    rows = torch.utils.data.TensorDataset(
        torch.tensor(frame[["w", "t"]].to_numpy()), torch.tensor(frame.y.to_numpy())[:, None]
    )
    res = bh.TorchModel(torch.nn.Linear(2, 1), torch.nn.MSELoss(), rows, stream=True).fit()
    with pytest.raises(bh.DataError, match="read batch by batch, so that margins need newdata"):
        res.avg_slopes()
    new = frame.head(20)[["w", "t"]].set_axis(["x1", "x2"], axis=1)
    np.testing.assert_allclose(res.avg_slopes(newdata=new).estimates, res.fit.params[:2], rtol=1e-12)
