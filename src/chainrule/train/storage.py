"""Arrays on disk, written so that a kill at any moment leaves a file that loads.

A file is written beside its place, synced, and renamed over it; the format is safetensors, whose header carries text.
"""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import DataError, FileFormatError

Array = np.ndarray[Any, Any]


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    What is no ordinary file, such as /dev/stdout or a pipe, is written into and never replaced.

    Raises
    ------
    DataError
        If the folder does not exist, cannot be written, or the disk is full; nothing is left behind then.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)
            return
        # Unlike tempfile, this gives the file the permissions that any other new file gets.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {_reason(error)}.") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last; not every system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: OSError) -> str:
    known = {
        errno.ENOSPC: "the disk is full; free some space or choose another folder",
        errno.EDQUOT: "your share of the disk is used up; free some space or choose another folder",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.EACCES: "permission denied; choose another folder",
        errno.EPERM: "permission denied; choose another folder",
        errno.ENOENT: "the folder does not exist; create it first",
        errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
        errno.EISDIR: "there is a folder of that name; choose another name",
        errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    }
    return known.get(error.errno or 0, error.strerror or str(error))


def write_arrays(path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write `arrays` by name and `metadata`, each value as JSON, as one safetensors file, atomically.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    import safetensors.numpy

    texts = {name: json.dumps(value) for name, value in metadata.items()}
    # reshape: ascontiguousarray makes a number an array of one axis.
    whole = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    write_atomically(path, _ordered(safetensors.numpy.save(whole, texts)))


def _ordered(content: bytes) -> bytes:
    """The same safetensors file with its metadata in the order of the names, so that equal runs write equal bytes.

    The library writes them in an order that changes from call to call. A file begins with the size of its header,
    a multiple of 8, and the header, JSON that may end in blanks.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def read_arrays(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the metadata of a safetensors file; texts that are not JSON stay as they are.

    Raises
    ------
    FileFormatError
        If there is no such file, or it cannot be read, is damaged, or of another format.
    """
    import safetensors

    if Path(path).is_dir():
        raise FileFormatError(f"{path} is a folder; give the file inside it.")
    if not Path(path).exists():
        raise FileFormatError(f"there is no file {path}; check the path.")
    if not Path(path).is_file():
        raise FileFormatError(f"{path} is not an ordinary file; give a file on disk.")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return arrays, {name: _read_json(text) for name, text in (file.metadata() or {}).items()}
    except PermissionError as error:
        raise FileFormatError(f"{path} cannot be opened: permission denied; ask its owner or copy it.") from error
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{path} is not a whole safetensors file: it is damaged, cut short, or of another kind ({error}); "
            "save or download it again."
        ) from error


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
