"""Predictions of a module say on which scale they are, and loaders of batches are told what to pass."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import betahat as bh

# The module and the built-in model are solved on their own.
SOLVED = 1e-8

X = torch.randn(90, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
NEW = X[:7] + 0.5
YES = (X[:, 0] + torch.randn(90, generator=torch.Generator().manual_seed(2), dtype=torch.float64) > 0.3).double()
COUNTS = torch.poisson(torch.exp(0.3 * X[:, 0]), generator=torch.Generator().manual_seed(3))
REAL = X @ torch.tensor([1.0, 2.0]).double() + YES

MODELS = {
    "logit": (nn.BCEWithLogitsLoss, bh.Logit, YES, "output"),
    "counts": (nn.PoissonNLLLoss, bh.Poisson, COUNTS, "output"),
    "squares": (nn.MSELoss, bh.OLS, REAL, "predicted"),
}


class Curved(nn.Module):
    """A linear module that is not recognised as one."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([0.1, 0.1])), nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        return x @ torch.sinh(self.a) + torch.sinh(self.b)


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "curved"])
@pytest.mark.parametrize("name", MODELS)
def test_the_mean_is_that_of_the_built_in_model_and_the_output_its_index(name, shape):
    loss, kind, y, column = MODELS[name]
    module = {"(n,)": nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), "(n, 1)": nn.Linear(2, 1), "curved": Curved()}[
        shape
    ]
    res = bh.TorchModel(module, loss(), X, y).fit("HC0")
    true = kind(y, bh.add_constant(X)).fit("HC0")
    new = bh.add_constant(NEW)
    pairs = [("mean", "mean", "predicted")] if name == "squares" else [("mean", "mean", "predicted"), ("output", "linear", column)]  # fmt: skip
    for which, theirs, head in pairs:
        found = res.get_prediction(NEW, which=which)
        frame = found.summary_frame(alpha=0.1)
        assert list(frame.columns) == [head, "se", "ci_lower", "ci_upper"]
        np.testing.assert_allclose(frame[head], np.asarray(res.predict(NEW, which=which)).reshape(-1), rtol=SOLVED)
        if name == "squares":
            expected = true.get_prediction(new).summary_frame(alpha=0.1)[
                ["mean", "mean_se", "mean_ci_lower", "mean_ci_upper"]
            ]
        else:
            expected = true.get_prediction(new, which=theirs).summary_frame(alpha=0.1)
        np.testing.assert_allclose(frame, expected, rtol=SOLVED, atol=SOLVED)
    assert res.get_prediction(NEW).summary_frame().columns[0] == column


def test_the_default_scale_is_that_of_predict():
    res = bh.TorchModel(nn.Linear(2, 1), nn.BCEWithLogitsLoss(), X, YES).fit()
    assert torch.equal(res.get_prediction(NEW).predicted, res.predict(NEW)[:, 0])
    with pytest.raises(bh.OptionError, match="'linear'; use 'output' or 'mean'"):
        res.get_prediction(NEW, which="linear")


LOADERS = {
    "a loader": lambda d: DataLoader(d, batch_size=8, shuffle=True),
    "a dataset": lambda d: d,
    "an iterator": lambda d: iter(DataLoader(d)),
    "a generator": lambda d: (row for row in d),
}


PLACES = {
    "inputs": lambda data: bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), data),
    "target": lambda data: bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X, data),
    "predict": lambda data: bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X, REAL).fit().predict(data),
    "data": lambda data: bh.MEstimator(lambda p, d: d["y"] * p["a"], {"a": 0.0}, data),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", LOADERS)
def test_batches_are_told_what_to_pass(name, place):
    data = LOADERS[name](TensorDataset(X, REAL[:, None]))
    if (name, place) == ("a dataset", "inputs"):
        assert PLACES[place](data).nobs == len(X)
        return
    with pytest.raises(bh.DataError, match=r"TensorDataset|by name|shuffle=False|a fresh one"):
        PLACES[place](data)


def test_the_advice_on_loaders_gives_the_rows_in_order():
    loader = DataLoader(TensorDataset(X, REAL), batch_size=8, shuffle=True)
    x, y = map(torch.stack, zip(*[loader.dataset[i] for i in range(len(loader.dataset))], strict=True))
    assert torch.equal(x, X)
    assert torch.equal(y, REAL)
    frame = pd.DataFrame(X.numpy(), columns=["a", "b"])
    bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), frame, REAL.numpy()).fit()
