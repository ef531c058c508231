"""Bytes of a text file as UTF-8, whatever they were: UTF-8, UTF-16, Windows-1252, and any of these inside gzip.

Comes in: a path. Goes out: a `Text`: the bytes (a memory map of the file itself where it was UTF-8 already, so that a
large file costs no memory) and what was decided. A byte that cannot be read is named by its place.
"""

import codecs
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import DataError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

CHUNK = 1 << 24
LARGEST_UNPACKED = 1 << 34
BINARY_SIGNS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
}


@dataclass(frozen=True, slots=True)
class Text:
    """The UTF-8 bytes of a file. `on_disk` says that they are the file's own, without its byte order mark."""

    data: Bytes
    on_disk: bool
    notes: tuple[str, ...] = ()


def read_text(path: Path) -> Text:
    """The bytes of `path` as UTF-8 without a byte order mark, with line ends that hold a line feed.

    Raises
    ------
    DataError
        If the file is empty, binary, or has bytes that no supported encoding can read.
    """
    raw: Bytes = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
    packed = raw[:2].tobytes() == b"\x1f\x8b"
    if packed:
        raw = _unpack(path)
    if not raw.size:
        raise DataError(f"{path.name} is empty: it needs a line of column names and rows below it.")
    head = raw[:65536].tobytes()
    text = _to_utf8(path.name, raw, head, on_disk=not packed)
    start = text.data[:65536].tobytes()
    if not start.strip():
        raise DataError(f"{path.name} is blank: it needs a line of column names and rows below it.")
    if b"\r" in start and b"\n" not in start:
        chunks = (text.data[at : at + CHUNK].tobytes().replace(b"\r", b"\n") for at in range(0, text.data.size, CHUNK))
        return Text(np.frombuffer(b"".join(chunks), np.uint8), False, text.notes)
    return text


def _unpack(path: Path) -> Bytes:
    """What is inside a gzip file."""
    parts: list[bytes] = []
    size = 0
    try:
        with gzip.open(path) as stream:
            while part := stream.read(CHUNK):
                parts.append(part)
                size += len(part)
                if size > LARGEST_UNPACKED:
                    raise DataError(f"{path.name} unpacks to more than 16 GiB: split it into smaller files.")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is a damaged gzip file ({error}): pack it or download it again.") from error
    return np.frombuffer(b"".join(parts), np.uint8)


def _to_utf8(name: str, raw: Bytes, head: bytes, on_disk: bool) -> Text:
    """The encoding, found and undone."""
    if head.startswith(codecs.BOM_UTF8):
        _check_utf8(name, raw[3:], 3)
        return Text(raw[3:], on_disk)
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            return _transcode(name, raw[2:], encoding, 2)
    if encoding := _unmarked_utf16(head):
        return _transcode(name, raw, encoding, 0)
    _refuse_binary(name, head)
    offset = _check_utf8(name, raw, 0)
    return Text(raw, on_disk) if offset is None else _transcode(name, raw, "cp1252", 0)


def _unmarked_utf16(head: bytes) -> str:
    """UTF-16 without a mark shows as zero bytes in every other place."""
    low, high = head[0:4096:2], head[1:4096:2]
    if len(high) > 1 and high.count(0) > 0.4 * len(high) and not low.count(0):
        return "utf-16-le"
    return "utf-16-be" if len(low) > 1 and low.count(0) > 0.4 * len(low) and not high.count(0) else ""


def _refuse_binary(name: str, head: bytes) -> None:
    """A file with the first bytes of another format, or with control characters, is no table."""
    for sign, what in BINARY_SIGNS.items():
        if head.startswith(sign):
            raise DataError(f"{name} holds {what}, not text: export the table as CSV, or give the file its right name.")
    control = next((i for i, byte in enumerate(head) if byte < 9 or 13 < byte < 27 or 27 < byte < 32), None)
    if control is not None:
        raise DataError(f"{name} is no text: byte {control} is {head[control]:#04x}. Export the table as CSV.")


def _check_utf8(name: str, raw: Bytes, skipped: int) -> int | None:
    """Where the bytes stop being UTF-8, if that is plainly another encoding; damaged UTF-8 is an error."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen_wide = False
    for at in range(0, raw.size, CHUNK):
        chunk = raw[at : at + CHUNK].tobytes()
        if b"\0" in chunk:
            place = at + chunk.index(b"\0")
            where = f"byte {skipped + place} (line {_line(raw, place)})"
            raise DataError(f"{name} is no text, or damaged: {where} is zero. Export the table as CSV again.")
        pending = len(decoder.getstate()[0])
        if chunk.isascii() and not pending:
            continue
        try:
            decoder.decode(chunk, final=at + CHUNK >= raw.size)
        except UnicodeDecodeError as error:
            place = at - pending + error.start
            seen_wide = seen_wide or not chunk[: max(0, error.start - pending)].isascii()
            if skipped or seen_wide:
                raise DataError(
                    f"{name} is UTF-8 up to byte {skipped + place} (line {_line(raw, place)}), "
                    f"where {int(raw[place]):#04x} cannot be read: save it as UTF-8 again."
                ) from error
            return place
        seen_wide = True
    return None


def _transcode(name: str, raw: Bytes, encoding: str, skipped: int) -> Text:
    """The bytes decoded from `encoding` and encoded as UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)()
    parts: list[bytes] = []
    for at in range(0, raw.size, CHUNK):
        pending = len(decoder.getstate()[0])
        try:
            parts.append(decoder.decode(raw[at : at + CHUNK].tobytes(), final=at + CHUNK >= raw.size).encode())
        except UnicodeError as error:
            start = error.start if isinstance(error, UnicodeDecodeError) else 0
            place = at - pending + start
            line = 1 + sum(part.count(b"\n") for part in parts) + int(np.count_nonzero(raw[at : max(at, place)] == 10))
            shown = "UTF-8 nor Windows-1252" if encoding == "cp1252" else "UTF-16"
            raise DataError(
                f"{name} cannot be read at byte {skipped + place} (line {line}): "
                f"{int(raw[place]):#04x} is {'neither' if ' nor ' in shown else 'not'} {shown}. Save it as UTF-8."
            ) from error
    shown = {"cp1252": "Windows-1252"}.get(encoding, encoding.upper())
    return Text(np.frombuffer(b"".join(parts), np.uint8), False, (f"the file is {shown}, not UTF-8.",))


def _line(raw: Bytes, place: int) -> int:
    """The line (from 1) of a byte."""
    return 1 + sum(int(np.count_nonzero(raw[at : min(at + CHUNK, place)] == 10)) for at in range(0, place, CHUNK))
