"""Reads folders of images, one folder for each class, and single image files.

Comes in: the path of a folder whose subfolders are the classes. Goes out: pixels as one NumPy array with class numbers,
and an `ImageSchema` that makes the same numbers of any other image when the network is used. Images are decoded by
Pillow, which only this module imports.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from chainrule.errors import ArgumentError, ChainruleError, DataError, FileFormatError

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# What lies beside images without being one: notes, lists, and what file managers leave behind.
COMPANIONS = frozenset({".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".db", ".ini"})
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})

LARGEST_SIDE = 64  # images of one common size keep it up to here
MIXED_SIDE = 32  # images of different sizes are all made this size
MAX_SIDE = 4096
MAX_BYTES = 2 << 30  # as float32 inputs they are four times as large

KIND = "images"
FIELDS = ("size", "colour", "mean", "std", "classes")
SMALLEST_STD = 1e-6  # a channel that varies less is only centred
SHOWN = 10  # names of classes in a message


class ImageFiles(NamedTuple):
    """The files of a folder in their order: paths, class numbers of shape (n,), and the names of the classes."""

    paths: tuple[Path, ...]
    y: Array
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Decoded images of one size.

    Attributes
    ----------
    X
        uint8, (n, height, width) for grey and (n, height, width, 3) for colour, 0 black to 255 white.
    y
        int64 class numbers of shape (n,).
    classes
        The names of the classes, in the order of their numbers.
    paths
        The files, in the order of the rows.
    """

    X: Array
    y: Array
    classes: tuple[str, ...]
    paths: tuple[Path, ...]

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return int(self.X.shape[1]), int(self.X.shape[2])

    @property
    def colour(self) -> bool:
        """Whether there are three channels."""
        return self.X.ndim == 4


def find(folder: str | Path) -> ImageFiles:
    """List the images of a folder that has one folder for each class, without opening them.

    Parameters
    ----------
    folder
        Its subfolders are the classes, in the order of their names; the images lie directly in them. Hidden files, and
        companions such as `.txt` and `.csv`, are passed over.

    Raises
    ------
    DataError
        If there are fewer than two classes, a class without images, or a file of a kind that is not read.
    """
    folder = Path(folder)
    classes = _class_folders(folder)
    if not classes:
        raise DataError(f'"{folder}" has no folders in it: put the images of each class into a folder of its own.')
    if len(classes) == 1:
        raise DataError(f'"{folder}" has only one class folder, "{classes[0].name}": at least two classes are needed.')
    return _list_files(classes)


def read_folder(
    folder: str | Path, size: int | Size | None = None, colour: bool | None = None, limit: int | None = None
) -> ImageSet:
    """Read a folder of images that has one folder for each class.

    Photographs are turned as their EXIF orientation says, transparent ones laid on white, of animations the first frame
    is taken. Images of another size are stretched or shrunk to the common one.

    Parameters
    ----------
    folder
        Its subfolders are the classes (see `find`).
    size
        Height and width in pixels, or one number for both. Default: the common size, scaled down to 64 pixels on the
        longer side if it is larger; 32 × 32 if the images differ in size.
    colour
        Three channels or one. Default: colour if any pixel of any image is coloured.
    limit
        At most this many images, shared out equally among the classes. Default: all.

    Returns
    -------
    ImageSet
        Pixels, class numbers, names of the classes, paths.

    Raises
    ------
    DataError
        If the folder is no such folder, or an image cannot be read; the message names the file.
    ArgumentError
        If `size` or `limit` is out of its range.
    """
    files = _limited(find(folder), limit)
    return ImageSet(read_files(files.paths, size, colour), files.y, files.classes, files.paths)


def read_files(paths: Sequence[str | Path], size: int | Size | None = None, colour: bool | None = None) -> Array:
    """Read image files into uint8 pixels of shape (n, height, width) or (n, height, width, 3); see `read_folder`."""
    chosen = [Path(path) for path in paths]
    if not chosen:
        raise DataError("there are no image files to read.")
    wanted = None if size is None else checked_size(size)
    if wanted is None or colour is None:
        headers = [_header(path) for path in chosen]
        wanted = wanted or _default_size([header.size for header in headers])
        if colour is None and all(header.grey for header in headers):
            colour = False
    height, width = wanted
    shape = (len(chosen), height, width, 3) if colour is not False else (len(chosen), height, width)
    if (needed := int(np.prod(shape, dtype=np.float64))) > MAX_BYTES:
        raise DataError(
            f"{len(chosen):,} images of {height} × {width} pixels need {needed / 2**30:.3g} GiB, more than "
            f"{MAX_BYTES >> 30} GiB: give a smaller size or a limit."
        )
    pixels = np.empty(shape, np.uint8)
    for row, path in enumerate(chosen):
        pixels[row] = _decode(path, wanted, "L" if colour is False else "RGB")
    if colour is None and (pixels == pixels[..., :1]).all():
        return np.ascontiguousarray(pixels[..., 0])
    return pixels


