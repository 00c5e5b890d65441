"""Engines: the bits of one thread, whoever computes, and sentences for what goes wrong with workers."""

import copy
import os
import pickle
import signal
import threading
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from support.block_functions import awkward, dies, dies_once, fails, last, place, slow, weighted
from support.streams import streamed

import betahat as bh
from betahat.data import pickled
from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.engine import THREADS, fold, gather, scan
from betahat.data.pools import OnDask, OnRay
from betahat.data.schema import Schema
from betahat.data.workers import read_engine
from betahat.fits.linear import fit_least_squares

N, K = 9_000, 5
SIZES = (2_000, 0, 1, 2_999, 1_000, 3_000)


def _data():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(N, K, dtype=torch.float64, generator=generator)
    x[:, 0] = 1.0
    noise = torch.randn(N, dtype=torch.float64, generator=generator)
    y = x.sum(1) + (0.5 + x[:, 1].abs()) * noise
    return {"exog": x, "endog": y}


COLUMNS = _data()
X, Y, FIRM = COLUMNS["exog"], COLUMNS["endog"], torch.arange(N) % 300
COUNTS = (Y.exp().clamp(max=20)).floor()


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch):
    """Let blocks have 1,024 rows, and data be large."""
    monkeypatch.setattr("betahat.data.engine._CPU_BLOCK", 1024 * (K + 2))
    monkeypatch.setattr("betahat.data.design._SMALL", 0)
    monkeypatch.setattr("betahat.data.turned.SMALL", 0)


FITS = {
    "OLS HC3": lambda **engine: bh.OLS(Y, X, **engine).fit("HC3"),
    "OLS CR2": lambda **engine: bh.OLS(Y, X, **engine).fit(bh.Cluster(FIRM, kind="CR2")),
    "WLS HAC": lambda **engine: bh.WLS(Y, X, Y.abs() + 1.0, **engine).fit(bh.HAC(5)),
    "Logit HC1": lambda **engine: bh.Logit((Y > 0).double(), X, **engine).fit("HC1"),
    "Poisson CR1S": lambda **engine: bh.Poisson(COUNTS, X, **engine).fit(bh.Cluster(FIRM)),
    "NegativeBinomial HC0": lambda **engine: bh.NegativeBinomial(COUNTS, X, **engine).fit("HC0"),
    "OLS absorbed": lambda **engine: bh.OLS(Y, X[:, 1:], absorb=FIRM, **engine).fit(bh.Cluster(FIRM)),
    "OLS pairs": lambda **engine: bh.OLS(Y, X, **engine).fit(bh.Bootstrap(19, "pairs", seed=3)),
    "OLS score": lambda **engine: bh.OLS(Y, X, **engine).fit(bh.Bootstrap(19, "score", seed=3)),
    "Logit jackknife": lambda **engine: bh.Logit((Y > 0).double(), X, **engine).fit(bh.Jackknife(FIRM)),
}


@pytest.mark.parametrize("name", FITS)
def test_tensors_in_memory_have_the_bits_of_one_thread(name, workers):
    alone, shared = FITS[name](), FITS[name](engine=workers)
    assert torch.equal(shared.params, alone.params)
    assert torch.equal(shared.cov_params(), alone.cov_params())


def test_a_block_chooses_for_models_that_did_not(workers):
    alone = bh.OLS(Y, X).fit("HC1")
    with bh.engine(workers):
        assert torch.equal(bh.OLS(Y, X).fit("HC1").bse, alone.bse)
        assert torch.equal(alone.with_cov("HC3").bse, FITS["OLS HC3"]().bse)
        with bh.engine(None):
            assert torch.equal(bh.OLS(Y, X).fit("HC1").bse, alone.bse)


def test_a_formula_has_an_engine(workers):
    data = {"y": Y.numpy(), "x": X[:, 1].numpy(), "yes": (Y > 0).numpy() * 1}
    for model, formula in ((bh.ols, "y ~ x"), (bh.wls, "y ~ x"), (bh.logit, "yes ~ x"), (bh.quantreg, "y ~ x")):
        np.testing.assert_array_equal(
            model(formula, data, engine=workers).fit().params, model(formula, data).fit().params
        )


