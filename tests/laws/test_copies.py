"""Results survive pickle, copy and torch.save: same summary, same errors, and they can switch covariances afterwards."""

import copy
import io
import pickle
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh

R = np.random.default_rng(0)
FRAME = pd.DataFrame({"x": R.normal(size=60), "g": np.arange(60) % 12, "m": R.integers(0, 3, 60)})
FRAME["y"] = FRAME.x + R.normal(size=60)
FRAME["b"] = (FRAME.y > 0).astype(int)


def row_loss(p, d):
    return (d["y"] - d["x"] * p["a"]) ** 2 / 2


def _torch_save(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


MODELS = {
    "formula": lambda: bh.ols("y ~ x", FRAME).fit("HC3"),
    "arrays": lambda: bh.OLS(FRAME.y.to_numpy(), bh.add_constant(FRAME.x.to_numpy())).fit(),
    "clusters": lambda: bh.ols("y ~ x", FRAME).fit(bh.Cluster("g", "CR2")),
    "wild clusters": lambda: bh.ols("y ~ x", FRAME).fit(bh.Bootstrap(99, "wild", clusters="g", seed=1)),
    "logit": lambda: bh.logit("b ~ x", FRAME).fit(),
    "mnlogit": lambda: bh.mnlogit("m ~ x", FRAME).fit(),
    "module": lambda: bh.TorchModel(
        nn.Linear(1, 1).double(),
        nn.MSELoss(),
        torch.tensor(FRAME[["x"]].to_numpy()),
        torch.tensor(FRAME[["y"]].to_numpy()),
    ).fit(),
    "row loss": lambda: bh.MEstimator(
        row_loss, {"a": np.zeros(())}, {"x": FRAME.x.to_numpy(), "y": FRAME.y.to_numpy()}
    ).fit(),
}
WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "torch.save": _torch_save,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_results_survive(name, way):
    if name == "row loss" and way in ("pickle", "torch.save"):
        pytest.skip("a function of a test file has no module to be found in")
    res = MODELS[name]()
    other = WAYS[way](res)
    assert other.names == res.names
    np.testing.assert_array_equal(other.coefficient_table(), res.coefficient_table())
    assert str(other.summary().tables[1]) == str(res.summary().tables[1])
    np.testing.assert_array_equal(other.with_cov("HC1").coefficient_table(), res.with_cov("HC1").coefficient_table())


@pytest.mark.parametrize("name", [name for name in MODELS if name != "row loss"])
def test_a_result_of_sixty_rows_weighs_kilobytes(name):
    assert len(pickle.dumps(MODELS[name]())) < 50_000


class Locked:
    """Yields the rows, and holds what no process can send to another."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self):
        return iter([FRAME])


def test_results_of_a_function_that_no_module_holds_are_pickled():
    pytest.importorskip("cloudpickle")
    res = bh.ols("y ~ x", lambda: iter([FRAME.iloc[:30], FRAME.iloc[30:]])).fit()
    other = pickle.loads(pickle.dumps(res))
    np.testing.assert_array_equal(other.with_cov("HC1").coefficient_table(), res.with_cov("HC1").coefficient_table())


def test_a_function_that_cannot_be_pickled_is_a_sentence(monkeypatch):
    with pytest.raises(
        bh.DataError, match=r"Locked\(\) cannot be pickled \(.*lock.*\); open files .* in the function itself"
    ):
        pickle.dumps(bh.ols("y ~ x", Locked()).fit())
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(
        bh.MissingPackageError, match=r"<lambda>\(\) is in no module, .* 'betahat\[workers\]', or define it by def"
    ):
        pickle.dumps(bh.ols("y ~ x", lambda: iter([FRAME])).fit())