@dataclass(frozen=True, slots=True)
class ImageSchema:
    """How images become the inputs of a network: learned from the training images, kept in the model file.

    A pixel p from 0 to 255 of channel c becomes `(p / 255 - mean[c]) / std[c]`; the rows are flattened in the order
    height, width, channel.

    Attributes
    ----------
    size
        Height and width in pixels.
    colour
        Three channels or one.
    mean, std
        One number for each channel, of pixels from 0 to 1.
    classes
        The names of the classes, in the order of their numbers.
    """

    size: Size
    colour: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, images: ImageSet, rows: Array | None = None) -> "ImageSchema":
        """Learn the size, the colour and the scale from images; from `rows` of them only, where these are given."""
        # From how often each of the 256 values occurs: exact, and it needs no copy of the pixels in floats.
        chosen = images.X if rows is None else images.X[rows]
        values = np.arange(256) / 255
        mean, std = [], []
        for channel in np.split(chosen, 3, axis=-1) if images.colour else [chosen]:
            share = np.bincount(channel.reshape(-1), minlength=256) / channel.size
            mean.append(float(share @ values))
            spread = float(np.sqrt(share @ (values - mean[-1]) ** 2))
            std.append(spread if spread >= SMALLEST_STD else 1.0)
        return cls(images.size, images.colour, tuple(mean), tuple(std), images.classes)

    @property
    def features(self) -> int:
        """The number of inputs that one image gives."""
        return self.size[0] * self.size[1] * len(self.mean)

    def transform(self, pixels: Array) -> Array:
        """Make inputs, float32 of shape (n, features), of uint8 pixels of this size and colour."""
        shape = (*self.size, 3) if self.colour else self.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
            expected = ", ".join(map(str, ("n", *shape)))
            raise DataError(f"expected uint8 pixels of shape ({expected}), but got {pixels.dtype} of {pixels.shape}.")
        # A table of the 256 values a pixel can have: the same numbers for a row alone and for a row among others.
        values = (np.arange(256)[:, None] / 255 - np.array(self.mean)) / np.array(self.std)
        table = values.astype(np.float32)
        if self.colour:
            scaled = np.stack([table[pixels[..., channel], channel] for channel in range(3)], axis=-1)
        else:
            scaled = table[pixels, 0]
        return scaled.reshape(len(pixels), self.features)

    def transform_files(self, paths: Sequence[str | Path]) -> Array:
        """Make inputs, float32 of shape (n, features), of image files of any size."""
        return self.transform(read_files(paths, self.size, self.colour))

    def transform_folder(self, folder: str | Path) -> tuple[Array, Array, tuple[Path, ...]]:
        """Make inputs and class numbers of a folder that has one folder for each class, or for some of them.

        Returns
        -------
        tuple
            X float32 of shape (n, features), y int64 of shape (n,), and the paths in the order of the rows.

        Raises
        ------
        DataError
            If the folder holds a class that this schema does not know, or an image cannot be read.
        """
        found = _class_folders(Path(folder))
        if unknown := [path.name for path in found if path.name not in self.classes]:
            known = ", ".join(self.classes[:SHOWN]) + (", …" if len(self.classes) > SHOWN else "")
            raise DataError(f'"{folder}" has a class "{unknown[0]}" that the network was not trained on: {known}.')
        if not found:
            raise DataError(f'"{folder}" has no folders in it: put the images of each class into a folder of its own.')
        files = _list_files(found)
        numbers = np.array([self.classes.index(name) for name in files.classes], np.int64)
        return self.transform_files(files.paths), numbers[files.y], files.paths

    def to_json(self) -> dict[str, Any]:
        """This schema as values that JSON can hold."""
        return {"kind": KIND} | {name: _plain(getattr(self, name)) for name in FIELDS}

    @classmethod
    def from_json(cls, values: object) -> "ImageSchema":
        """Read a schema back.

        Raises
        ------
        FileFormatError
            If a value is missing, of the wrong kind, or out of its range.
        """
        if not isinstance(values, dict) or values.get("kind") != KIND or set(values) != {"kind", *FIELDS}:
            raise FileFormatError(f'not a schema of images: expected "kind": "{KIND}" and {", ".join(FIELDS)}.')
        size, colour, mean, std, classes = (values[name] for name in FIELDS)
        channels = 3 if colour is True else 1
        checks = {
            "size": isinstance(size, list) and len(size) == 2 and all(_is_side(side) for side in size),
            "colour": isinstance(colour, bool),
            "mean": _are_numbers(mean, channels),
            "std": _are_numbers(std, channels) and all(value >= SMALLEST_STD for value in std),
            "classes": isinstance(classes, list)
            and bool(classes)
            and all(isinstance(name, str) for name in classes)
            and len(set(classes)) == len(classes),
        }
        if wrong := [name for name, right in checks.items() if not right]:
            raise FileFormatError(f'the schema of images has an impossible "{wrong[0]}": {values[wrong[0]]!r:.80}.')
        return cls((size[0], size[1]), colour, tuple(map(float, mean)), tuple(map(float, std)), tuple(classes))


