"""Files: which ones a path, a glob or a list stands for, on any filesystem, and whether they are still what they were."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import unquote

from betahat.errors import DataError, optional_module, shown

T = TypeVar("T")
S = TypeVar("S")

_WILD = frozenset("*?[")
_FORMATS = {
    "Parquet": (".parquet", ".parq", ".pq"),
    "Arrow": (".arrow", ".feather", ".ipc"),
    "CSV": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
}
# What Hive calls a missing value, and how many threads wait for files.
_NONE = "__HIVE_DEFAULT_PARTITION__"
_THREADS = 16
# What filesystems of fsspec know of a file that is another one where it changed; when it was last read is not among it.
_TELLING = (
    "size",
    "mtime",
    "LastModified",
    "last_modified",
    "modificationTime",
    "modified",
    "updated",
    "created",
    "ETag",
    "etag",
    "generation",
)
_ENDINGS = sum(_FORMATS.values(), ())


@dataclass(frozen=True)
class File:
    """A file as it was when the dataset was made.

    Attributes
    ----------
    name : str
        What it is called in a sentence: the path as the user would write it.
    path : str
        Where it lies on its filesystem.
    filesystem : pyarrow.fs.FileSystem
    stamp : object
        Differs where its size or its time does.
    keys : dict of str to object
        Columns that have one value in the whole file, which its folders' names tell, such as "year=2024".
    """

    name: str
    path: str
    filesystem: Any
    stamp: Any = None
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Parquet, Arrow or CSV, by its name."""
        for kind, endings in _FORMATS.items():
            if self.name.lower().endswith(endings):
                return kind
        raise DataError(
            f"What {self.name} holds cannot be told from its name, which should end in one of {', '.join(_ENDINGS)}; rename it, or pass pyarrow.dataset.dataset(path, format=...)."
        )

    def stamped(self) -> File:
        """Return the file with the stamp that it has now."""
        return replace(self, stamp=_stamp(self))

    def without_keys(self, names: Iterable[str]) -> File:
        """Return the file without keys of some names, which are columns of its own."""
        return replace(self, keys={name: value for name, value in self.keys.items() if name not in set(names)})

    def open(self) -> Any:
        """Open it for reading in any order, and refuse another one than it was."""
        self.check()
        return self.filesystem.open_input_file(self.path)

    def open_text(self) -> Any:
        """Open it for reading from its beginning, decompressed, and refuse another one than it was."""
        self.check()
        return self.filesystem.open_input_stream(self.path)

    def check(self) -> None:
        """Refuse a file that is gone, or whose size or time differs."""
        now = _stamp(self)
        if self.stamp is not None and now != self.stamp:
            raise DataError(
                f"{self.name} has changed since the model was made (its size or time is another), so its rows may be others; make the model again, "
                "and leave the files as they are until the results have been used."
            )

    @contextmanager
    def being_read(self, kind: str) -> Iterator[None]:
        """Say which file it was that could not be read."""
        unread = (arrow().ArrowException, OSError)
        try:
            yield
        except GeneratorExit:  # nobody asks for the rest, perhaps since the interpreter ends
            raise
        except FileNotFoundError as error:
            raise self._gone() from error
        except unread as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise DataError(
                f"{self.name} cannot be read as {kind} ({reason}); write it again, or leave it out."
            ) from error

    def _gone(self) -> DataError:
        return DataError(
            f"{self.name} is not there; put it back, or make the model again without it, if it was deleted."
        )


def arrow() -> ModuleType:
    """Return pyarrow."""
    return optional_module("pyarrow", "Rows in files need pyarrow", "files")


def found_files(paths: Sequence[Any]) -> tuple[File, ...]:
    """Return the files that paths stand for, in their order; those of a glob or a directory are sorted by name."""
    found: dict[str, File] = {}
    for path in paths:
        own = {file.path if "://" not in file.name else file.name: file for file in _files_of(os.fspath(path))}
        twice = next((file for key, file in own.items() if key in found), None)
        if twice is not None:
            raise DataError(
                f"{twice.name} is named twice among the files, so its rows would count twice; name it once."
            )
        found |= own
    keys = _keys([file.path for file in found.values()])
    return tuple(replace(file, keys=own) for file, own in zip(at_once(File.stamped, found.values()), keys, strict=True))


def at_once(function: Callable[[T], S], values: Iterable[T]) -> list[S]:
    """Return what a function that waits for files gives of each value, by several threads."""
    given = list(values)
    if len(given) < 2:
        return [function(value) for value in given]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, given))


