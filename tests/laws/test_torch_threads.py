"""torch's threads: the user's number before and after every call, one within it, and the same bits with any number."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
import torch
from torch import nn
from tqdm import tqdm

import betahat as bh
from betahat.data import threads
from betahat.data.engine import OneAtATime, fold
from betahat.data.source import Held

pytestmark = pytest.mark.skipif(threads._TEAMS is None, reason="torch was built without OpenMP")
G = torch.Generator().manual_seed(0)
N, K = 60_000, 20  # five blocks
X = torch.randn(N, K, dtype=torch.float64, generator=G)
X[:, 0] = 1.0
Y = X.sum(1) + torch.randn(N, dtype=torch.float64, generator=G)
B = (Y + 3 * torch.randn(N, dtype=torch.float64, generator=G) > 0).double()
M = torch.randint(0, 3, (N,), generator=G)
FIRM = torch.randint(0, 300, (N,), generator=G)
YEAR = torch.randint(0, 30, (N,), generator=G)
SMALL = (Y[:200], X[:200, :5])


@pytest.fixture
def threads_of():
    """Set how many threads torch has, and put the session's number back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


NEAR = X[:, 1:4] + 1e-5 * torch.randn(N, 3, dtype=torch.float64, generator=G)


ANSWERS = {
    "HC1": lambda: bh.OLS(Y, X).fit("HC1").cov_params(),
    "HC3": lambda: bh.OLS(Y, X).fit("HC3").cov_params(),
    "WLS": lambda: bh.WLS(Y, X, weights=1 + B).fit("HC2").cov_params(),
    "collinear": lambda: bh.OLS(Y, torch.cat([X, NEAR], 1)).fit("HC1").cov_params(),
    "Logit": lambda: bh.Logit(B, X).fit("HC0").cov_params(),
    "Probit": lambda: bh.Probit(B, X).fit().cov_params(),
    "Poisson": lambda: bh.Poisson(B, X).fit("HC3").cov_params(),
    "MNLogit": lambda: bh.MNLogit(M, X[:, :6]).fit("HC0").cov_params(),
    "clusters": lambda: bh.OLS(Y, X).fit(bh.Cluster([FIRM, YEAR], psd="repair")).cov_params(),
    "CR2": lambda: bh.OLS(Y, X).fit(bh.Cluster(FIRM, "CR2")).cov_params(),
    "jackknife": lambda: bh.OLS(Y, X).fit(bh.Jackknife(FIRM)).cov_params(),
    "HAC": lambda: bh.OLS(Y, X).fit(bh.HAC(7)).cov_params(),
    "Driscoll-Kraay": lambda: bh.OLS(Y, X).fit(bh.DriscollKraay(YEAR)).cov_params(),
    "pairs": lambda: bh.OLS(Y, X).fit(bh.Bootstrap(30, seed=1)).cov_params(),
    "wild": lambda: bh.OLS(Y, X).fit(bh.Bootstrap(30, kind="wild", seed=1)).cov_params(),
    "Bayesian, Logit": lambda: bh.Logit(B, X).fit(bh.Bootstrap(10, kind="bayesian", seed=1)).cov_params(),
    "parametric, Logit": lambda: bh.Logit(B, X).fit(bh.Bootstrap(10, kind="parametric", seed=1)).cov_params(),
    "margins": lambda: bh.Logit(B, X).fit("HC0").get_margeff().margeff_se,
    "prediction": lambda: bh.OLS(Y, X).fit("HC1").get_prediction(X).se_mean,
    "influence": lambda: bh.OLS(Y, X).fit().get_influence().cooks_distance[0],
    "linear module": lambda: bh.TorchModel(_linear(), nn.MSELoss(), X, Y[:, None]).fit("HC1").cov_params(),
}


def _linear():
    torch.manual_seed(0)
    return nn.Linear(K, 1, bias=False).double()


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_bits_do_not_depend_on_the_number_of_threads(name, threads_of):
    found = []
    for number in (1, 2, 3):
        threads_of(number)
        found.append(torch.as_tensor(ANSWERS[name]()))
        assert torch.get_num_threads() == number
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_passes_are_shared(threads_of):
    """Several threads take blocks within a call, each with one of torch's; outside of calls, and of few blocks, there is one."""
    seen = []

    def noted(block):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        time.sleep(0.01)
        return (block["x"].sum(0),)

    threads_of(2)
    (alone,) = fold(Held({"x": X}), noted)
    assert {name for name, _ in seen} == {threading.current_thread().name}
    seen.clear()
    (shared,) = threads.with_one_thread(fold, Held({"x": X}), noted)
    assert torch.equal(alone, shared)
    if os.cpu_count() > 1:
        assert len({name for name, _ in seen}) == 2
    assert {number for _, number in seen} == {1}
    seen.clear()
    threads.with_one_thread(fold, Held({"x": X[:20_000]}), noted)
    assert {name for name, _ in seen} == {threading.current_thread().name}
    seen.clear()
    threads.with_one_thread(lambda: fold(Held({"x": X}), noted, OneAtATime(10_000)))  # a module's blocks
    assert set(seen) == {(threading.current_thread().name, 2)}


