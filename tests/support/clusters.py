"""Workers for tests of engines, started once in a session by the first test that asks, and stopped at its end; all on the loopback."""

import logging
import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest


@pytest.fixture(scope="session")
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="session")
def processes():
    """Two processes that find the tests' modules."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="session")
def loky():
    """Two processes that are told of functions by cloudpickle."""
    with pytest.importorskip("loky").ProcessPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="session")
def dask():
    """A Client of two processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    with (
        _theirs(),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            scheduler_kwargs={"dashboard": False, "dashboard_address": None},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def ray():
    """The module, with two processors of this machine."""
    module = pytest.importorskip("ray")
    with _theirs(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # which has the tests' modules
        module.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
        module.data.DataContext.get_current().enable_progress_bars = False
    yield module
    with _theirs():
        module.shutdown()


def _one_of(name):
    """One process of those that share the tests runs all with this kind of workers, which take seconds to start (pytest -n 2 --dist loadgroup)."""
    return pytest.param(name, marks=[pytest.mark.slow, pytest.mark.xdist_group(name)])


@pytest.fixture(params=["threads", *map(_one_of, ("processes", "loky", "dask", "ray"))])
def workers(request):
    """What a user may give as an engine, one kind after the other."""
    return request.getfixturevalue(request.param)


@contextmanager
def _theirs():
    """Ignore what other packages warn of while they start and stop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
