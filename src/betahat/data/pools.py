"""Who takes tasks: threads, processes and whatever else is an executor of `concurrent.futures`, dask, ray."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from betahat.data.pickled import Pickles, result_of, run, versions_here
from betahat.data.quiet import quiet
from betahat.data.threads import with_one_thread
from betahat.errors import OptionError, WorkerError, shown

S = TypeVar("S")
T = TypeVar("T")

# Bytes that go along with each task; what all tasks share and is more, is left where the workers find it.
_ALONG = 2**16


class Pool(ABC):
    """Who takes tasks."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many tasks run at once."""

    @property
    @abstractmethod
    def sends(self) -> bool:
        """Whether tasks are sent to other processes."""

    @abstractmethod
    def taking(self, function: Callable[[S], T], skeleton: Any) -> Callable[[S], Any]:
        """Begin a pass: return what hands in the task `function(item)`; what items have in common, the skeleton of one has."""

    @abstractmethod
    def result(self, task: Any) -> Any:
        """Wait for a task, and return what it gave."""

    @abstractmethod
    def cancel(self, tasks: Sequence[Any]) -> None:
        """Let go of tasks that nobody waits for any more."""


@dataclass(frozen=True, eq=False)
class InThreads(Pool):
    """The threads of an executor.

    Attributes
    ----------
    executor : concurrent.futures.ThreadPoolExecutor
    """

    executor: ThreadPoolExecutor

    @property
    def workers(self) -> int:
        """Its threads."""
        return _size(self.executor)

    @property
    def sends(self) -> bool:
        """They share this process's memory."""
        return False

    def taking(self, function: Callable[[S], T], skeleton: Any) -> Callable[[S], Any]:
        """Hand in tasks as they are."""
        return lambda item: _submit(self.executor, with_one_thread, function, item)

    def result(self, task: Future[Any]) -> Any:
        """Wait for a task."""
        with _worded():
            return task.result()

    def cancel(self, tasks: Sequence[Future[Any]]) -> None:
        """Cancel what has not begun."""
        for task in tasks:
            task.cancel()


@dataclass(frozen=True, eq=False)
class InProcesses(Pool):
    """The processes of an executor: Python's, loky's, dask's by `get_executor`, MPI's.

    Attributes
    ----------
    executor : concurrent.futures.Executor
    """

    executor: Executor

    @property
    def workers(self) -> int:
        """Its processes."""
        return _size(self.executor)

    @property
    def sends(self) -> bool:
        """They have memory of their own."""
        return True

    def taking(self, function: Callable[[S], T], skeleton: Any) -> Callable[[S], Any]:
        """Hand in tasks as pickles."""
        work, versions = Pickles(function, skeleton, ""), versions_here()

        def take(item: S) -> Future[bytes]:
            task, handed = work.task(item)
            return _submit(self.executor, run, versions, work.key, work.shared, task, *handed)

        return take

    def result(self, task: Future[bytes]) -> Any:
        """Wait for a task."""
        with _worded():
            answer = task.result()
        return result_of(answer)

    def cancel(self, tasks: Sequence[Future[bytes]]) -> None:
        """Cancel what has not begun."""
        for task in tasks:
            task.cancel()


@dataclass(frozen=True, eq=False)
class OnDask(Pool):
    """The workers of a dask cluster, which begins the tasks of a worker that died anew.

    Attributes
    ----------
    client : distributed.Client
    """

    client: Any

    @property
    def workers(self) -> int:
        """The threads of all of them."""
        self._check_running()
        with _worded():
            threads: int = sum(self.client.nthreads().values())
        return max(threads, 1)

    @property
    def sends(self) -> bool:
        """They are other processes, or may be."""
        return True

    def taking(self, function: Callable[[S], T], skeleton: Any) -> Callable[[S], Any]:
        """Hand in tasks as pickles; rows that lie with the workers are computed where they lie."""
        self._check_running()
        work, versions = Pickles(function, skeleton, "dask"), versions_here()
        with quiet():  # that tasks have many bytes
            shared = work.shared if len(work.shared) <= _ALONG else self.client.submit(bytes, work.shared, pure=False)

        def take(item: S) -> Any:
            task, handed = work.task(item)
            given = (versions, work.key, shared, task)
            with quiet(), _worded():
                if handed:
                    return self.client.compute(import_module("dask.delayed").delayed(run, pure=False)(*given, *handed))
                return self.client.submit(run, *given, pure=False)

        return take

    def result(self, task: Any) -> Any:
        """Wait for a task."""
        with _worded():
            answer = task.result()
        return result_of(answer)

    def cancel(self, tasks: Sequence[Any]) -> None:
        """Cancel them."""
        self.client.cancel(list(tasks))

    def _check_running(self) -> None:
        if self.client.status in ("closing", "closed"):
            raise _ended(f"the dask Client is {self.client.status}")


