"""Rows from a source: what reads blocks from files gives the bits of memory, and no array of n by k is made on the way."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from support.rows_from_file import RowsFromFile
from torch.utils._python_dispatch import TorchDispatchMode

import betahat as bh
from betahat.calculus.rows import Bread
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.engine import THREADS, column_of_rows, fold, gather, scan
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.turned import Projected, Taken, Turned, every, selected, taken
from betahat.data.workers import read_engine
from betahat.fits.index import fit_index
from betahat.fits.linear import fit_least_squares
from betahat.fits.refits import refit_on
from betahat.objectives.bernoulli import Logistic

N, K, BLOCK, G = 9_000, 5, 1024, 60

COVARIANCES = {
    "HC1": bh.HC1,
    "HC3": bh.HC3,
    "CR1S": lambda: bh.Cluster(UNITS),
    "CR2": lambda: bh.Cluster(UNITS, kind="CR2"),
    "HAC": lambda: bh.HAC(5),
    "HAC in time": lambda: bh.HAC(5, time=TIME),
    "pairs": lambda: bh.Bootstrap(12, "pairs", seed=3),
    "pairs of clusters": lambda: bh.Bootstrap(12, "pairs", clusters=UNITS, seed=3),
    "score": lambda: bh.Bootstrap(12, "score", seed=3),
    "jackknife": bh.Jackknife,
}


def _data():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(N, K, dtype=torch.float64, generator=generator)
    x[:, 0] = 1.0
    noise = torch.randn(N, dtype=torch.float64, generator=generator)
    y = x.sum(1) + (0.5 + x[:, 1].abs()) * noise
    return {"exog": x, "endog": y, "weights": torch.rand(N, dtype=torch.float64, generator=generator) + 0.5}


COLUMNS = _data()
UNITS = torch.randint(0, G, (N,), generator=torch.Generator().manual_seed(5))
TIME = torch.randperm(N, generator=torch.Generator().manual_seed(6))
NAMES = tuple(f"x{i}" for i in range(K))


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, data be large and start from a sample, and nothing of a row be held for a bootstrap."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", BLOCK * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)
    monkeypatch.setattr("betahat.fits.index._SAMPLE_ROWS", 2**11)
    monkeypatch.setattr("betahat.resampling.moments._TABLE", 0)
    monkeypatch.setattr("betahat.resampling.resamplers._TABLE", 0)


def _columns(objective, weighted=False):
    y = COLUMNS["endog"]
    columns = {"exog": COLUMNS["exog"], "endog": (y > 0.5).double() if objective == "Logit" else y}
    return {**columns, "weights": COLUMNS["weights"]} if weighted else columns


def _fit(source, objective, rank="pinv", names=NAMES, engine=THREADS):
    design = Design(Schema(Tensors(), "y", names), source, engine)
    if objective == "Logit":
        return fit_index(Logistic(), design, Bread.OBSERVED, rank)
    return fit_least_squares(design, rank)


class Largest(TorchDispatchMode):
    """Notes tensors of about n rows by k, or k by n."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, given=(), kwargs=None):
        out = function(*given, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            rows = part.is_floating_point() and part.ndim > 1 if isinstance(part, torch.Tensor) else False
            if rows and part.numel() > N * K // 2 and part.shape[0] > N // 2:
                self.found.append((str(function), tuple(part.shape)))
        return out


@pytest.mark.slow
@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("objective", ["OLS", "WLS", "Logit"])
def test_rows_from_files_give_the_bits_of_memory(objective, name, tmp_path):
    columns = _columns(objective, objective == "WLS")
    source = RowsFromFile.written(tmp_path, columns, 3 * BLOCK)
    held, read = _fit(Held(columns), objective), None
    with Largest() as largest:
        read = _fit(source, objective)
        found = COVARIANCES[name]()(read)
    assert torch.equal(read.params, held.params)
    assert torch.equal(found.matrix, COVARIANCES[name]()(held).matrix)
    assert largest.found == []
    assert source.asked


def test_refits_and_parametric_draws_read_blocks(tmp_path):
    """Refits on other rows, weights and targets: what stands beside the files' columns is tensors of n numbers."""
    columns = _columns("Logit")
    held, read = _fit(Held(columns), "Logit"), _fit(RowsFromFile.written(tmp_path, columns, 3 * BLOCK), "Logit")
    counts, draws = torch.arange(N).double() % 3, (torch.arange(N) % 2).double()
    places = torch.arange(N - 1)
    with Largest() as largest:
        found = [
            refit_on(read, read.sample.counted(counts)),
            refit_on(read, read.sample.replaced({"endog": draws})),
            refit_on(read, read.sample.take(places)),
        ]
    assert largest.found == []
    true = [
        refit_on(held, held.sample.counted(counts)),
        refit_on(held, held.sample.replaced({"endog": draws})),
        refit_on(held, held.sample.take(places)),
    ]
    assert all(map(torch.equal, found, true))


@pytest.mark.parametrize("objective", ["OLS", "Logit"])
def test_dependent_columns_are_selected_as_they_are_read(objective, tmp_path):
    columns = _columns(objective)
    columns["exog"] = torch.cat([columns["exog"], columns["exog"][:, 1:2] - columns["exog"][:, 2:3]], 1)
    read = RowsFromFile.written(tmp_path, columns, 3 * BLOCK)
    fits = []
    with Largest() as largest:
        fits = [_fit(read, objective, "drop", (*NAMES, "z"))]
        covariances = [bh.HC3()(fits[0]).matrix]
    assert largest.found == []
    fits.append(_fit(Held(columns), objective, "drop", (*NAMES, "z")))
    covariances.append(bh.HC3()(fits[1]).matrix)
    assert fits[0].kept == tuple(range(K))
    assert torch.equal(*covariances)


# who computes


def test_processes_give_the_bits_of_one(processes, tmp_path):
    """All of a fit and its covariances, over a file that each process opens; sums are added in row order."""
    columns = _columns("OLS")
    source, held = RowsFromFile.written(tmp_path, columns, 3 * BLOCK), _fit(Held(columns), "OLS")
    alone = _fit(source, "OLS")
    shared = replace(
        alone, problem=replace(alone.problem, sample=replace(alone.sample, engine=read_engine(processes))), sums={}
    )
    source.asked.clear()
    assert torch.equal(bh.HC3()(shared).matrix, bh.HC3()(held).matrix)
    assert source.asked == []  # here nothing is read
    assert torch.equal(_fit(source, "OLS", engine=read_engine(processes)).params, held.params)


def test_threads_of_an_executor_give_the_bits_of_one(tmp_path):
    columns = _columns("Logit")
    source, held = RowsFromFile.written(tmp_path, columns, 3 * BLOCK), _fit(Held(columns), "Logit")
    with ThreadPoolExecutor(2) as pool:
        found = _fit(source, "Logit", engine=read_engine(pool))
        assert torch.equal(found.params, held.params)
        assert torch.equal(bh.HC0()(found).matrix, bh.HC0()(held).matrix)
        with pytest.raises(ZeroDivisionError):
            fold(source, _fails, read_engine(pool))


def _fails(block):
    return (block["endog"].sum() / (block.start - block.start),) if block.start else (1 // block.start,)


# sources of other sources


@pytest.mark.parametrize("places", [slice(None), torch.arange(N - 1, 0, -7)], ids=["all", "some"])
@pytest.mark.parametrize("kind", ["turned", "selected", "projected", "with counts", "taken"])
def test_sources_of_a_source(kind, places, tmp_path):
    """What is made block by block is what is made at once, whether it is read in order or taken at places."""
    x, y = COLUMNS["exog"], COLUMNS["endog"]
    source = RowsFromFile.written(tmp_path, _columns("OLS"), 3 * BLOCK)
    matrix = torch.arange(3.0 * K, dtype=torch.float64).view(K, 3)
    on = Held({"exog": x[:, :2]})
    coefficients = {"exog": matrix[:2, :1].expand(2, K), "endog": matrix[2, :2]}
    counts = torch.arange(N).double()
    made, wanted = {
        "turned": (Turned(source, matrix), (x @ matrix, y)),
        "selected": (selected(source, [3, 1]), (x[:, [3, 1]], y)),
        "projected": (
            Projected(source, on, coefficients),
            (x - x[:, :2] @ coefficients["exog"], y - x[:, :2] @ coefficients["endog"]),
        ),
        "with counts": (source.replaced({"counts": counts}), (x, y, counts)),
        "taken": (Taken(source, torch.arange(0, N, 2)), (x[::2], y[::2])),
    }[kind]
    if isinstance(places, torch.Tensor):
        places = places[places < made.rows]
        made = taken(made, places)
    assert made.width == sum(part[:1].numel() for part in wanted)
    for name, part in zip(made.shapes, wanted, strict=True):
        torch.testing.assert_close(column_of_rows(made, name), part[places], rtol=1e-14, atol=1e-14)
    made.check(whole=True)


def test_a_sample_of_rows_is_held(tmp_path):
    source = RowsFromFile.written(tmp_path, _columns("OLS"), 3 * BLOCK)
    part = every(source, 7)
    assert torch.equal(part.held("exog"), COLUMNS["exog"][::7])
    assert torch.equal(part.held("endog"), COLUMNS["endog"][::7])


def test_a_fit_of_residuals_on_residuals(tmp_path):
    """Frisch, Waugh and Lovell: the coefficients and residuals of x beside d are those of both without what d explains."""
    x, y, rest = COLUMNS["exog"][:, 3:], COLUMNS["endog"], COLUMNS["exog"][:, :3]
    (tmp_path / "d").mkdir()
    source = RowsFromFile.written(tmp_path, {"exog": x, "endog": y}, 3 * BLOCK)
    on = RowsFromFile.written(tmp_path / "d", {"exog": rest}, 3 * BLOCK)
    solved = torch.linalg.lstsq(rest, torch.cat([x, y[:, None]], 1)).solution
    projected = Projected(source, on, {"exog": solved[:, :-1], "endog": solved[:, -1]})
    found, whole = _fit(projected, "OLS", names=("a", "b")), _fit(Held(_columns("OLS")), "OLS")
    torch.testing.assert_close(found.params, whole.params[3:], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(bh.HC0()(found).matrix, bh.HC0()(whole).matrix[3:, 3:], rtol=1e-10, atol=1e-15)


def test_verbs():
    """fold sums, scan goes on from block to block, and gather has a row for each."""
    source = Held({"x": torch.arange(5000.0)})
    assert [block.start for block in scan(source, lambda block: block)] == list(range(0, 5000, 7 * BLOCK))
    assert float(fold(source, lambda block: (block["x"].sum(),))[0]) == 5000 * 4999 / 2
    assert torch.equal(gather(source, lambda block: block["x"] + 1.0), torch.arange(5000.0).double() + 1.0)
