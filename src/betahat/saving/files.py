"""A file in the safetensors format: the tensors, with the tree that refers to them in the header."""

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

# The version of the tree. It rises when older versions of betahat cannot read what is written. Newer versions read older files: a new field
# of a record has a default, and where that is not enough, the version rises and `Older` says how the old record is read.
VERSION = 2


def write(path: str | PathLike[str] | BinaryIO, record: Any) -> Path | BinaryIO:
    """Write a record of betahat to an open file, or to a path, whose old file is replaced only once the new one is complete."""
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
    except (OSError, RuntimeError) as error:  # a circle of links
        raise DataError(f"{str(target)!r} is a link that leads nowhere ({error}); save elsewhere.") from error
    if not place.parent.is_dir():
        raise DataError(f"The folder {str(place.parent)!r} does not exist; create it first, or save elsewhere.")
    if target.exists() and not (
        target.is_file() and place.exists()
    ):  # the target of a link to an open file may have been deleted
        raise DataError(f"{str(target)!r} is a device, a pipe or a socket, not a file; save elsewhere.")
    if place.exists() and not os.access(place, os.W_OK):
        raise DataError(f"{str(target)!r} is read-only; save elsewhere, or make it writable.")
    temporary = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}")
    try:
        mode = _mode(place, temporary)
        save_file(writer.tensors, temporary, header(tree, writer.tensors))  # readable only by its owner
        temporary.chmod(mode)
        os.replace(temporary, place)
    except (OSError, SafetensorError) as error:
        raise DataError(f"The results cannot be written to {str(target)!r} ({error}); save elsewhere.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def read(
    path: str | PathLike[str] | BinaryIO,
    known: Iterable[type],
    device: torch.device | str | None,
    older: Mapping[int, Older],
) -> Any:
    """Read a record of the `known` classes from a path or an open file, with tensors on `device` (None is the CPU); no code in it is run.

    `older` has, for each older version of the format, how its records are read.
    """
    opened = _opened(path, "read")
    source = Path(getattr(opened, "name", None) or "the open file") if opened is not None else _path(path)
    if opened is None and not source.is_file():
        what = "is a folder" if source.is_dir() else "is not a regular file" if source.exists() else "does not exist"
        raise DataError(f"The file {str(source)!r} {what}; pass a file written by res.save(path).")
    try:
        torch.empty(0, device="cpu" if device is None else device)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OptionError(
            f"device is {device!r}, which cannot hold tensors ({reason}); use 'cpu', or an available device."
        ) from error
    try:
        metadata, tensors = _contents(source) if opened is None else _contents_of(opened)
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
            f"{str(source)!r} is not a complete file of saved results ({error}); save the results again."
        ) from error
    except Exception as error:  # whatever NumPy, pandas and torch raise for invalid data
        reason = str(error).partition("\n")[0][:200]
        raise DataError(
            f"{str(source)!r} contains what this version of betahat does not save ({type(error).__name__}: {reason}); it is damaged, or was made by "
            "another version or another program: save the results again."
        ) from error


def _contents(source: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata in the header of a file, and its tensors."""
    with safe_open(source, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _contents_of(file: Any) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the same for an open file: eight bytes with the length of the header, the header, and the tensors."""
    content = None if isinstance(file, TextIOBase) else file.read()
    if not isinstance(content, bytes):
        raise DataError("The file was opened in text mode; open it in binary mode, open(path, 'rb').")
    tensors = load_bytes(content)  # checks the lengths
    top: dict[str, dict[str, str]] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return top.get("__metadata__", {}), tensors


def _opened(path: Any, method: str) -> Any:
    """Return the file if it is open, or None if it is a path."""
    return path if callable(getattr(path, method, None)) and not isinstance(path, PathLike) else None


def _write_to(file: BinaryIO, content: bytes) -> BinaryIO:
    try:
        file.write(content)
    except (OSError, TypeError, ValueError) as error:  # a file in text mode, for reading, or closed
        raise DataError(
            f"The results cannot be written to the open file ({error}); open it in binary mode, open(path, 'wb')."
        ) from error
    return file


def header(tree: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata that precede the tensors, in a single entry: safetensors does not preserve the order of several."""
    return {"betahat": f"{VERSION} {digest_of(tree, tensors)} {tree}"}


def digest_of(tree: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a file's contents, against accidents only: whoever alters a file on purpose can alter the digest, too."""
    digest = sha256(tree.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        content: Any = tensor.flatten().view(torch.uint8).numpy()
        digest.update(content)
    return digest.hexdigest()


def _mode(place: Path, temporary: Path) -> int:
    """Return the permissions of the old file, or those that a new file gets."""
    if place.exists():
        return stat.S_IMODE(place.stat().st_mode)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return stat.S_IMODE(temporary.stat().st_mode)


def _parts(metadata: dict[str, str], source: Path) -> tuple[int, str, str]:
    """Return the version, the digest and the tree, after checking that this version of the format can be read."""
    version, _, rest = metadata.get("betahat", "").partition(" ")
    digest, _, tree = rest.partition(" ")
    if not re.fullmatch("[0-9]{1,6}", version):
        raise DataError(
            f"{str(source)!r} is a safetensors file without betahat results; pass a file written by res.save(path)."
        )
    if int(version) > VERSION:
        raise DataError(
            f"{str(source)!r} was written by a newer betahat (version {version} of the format; this one reads versions up to {VERSION}); "
            "upgrade with pip install --upgrade betahat."
        )
    return int(version), digest, tree


def _path(path: Any) -> Path:
    try:
        target = Path(os.fsdecode(path))
        target.lstat()
        return target
    except FileNotFoundError:
        return target
    except (OSError, ValueError) as error:  # names that are too long, or contain a NUL
        if isinstance(error, PermissionError | NotADirectoryError):
            return target
        raise DataError(f"{str(path)[:80]!r} is not a valid file name ({error}); pass another.") from error
    except TypeError as error:
        raise OptionError(
            f"The path is a {type(path).__name__}; pass the name of a file, such as 'results.betahat'."
        ) from error
