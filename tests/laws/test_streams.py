"""Rows in partitions: fits and covariances are those of memory, whatever the partitions and chunks are."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.streams import streamed

import betahat as bh
from betahat.calculus.rows import Bread
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.engine import THREADS
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.workers import read_engine
from betahat.errors import DataError
from betahat.fits.index import fit_index
from betahat.fits.linear import fit_least_squares
from betahat.objectives.bernoulli import Logistic

N, K, G = 9_000, 5, 60
SIZES = (3_000, 0, 1, 2_999, 3_000)
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12


def _data():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(N, K, dtype=torch.float64, generator=generator)
    x[:, 0] = 1.0
    noise = torch.randn(N, dtype=torch.float64, generator=generator)
    y = x.sum(1) + (0.5 + x[:, 1].abs()) * noise
    return {"exog": x, "endog": y, "weights": torch.rand(N, dtype=torch.float64, generator=generator) + 0.5}


COLUMNS = _data()
UNITS = torch.randint(0, G, (N,), generator=torch.Generator().manual_seed(5))
COVARIANCES = {
    "nonrobust": bh.Classical,
    "HC1": bh.HC1,
    "HC3": bh.HC3,
    "CR1S": lambda: bh.Cluster(UNITS),
    "CR2": lambda: bh.Cluster(UNITS, kind="CR2"),
    "HAC": lambda: bh.HAC(5),
    "pairs": lambda: bh.Bootstrap(12, "pairs", seed=3),
    "score": lambda: bh.Bootstrap(12, "score", seed=3),
}


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)


def _fit(source, objective, engine=THREADS):
    design = Design(Schema(Tensors(), "y", tuple(f"x{i}" for i in range(K))), source, engine)
    return (
        fit_index(Logistic(), design, Bread.OBSERVED, "pinv")
        if objective == "Logit"
        else fit_least_squares(design, "pinv")
    )


def _columns(objective):
    y = COLUMNS["endog"]
    if objective == "WLS":
        return COLUMNS
    return {"exog": COLUMNS["exog"], "endog": (y > 0.5).double() if objective == "Logit" else y}


@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("objective", ["OLS", "WLS", "Logit"])
def test_partitions_give_the_numbers_of_memory(objective, name):
    columns = _columns(objective)
    held, read = _fit(Held(columns), objective), _fit(streamed(columns, SIZES), objective)
    torch.testing.assert_close(read.params, held.params, rtol=RTOL, atol=1e-13)
    found, true = COVARIANCES[name]()(read), COVARIANCES[name]()(held)
    torch.testing.assert_close(found.matrix, true.matrix, rtol=RTOL, atol=1e-16)


def test_rows_are_read_and_taken():
    columns = {"x": torch.arange(9_000.0), "z": torch.arange(18_000).reshape(-1, 2)}
    source = streamed(columns, SIZES)
    places = torch.randperm(9_000, generator=torch.Generator().manual_seed(1))[:700]
    for name, found in zip("xz", source.take("xz", places), strict=True):
        assert torch.equal(found, columns[name][places])
    for start, stop in [(0, 10), (2_990, 3_005), (2_000, 7_000), (8_999, 9_000), (0, 9_000), (5, 5)]:
        for name, found in zip("xz", source.read("xz", start, stop), strict=True):
            assert torch.equal(found, columns[name][start:stop])


def test_rows_that_went_or_came_are_noticed():
    source = streamed({"x": torch.arange(5_000.0)}, (3_000, 2_000))
    more = type(source)(source.dataset, source.builder, (3_000, 1_999))
    fewer = type(source)(source.dataset, source.builder, (3_001, 2_000))
    for changed in (more, fewer):
        with pytest.raises(DataError, match=r"part \d has \d,?\d* complete rows, where it had"):
            changed.read(("x",), 0, changed.rows)


def test_partitions_are_shared_among_workers():
    dataset = streamed({"x": torch.arange(5_000.0)}, (3_000, 0, 2_000)).dataset
    with ThreadPoolExecutor(2) as pool:
        for engine in (THREADS, read_engine(pool)):
            assert list(engine.over(_sums, dataset)) == [4_498_500.0, 0.0, 7_999_000.0]


def _sums(partition):
    return sum(float(chunk["x"].sum()) for chunk in partition.chunks(("x",)))
