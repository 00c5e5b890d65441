"""Workers for tests of engines, started once in a session by the first test that asks, and stopped at its end."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

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


@pytest.fixture(params=["threads", "processes"])
def workers(request):
    """What a user may give as an engine, one kind after the other."""
    return request.getfixturevalue(request.param)