class Asking(nn.Module):
    """A linear module that notes who calls it."""

    seen: ClassVar = []

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(K, 1, bias=False).double()

    def forward(self, x):
        Asking.seen.append((threading.current_thread().name, len(x), torch.get_num_threads()))
        return torch.tanh(self.linear(x))


def test_a_module_is_called_by_one_thread_and_has_the_users_threads(threads_of):
    threads_of(2)
    Asking.seen = []
    target = torch.tanh(Y[:, None] / 5) + 0.1 * X[:, 1:2]
    torch.manual_seed(0)
    bh.TorchModel(Asking(), nn.MSELoss(), X, target).fit("HC1").predict(X)
    names, sizes, numbers = zip(*Asking.seen, strict=True)
    assert set(names) == {threading.current_thread().name}
    assert {n for n, size in zip(numbers, sizes, strict=True) if size > 1000} == {2}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")], ids=["Ctrl-C", "error"])
def test_the_users_number_comes_back_after_an_error_of_a_loss(error, threads_of):
    def fails(p, d):
        raise error

    threads_of(3)
    with pytest.raises((bh.DataError, KeyboardInterrupt)):
        bh.MEstimator(fails, {"a": 0.0}, {"x": X[:50, 0]}).fit()
    assert torch.get_num_threads() == 3


def test_the_users_number_comes_back_after_an_error(threads_of):
    threads_of(3)
    with pytest.raises(bh.OptionError):
        bh.OLS(*SMALL).fit("HC9")
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError):
        threads.with_one_thread(
            fold, Held({"x": X}), lambda block: (torch.ones(1) * (1 // (block.start - block.start)),)
        )
    assert torch.get_num_threads() == 3


def test_eight_threads_keep_their_own_numbers(threads_of):
    """torch's setting is a thread's own, and new threads take the last that anyone has set."""
    threads_of(2)
    begin, wanted = threading.Barrier(8), bh.OLS(Y, X).fit("HC1").bse

    def work(place):
        torch.get_num_threads()  # a new thread would take the last number at its first operation
        if place % 2:
            torch.set_num_threads(1 + place)
        begin.wait()
        mine = torch.get_num_threads()
        for _ in range(5):
            assert bh.OLS(*SMALL).fit("HC1").bse.isfinite().all()
            assert torch.equal(bh.OLS(Y, X).fit("HC1").bse, wanted)
            assert torch.get_num_threads() == mine
        return mine

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert found[1::2] == [2, 4, 6, 8]
    assert torch.get_num_threads() == 2


def test_a_new_thread_takes_the_users_number_while_another_fits(threads_of):
    threads_of(4)
    stop, found = threading.Event(), []

    def fits():
        while not stop.is_set():
            bh.OLS(*SMALL).fit("HC1").bse.sum()

    worker = threading.Thread(target=fits)
    worker.start()
    try:
        for _ in range(100):
            asker = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
            asker.start()
            asker.join()
    finally:
        stop.set()
        worker.join()
    assert set(found) == {4}


@pytest.mark.skipif(sys.platform == "win32", reason="no timers")
@pytest.mark.parametrize("data", [SMALL, (Y, X)], ids=["small", "large"])
def test_ctrl_c_leaves_the_users_number(data, threads_of):
    threads_of(2)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupted = 0
    try:
        for i in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (1 + i))
                bh.OLS(*data).fit("HC3").bse.sum()
                while True:
                    pass
            except KeyboardInterrupt:
                interrupted += 1
            assert torch.get_num_threads() == 2
            assert threads._HERE.threads == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 60
    assert bh.OLS(*data).fit("HC3").bse.isfinite().all()


def _child(queue):
    queue.put((bh.OLS(Y, X).fit("HC1").bse.tolist(), torch.get_num_threads()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_fits(threads_of):
    """OpenMP's team does not survive a fork; ours is made anew."""
    threads_of(2)
    wanted = bh.OLS(Y, X).fit("HC1").bse.tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    found = queue.get(timeout=60)
    child.join(60)
    assert found == (wanted, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_tqdm():
    """Whose lock is shared by all processes, and stays taken where Ctrl-C comes while it is."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    with tqdm.get_lock():
        child.start()
        assert len(queue.get(timeout=60)) == 2
    child.join(60)


def test_a_fit_while_the_interpreter_ends():
    code = (
        "import atexit, torch, betahat as bh\n"
        "torch.set_num_threads(2)\n"
        "X = torch.randn(60000, 20, dtype=torch.float64); y = torch.randn(60000, dtype=torch.float64)\n"
        "def last():\n    print(bh.OLS(y, X).fit('HC1').bse.isfinite().all().item())\n"
        "atexit.register(last)\n"
        "bh.OLS(y, X).fit('HC1').bse\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


def test_nothing_is_set_where_torch_has_no_openmp(monkeypatch, threads_of):
    threads_of(2)
    wanted = bh.OLS(Y, X).fit("HC1").bse
    monkeypatch.setattr(threads, "_TEAMS", None)
    assert threads.with_one_thread(torch.get_num_threads) == 2
    torch.testing.assert_close(bh.OLS(Y, X).fit("HC1").bse, wanted, rtol=1e-12, atol=0)
    monkeypatch.setattr(torch, "__file__", "/nowhere/torch/__init__.py")
    assert threads._find_teams() is None