class Prepared(NamedTuple):
    """Inputs float32 of shape (n, features), class numbers int64 of shape (n,), how they were made, and the files."""

    X: Array
    y: Array
    schema: ImageSchema
    paths: tuple[Path, ...]


def prepare(
    folder: str | Path, size: int | Size | None = None, colour: bool | None = None, limit: int | None = None
) -> Prepared:
    """Read a folder of images and make inputs for dense layers of it; the arguments are those of `read_folder`."""
    found = read_folder(folder, size, colour, limit)
    schema = ImageSchema.fit(found)
    return Prepared(schema.transform(found.X), found.y, schema, found.paths)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIDE


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e6 for v in values)
    )


def checked_size(size: int | Size) -> Size:
    """Height and width from one number or two, each from 1 to 4096."""
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(_is_side(side) for side in sides):
        raise ArgumentError(f"size must be (height, width) in pixels, each from 1 to {MAX_SIDE}, but is {size!r}.")
    return int(sides[0]), int(sides[1])


class Header(NamedTuple):
    """What is known of an image before it is decoded: its upright size, and whether it can only be grey."""

    size: Size
    grey: bool


def _class_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise DataError(f'"{folder}" {state}: name a folder that has one folder of images for each class.')
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f'the folder "{folder}" cannot be read: {error.strerror or error}.') from error


def _list_files(classes: Sequence[Path]) -> ImageFiles:
    paths: list[Path] = []
    numbers: list[int] = []
    for number, folder in enumerate(classes):
        found = _images_in(folder)
        paths += found
        numbers += [number] * len(found)
    return ImageFiles(tuple(paths), np.array(numbers, np.int64), tuple(folder.name for folder in classes))


def _images_in(folder: Path) -> list[Path]:
    try:
        visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f'the folder "{folder}" cannot be read: {error.strerror or error}.') from error
    found = [path for path in visible if not path.is_dir() and path.suffix.lower() not in COMPANIONS]
    if not found:
        nested = any(path.is_dir() for path in visible)
        advice = (
            f'it has folders: are they the classes? Then name "{folder}" itself' if nested else "remove it or fill it"
        )
        raise DataError(f'the class folder "{folder}" holds no images; {advice}.')
    for path in found:
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f'"{path}" is not of a kind that is read: png, jpg, bmp, gif, webp or tiff.')
    return found


def _limited(files: ImageFiles, limit: int | None) -> ImageFiles:
    if limit is None or limit >= len(files.paths):
        return files
    if limit < len(files.classes):
        raise ArgumentError(f"limit must be at least {len(files.classes)}, the number of classes, but is {limit}.")
    # The rank within the class: all first images come before all second ones, so that classes share equally.
    starts = np.searchsorted(files.y, files.y)
    rank = np.arange(len(files.y)) - starts
    chosen = np.sort(np.argsort(rank, kind="stable")[:limit])
    return ImageFiles(tuple(files.paths[row] for row in chosen), files.y[chosen], files.classes)


def _default_size(sizes: Sequence[Size]) -> Size:
    height, width = sizes[0]
    if any(size != sizes[0] for size in sizes):
        return MIXED_SIDE, MIXED_SIDE
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _header(path: Path) -> Header:
    with _opened(path) as image:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        width, height = image.size
        return Header((width, height) if turned else (height, width), image.mode in GREY_MODES)


def _decode(path: Path, size: Size, mode: str) -> Array:
    with _opened(path) as image:
        upright = _flat(ImageOps.exif_transpose(image), path).convert(mode)
        height, width = size
        if upright.size != (width, height):
            upright = upright.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(upright)


def _flat(image: Image.Image, path: Path) -> Image.Image:
    """The image in 8 bits a channel, transparency laid on white."""
    if image.mode == "F":
        raise DataError(f'"{path}" has floating-point pixels: save it with 8 or 16 bits a pixel.')
    if image.mode.startswith("I"):
        sixteen = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((sixteen + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB") if image.mode not in GREY_MODES else image.convert("L")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file while its header or its pixels are read; whatever goes wrong inside becomes one DataError."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise DataError(f'"{path}" is not a file: name an image.')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except ChainruleError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise DataError(f'"{path}" declares more than {limit} pixels: it is refused, make it smaller first.') from error
    except UnidentifiedImageError as error:
        raise DataError(
            f'"{path}" is not an image, or a damaged one (png, jpg, bmp, gif, webp, tiff are read).'
        ) from error
    except Exception as error:  # decoders fail in every way on hostile bytes; each means that this file is damaged
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f'"{path}" cannot be read: {error.strerror}.') from error
        raise DataError(f'"{path}" is damaged or cut short: its pixels cannot be decoded ({error}).') from error
