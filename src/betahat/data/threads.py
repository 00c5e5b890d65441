"""Who computes: torch has one thread in betahat's calls, and passes over many rows are shared among Python's threads.

OpenMP and MKL start a team even for a Cholesky factor of five by five, and at the end of every operation its members wait for the
slowest, spinning. Beside another busy process that is a turn of the scheduler, milliseconds, each time. Threads that take whole
blocks of rows wait once a pass, and what a block gives does not depend on their number.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar, overload

import torch

S = TypeVar("S")
T = TypeVar("T")


class _Here(threading.local):
    """What the running thread is in: `threads` are the user's within a call, 1 in a thread of ours, and 0 outside of calls."""

    threads = 0


class _Teams(NamedTuple):
    """Functions of an int that set the size of this thread's teams, and of no other thread's, as torch.set_num_threads does."""

    openmp: Callable[[int], object]
    mkl: Callable[[int], object]


def _find_teams() -> _Teams | None:
    name = {"win32": "torch_cpu.dll", "darwin": "libtorch_cpu.dylib"}.get(sys.platform, "libtorch_cpu.so")
    try:
        library: Any = ctypes.PyDLL(str(Path(torch.__file__).parent / "lib" / name))
        return _Teams(library.omp_set_num_threads, getattr(library, "MKL_Set_Num_Threads_Local", int))
    except (
        OSError,
        AttributeError,
    ):  # built without OpenMP, or with its symbols hidden: torch's threads stay as they are
        return None


_HERE = _Here()
_TEAMS = _find_teams()


def with_one_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a function while torch computes with one thread; the thread's own number comes back, whatever ends the call."""
    if _HERE.threads or _TEAMS is None:
        return function(*args, **kwargs)
    threads = torch.get_num_threads()  # which tells a new thread first what the user has set
    try:
        _HERE.threads = threads
        _TEAMS.openmp(1)
        _TEAMS.mkl(1)
        return function(*args, **kwargs)
    finally:  # an interrupt between two of these must not keep the others from being made
        try:
            _TEAMS.openmp(threads)
        finally:
            try:
                _TEAMS.mkl(threads)
            finally:
                _HERE.threads = 0


def with_all_threads(function: Callable[[S], T], argument: S) -> T:
    """Call a function, of the user's say, while torch computes with as many threads as the user gave it."""
    threads = _HERE.threads
    if threads < 2 or _TEAMS is None:
        return function(argument)
    try:
        _TEAMS.openmp(threads)
        _TEAMS.mkl(threads)
        _HERE.threads = 0
        return function(argument)
    finally:
        _HERE.threads = threads
        _TEAMS.openmp(1)
        _TEAMS.mkl(1)


class remembered(Generic[T]):  # noqa: N801  # it is written like property
    """A property that is computed once: functools.cached_property without its lock, which in Python 3.11 all instances share."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        """Take what computes it."""
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn under which name it is kept."""
        self.name = name

    @overload
    def __get__(self, record: None, owner: type) -> remembered[T]: ...

    @overload
    def __get__(self, record: object, owner: type) -> T: ...

    def __get__(self, record: object | None, owner: type) -> remembered[T] | T:
        """Compute it, and keep it where Python finds it next time."""
        if record is None:
            return self
        found = record.__dict__[self.name] = self.function(record)
        return found

    def learn(self, record: object, value: T) -> None:
        """Keep a value that was found in another way."""
        record.__dict__[self.name] = value


def in_order(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield `function(item)` of one item after the other, computed by as many threads as the user gave torch."""
    threads = min(_HERE.threads, os.cpu_count() or 1)
    items = iter(items)
    start = list(islice(items, 2))
    if threads < 2 or len(start) < 2:
        yield from map(function, chain(start, items))
        return
    try:
        tasks = _team()
    except RuntimeError:  # the interpreter is about to end, or there can be no more threads
        yield from map(function, chain(start, items))
        return
    ahead: deque[_Task] = deque()
    try:
        for item in chain(start, items):
            task = _Task(function, item)
            tasks.put(task)  # before anything waits for it
            ahead.append(task)
            if len(ahead) > threads + 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:  # after an error, or where nobody asks for the rest
        for task in ahead:
            task.cancelled = True
        for task in ahead:
            task.done.get()


class _Task:
    """A call for another thread, which puts what it returned, or raised, where the caller waits.

    Queues of C alone: an interrupt that comes while Python's own locks are taken (those of ThreadPoolExecutor and Future) leaves them taken, and
    every later call waits for ever.
    """

    def __init__(self, function: Callable[[Any], Any], item: Any) -> None:
        """Take what is to be called."""
        self.function = function
        self.item = item
        self.cancelled = False
        self.done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run(self) -> None:
        """Call it, unless nobody wants it any more."""
        try:
            self.done.put((None if self.cancelled else self.function(self.item), None))
        except BaseException as error:  # whatever it is, the caller raises it
            self.done.put((None, error))

    def result(self) -> Any:
        """Wait for what it returned, or raise what it raised."""
        found, error = self.done.get()
        if error is not None:
            raise error
        return found


@cache
def _team() -> SimpleQueue[_Task]:
    """Start a thread for each core, and return where they look for tasks."""
    tasks: SimpleQueue[_Task] = SimpleQueue()
    for _ in range(os.cpu_count() or 1):
        _thread.start_new_thread(_work, (tasks,))
    return tasks


def _work(tasks: SimpleQueue[_Task]) -> None:
    """Compute alone, one task after the other, as long as the process lives."""
    torch.get_num_threads()  # which would set the user's number later, at this thread's first operation
    assert _TEAMS is not None
    _TEAMS.openmp(1)
    _TEAMS.mkl(1)
    _HERE.threads = 1
    while True:
        tasks.get().run()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_team.cache_clear)  # a forked process does not have the threads
