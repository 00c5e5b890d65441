"""Functions of the user's that return a fresh iterator of dataframes each time."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import narwhals as nw

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.order import Order
from betahat.data.datasets.partitioned import Partitioned
from betahat.errors import BetahatError, DataError, MissingPackageError, described, shown


@dataclass(frozen=True, eq=False)
class Chunks(Partition):
    """What a function's iterator yields.

    Attributes
    ----------
    function : callable
    order : Order
    kinds : dict of str to str
        Of what kind each column of the first chunk is.
    """

    function: Callable[[], Any]
    order: Order
    kinds: dict[str, str]

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.order.name

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield some columns of its dataframes."""
        return self.order.kept(self._chosen(columns))

    def __reduce__(self) -> Any:
        """Be pickled with a function that `pickle` finds, or with the code of one that no module holds, such as a lambda."""
        return _unpickled, (_sendable(self.function, self.name), self.order, self.kinds)

    def _chosen(self, columns: Sequence[str]) -> Iterator[Any]:
        given = _iterator(self.function, self.name)
        try:
            for number, frame in enumerate(map(self._frame, _yielded(given, self.name))):
                self._check(number, frame, columns)
                yield frame.select(list(columns)).to_native()
        finally:
            _close(given)

    def _check(self, number: int, frame: nw.DataFrame[Any], columns: Sequence[str]) -> None:
        """Refuse a chunk that lacks a column, or has one of another kind."""
        for name in columns:
            if name not in frame.columns:
                raise DataError(
                    f"Chunk {number + 1} of {self.name} has no column {shown(name)}, which the first one has; yield the same columns each time."
                )
            kind = _kind(frame[name])
            if "" not in (kind, self.kinds[name]) and kind != self.kinds[name]:
                raise DataError(
                    f"Column {shown(name)} is {kind} in chunk {number + 1} of {self.name}, and {self.kinds[name]} in the first one; yield one type, as "
                    "with dtype= of pandas.read_csv."
                )

    def _frame(self, chunk: Any) -> nw.DataFrame[Any]:
        return _frame(chunk, self.name)


@dataclass(frozen=True)
class _Code:
    """A function of the session itself, as cloudpickle writes it."""

    pickled: bytes


def _sendable(function: Callable[[], Any], label: str) -> Any:
    """Return what `pickle` can write of a function."""
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):  # found in no module, or with an object that is not
        try:
            return _Code(import_module("cloudpickle").dumps(function))
        except ImportError as error:
            raise MissingPackageError(
                f"{label} is in no module, and functions that are not are pickled by cloudpickle, which is not installed: pip install "
                "'betahat[workers]', or define it by def in a module."
            ) from error
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise DataError(
                f"{label} cannot be pickled ({error}); open files and connections in the function itself, or call save(), which leaves rows "
                "that lie elsewhere out."
            ) from error
    return function


def _unpickled(given: Any, order: Order, kinds: dict[str, str]) -> Chunks:
    return Chunks(pickle.loads(given.pickled) if isinstance(given, _Code) else given, order, kinds)


def function_of_chunks(function: Callable[[], Any]) -> Dataset:
    """Return a function that returns a fresh iterator of dataframes as a dataset; its first chunk tells the columns."""
    label = f"{getattr(function, '__name__', type(function).__name__)}()"
    first, second = _iterator(function, label), _iterator(function, label)
    if first is second:
        raise DataError(
            f"{label} returns the same iterator each time, and a fit reads the rows several times; make a new one in it on each call."
        )
    chunk = next(_yielded(first, label), None)
    _close(first)
    _close(second)
    if chunk is None:
        raise DataError(f"{label} yields nothing; it should yield dataframes, one after the other.")
    frame = _frame(chunk, label)
    kinds = {name: _kind(frame[name]) for name in frame.columns}
    remedy = "let the function yield the same rows in the same order on each call"
    return Partitioned(label, tuple(frame.columns), (Chunks(function, Order(label, remedy), kinds),))


def _iterator(function: Callable[[], Any], label: str) -> Iterator[Any]:
    """Call a function, and return what it gives as an iterator."""
    try:
        inspect.signature(function).bind()
    except ValueError:  # a function of C's that does not tell
        pass
    except TypeError as error:
        raise DataError(
            f"{label} cannot be called without arguments ({error}); pass a function of none that returns an iterator of dataframes, such as "
            "lambda: pandas.read_csv(path, chunksize=100_000)."
        ) from error
    try:
        given = function()
    except BetahatError:
        raise
    except Exception as error:
        raise _raised(label, error) from error
    if nw.from_native(given, pass_through=True) is not given or isinstance(given, str | dict):
        raise _no_iterator(label, given)
    try:
        return iter(given)
    except TypeError:
        raise _no_iterator(label, given) from None


def _yielded(given: Iterator[Any], label: str) -> Iterator[Any]:
    """Yield what a function's iterator yields; what it raises names the function."""
    while True:
        try:
            chunk = next(given)
        except StopIteration:
            return
        except BetahatError:
            raise
        except Exception as error:
            raise _raised(label, error) from error
        yield chunk


def _raised(label: str, error: Exception) -> DataError:
    told = str(error).strip().partition("\n")[0].rstrip(".")
    return DataError(
        f"{label} raised {type(error).__name__}{told and f' ({told})'}, so that its rows cannot be read; see what it says when you call it and go through what it "
        "returns."
    )


def _close(given: Iterator[Any]) -> None:
    """Close the file of an iterator that has one, as pandas' readers have."""
    close = getattr(given, "close", None)
    if close is not None:
        close()


def _no_iterator(label: str, given: Any) -> DataError:
    return DataError(
        f"{label} returns {described(given)}; let it return an iterator of dataframes, or pass a single dataframe itself as data."
    )


def _frame(chunk: Any, label: str) -> nw.DataFrame[Any]:
    frame = nw.from_native(chunk, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        raise DataError(
            f"{label} yields {described(chunk)}, where a fit needs dataframes; yield those of pandas, polars or pyarrow, whose columns have names."
        )
    return frame


def _kind(column: nw.Series[Any]) -> str:
    """Say of what kind a column is; nothing where it has no values that tell."""
    kind = column.dtype
    if kind == nw.Boolean:
        return "boolean"
    if kind.is_numeric():
        return "numbers"
    if kind.is_temporal():
        return "dates"
    return "text" if kind in (nw.String, nw.Categorical, nw.Enum) else ""
