"""Reads CSV, TSV, Parquet and JSON Lines files, also packed with gzip, into polars frames.

Comes in: a path. Goes out: a `Table`: the frame, the line of the file for each row, and notes on what was decided.
Columns in which every cell is a number are numbers; any other column of a text file stays text, so that a cell that
does not fit can be named later. Missing values are null.
"""

import difflib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from chainrule.data.encodings import read_text
from chainrule.data.records import Array, Layout, check_names, read_layout
from chainrule.errors import DataError

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "none", "?", "-")
LARGEST_WHOLE = 2**53


@dataclass(frozen=True, slots=True)
class Table:
    """A table as read.

    Attributes
    ----------
    frame
        The columns.
    path
        The file.
    lines
        The line of the file (from 1) that each row begins on, int64 of shape (rows,); None for Parquet, which has no
        lines.
    notes
        What was decided on the way, in short sentences.
    """

    frame: pl.DataFrame
    path: Path
    lines: Array | None
    notes: tuple[str, ...] = ()


def read_table(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the table in a file.

    Parameters
    ----------
    path
        A .csv, .tsv, .tab, .txt, .parquet, .jsonl or .ndjson file; a text file may be packed with gzip (.csv.gz). The
        delimiter (comma, semicolon, tab, bar), the encoding (UTF-8, UTF-16, Windows-1252) and quotation marks are
        found out.

    Returns
    -------
    polars.DataFrame
        Numbers where every cell of a column is one, else text; null for missing values ("", NA, N/A, NaN, null, None,
        ?, -).

    Raises
    ------
    DataError
        If the file cannot be read, with the line and the column.
    """
    return load_table(path).frame


def load_table(path: str | os.PathLike[str]) -> Table:
    """Read the table in a file, with the line of each row and notes; see `read_table`."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a table: give a file, such as {path.name or 'data'}/data.csv.")
    if not path.exists():
        raise DataError(f"There is no file {path}{_similar(path)}")
    endings = [ending.lower() for ending in path.suffixes]
    ending = endings[-2] if endings[-1:] == [".gz"] and len(endings) > 1 else (endings or [""])[-1]
    reader = READERS.get(ending)
    if reader is None:
        raise DataError(f"{path.name}: the format is told from the ending; known are {', '.join(READERS)} (and .gz).")
    try:
        return reader(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _similar(path: Path) -> str:
    """The name of a file beside it that is nearly the same."""
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1)
    return f": did you mean {path.parent / near[0]}?" if near else "; check the spelling and the folder."


def _read_csv(path: Path) -> Table:
    return _read_delimited(path, None)


def _read_tsv(path: Path) -> Table:
    return _read_delimited(path, "\t")


def _read_delimited(path: Path, delimiter: str | None) -> Table:
    """Text whose layout was proved first, so that the reader cannot meet a surprise."""
    text = read_text(path)
    layout = read_layout(path.name, text.data, delimiter)
    as_it_stands = text.on_disk and not layout.header_blanks
    frame = _parse(path.name, path if as_it_stands else text.data.tobytes().lstrip(b"\r\n"), layout)
    columns = frame.get_columns()
    names = list(layout.names)
    del frame
    notes = list(text.notes)
    for number, name in enumerate(names):
        # One column at a time, so that the text of a column is let go when its numbers are there.
        column = columns[number].alias(name)
        columns[number] = infer_column(column, decimal_comma=layout.delimiter == ";", notes=notes)
    return Table(pl.DataFrame(columns), path, layout.lines, tuple(notes))


