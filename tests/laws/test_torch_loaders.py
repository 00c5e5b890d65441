"""Datasets and DataLoaders as data: read once, in their order, or a sentence."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, Subset, TensorDataset

import betahat as bh

N = 50
torch.manual_seed(2)
X, Z = torch.randn(N, 2), torch.randn(N, 1)
Y = X @ torch.tensor([[1.0], [-0.5]]) + Z + 0.3 * torch.randn(N, 1)


class Rows(Dataset):
    """Whatever a function makes of a place."""

    def __init__(self, row, count=N):
        self.row, self.count = row, count

    def __len__(self):
        return self.count

    def __getitem__(self, place):
        return self.row(place)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(x, y) for x, y in zip(X, Y, strict=True)])


class NoLength(Dataset):
    def __getitem__(self, place):
        return X[place], Y[place]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.z = nn.Linear(2, 1), nn.Linear(1, 1, bias=False)

    def forward(self, x, z):
        return self.x(x) + self.z(z)


def _model(data, module=None, **options):
    torch.manual_seed(0)
    return bh.TorchModel(nn.Linear(2, 1) if module is None else module(), nn.MSELoss(), data, **options)


def _row_loss(p, d):
    return (d["y"] - d["x"] @ p["b"]).square() / 2


PAIRS = {
    "a dataset": lambda: TensorDataset(X, Y),
    "rows one by one": lambda: Rows(lambda i: (X[i], Y[i])),
    "lists": lambda: Rows(lambda i: [X[i], Y[i]]),
    "numbers": lambda: Rows(lambda i: (X[i].numpy(), float(Y[i]))),
    "a loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=7),
    "whole batches": lambda: DataLoader(TensorDataset(X, Y), batch_size=10, drop_last=True),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_loader_is_its_rows(name):
    read = _model(PAIRS[name]()).fit("HC1")
    true = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X, Y).fit("HC1")
    torch.testing.assert_close(read.params, true.params, rtol=1e-6, atol=1e-7)  # a float of a number of seven digits
    torch.testing.assert_close(read.bse, true.bse, rtol=1e-6, atol=1e-7)
    groups = np.arange(N) // 5
    for cov in (bh.Cluster(groups), bh.HAC(2)):
        torch.testing.assert_close(read.with_cov(cov).bse, true.with_cov(cov).bse, rtol=1e-6, atol=1e-7)
    assert read.predict(X[:3]).shape == (3, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TensorDataset(X, Z, Y),
        lambda: Rows(lambda i: ((X[i], Z[i]), Y[i])),
        lambda: Rows(lambda i: ({"z": Z[i], "x": X[i]}, Y[i])),
        lambda: DataLoader(Rows(lambda i: (X[i], Z[i], Y[i])), batch_size=9),
    ],
)
def test_several_inputs(make):
    read = _model(make(), Two).fit("HC0")
    true = bh.TorchModel(Two(), nn.MSELoss(), (X, Z), Y).fit("HC0")
    torch.testing.assert_close(read.params, true.params)
    torch.testing.assert_close(read.bse, true.bse)


def test_a_row_loss_takes_dicts():
    start = {"b": np.zeros(2)}
    true = bh.MEstimator(_row_loss, start, {"x": X, "y": Y[:, 0]}).fit()
    for data in (
        Rows(lambda i: {"x": X[i], "y": Y[i, 0]}),
        DataLoader(Rows(lambda i: {"x": X[i], "y": Y[i, 0]}), batch_size=8),
    ):
        torch.testing.assert_close(bh.MEstimator(_row_loss, start, data).fit().bse, true.bse)


def test_weights_and_subsets_beside_a_loader():
    half = Subset(TensorDataset(X, Y), range(0, N, 2))
    read = _model(half, weights=np.arange(1.0, 26.0)).fit("HC0")
    true = bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), X[::2], Y[::2], weights=np.arange(1.0, 26.0)).fit("HC0")
    torch.testing.assert_close(read.bse, true.bse)


def test_reading_leaves_the_generators_where_they_were():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    _ = bh.TorchModel(nn.utils.skip_init(nn.Linear, 2, 1), nn.MSELoss(), DataLoader(TensorDataset(X, Y), batch_size=8))
    assert torch.equal(torch.rand(1), wanted)


MESSAGES = {
    "shuffled": (lambda: DataLoader(TensorDataset(X, Y), shuffle=True), "DataLoader shuffles its rows"),
    "shuffled batches": (lambda: DataLoader(TensorDataset(X, Y), batch_sampler=BatchSampler(RandomSampler(X), 5, False)), "DataLoader shuffles its rows"),
    "no length": (Stream, "The Stream has no length, so that it need not end"),
    "a loader without length": (lambda: DataLoader(Stream(), batch_size=4), "The DataLoader has no length"),
    "no __len__": (NoLength, "The NoLength cannot be read"),
    "dicts": (lambda: Rows(lambda i: {"x": X[i], "y": Y[i]}), "The Rows hands out dicts; let it hand out \\(inputs, target\\)"),
    "no target": (lambda: TensorDataset(X), "hands out rows without a target"),
    "tensors alone": (lambda: Rows(lambda i: X[i]), "hands out rows without a target"),
    "a target of several": (lambda: Rows(lambda i: (X[i], (Y[i], Y[i]))), "hands out rows without a target"),
    "texts": (lambda: Rows(lambda i: ("a", Y[i])), "cannot be read .TypeError: it hands out"),
    "ragged": (lambda: Rows(lambda i: (X[: 1 + i % 2], Y[i])), "The Rows cannot be read"),
    "empty": (lambda: Rows(lambda i: (X[i], Y[i]), 0), "The Rows hands out no rows"),
    "random": (lambda: Rows(lambda i: (X[i] + torch.rand(2), Y[i])), "Two passes over the Rows hand out different rows"),
    "its own error": (lambda: Rows(lambda i: 1 / 0), "The Rows cannot be read .ZeroDivisionError"),
    "dropped": (lambda: DataLoader(TensorDataset(X, Y), batch_size=8, drop_last=True), "leaves out 2 rows at its end; pass one with drop_last=False"),
    "no batches": (lambda: DataLoader(TensorDataset(X, Y), batch_size=None), "The DataLoader has batch_size=None"),
    "missing": (lambda: TensorDataset(X / 0.0 * 0.0, Y), "inputs has 100 missing or infinite values"),
}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_bad_loaders(case):
    make, sentence = MESSAGES[case]
    with pytest.raises(bh.DataError, match=sentence):
        _model(make())


def test_other_places():
    with pytest.raises(bh.DataError, match=r"inputs is .*, which hands out batches"):
        bh.TorchModel(nn.Linear(2, 1), nn.MSELoss(), TensorDataset(X, Y), Y)
    with pytest.raises(bh.DataError, match="hands out rows without names; let it hand out tensors by name"):
        bh.MEstimator(_row_loss, {"b": np.zeros(2)}, TensorDataset(X, Y))
