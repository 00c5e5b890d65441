"""Modules and losses of one's own on rows that are read again on each pass: batches of a loader, columns of files."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import betahat as bh
from betahat.errors import DataError, EstimationError, OptionError

N = 1_500
# The same sums, of blocks that begin at other rows.
RTOL, ATOL = 1e-12, 1e-12
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 3, generator=GENERATOR)
Y = X.sum(1) + torch.randn(N, generator=GENERATOR)
W = torch.rand(N, generator=GENERATOR) + 0.5
OFTEN = torch.randint(0, 3, (N,), generator=GENERATOR)
CLASSES = (Y > 0).long() + (Y > 1).long()


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 1), nn.Linear(1, 1)

    def forward(self, u, v):
        return self.a(u) + self.b(v)


def _own(output, target):
    return torch.log(torch.cosh(output - target))


MODULES = {
    "squares": (nn.Linear(3, 1), nn.MSELoss(), (X,), Y, {"weights": W}),
    "mean and penalty": (nn.Linear(3, 3), nn.CrossEntropyLoss(), (X,), CLASSES, {"penalty": 0.1}),
    "counts": (nn.Linear(3, 1), nn.BCEWithLogitsLoss(), (X,), (Y > 0) * 1.0, {"freq_weights": OFTEN, "penalty": 0.05}),
    "sum": (TwoInputs(), nn.MSELoss(reduction="sum"), (X[:, :2], X[:, 2:]), Y[:, None], {"penalty": 1.0}),
    "network": (nn.Sequential(nn.Linear(3, 1), nn.Tanh()), nn.HuberLoss(), (X,), Y[:, None], {"penalty": 0.01}),
    "own": (nn.Linear(3, 1), _own, (X,), Y[:, None], {}),
}


SLOW = ("mean and penalty", "network", "own")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MODULES]
)
def test_modules_read_batch_by_batch(name):
    module, loss, inputs, target, options = MODULES[name]
    loader = DataLoader(TensorDataset(*inputs, target), batch_size=377)
    held = bh.TorchModel(module, loss, inputs if len(inputs) > 1 else inputs[0], target, **options).fit("HC0")
    read = bh.TorchModel(module, loss, loader, stream=True, **options).fit("HC0")
    assert read.nobs == held.nobs
    torch.testing.assert_close(read.params, held.params, rtol=1e-10, atol=ATOL)
    torch.testing.assert_close(read.cov_params(), held.cov_params(), rtol=1e-9, atol=ATOL)


class Named(Dataset):
    """Rows by name; `changed` lets later passes hand out fewer."""

    def __init__(self, columns, rows=N):
        self.columns, self.rows = columns, rows

    def __len__(self):
        return self.rows

    def __getitem__(self, i):
        return {name: column[i] for name, column in self.columns.items()}


def row_loss(beta, s, x, y):
    return torch.log(torch.cosh((y - x @ beta) / s.exp())) + s


PARAMS = {"beta": torch.zeros(3), "s": 0.0}


@pytest.mark.parametrize("make", [lambda data: DataLoader(data, batch_size=301), lambda data: data])
def test_losses_read_batch_by_batch(make):
    columns = {"x": X, "y": Y}
    held = bh.MEstimator(row_loss, PARAMS, columns, weights=W).fit()
    read = bh.MEstimator(row_loss, PARAMS, make(Named(columns)), weights=W, stream=True).fit()
    torch.testing.assert_close(read.params, held.params, rtol=RTOL, atol=ATOL)
    torch.testing.assert_close(read.cov_params(), held.cov_params(), rtol=RTOL, atol=ATOL)


def line(a, b, y, x):
    return torch.log(torch.cosh(y - a - b * x))


def line_of_dicts(p, d):
    return torch.log(torch.cosh(d["y"] - p["a"] - p["b"] * d["x"]))


FRAME = pd.DataFrame({"y": Y.numpy(), "x": X[:, 0].numpy(), "w": W.numpy(), "often": OFTEN.numpy(), "word": "a"})
FRAME["unit"] = np.arange(N) % 40


def _files(frame=FRAME):
    return lambda: iter([frame.iloc[:600], frame.iloc[600:600], frame.iloc[600:]])


@pytest.mark.parametrize(
    ("option", "cov_type"),
    [
        ({}, bh.Cluster("unit")),
        ({"weights": "w"}, bh.Bootstrap(10, "bayesian", seed=1)),
        ({"freq_weights": "often"}, None),
    ],
)
def test_losses_of_named_columns_of_files(option, cov_type):
    data = {name: FRAME[name] for name in ("y", "x", "unit")}
    start = {"a": 0.0, "b": 0.0}
    held = bh.MEstimator(line, start, data, **{name: FRAME[column] for name, column in option.items()}).fit(cov_type)
    for loss in (line, line_of_dicts) if not option else (line,):
        read = bh.MEstimator(loss, start, _files(), **option).fit(cov_type)
        assert read.fit.sample.source.stream is not None
        pd.testing.assert_series_equal(read.params, held.params, rtol=RTOL, atol=ATOL)
        pd.testing.assert_series_equal(read.bse, held.bse, rtol=RTOL, atol=ATOL)


def test_no_row_is_handed_out():
    model = bh.TorchModel(nn.Linear(3, 1), nn.MSELoss(), DataLoader(TensorDataset(X, Y), batch_size=300), stream=True)
    res = model.fit()
    for ask in (res.predict, res.get_prediction, lambda: res.resid, lambda: res.fittedvalues, res.margins):
        with pytest.raises(EstimationError, match="The inputs are read batch by batch and not held"):
            ask()
    assert res.predict(X[:5]).shape == (5, 1)


def test_what_cannot_be_read_again_is_refused():
    start = {"a": 0.0, "b": 0.0}
    with pytest.raises(
        OptionError, match="stream=True reads a torch Dataset or DataLoader batch by batch, and the data are a dict"
    ):
        bh.MEstimator(line, start, {"y": Y, "x": X[:, 0]}, stream=True)
    with pytest.raises(DataError, match="shuffles its rows"):
        bh.MEstimator(row_loss, PARAMS, DataLoader(Named({"x": X, "y": Y}), shuffle=True), stream=True)
    loader = DataLoader(Named({"x": X, "y": Y}, 1_251), batch_size=50, drop_last=True)
    with pytest.raises(DataError, match="leaves out 1 rows at its end"):
        bh.MEstimator(row_loss, PARAMS, loader, stream=True)
    wrong = torch.where(torch.arange(N) % 500 == 9, torch.nan, Y)
    with pytest.raises(DataError, match=r"data\['y'\] has 3 missing or infinite values"):
        bh.MEstimator(row_loss, PARAMS, Named({"x": X, "y": wrong}), stream=True)
    with pytest.raises(DataError, match="weights is a Tensor"):
        bh.MEstimator(line, start, _files(), weights=W)
    with pytest.raises(DataError, match=r"weights has 1,?500 negative values"):
        bh.MEstimator(line, start, _files(FRAME.assign(w=-1.0)), weights="w")
    with pytest.raises(DataError, match=r"freq_weights has 1,?500 values that are not counts"):
        bh.MEstimator(line, start, _files(FRAME.assign(often=0.5)), freq_weights="often")
    with pytest.raises(DataError, match="has no rows; pass at least one"):
        bh.MEstimator(line, start, _files(FRAME.iloc[:0]))
    with pytest.raises(DataError, match="has no rows; pass at least one"):
        bh.MEstimator(line_of_dicts, start, _files(FRAME.iloc[:0]))


class Ragged(Dataset):
    """Rows of three numbers, and of two from some row on."""

    def __len__(self):
        return 1_500

    def __getitem__(self, i):
        return {"x": X[i, : 3 if i < 1_024 else 2], "y": Y[i]}


def test_batches_of_another_shape_are_refused():
    with pytest.raises(
        DataError, match=r"data\['x'\] has a batch of shape \(476, 2\) and rows of shape \(3,\) in the first one"
    ):
        bh.MEstimator(row_loss, PARAMS, Ragged(), stream=True)


def test_targets_that_were_not_tried_are_checked():
    far = torch.where(torch.arange(N) == 1_003, 7, CLASSES)
    loader = DataLoader(TensorDataset(X, far), batch_size=300)
    with pytest.raises(DataError, match="classes from 0 to 7 and the module 3 outputs"):
        bh.TorchModel(nn.Linear(3, 3), nn.CrossEntropyLoss(), loader, stream=True)
    loader = DataLoader(TensorDataset(X, torch.where(torch.arange(N) == 1_003, 7.0, (Y > 0) * 1.0)), batch_size=300)
    with pytest.raises(DataError, match="The target has 1 value outside"):
        bh.TorchModel(nn.Linear(3, 1), nn.BCEWithLogitsLoss(), loader, stream=True)


def test_a_mean_over_some_classes_has_no_penalty_beside_it():
    """Classes at several places of a row, some of them left out: their number in all rows is not known of some."""
    classes = torch.stack([CLASSES, torch.where(torch.arange(N) < 900, -100, CLASSES)], 1)
    loader = DataLoader(TensorDataset(X, classes), batch_size=300)
    module = nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (3, 2)))
    with pytest.raises(OptionError, match="A penalty beside the mean of a loss that leaves some classes out"):
        bh.TorchModel(module, nn.CrossEntropyLoss(), loader, penalty=0.1, stream=True)


def test_rows_that_go_between_passes_are_noticed():
    data = Named({"x": X, "y": Y})
    model = bh.MEstimator(row_loss, PARAMS, data, stream=True)
    data.rows = 1_000
    with pytest.raises(DataError, match=r"the Named has .* where it had 1500 when the model was made"):
        model.fit()


def test_only_the_columns_that_a_loss_asks_for_are_read(tmp_path):
    gaps = {"u": np.where(np.arange(len(FRAME)) % 2, np.nan, 1.0), "d": 1.0, "p": 2.0, "g": "text"}
    for i, rows in enumerate((FRAME.assign(**gaps).iloc[:999], FRAME.assign(**gaps).iloc[999:])):
        rows.to_parquet(tmp_path / f"{i}.parquet")
    folder, start = str(tmp_path / "*.parquet"), {"a": 0.0, "b": 0.0}
    held = bh.MEstimator(line, start, {name: FRAME[name] for name in ("x", "y")}).fit().params

    def of_one_row(p, d):
        return line_of_dicts(p, d).sum()

    def of_every_column(p, d):
        return sum(0.0 * column for column in d.values()) + line_of_dicts(p, d)

    for loss in (line, line_of_dicts, of_one_row):
        np.testing.assert_allclose(bh.MEstimator(loss, start, folder).fit().params, held, rtol=RTOL, atol=ATOL)
    with pytest.raises(
        DataError, match=r"data\['u'\] has \d+ missing or infinite values \(the first of them in .*0.parquet\)"
    ):
        bh.MEstimator(of_every_column, start, folder)
    with pytest.raises(DataError, match=r"row_loss takes 'g', which is text in .*parquet; pass a column of numbers"):
        bh.MEstimator(lambda p, d: p["a"] * d["g"], start, folder)
    with pytest.raises(DataError, match=r"row_loss takes 'g', which is text"):
        bh.MEstimator(lambda p, x, g: p["a"] * x, start, folder)
    with pytest.raises(DataError, match=r"row_loss takes 'z', which is no column of .*; its columns are .*'x'"):
        bh.MEstimator(lambda p, d: p["a"] * d["z"], start, folder)


def test_two_dicts_may_have_the_names_of_columns():
    columns = {"x": FRAME["x"], "y": FRAME["y"], "d": FRAME["x"]}
    held = bh.MEstimator(line, {"a": 0.0, "b": 0.0}, columns).fit().params
    both = bh.MEstimator(line_of_dicts, {"a": 0.0, "b": 0.0}, columns).fit().params
    np.testing.assert_allclose(both, held, rtol=RTOL, atol=ATOL)
    with pytest.raises(DataError, match="row_loss takes 'z', found neither in params nor in data, which have 'a', 'b'"):
        bh.MEstimator(lambda p, q: p["a"] * q["z"], {"a": 0.0, "b": 0.0}, columns)


def test_paths_in_the_place_of_tensors_are_told_what_reads_them():
    for rows in ("rows.parquet", pl.LazyFrame({"x": [1.0]})):
        with pytest.raises(
            DataError, match=r"inputs is a .*; rows of files are read by a DataLoader of .* stream=True"
        ):
            bh.TorchModel(nn.Linear(1, 1), nn.MSELoss(), rows, "y")
        with pytest.raises(
            DataError, match=r"exog is a .*; rows of files and lazy frames are read by a formula, such as bh.ols"
        ):
            bh.OLS("y", rows)