def _parse(name: str, source: Path | bytes, layout: Layout) -> pl.DataFrame:
    """Every cell as text, without the header and blank lines."""
    width = len(layout.names)
    schema = {f"{number}": pl.String for number in range(width)}
    try:
        frame = pl.read_csv(
            source,
            has_header=False,
            skip_rows=1,
            schema=schema,
            separator=layout.delimiter,
            quote_char='"' if layout.quoted else None,
            null_values=list(MISSING),
            glob=False,
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise DataError(f"{name} cannot be read as a table: {_first_line(error)}.") from error
    if layout.blank.size:
        keep = np.ones(frame.height, bool)
        keep[layout.blank[layout.blank < frame.height]] = False
        frame = frame.filter(pl.Series(keep))
    if frame.height != layout.lines.size or frame.width != width:
        raise DataError(
            f"{name}: {layout.lines.size} rows were counted but {frame.height} read; "
            "look for quotation marks inside of values, and double them."
        )
    return frame


def infer_column(column: pl.Series, *, decimal_comma: bool = False, notes: list[str] | None = None) -> pl.Series:
    """A column of text as whole numbers or numbers if all its cells are, else as text without outer blanks.

    Numbers with leading zeros (postal codes) and whole numbers too long for 64 bits (account numbers) stay text.

    Examples
    --------
    >>> infer_column(pl.Series(["1", " 2.5", "NA", None])).to_list()
    [1.0, 2.5, None, None]
    >>> infer_column(pl.Series(["01067", "10115"])).to_list()
    ['01067', '10115']
    """
    if column.dtype != pl.String or column.null_count() == column.len():
        return column
    numbers = _numbers(column)
    if numbers is not None:
        return numbers
    trimmed = column.str.strip_chars()
    missing = trimmed.is_in(MISSING)
    if missing.any() or not trimmed.equals(column, null_equal=True):
        column = trimmed.set(missing, None)
        numbers = _numbers(column)
        if numbers is not None:
            return numbers
    if decimal_comma and column.str.contains(r"^[+-]?\d*,\d+([eE][+-]?\d+)?$").any():
        numbers = _numbers(column.str.replace(",", ".", literal=True))
        if numbers is not None:
            if notes is not None:
                notes.append(f'the decimal commas in "{column.name}" were read as decimal points.')
            return numbers
    return column


def _numbers(column: pl.Series) -> pl.Series | None:
    """The numbers in a column of text; None if some cell is something else."""
    first = column.drop_nulls().head(100).cast(pl.Float64, strict=False)
    if first.null_count():
        return None
    whole = column.cast(pl.Int64, strict=False)
    if whole.null_count() == column.null_count():
        return None if column.str.contains(r"^[+-]?0\d").any() else whole
    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() != column.null_count():
        return None
    if (numbers.abs() >= LARGEST_WHOLE).any() and not column.str.contains(r"[.eEnN]").any():
        return None
    return None if column.str.contains(r"^[+-]?0\d").any() else numbers.fill_nan(None)


def _read_parquet(path: Path) -> Table:
    """A Parquet file; its columns have types already."""
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty: it needs columns and rows.")
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        raise DataError(f"{path.name} is no Parquet file, or damaged ({_first_line(error)}).") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DataError(f"{path.name} is a damaged Parquet file: write it again.") from error
    if not frame.height:
        raise DataError(f"{path.name} has {frame.width} columns but no rows.")
    check_names(path.name, frame.columns)
    return Table(frame.with_columns(infer_column(column) for column in frame.select(pl.col(pl.String))), path, None)


def _read_json_lines(path: Path) -> Table:
    """One JSON object a line; columns are the union of the keys."""
    text = read_text(path)
    feeds = np.flatnonzero(text.data == 10)
    starts = np.concatenate([[0], feeds + 1])
    sizes = np.diff(np.append(starts, text.data.size + 1))
    filled = np.flatnonzero((sizes > 1) & (text.data[np.minimum(starts, text.data.size - 1)] != 13))
    try:
        frame = pl.read_ndjson(io.BytesIO(text.data.tobytes()), infer_schema_length=None)
        problem = "" if frame.height == filled.size else f"{filled.size} lines gave {frame.height} rows"
    except (pl.exceptions.PolarsError, ValueError) as error:
        problem = _first_line(error)
    if problem:
        _name_bad_line(path.name, text.data.tobytes().split(b"\n"))
        raise DataError(f"{path.name} cannot be read as JSON Lines: {problem}.")
    names = check_names(path.name, frame.columns)
    columns = [infer_column(column).alias(name) for column, name in zip(frame.get_columns(), names, strict=True)]
    return Table(pl.DataFrame(columns), path, filled + 1, text.notes)


def _name_bad_line(name: str, lines: list[bytes]) -> None:
    """Raise for the first line that is no JSON object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            problem = _first_line(error)
            raise DataError(f"{name}, line {number} is no JSON ({problem}): write one object a line.") from error
        if not isinstance(value, dict):
            kind = "a list" if isinstance(value, list) else "a single value"
            raise DataError(f'{name}, line {number} is {kind}: write one object a line, such as {{"age": 31}}.')


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not in the JSON standard; write null")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".tab": _read_tsv,
    ".txt": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
