"""One file in the safetensors format: the tensors, and in its header the tree that they belong to."""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from hashlib import sha256
from io import TextIOBase
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file
from torch import Tensor

from betahat.errors import DataError, OptionError
from betahat.saving.reading import Reader
from betahat.saving.records import Older
from betahat.saving.writing import Writer

# The version of the tree: it rises when an older betahat could not read what is written. A later betahat reads what an earlier
# one wrote: a new field of a record has a default, and where that does not do, the version rises and `Older` says how it is read.
VERSION = 2


def write(path: str | PathLike[str] | BinaryIO, record: Any) -> Path | BinaryIO:
    """Write a record to a file, which is replaced once the new one is whole, or to one that is open.

    Parameters
    ----------
    path : str, path, or binary file
        Where to.
    record : object
        A record of betahat's.

    Returns
    -------
    pathlib.Path, or the open file

    Raises
    ------
    DataError
        There is no such folder, or it cannot be written to; it is no file; the record holds what no file can.
    """
    into = _opened(path, "write")
    target = None if into is not None else _path(path)
    writer = Writer()
    tree = json.dumps(writer.node(record), separators=(",", ":"))
    writer.say_what_is_missing()
    if target is None:
        return _write_to(into, save_bytes(writer.tensors, header(tree, writer.tensors)))
    if target.is_dir():
        raise DataError(f"{str(target)!r} is a folder; pass the name of a file in it.")
    try:
        place = target.resolve()
    except (OSError, RuntimeError) as error:  # links that go round in a circle
        raise DataError(f"{str(target)!r} is a link that leads nowhere ({error}); save elsewhere.") from error
    if not place.parent.is_dir():
        raise DataError(f"There is no folder {str(place.parent)!r}; make it first, or save elsewhere.")
    if target.exists() and not (
        target.is_file() and place.exists()
    ):  # what an open file's link resolves to may be gone
        raise DataError(f"{str(target)!r} is a device, a pipe or a socket and no file; save elsewhere.")
    if place.exists() and not os.access(place, os.W_OK):
        raise DataError(f"{str(target)!r} may only be read; save elsewhere, or let it be written to.")
    beside = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}")
    try:
        mode = _mode(place, beside)
        save_file(writer.tensors, beside, header(tree, writer.tensors))  # which only its owner may read
        beside.chmod(mode)
        os.replace(beside, place)
    except (OSError, SafetensorError) as error:
        raise DataError(f"The results cannot be written to {str(target)!r} ({error}); save elsewhere.") from error
    finally:
        beside.unlink(missing_ok=True)
    return target


def read(
    path: str | PathLike[str] | BinaryIO,
    known: Iterable[type],
    device: torch.device | str | None,
    older: Mapping[int, Older],
) -> Any:
    """Read a record from a file; nothing in it is run.

    Parameters
    ----------
    path : str, path, or binary file
        What `write` wrote; an open file is read to its end.
    known : iterable of type
        The classes whose names the file may use.
    device : torch.device or str, optional
        Where tensors go; None is the CPU.
    older : mapping
        A version of the format -> how its records are read today.

    Raises
    ------
    DataError
        There is no such file, it is no file of betahat's, it is damaged, or a newer betahat wrote it.
    """
    held = _opened(path, "read")
    source = Path(getattr(held, "name", None) or "the open file") if held is not None else _path(path)
    if held is None and not source.is_file():
        what = "is a folder" if source.is_dir() else "is no regular file" if source.exists() else "does not exist"
        raise DataError(f"The file {str(source)!r} {what}; pass what res.save(path) has written.")
    try:
        torch.empty(0, device="cpu" if device is None else device)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OptionError(
            f"device is {device!r}, where no tensor can go ({reason}); use 'cpu', or a device that is there."
        ) from error
    try:
        metadata, tensors = _contents(source) if held is None else _contents_of(held)
        version, digest, tree = _parts(metadata, source)
        if digest != digest_of(tree, tensors):
            raise DataError(f"{str(source)!r} was changed after it was written, or is damaged; save the results again.")
        reader = Reader(
            {type_.__name__: type_ for type_ in known}, tensors.__getitem__, device, older.get(version, Older())
        )
        return reader.value(json.loads(tree))
    except DataError:
        raise
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{str(source)!r} is no whole file of saved results ({error}); save the results again."
        ) from error
    except Exception as error:  # whatever NumPy, pandas and torch raise of what is no data
        reason = str(error).partition("\n")[0][:200]
        raise DataError(
            f"{str(source)!r} holds what this betahat does not save ({type(error).__name__}: {reason}); it is damaged, or was made by another "
            "version or by something else: save the results again."
        ) from error


def _contents(source: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the header's metadata and the tensors of a file."""
    with safe_open(source, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _contents_of(file: Any) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the same of an open file: eight bytes with the header's length, the header, and the tensors."""
    content = None if isinstance(file, TextIOBase) else file.read()
    if not isinstance(content, bytes):
        raise DataError("The open file is one of text and no bytes; open it in binary mode, open(path, 'rb').")
    tensors = load_bytes(content)  # which checks the lengths
    found: dict[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    return found, tensors


def _opened(path: Any, method: str) -> Any:
    """Return a file that is open, or None of a path."""
    return path if callable(getattr(path, method, None)) and not isinstance(path, PathLike) else None


def _write_to(file: BinaryIO, content: bytes) -> BinaryIO:
    try:
        file.write(content)
    except (OSError, TypeError, ValueError) as error:  # of a file for text, for reading, or closed
        raise DataError(
            f"The results cannot be written to the open file ({error}); open it in binary mode, open(path, 'wb')."
        ) from error
    return file


def header(tree: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return what stands before the tensors: in one entry, as safetensors keeps no order of several."""
    return {"betahat": f"{VERSION} {digest_of(tree, tensors)} {tree}"}


def digest_of(tree: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of all that a file says: against accidents, as whoever changes a file on purpose changes it too."""
    found = sha256(tree.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        content: Any = tensor.flatten().view(torch.uint8).numpy()
        found.update(content)
    return found.hexdigest()


def _mode(place: Path, beside: Path) -> int:
    """Return who may read and write a file: as before, or as any new file is made."""
    if place.exists():
        return stat.S_IMODE(place.stat().st_mode)
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return stat.S_IMODE(beside.stat().st_mode)


def _parts(metadata: dict[str, str], source: Path) -> tuple[int, str, str]:
    """Return the version, the digest and the tree of a file that can be read."""
    version, _, rest = metadata.get("betahat", "").partition(" ")
    digest, _, tree = rest.partition(" ")
    if not re.fullmatch("[0-9]{1,6}", version):
        raise DataError(
            f"{str(source)!r} is a safetensors file without results of betahat; pass what res.save(path) has written."
        )
    if int(version) > VERSION:
        raise DataError(
            f"{str(source)!r} was written by a newer betahat (version {version} of the format, and this one reads up to {VERSION}); "
            "upgrade with pip install --upgrade betahat."
        )
    return int(version), digest, tree


def _path(path: Any) -> Path:
    try:
        found = Path(os.fsdecode(path))
        found.lstat()
        return found
    except FileNotFoundError:
        return found
    except (OSError, ValueError) as error:  # names that are too long, or hold a NUL
        if isinstance(error, PermissionError | NotADirectoryError):
            return found
        raise DataError(f"{str(path)[:80]!r} is no name of a file ({error}); pass another.") from error
    except TypeError as error:
        raise OptionError(
            f"The path is a {type(path).__name__}; pass the name of a file, such as 'results.betahat'."
        ) from error
