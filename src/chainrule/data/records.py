"""Where the records of delimited text begin and end: the delimiter, the header, and proof that every row fits it.

Comes in: UTF-8 bytes. Goes out: a `Layout`, made in a few NumPy passes over pieces of 16 MiB, so that a ragged row, an
open quotation mark or a giant line is named before a reader takes the file into memory. Quotation marks follow
RFC 4180 (2005): inside a pair of them delimiters and line ends are text.
"""

import csv
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.encodings import CHUNK, Bytes
from chainrule.errors import DataError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LARGEST_RECORD = 64 << 20
UNNAMED = "(row)"
SAMPLE = 1 << 18
SAMPLE_RECORDS = 200
QUOTE, LINE_FEED, RETURN = 34, 10, 13

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text is cut: `lines` has the line of each data row; `blank` the places of blank lines among the rows."""

    names: tuple[str, ...]
    delimiter: str
    quoted: bool
    lines: Array
    blank: Array
    header_blanks: int


@dataclass(frozen=True, slots=True)
class _Records:
    """For each record: where it ends (line feed or end of the text), its line, its delimiters, whether it is blank."""

    ends: Array
    lines: Array
    delimiters: Array
    blank: Array


def read_layout(name: str, data: Bytes, delimiter: str | None = None) -> Layout:
    """Find the delimiter and the header, and check every record against them.

    Raises
    ------
    DataError
        For a ragged row, duplicate or blank column names, no rows, a quotation mark that never closes, and a record of
        more than 64 MiB, with the line.
    """
    quoted = _has(data, QUOTE)
    if delimiter is None:
        delimiter = sniff(data)
    try:
        records = _checked(name, data, delimiter, quoted)
    except DataError:
        # Inches and the like: a quotation mark that opens no field is text.
        if not quoted or _opens_field(data, delimiter):
            raise
        quoted = False
        records = _checked(name, data, delimiter, quoted)
    first = int(np.flatnonzero(~records.blank)[0])
    start = int(records.ends[first - 1]) + 1 if first else 0
    names = _header(name, data[start : int(records.ends[first])].tobytes(), delimiter, quoted)
    blank = records.blank[first + 1 :]
    lines = records.lines[first + 1 :][~blank]
    if not lines.size:
        raise DataError(f"{name} has column names but no rows: add rows below line {int(records.lines[first])}.")
    return Layout(names, delimiter, quoted, lines, np.flatnonzero(blank), first)


def sniff(data: Bytes) -> str:
    """The delimiter that cuts the first records most evenly; a comma where there is none.

    Examples
    --------
    >>> sniff(np.frombuffer(b'name;price\\n"a;b";1,5\\n', np.uint8))
    ';'
    """
    sample = data[:SAMPLE]
    outside = _outside_quotes(sample, False)[0]
    ends = np.flatnonzero((sample == LINE_FEED) & outside)
    if not ends.size or (sample.size == data.size and ends[-1] != sample.size - 1):
        ends = np.append(ends, sample.size)
    ends = ends[: SAMPLE_RECORDS + 1]
    lengths = np.diff(ends, prepend=-1)
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        places = np.flatnonzero((sample == ord(delimiter)) & outside)
        counts = np.diff(np.searchsorted(places, ends), prepend=0)[lengths > 2]
        if not counts.size or not counts[0]:
            continue
        score = (round(float(np.mean(counts == counts[0])), 2), int(counts[0]))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _checked(name: str, data: Bytes, delimiter: str, quoted: bool) -> _Records:
    """The records, all with as many delimiters as the first one."""
    records = _scan(name, data, delimiter, quoted)
    full = np.flatnonzero(~records.blank)
    expected = int(records.delimiters[full[0]])
    ragged = full[records.delimiters[full] != expected]
    if ragged.size:
        found, line = int(records.delimiters[ragged[0]]) + 1, int(records.lines[ragged[0]])
        more = f" ({ragged.size} such rows in all)" if ragged.size > 1 else ""
        values = "value" if found == 1 else "values"
        separator = DELIMITERS.get(delimiter, repr(delimiter))
        raise DataError(
            f"{name}, line {line}: found {found} {values}, expected {expected + 1} as in the header{more}; "
            f"columns are separated by a {separator}, so put values that contain one in quotes."
        )
    return records


def _scan(name: str, data: Bytes, delimiter: str, quoted: bool) -> _Records:
    """Walk the bytes in pieces and note every record."""
    ends: list[Array] = []
    lines: list[Array] = []
    counts: list[Array] = []
    inside, begun, line, fields, open_line = False, 0, 1, 0, 1
    for at in range(0, data.size, CHUNK):
        piece = np.asarray(data[at : at + CHUNK])
        feeds = piece == LINE_FEED
        all_feeds = np.flatnonzero(feeds)
        marks = piece == ord(delimiter)
        if quoted and (inside or (piece == QUOTE).any()):
            outside, inside = _outside_quotes(piece, inside)
            stops = np.flatnonzero(feeds & outside)
            marks &= outside
        else:
            stops = all_feeds
        before = np.searchsorted(np.flatnonzero(marks), stops)
        count = np.diff(before, prepend=0)
        total = int(np.count_nonzero(marks))
        if stops.size:
            count[0] += fields
            fields = total - int(before[-1])
            following = line + np.searchsorted(all_feeds, stops, side="right")
            lines.append(np.concatenate([[open_line], following[:-1]]))
            ends.append(at + stops)
            counts.append(count)
            sizes = np.diff(ends[-1], prepend=begun - 1)
            _refuse_giant(name, int(sizes.max()), int(lines[-1][sizes.argmax()]), False)
            begun, open_line = int(ends[-1][-1]) + 1, int(following[-1])
        else:
            fields += total
        line += all_feeds.size
        _refuse_giant(name, at + piece.size - begun, open_line, inside)
    if inside:
        raise DataError(f"{name}, line {open_line}: a quotation mark opens here and never closes; add or remove one.")
    if begun < data.size:
        ends.append(np.array([data.size]))
        lines.append(np.array([open_line]))
        counts.append(np.array([fields]))
    every = np.concatenate(ends)
    sizes = np.diff(every, prepend=-1) - 1
    firsts = np.minimum(every - sizes, data.size - 1)
    blank = (sizes == 0) | ((sizes == 1) & (np.asarray(data[firsts]) == RETURN))
    return _Records(every, np.concatenate(lines), np.concatenate(counts), blank)


def _outside_quotes(piece: Bytes, inside: bool) -> tuple[Array, bool]:
    """Which bytes stand outside of quotation marks, and whether one is open at the end."""
    open_marks = np.bitwise_xor.accumulate((piece == QUOTE).view(np.uint8)) ^ np.uint8(inside)
    return open_marks == 0, bool(open_marks[-1])


def _refuse_giant(name: str, size: int, line: int, inside: bool) -> None:
    if size > LARGEST_RECORD:
        what = "a quotation mark opens that does not close within 64 MiB" if inside else "the row has more than 64 MiB"
        raise DataError(f"{name}, line {line}: {what}; close the mark or cut the value.")


def _has(data: Bytes, byte: int) -> bool:
    return any(bool((np.asarray(data[at : at + CHUNK]) == byte).any()) for at in range(0, data.size, CHUNK))


def _opens_field(data: Bytes, delimiter: str) -> bool:
    """Whether some quotation mark stands at the beginning of a field."""
    for at in range(0, data.size, CHUNK):
        piece = np.asarray(data[max(0, at - 1) : at + CHUNK])
        if not at and piece[0] == QUOTE:
            return True
        before = piece[:-1][piece[1:] == QUOTE]
        if np.isin(before, [ord(delimiter), LINE_FEED]).any():
            return True
    return False


def _header(name: str, record: bytes, delimiter: str, quoted: bool) -> tuple[str, ...]:
    """The column names, each once."""
    text = record.decode(errors="replace").rstrip("\r")
    limit = csv.field_size_limit(LARGEST_RECORD)
    try:
        cells = next(csv.reader([text], delimiter=delimiter)) if quoted else text.split(delimiter)
    except csv.Error as error:
        raise DataError(f"{name}: the column names cannot be read ({error}); write them on one line.") from error
    finally:
        csv.field_size_limit(limit)
    names = [cell.strip() for cell in cells]
    if len(names) > 1 and not names[0] and UNNAMED not in names:
        names[0] = UNNAMED  # the row numbers that pandas writes before the columns
    return check_names(name, names)


def check_names(name: str, names: list[str]) -> tuple[str, ...]:
    """Column names that are there and differ from each other.

    Raises
    ------
    DataError
        If a name is blank or occurs twice, with the columns' numbers.
    """
    seen: dict[str, int] = {}
    for number, column in enumerate(names, 1):
        if not column:
            raise DataError(
                f"{name}: column {number} of {len(names)} has no name in the header; give it one, "
                "or take away the delimiter at the end of the line."
            )
        if column in seen:
            raise DataError(f'{name}: columns {seen[column]} and {number} are both named "{column}"; rename one.')
        seen[column] = number
    return tuple(names)
