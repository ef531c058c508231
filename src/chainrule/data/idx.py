"""Reads IDX files, the format of MNIST and Fashion-MNIST, plain or gzip'd.

Comes in: the path of a file, or of a folder with the four files of a set. Goes out: NumPy arrays. Files are believed in
nothing: the sizes that a header declares are compared with the bytes that follow before any memory is taken for them.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from chainrule.errors import DataError

Array = np.ndarray[Any, Any]

# The third byte of the magic number names the data type; values are stored with the highest byte first.
DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MAX_BYTES = 1 << 32
MAX_AXES = 8
BLOCK = 1 << 20

ROLES = {
    "training images": ("train-images", "idx3-ubyte"),
    "training labels": ("train-labels", "idx1-ubyte"),
    "test images": ("t10k-images", "idx3-ubyte"),
    "test labels": ("t10k-labels", "idx1-ubyte"),
}


class IdxFolder(NamedTuple):
    """The four arrays of a folder: images of shape (rows, height, width), labels of shape (rows,)."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def read_idx(path: str | Path) -> Array:
    """Read one IDX file.

    Parameters
    ----------
    path
        A file, plain or gzip'd; which of the two is seen from its first bytes, not from its name.

    Returns
    -------
    Array
        The values in the byte order of this machine, with the shape that the file declares.

    Raises
    ------
    DataError
        If there is no such file, it is no IDX file, or its bytes are not those that its header declares.

    Examples
    --------
    >>> import struct, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(struct.pack(">BBBBI3B", 0, 0, 0x08, 1, 3, 7, 2, 1))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.open(raw, "rb") as stream:
                    return _read(cast(IO[bytes], stream), path)
            return _read(raw, path)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f'"{path}" is a damaged gzip file ({error}): fetch it again.') from error
    except OSError as error:
        raise DataError(f'"{path}" cannot be read: {error.strerror or error}.') from error


def _read(stream: IO[bytes], path: Path) -> Array:
    dtype, shape = _read_header(stream, path)
    declared = f"{' × '.join(map(str, shape))} values"
    expected = math.prod(shape) * dtype.itemsize
    # An axis of size 0 hides the others from the product, but not from NumPy, which refuses absurd ones all the same.
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > MAX_BYTES:
        raise DataError(f'"{path}" declares {declared}, which is absurd: at most {MAX_BYTES:,} bytes are read.')
    # In blocks: a header that lies about the size then costs no more memory than the bytes that really follow.
    content = bytearray()
    while len(content) <= expected and (block := stream.read(min(BLOCK, expected + 1 - len(content)))):
        content += block
    if len(content) < expected:
        raise DataError(f'"{path}" is cut short: {declared} take {expected:,} bytes, but it has {len(content):,}.')
    if len(content) > expected:
        raise DataError(f'"{path}" goes on after the {declared} ({expected:,} bytes) that its header declares.')
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(stream: IO[bytes], path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        start = magic.hex(" ") or "nothing"
        raise DataError(
            f'"{path}" is not an IDX file: it begins with {start}, not with a magic number like 00 00 08 03.'
        )
    axes = magic[3]
    if not 1 <= axes <= MAX_AXES:
        raise DataError(f'"{path}" declares {axes} axes: IDX files of 1 to {MAX_AXES} axes are read.')
    sizes = stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f'"{path}" is cut short within its header.')
    return DTYPES[magic[2]], tuple(int(size) for size in struct.unpack(f">{axes}I", sizes))


def read_folder(folder: str | Path) -> IdxFolder:
    """Read the four files of MNIST, Fashion-MNIST or a set like them.

    Parameters
    ----------
    folder
        Holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, each plain or with `.gz`, also with a dot before `idx`.

    Returns
    -------
    IdxFolder
        Training images, training labels, test images, test labels.

    Raises
    ------
    DataError
        If a file is missing or damaged, or images and labels do not belong together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'"{folder}" is not a folder: name the one that holds the four IDX files.')
    found = IdxFolder(*(read_idx(_file_of(folder, role)) for role in ROLES))
    _check_pair(folder, "training", found.train_images, found.train_labels)
    _check_pair(folder, "test", found.test_images, found.test_labels)
    if found.train_images.shape[1:] != found.test_images.shape[1:]:
        shapes = [" × ".join(map(str, a.shape[1:])) for a in (found.train_images, found.test_images)]
        raise DataError(f'in "{folder}" the training images are {shapes[0]}, but the test images {shapes[1]}.')
    return found


def is_idx_folder(folder: str | Path) -> bool:
    """Whether the folder holds a file of training images by one of its usual names."""
    return any(path.is_file() for path in _candidates(Path(folder), "training images"))


def _candidates(folder: Path, role: str) -> list[Path]:
    stem, kind = ROLES[role]
    return [folder / f"{stem}{joint}{kind}{end}" for end in ("", ".gz") for joint in ("-", ".")]


def _file_of(folder: Path, role: str) -> Path:
    candidates = _candidates(folder, role)
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(f'"{folder}" lacks the {role}: a file {candidates[0].name} or {candidates[0].name}.gz.')


def _check_pair(folder: Path, part: str, images: Array, labels: Array) -> None:
    if images.ndim < 2 or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f'in "{folder}" the {part} images have shape {images.shape}, the labels {labels.shape} of {labels.dtype}: '
            "expected (rows, height, width), and (rows,) of whole numbers."
        )
    if len(images) != len(labels):
        raise DataError(f'in "{folder}" there are {len(images):,} {part} images but {len(labels):,} {part} labels.')
    if not len(images):
        raise DataError(f'in "{folder}" there are no {part} images.')
