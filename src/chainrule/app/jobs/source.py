"""Opens what the user calls DATA: a table, a folder of images, IDX files, or the name of a built-in set.

Comes in: a path or a name. Goes out: a `Tabular` or `Images`, read but not yet decided on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chainrule.data import builtin, idx, images
from chainrule.data.kinds import Place
from chainrule.data.tables import READERS, load_table
from chainrule.errors import DataError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Tabular:
    """A table: its name, columns, where its rows come from, the target that is known of it, and notes."""

    name: str
    frame: pl.DataFrame
    place: Place
    target: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Images:
    """Images with their classes; `test_rows` are those that the set itself sets apart for measuring, if any."""

    name: str
    images: images.ImageSet
    test_rows: Array | None
    notes: tuple[str, ...]


Source = Tabular | Images


def open_source(data: str) -> Source:
    """Read the data that a user named.

    A plain name of a built-in set means that set; write ./digits for a file or folder of the same name.

    Raises
    ------
    DataError
        If there is nothing of that name, with the nearest, or it cannot be read.
    """
    if data in builtin.names():
        known = builtin.describe(data)
        found = table(str(builtin.path(data)))
        beside = (f'"{data}" is the built-in set; write ./{data} for what lies here.',) if Path(data).exists() else ()
        return Tabular(data, found.frame, Place(f"{data}.csv", found.place.lines), known.target, beside + found.notes)
    path = Path(data)
    if path.is_dir():
        return _folder(path, data)
    if is_idx(path):
        return _idx_file(path)
    if path.suffix.lower() in images.SUFFIXES and path.exists():
        raise DataError(f"{data} is one image: give a folder that has one folder of images for each class.")
    if not path.exists() and len(path.parts) == 1 and not path.suffix:
        builtin.describe(data)  # says which names there are
    return table(data)


def _folder(path: Path, data: str) -> Images:
    if idx.is_idx_folder(path):
        return _idx_folder(path)
    try:
        return Images(data, images.read_folder(path), None, ())
    except DataError:
        tables = [each.name for each in sorted(path.iterdir()) if any(end.lower() in READERS for end in each.suffixes)]
        if not tables:
            raise
        raise DataError(f"{data} is a folder: name the table in it, such as {path / tables[0]}.") from None


def table(data: str) -> Tabular:
    """Read a table.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    found = load_table(data)
    return Tabular(data, found.frame, Place(found.path.name, found.lines), None, found.notes)


def is_idx(path: Path) -> bool:
    """Whether a file has the name or the first bytes of an IDX file, and is no table by its name."""
    if not path.is_file() or any(ending.lower() in READERS for ending in path.suffixes):
        return False
    if "idx" in path.name:
        return True
    with path.open("rb") as stream:
        start = stream.read(4)
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in idx.DTYPES


def idx_images(path: Path) -> Array:
    """The pixels of an IDX file, uint8 of shape (rows, height, width).

    Raises
    ------
    DataError
        If the file holds something else.
    """
    pixels = idx.read_idx(path)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(
            f'"{path}" holds {pixels.dtype} values of shape {pixels.shape}: images are bytes of (rows, height, width).'
        )
    return pixels


def idx_labels(path: Path) -> Path:
    """The file of labels that goes with a file of images.

    Raises
    ------
    DataError
        If there is none beside it.
    """
    for old, new in (("images-idx3", "labels-idx1"), ("images.idx3", "labels.idx1")):
        for name in (path.name, path.name.removesuffix(".gz"), f"{path.name}.gz"):
            beside = path.with_name(name.replace(old, new))
            if old in path.name and beside.is_file():
                return beside
    wanted = path.name.replace("images-idx3", "labels-idx1")
    raise DataError(f'"{path}" has no labels beside it: expected the file of images, with {wanted} in the same folder.')


def _idx_folder(path: Path) -> Images:
    """The four files of a set; its test images stay test images."""
    found = idx.read_folder(path)
    pixels = np.concatenate([found.train_images, found.test_images])
    labels = np.concatenate([found.train_labels, found.test_labels])
    test = np.arange(len(found.train_images), len(pixels))
    return _of_arrays(str(path), pixels, labels, test)


def _idx_file(path: Path) -> Images:
    labels = idx.read_idx(idx_labels(path))
    pixels = idx_images(path)
    if labels.ndim != 1 or len(labels) != len(pixels):
        raise DataError(f'"{path}" has {len(pixels):,} images, but its labels have the shape {labels.shape}.')
    return _of_arrays(str(path), pixels, labels, None)


def _of_arrays(name: str, pixels: Array, labels: Array, test: Array | None) -> Images:
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise DataError(f'"{name}" holds {pixels.dtype} values of shape {pixels.shape}: images are bytes.')
    numbers, y = np.unique(labels, return_inverse=True)
    if len(numbers) < 2:
        raise DataError(f'"{name}" has only one class, {numbers[0]}: at least two classes are needed.')
    classes = tuple(str(number) for number in numbers)
    return Images(name, images.ImageSet(pixels, y.astype(np.int64), classes, ()), test, ())