def _keys(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return the columns that the folders of each file name, as in "year=2024": whole numbers where all are."""
    found = [
        {name: unquote(text) for name, is_key, text in (part.partition("=") for part in path.split("/")[:-1]) if is_key}
        for path in paths
    ]
    given = {name: {keys.get(name) for keys in found} for name in {name for keys in found for name in keys}}
    numbers = {name for name, texts in given.items() if all(text and text.isdecimal() for text in texts - {_NONE})}
    return [
        {name: None if text == _NONE else int(text) if name in numbers else text for name, text in keys.items()}
        for keys in found
    ]


def _files_of(text: str) -> list[File]:
    """Return the files of one path, which may be a glob, a directory or a URL."""
    found = _remote(text) if "://" in text else _local(text)
    if not found:
        if os.path.isdir(os.path.expanduser(text)):
            raise DataError(
                f"The folder {shown(text)} has no files of rows, whose names end in one of {', '.join(_ENDINGS)}; pass the one they are in."
            )
        raise DataError(
            f"No file matches {shown(text)}; pass a path, a list of paths, or a pattern such as 'rows/*.parquet', from the working directory or from /."
        )
    return found


def _local(text: str) -> list[File]:
    filesystem = optional_module("pyarrow.fs", "Rows in files need pyarrow", "files").LocalFileSystem()
    text = os.path.expanduser(text)
    is_pattern = not os.path.exists(text) and bool(_WILD & set(text))
    found = sorted(glob.glob(text, recursive=True)) if is_pattern else [text] if os.path.exists(text) else []
    folders = [name for name in found if os.path.isdir(name)]
    if len(folders) < len(found):  # ** matches the folders of files, too
        names = [name for name in found if not os.path.isdir(name) and not (is_pattern and _is_note(name))]
    else:
        names = [
            os.path.join(folder, name)
            for top in folders
            for folder, _, inside in sorted(os.walk(top))
            for name in sorted(inside)
            if _holds_rows(os.path.relpath(os.path.join(folder, name), top).split(os.sep))
        ]
    return [File(name, os.path.abspath(name).replace(os.sep, "/"), filesystem) for name in names]


def _is_note(path: str) -> bool:
    """Tell whether a file is one that writers leave beside rows, such as "_SUCCESS"."""
    return os.path.basename(path).startswith(("_", ".")) and not path.lower().endswith(_ENDINGS)


def _holds_rows(inside: Sequence[str]) -> bool:
    """Tell whether a file somewhere in a folder, by the parts of its path, is neither hidden nor of another kind."""
    return not any(part.startswith((".", "_")) for part in inside) and inside[-1].lower().endswith(_ENDINGS)


def _remote(url: str) -> list[File]:
    """Return the files of a URL, through pyarrow where it knows the scheme, else through fsspec."""
    try:
        filesystem, path = _filesystem(url)
        names = _remote_paths(filesystem, path)
    except (arrow().ArrowException, OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"{shown(url)} cannot be opened ({reason}); pass a path, or a URL of a scheme that pyarrow or fsspec knows, with its package installed."
        ) from error
    prefix = url[: url.rindex(path.lstrip("/"))] if path.lstrip("/") in url else ""
    return [File(prefix + name.lstrip("/"), name, filesystem) for name in names]


def _remote_paths(filesystem: Any, path: str) -> list[str]:
    fs = optional_module("pyarrow.fs", "Rows in files need pyarrow", "files")
    if filesystem.get_file_info(path).type == fs.FileType.File:
        return [path]
    parts = path.split("/")
    fixed = next((i for i, part in enumerate(parts) if _WILD & set(part)), len(parts))
    base, pattern = "/".join(parts[:fixed]), parts[fixed:]
    selector = fs.FileSelector(base, allow_not_found=True, recursive=len(pattern) != 1 or pattern == ["**"])
    names = []
    for entry in filesystem.get_file_info(selector):
        inside = entry.path.removeprefix("/").removeprefix(base.strip("/")).strip("/").split("/")
        if entry.type == fs.FileType.File and (_matches(inside, pattern) if pattern else _holds_rows(inside)):
            names.append(entry.path)
    return sorted(name for name in names if not pattern or not _is_note(name))


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether the parts of a path match those of a pattern, of which ** is any number of parts."""
    if not pattern or not names:
        return not names and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(names, pattern[1:]) or _matches(names[1:], pattern)
    return fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _filesystem(url: str) -> tuple[Any, str]:
    """Return the filesystem of a URL, and the path on it."""
    fs = optional_module("pyarrow.fs", "Rows in files need pyarrow", "files")
    try:
        own, path = fs.FileSystem.from_uri(url)
        return own, path
    except arrow().ArrowInvalid:  # a scheme that pyarrow does not know
        core = optional_module("fsspec.core", f"{shown(url)} needs fsspec", "files")
        own, path = core.url_to_fs(url)
        return fs.PyFileSystem(fs.FSSpecHandler(own)), path


def _stamp(file: File) -> Any:
    """Return what tells a file from another one under its name."""
    fs = optional_module("pyarrow.fs", "Rows in files need pyarrow", "files")
    if isinstance(file.filesystem, fs.PyFileSystem):
        own = file.filesystem.handler.fs
        own.invalidate_cache()
        try:
            known = own.info(file.path)
        except FileNotFoundError as error:
            raise file._gone() from error
        return tuple(str(known.get(key)) for key in _TELLING)
    info = file.filesystem.get_file_info(file.path)
    if info.type == fs.FileType.NotFound:
        raise file._gone()
    return info.size, info.mtime_ns