@dataclass(frozen=True, eq=False)
class OnRay(Pool):
    """The workers of ray, which begins the tasks of a worker that died anew."""

    @property
    def workers(self) -> int:
        """The processors of the cluster."""
        self._check_running()
        with _worded():
            return max(int(_ray().cluster_resources().get("CPU", 1)), 1)

    @property
    def sends(self) -> bool:
        """They are other processes."""
        return True

    def taking(self, function: Callable[[S], T], skeleton: Any) -> Callable[[S], Any]:
        """Hand in tasks as pickles; rows that lie with the workers are read where they lie."""
        self._check_running()
        work, versions = Pickles(function, skeleton, "ray"), versions_here()
        shared = work.shared if len(work.shared) <= _ALONG else _ray().put(work.shared)

        def take(item: S) -> Any:
            task, handed = work.task(item)
            return _remote().remote(versions, work.key, shared, task, *handed)

        return take

    def result(self, task: Any) -> Any:
        """Wait for a task."""
        with _worded():
            answer = _ray().get(task)
        return result_of(answer)

    def cancel(self, tasks: Sequence[Any]) -> None:
        """Forget them: ray.cancel ends the whole session where a task ends at that moment (ray's issue 54527), and at most two for each worker are under way."""

    def _check_running(self) -> None:
        if not _ray().is_initialized():
            raise _ended("ray was shut down")


def pool_of(engine: Any) -> Pool:
    """Return who takes tasks, of what a user may give as `engine`."""
    if isinstance(engine, ThreadPoolExecutor):
        return InThreads(engine)
    if isinstance(engine, Executor):
        return InProcesses(engine)
    if isinstance(engine, ModuleType) and engine.__name__ == "ray":
        if not engine.is_initialized():
            engine.init()
        return OnRay()
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(engine, distributed.Client):
        if engine.asynchronous:
            raise OptionError(
                "engine is an asynchronous dask Client, whose results nobody can wait for; make it without asynchronous=True."
            )
        return OnDask(engine)
    raise OptionError(
        f"engine is {shown(engine)}; pass None, an executor of concurrent.futures such as ThreadPoolExecutor(8), a dask Client, or the module ray."
    )


def _size(executor: Any) -> int:
    """Return the workers of an executor; executors of other packages have no one way of saying it."""
    said = getattr(executor, "_max_workers", None) or getattr(executor, "num_workers", None)
    return said if isinstance(said, int) and said > 0 else os.cpu_count() or 1


def _submit(executor: Executor, function: Callable[..., T], *given: Any) -> Future[T]:
    with _worded():
        try:
            return executor.submit(function, *given)
        except RuntimeError as error:
            if isinstance(error, BrokenExecutor):
                raise
            raise _ended(str(error)) from error


def _ended(reason: str) -> WorkerError:
    return WorkerError(
        f"The engine takes no more tasks ({reason}); pass one that is running, or go on in a block with bh.engine(None) or another engine, which takes "
        "the passes of results whose own engine has ended."
    )


@contextmanager
def _worded() -> Iterator[None]:
    """Say in a sentence that workers are gone; what a task raised is another thing, and comes as it is."""
    try:
        yield
    except BrokenExecutor as error:
        raise WorkerError(
            "A worker process of the engine died, killed or out of memory, and its executor takes no more tasks; make a new executor, with fewer "
            "workers if memory was short, and fit again."
        ) from error
    except Exception as error:
        if not isinstance(error, _gone()):
            raise
        told = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WorkerError(
            f"The engine lost a task for good, since its workers died, ran out of memory or were stopped ({told}); give each worker more memory or the data smaller "
            "partitions, and fit again."
        ) from error


def _gone() -> tuple[type[Exception], ...]:
    """Return what dask and ray raise where they have given up a task."""
    distributed, ray = sys.modules.get("distributed"), sys.modules.get("ray")
    of_dask = () if distributed is None else (distributed.scheduler.KilledWorker, distributed.comm.CommClosedError)
    of_ray = () if ray is None else (ray.exceptions.RayError,)
    return CancelledError, *of_dask, *of_ray


@cache
def _remote() -> Any:
    return _ray().remote(run)


def _ray() -> Any:
    return sys.modules["ray"]