def _row_loss(p, d):
    return torch.log(torch.cosh(d["y"] - d["x"] @ p["b"]))


def _moments(b, x, y):
    return x * (y - x @ b)[:, None]


OWN = {
    "MEstimator": lambda **engine: bh.MEstimator(_row_loss, {"b": torch.zeros(K)}, {"x": X, "y": Y}, **engine),
    "GMM": lambda **engine: bh.GMM(_moments, {"b": torch.zeros(K)}, {"x": X, "y": Y}, **engine),
    "TorchModel": lambda **engine: bh.TorchModel(
        torch.nn.Sequential(torch.nn.Linear(K, 1, bias=False), torch.nn.Softplus()),
        torch.nn.MSELoss(),
        X.float(),
        Y[:, None].abs().float(),
        **engine,
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_code_of_the_users_is_computed_by_processes(name, processes, threads, monkeypatch):
    """A module or a loss may not be called by two threads at once."""
    monkeypatch.setattr("betahat.models.options._BLOCK", 2**13)
    for function in (_row_loss, _moments):  # what is typed into a session is sent whole
        monkeypatch.setattr(function, "__module__", "__main__")
    submit, submitted = processes.submit, []
    monkeypatch.setattr(processes, "submit", lambda *given: submitted.append(given) or submit(*given))
    torch.manual_seed(1)
    alone = OWN[name]().fit("HC0")
    for engine in (processes, threads):
        torch.manual_seed(1)
        shared = OWN[name](engine=engine).fit("HC0")
        assert torch.equal(shared.params, alone.params)
        assert torch.equal(shared.cov_params(), alone.cov_params())
    assert len(submitted) > 8


# streams


def _stream_fit(engine, columns=COLUMNS):
    design = Design(Schema(Tensors(), "y", tuple(f"x{i}" for i in range(K))), streamed(columns, SIZES, 700), engine)
    return fit_least_squares(design, "pinv")


def test_partitions_have_the_bits_of_one_thread(workers):
    alone, shared = _stream_fit(THREADS), _stream_fit(read_engine(workers))
    assert torch.equal(alone.params, shared.params)
    assert torch.equal(bh.HC3()(alone).matrix, bh.HC3()(shared).matrix)


def test_what_stands_beside_a_stream_goes_with_its_rows(workers):
    """Counts, draws, rows that are chosen, and regressors that are turned: in one place and by workers."""
    engine, source = read_engine(workers), streamed(COLUMNS, SIZES, 700)
    counts = torch.arange(N).double()
    for made in (source, source.replaced({"counts": counts}), source.replaced({"endog": counts}).only("endog")):
        assert torch.equal(*(fold(made, weighted, of)[0] for of in (THREADS, engine)))
        assert torch.equal(*(gather(made, last, of) for of in (THREADS, engine)))
        assert list(scan(made, place, engine)) == list(scan(made, place))


def test_a_shared_part_is_sent_once():
    """Of eight tasks each has its own partitions, and none the builder."""
    source = streamed(COLUMNS, SIZES, 700)
    work = pickled.Pickles(last, source.within(0, 0), "")
    assert b"Plain" in work.shared
    for span in source.spans:
        task, handed = work.task(source.within(span.start, span.stop))
        assert b"Plain" not in task
        assert not handed


# what goes wrong


def test_a_module_that_workers_do_not_have(processes):
    def here(block):
        return (block["endog"].sum(),)

    here.__module__, here.__qualname__ = __name__, "nowhere"
    found = fold(streamed(COLUMNS, SIZES), here, read_engine(processes))  # what no module has is sent whole
    assert torch.equal(found[0], fold(streamed(COLUMNS, SIZES), here)[0])
    with pytest.raises(bh.WorkerError, match=r"^A worker has no module 'tests\.?\w*', which .*; install it there"):
        fold(streamed(COLUMNS, SIZES), _of_this_file, read_engine(processes))


def _of_this_file(block):
    return (block["endog"].sum(),)


@pytest.mark.parametrize("engine", ["threads", 4, ThreadPoolExecutor, object()])
def test_what_is_no_engine(engine):
    with pytest.raises(bh.OptionError, match=r"^engine is .*; pass None, an executor of concurrent\.futures"):
        bh.OLS(Y, X, engine=engine)
    with pytest.raises(bh.OptionError, match=r"^engine is "):
        bh.ols("y ~ x", {"y": [1.0]}, engine=engine)


def test_an_error_names_the_partition(workers):
    source, engine = streamed(COLUMNS, SIZES, 700), read_engine(workers)
    for of in (engine, THREADS):
        with pytest.raises(bh.DataError, match=r"^part 4: rows are odd\.$"):
            fold(source, partial(fails, bh.DataError, "rows are odd."), of)
        with pytest.raises(ZeroDivisionError) as caught:
            fold(source, partial(fails, ZeroDivisionError, "none"), of)
        assert "It came up in part 4." in caught.value.__notes__


def test_an_error_that_cannot_be_sent_comes_as_its_sentence(processes):
    with pytest.raises(RuntimeError, match="Awkward: a 3"):
        fold(streamed(COLUMNS, SIZES), awkward, read_engine(processes))
    assert float(fold(streamed(COLUMNS, SIZES), weighted, read_engine(processes))[0]) != 0.0


def test_a_process_that_dies_is_told_of():
    with ProcessPoolExecutor(1) as pool:
        for _ in range(2):
            with pytest.raises(bh.WorkerError, match=r"^A worker process of the engine died, .* make a new executor"):
                fold(streamed(COLUMNS, SIZES), dies, read_engine(pool))


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("dask", "ray")])
def test_a_worker_that_dies_loses_nothing(name, request, tmp_path):
    """dask and ray give its tasks to others."""
    source, engine = streamed(COLUMNS, SIZES, 700), read_engine(request.getfixturevalue(name))
    (found,) = fold(source, partial(dies_once, str(tmp_path / "died")), engine)
    assert (tmp_path / "died").exists()
    assert torch.equal(found, fold(source, slow)[0])


