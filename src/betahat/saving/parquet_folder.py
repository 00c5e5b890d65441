"""A folder of Parquet files, one for each partition of a dataset, which is there once all of it is."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.engine import Engine
from betahat.errors import DataError, OptionError, optional_module, shown

Columns = Mapping[str, np.ndarray]


def write_partitions(
    path: str | PathLike[str],
    dataset: Dataset,
    read: Sequence[str],
    columns: Callable[[Partition], Iterable[Columns]],
    engine: Engine,
) -> Path:
    """Write what a function gives of each partition, of which it reads some columns, as part-00000.parquet, ... in a new folder: (m,) columns by name of each chunk.

    Files are written to a hidden folder beside it, which takes its name when all of them are whole; whatever fails leaves nothing.
    """
    target = _target(path)
    optional_module("pyarrow.parquet", "Predictions are written by pyarrow", "files")
    with _made_whole(target) as folder:
        found = list(engine.over(_Writing(str(folder), str(target), columns), dataset, read))
        names = next((file.names for file in found if file.names), ("predicted",))
        with _sentence(str(target)):
            for i, file in enumerate(found):
                if not file.names:  # of a partition without rows
                    _write(folder / file.name, [{name: np.empty(0) for name in names}], file.partition)
                os.replace(folder / file.name, folder / f"part-{i:05d}.parquet")
            for left in set(os.listdir(folder)) - {f"part-{i:05d}.parquet" for i in range(len(found))}:
                (folder / left).unlink()  # by a worker that died, and whose task another one did
    return target


@dataclass(frozen=True)
class _File:
    """A file of the folder: its name there, the partition that it belongs to, and its columns; none where it was not written for lack of rows."""

    name: str
    partition: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Writing:
    """Writes the file of a partition, wherever that is computed."""

    folder: str
    target: str
    columns: Callable[[Partition], Iterable[Columns]]

    def __call__(self, partition: Partition) -> _File:
        """Write it."""
        name = secrets.token_hex(8)
        with _sentence(self.target, partition.name):
            names = _write(Path(self.folder, name), self.columns(partition), partition.name)
        return _File(name, partition.name, names)


def _write(file: Path, chunks: Iterable[Columns], partition: str) -> tuple[str, ...]:
    """Write the columns of one chunk after the other, and return their names; the file says which partition it belongs to."""
    arrow, parquet = (
        optional_module(name, "Predictions are written by pyarrow", "files") for name in ("pyarrow", "pyarrow.parquet")
    )
    writer: Any = None
    names: tuple[str, ...] = ()
    with open(file, "wb") as opened:
        try:
            for columns in chunks:
                table = arrow.table(dict(columns))
                if writer is None:
                    names = tuple(columns)
                    writer = parquet.ParquetWriter(opened, table.schema.with_metadata({"partition": partition}))
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
        opened.flush()
        os.fsync(opened.fileno())  # some disks say only now that they are full
    return names


@contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside the target, which takes its name if nothing fails, and goes with all that is in it otherwise."""
    with _sentence(str(target)):
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=target.parent))
    try:
        yield folder
        with _sentence(str(target)):
            umask = os.umask(0)
            os.umask(umask)
            folder.chmod(0o777 & ~umask)
            if target.exists():
                target.rmdir()
            os.replace(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _sentence(target: str, partition: str = "") -> Iterator[None]:
    """Say why predictions could not be written, perhaps those for a partition."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0].rstrip(".")
        those = f" for {partition}" if partition else ""
        raise DataError(
            f"The predictions{those} cannot be written to {target!r} ({reason}), and none of them were kept; make room there, or pass a path elsewhere, "
            "which every worker can write to."
        ) from error


def _target(path: Any) -> Path:
    """Return the folder to be made, which may be there if it is empty."""
    if not isinstance(path, str | PathLike):
        raise OptionError(
            f"path is {shown(path)}; pass the name of a folder to write Parquet files to, such as 'predicted/'."
        )
    text = os.fsdecode(path)
    if "://" in text:
        raise DataError(
            f"path is {shown(text)}, and predictions are written to a folder of this machine's file system; pass such a one, and copy the files from there."
        )
    try:
        target = Path(os.path.abspath(os.path.expanduser(text)))
        target.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # names that are too long, or contain a NUL
        raise DataError(f"{shown(text)} is not a valid name of a folder ({error}); pass another.") from error
    if not target.parent.is_dir():
        raise DataError(f"The folder {str(target.parent)!r} does not exist; create it first, or write elsewhere.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(
            f"{str(path)!r} is {'a folder with files in it' if target.is_dir() else 'a file'}; pass the name of a new folder, so that no old file is taken "
            "for a part of the predictions."
        )
    return target
