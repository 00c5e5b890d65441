"""Series whose indices differ are refused wherever they meet, in fits, in predictions and in dicts."""

import numpy as np
import pandas as pd
import pytest
import torch

import betahat as bh

N, M = 40, 10
RNG = np.random.default_rng(0)
DATA = pd.DataFrame({"x": RNG.normal(size=N), "y": RNG.normal(size=N), "count": RNG.poisson(2, size=N) * 1.0})
DATA = DATA.assign(w=RNG.uniform(1, 2, N), yes=(DATA["y"] > 0) * 1.0)
NEW = DATA[["x"]].iloc[::4].assign(w=1.0)
VALUES = np.arange(1.0, M + 1)
# The same labels in another order, others, and some of them twice.
OTHERS = {"reversed": NEW.index[::-1], "others": range(100, 100 + M), "positions": range(M), "doubles": [0] * M}
DIFFER = "indices of .* differ, so their rows may not belong together; align them first"


def _counts():
    yield bh.poisson("count ~ x", DATA, exposure="w").fit(), NEW
    yield bh.poisson("count ~ x", DATA).fit(), {"x": NEW["x"]}
    yield bh.Poisson(DATA["count"], bh.add_constant(DATA[["x"]]), offset=DATA["w"]).fit(), bh.add_constant(NEW[["x"]])
    yield bh.logit("yes ~ x", DATA).fit(), NEW


@pytest.mark.parametrize("option", ["offset", "exposure"])
@pytest.mark.parametrize("index", OTHERS)
def test_offsets_of_new_data(index, option):
    series = pd.Series(VALUES, index=OTHERS[index])
    for res, new in _counts():
        for ask in (res.predict, res.get_prediction):
            with pytest.raises(bh.DataError, match=DIFFER):
                ask(new, **{option: series})
        expected = res.predict(new, **{option: VALUES})
        pd.testing.assert_series_equal(res.predict(new, **{option: pd.Series(VALUES, NEW.index)}), expected)


def test_arrays_have_no_index():
    res = bh.Poisson(DATA["count"], bh.add_constant(DATA[["x"]])).fit()
    series = pd.Series(VALUES, index=OTHERS["reversed"])
    array = bh.add_constant(NEW[["x"]]).to_numpy()
    np.testing.assert_array_equal(res.predict(array, offset=series), res.predict(array, offset=VALUES))


@pytest.mark.parametrize("index", OTHERS)
def test_weights_of_predictions(index):
    series = pd.Series(VALUES, index=OTHERS[index])
    for res in (bh.ols("y ~ x", DATA).fit(), bh.wls("y ~ x", DATA, weights="w").fit()):
        with pytest.raises(bh.DataError, match=DIFFER):
            res.get_prediction(NEW, weights=series)
        same = res.get_prediction(NEW, weights=pd.Series(VALUES, NEW.index)).summary_frame()
        pd.testing.assert_frame_equal(same, res.get_prediction(NEW, weights=VALUES).summary_frame())
        with pytest.raises(bh.DataError, match=DIFFER):
            res.get_prediction(weights=pd.Series(np.ones(N), index=DATA.index[::-1]))
        res.get_prediction(weights=pd.Series(np.ones(N), index=DATA.index))


DICTS = {
    "reversed": {"x": DATA["x"], "y": DATA["y"][::-1]},
    "some of the rows": {"x": DATA["x"], "y": DATA["y"].iloc[5:]},
    "other labels": {"x": DATA["x"], "y": pd.Series(DATA["y"].to_numpy(), index=range(100, 100 + N))},
    "a frame of one column": {"x": DATA["x"], "y": DATA[["y"]].iloc[::-1]["y"]},
}


@pytest.mark.parametrize("name", DICTS)
def test_dicts_of_series(name):
    """pandas would align them, and lose rows or make new ones."""
    data = DICTS[name]
    fitted = bh.ols("count ~ x + y", DATA).fit()
    z = {**data, "z": DATA["yes"].to_numpy()[: len(data["y"])]}
    for ask in (
        lambda: bh.ols("y ~ x", data),
        lambda: bh.wls("y ~ x", data, weights=1.0),
        lambda: bh.mnlogit("z ~ x + y", z),
        lambda: bh.logit("z ~ x + y", z),
        lambda: fitted.predict(data),
        lambda: fitted.get_prediction(data),
        lambda: bh.MEstimator(lambda p, d: (d["y"] - p["b"] * d["x"]) ** 2, {"b": 0.0}, data),
        lambda: bh.TorchModel(
            torch.nn.Bilinear(1, 1, 1),
            torch.nn.MSELoss(),
            {"input1": data["x"], "input2": data["y"]},
            DATA[["y"]].to_numpy(),
        ),
        lambda: bh.TorchModel(
            torch.nn.Bilinear(1, 1, 1), torch.nn.MSELoss(), (data["x"], data["y"]), DATA[["y"]].to_numpy()
        ),
    ):
        with pytest.raises(bh.DataError, match=DIFFER):
            ask()


def test_dicts_of_series_that_belong_together():
    """Any index that they share, and arrays beside them by position."""
    expected = bh.ols("y ~ x", DATA).fit().params
    shuffled = DATA.sample(frac=1.0, random_state=1)
    for data in (
        {"x": DATA["x"], "y": DATA["y"]},
        {"x": shuffled["x"], "y": shuffled["y"]},
        {"x": DATA["x"], "y": DATA["y"].to_numpy()},
        {"x": DATA["x"].to_list(), "y": DATA["y"]},
    ):
        np.testing.assert_allclose(bh.ols("y ~ x", data).fit().params, expected, rtol=1e-12)