@pytest.mark.slow
@pytest.mark.xdist_group("dask")
def test_a_worker_that_is_killed_in_a_pass(dask):
    """By its pid, from outside."""
    source = streamed(COLUMNS, SIZES, 700)
    first = next(iter(dask.run(os.getpid).values()))
    timer = threading.Timer(0.4, os.kill, (first, signal.SIGKILL))
    timer.start()
    (found,) = fold(source, slow, read_engine(dask))
    timer.join()
    assert torch.equal(found, fold(source, slow)[0])
    assert first not in dask.run(os.getpid).values()


def test_a_task_that_is_lost_for_good(monkeypatch):
    """What dask and ray raise when a task has killed several workers, or somebody stopped them."""
    distributed, ray = pytest.importorskip("distributed"), pytest.importorskip("ray")

    def lost(error):
        def get(task=None):
            raise error

        return SimpleNamespace(result=get, get=get)

    sentence = r"^The engine lost a task for good, .* \(.+\); give each worker more memory"
    for error in (
        distributed.scheduler.KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:1"), 3),
        CancelledError(),
    ):
        with pytest.raises(bh.WorkerError, match=sentence):
            OnDask(None).result(lost(error))
    monkeypatch.setattr("betahat.data.pools._ray", lambda: lost(ray.exceptions.WorkerCrashedError()))
    with pytest.raises(bh.WorkerError, match=sentence):
        OnRay().result(None)
    with pytest.raises(ZeroDivisionError):
        OnDask(None).result(lost(ZeroDivisionError()))


def test_a_client_that_does_not_wait():
    distributed = pytest.importorskip("distributed")

    class Client(distributed.Client):
        asynchronous = True

        def __init__(self):
            """Connect with nothing."""

    with pytest.raises(bh.OptionError, match=r"^engine is an asynchronous dask Client"):
        bh.engine(object.__new__(Client))


def test_an_interrupt_cancels_what_is_queued():
    started = []

    def interrupted(block):
        started.append(block.start)
        if len(started) == 1:
            # until the other thread has handed out its tasks: one that it is about to note cannot be cancelled
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
        return (block["endog"].sum(),)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            fold(streamed(COLUMNS, SIZES, 700), interrupted, read_engine(pool))
        assert pool.submit(int).result() == 0
    assert max(started) < sum(SIZES[:5])  # the last task never begins


