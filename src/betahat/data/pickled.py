"""Work that is sent to other processes: what all tasks of a pass share is pickled once, and a task has its own rows beside it."""

from __future__ import annotations

import copyreg
import io
import pickle
import platform
import sys
import traceback
import uuid
from collections import ChainMap
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.datasets.elsewhere import Fetched, Lying
from betahat.data.streamed import Beside, Builder
from betahat.data.threads import with_one_thread
from betahat.errors import BetahatError, MissingPackageError, WorkerError

# A tensor of more numbers that all tasks need is sent once.
_MANY = 1024
_SHARED, _HANDED = 0, 1


class Pickles:
    """A pass in pickles: `shared` is what every task needs."""

    def __init__(self, function: Callable[[Any], Any], skeleton: Any, library: str) -> None:
        """Pickle a function of a task's item, and what items have in common: what is found in the `skeleton` of one."""
        self._places: dict[int, int] = {}
        self._objects: list[Any] = []
        self._library = library
        self.key = uuid.uuid4().hex
        _dumped(skeleton, self._find)
        self.shared = _dumped((function, self._objects), lambda _: None)

    def task(self, item: Any) -> tuple[bytes, list[Any]]:
        """Pickle an item; rows that lie with the engine of the library are left out, and listed as what it takes in their place."""
        handed: list[Any] = []

        def known(part: Any) -> tuple[int, int] | None:
            if id(part) in self._places:
                return _SHARED, self._places[id(part)]
            if isinstance(part, Lying):
                handed.append(part.remote if part.library == self._library else part.fetch())
                return _HANDED, len(handed) - 1
            return None

        return _dumped(item, known), handed

    def _find(self, part: Any) -> int | None:
        if not (isinstance(part, Builder | Beside) or (isinstance(part, Tensor) and part.numel() > _MANY)):
            return None
        if id(part) not in self._places:
            self._places[id(part)] = len(self._objects)
            self._objects.append(part)
        return self._places[id(part)]


def run(versions: tuple[str, ...], key: str, shared: bytes, task: bytes, *handed: Any) -> bytes:
    """Return, pickled, what a pickled function gives of a task, or what it raised; here, in a worker."""
    try:
        if versions != versions_here():
            raise WorkerError(
                f"A worker has {_told(versions_here())}, and the session that called it {_told(versions)}; install the same versions in both."
            )
        function, item = _read(key, shared, task, handed)
        return _dumped((with_one_thread(function, item), None), lambda _: None)
    except Exception as error:
        return _of_error(error)


def result_of(answer: bytes) -> Any:
    """Return what a task gave, or raise what it raised."""
    found, told = pickle.loads(answer)
    if told is None:
        return found
    if not isinstance(found, BetahatError):
        found.add_note(f"In a worker:\n{told}")
    raise found


def versions_here() -> tuple[str, ...]:
    """Return the versions of betahat, torch and Python."""
    return vars(sys.modules[__name__.partition(".")[0]])["__version__"], torch.__version__, platform.python_version()


def _told(versions: Sequence[str]) -> str:
    return "betahat {}, torch {} and Python {}".format(*versions)


def _read(key: str, shared: bytes, task: bytes, handed: Sequence[Any]) -> tuple[Callable[[Any], Any], Any]:
    """Return the function and the item of a task."""

    def known(part: tuple[int, int]) -> Any:
        kind, place = part
        return objects[place] if kind == _SHARED else Fetched(handed[place])

    try:
        if _LAST.key != key:
            _LAST.found = pickle.loads(shared)
            _LAST.key = key
        function, objects = _LAST.found
        reader = pickle.Unpickler(io.BytesIO(task))
        reader.persistent_load = known  # type: ignore[method-assign]
        return function, reader.load()
    except ModuleNotFoundError as error:
        raise WorkerError(
            f"A worker has no module {str(error.name)!r}, which what it is to compute comes from; install it there, or define functions of your own "
            "in the session itself."
        ) from error


class _Last:
    """What the tasks of the latest pass share, so that a worker reads it once."""

    key = ""
    found: tuple[Callable[[Any], Any], list[Any]]


_LAST = _Last()


def _of_error(error: Exception) -> bytes:
    """Pickle an error with its traceback, as text; one that cannot be read back becomes another that says the same."""
    told = "".join(traceback.format_exception(error))
    try:
        answer = pickle.dumps((error, told))
        pickle.loads(answer)
    except Exception:  # errors may need arguments that they do not hand on
        return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), told))
    return answer


def _dumped(item: object, known: Callable[[Any], Any]) -> bytes:
    """Pickle an object but for the parts in whose place `known` returns something."""
    file = io.BytesIO()
    kind = _kind()
    pickler = kind(file, 5)
    pickler.dispatch_table = ChainMap({Tensor: _reduced}, getattr(kind, "dispatch_table", copyreg.dispatch_table))
    pickler.persistent_id = known
    try:
        pickler.dump(item)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if kind is not pickle.Pickler:
            raise WorkerError(
                f"What is to be computed cannot be sent to other processes ({error}); pass a ThreadPoolExecutor as engine, or none."
            ) from error
        raise MissingPackageError(
            "Functions that other processes compute are sent to them by cloudpickle, which is not installed: pip install 'betahat[workers]'."
        ) from error
    return file.getvalue()


@cache
def _kind() -> Any:
    try:
        return import_module("cloudpickle").Pickler
    except ImportError:  # it is optional
        return pickle.Pickler


def _reduced(tensor: Tensor) -> Any:
    """Pickle plain numbers in memory as NumPy does, in a tenth of the time; a view without what it is a view of."""
    if (
        tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.requires_grad
        and not tensor.is_quantized
    ):
        try:
            return _tensor, (tensor.numpy(),)
        except (RuntimeError, TypeError):  # bfloat16
            pass
    return tensor.__reduce_ex__(5)  # type: ignore[no-untyped-call]


def _tensor(array: np.ndarray) -> Tensor:
    """Return a tensor in memory of torch's, whose bounds its sums depend on."""
    return torch.from_numpy(array).clone()