def test_other_versions_are_refused(processes, monkeypatch):
    monkeypatch.setattr("betahat.data.pools.versions_here", lambda: ("0.0", "2.0", "3.0"))
    with pytest.raises(bh.WorkerError, match=r"^A worker has betahat .*, and the session that called it betahat 0\.0,"):
        bh.OLS(Y, X, engine=processes).fit()


def test_what_a_worker_refuses():
    """Asked here, as it is there: another version, and a function of a module that it does not have."""
    asked = {
        "A worker has betahat": (("0.0", "2.0", "3.0"), "a", b"", b""),
        "A worker has no module 'nowhere'": (pickled.versions_here(), "b", b"cnowhere\nthing\n.", b""),
    }
    for sentence, task in asked.items():
        answer = pickled.run(*task)
        with pytest.raises(bh.WorkerError, match=f"^{sentence}"):
            pickled.result_of(answer)


def test_what_cannot_be_sent(processes, monkeypatch):
    with pytest.raises(bh.WorkerError, match=r"cannot be sent to other processes .*; pass a ThreadPoolExecutor"):
        fold(streamed(COLUMNS, SIZES), partial(fails, (part for part in ()), "none"), read_engine(processes))
    monkeypatch.setattr(pickled, "_kind", lambda: pickle.Pickler)
    with pytest.raises(bh.MissingPackageError, match=r"by cloudpickle, .* 'betahat\[workers\]'"):
        fold(streamed(COLUMNS, SIZES), lambda block: (block["endog"].sum(),), read_engine(processes))


def test_an_executor_that_was_shut_down():
    with ThreadPoolExecutor(1) as pool:
        model = bh.OLS(Y, X, engine=pool)
    with pytest.raises(
        bh.WorkerError, match=r"^The engine takes no more tasks .*; pass one that is running, or go on in a block"
    ):
        model.fit()


@pytest.mark.parametrize("name", ["formula", *OWN])
def test_results_go_on_in_a_block_where_their_engine_has_ended(name, tmp_path, threads):
    pd.DataFrame({"y": Y.numpy(), "x": X[:, 1].numpy()}).to_parquet(tmp_path / "rows.parquet")
    make = OWN.get(name, lambda **engine: bh.ols("y ~ x", tmp_path, **engine))
    with ThreadPoolExecutor(1) as pool:
        res = make(engine=pool).fit("HC0")
    expected = make().fit("HC0").with_cov("HC1").cov_params()
    for other in (None, threads):
        with bh.engine(other):
            found = res.with_cov("HC1").cov_params()
            # A module's own sums, of batches that lie elsewhere in memory, may round otherwise.
            np.testing.assert_allclose(found, expected, rtol=1e-12 if name == "TorchModel" else 0)


@pytest.mark.slow
@pytest.mark.xdist_group("dask")
def test_a_client_that_was_closed(dask):
    with type(dask)(dask.cluster, set_as_default=False) as client:
        res = bh.OLS(Y, X, engine=client).fit()
    sentence = (
        r"^The engine takes no more tasks \(the dask Client is closed\); pass one that is running, or go on in a block"
    )
    for call in (
        lambda: res.with_cov("HC1"),
        lambda: bh.ols("y ~ x", lambda: iter([pd.DataFrame({"y": [1.0, 2.0], "x": [1.0, 3.0]})]), engine=client),
    ):
        with pytest.raises(bh.WorkerError, match=sentence):
            call()
    with bh.engine(dask):
        assert torch.equal(res.with_cov("HC1").bse, bh.OLS(Y, X).fit("HC1").bse)


def test_ray_that_was_shut_down(monkeypatch):
    monkeypatch.setattr("betahat.data.pools._ray", lambda: SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(bh.WorkerError, match=r"^The engine takes no more tasks \(ray was shut down\); "):
        OnRay().taking(abs, None)


def test_results_are_copied_and_stored_without_their_engine(threads):
    res = bh.OLS(Y, X, engine=threads).fit()
    assert copy.deepcopy(res).fit.sample.engine is res.fit.sample.engine
    assert pickle.loads(pickle.dumps(res)).with_cov("HC1").bse.equal(res.with_cov("HC1").bse)
    assert replace(THREADS) == pickle.loads(pickle.dumps(THREADS))
    assert pickle.loads(pickle.dumps(THREADS)) is THREADS
