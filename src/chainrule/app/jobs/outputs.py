"""Files that a command writes beside those that it reads: none of these may be lost by it.

Comes in: what is to be written, by flag, and what is read. Goes out: nothing, or a refusal before anything is written.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from chainrule.app.jobs.runs import HISTORY, MODEL, REPORT, RUN
from chainrule.app.jobs.source import idx_labels, is_idx
from chainrule.data import builtin, images
from chainrule.errors import ArgumentError, DataError


def spare_inputs(written: Mapping[str, str | Path | None], *, data: str = "", model: str = "") -> None:
    """Refuse to write over the data, over a model or its run, or two things into one file.

    Parameters
    ----------
    written
        The file of each flag; None where it was not given.
    data, model
        The data and the run or model file that the command reads, as the user named them; `""` for none.

    Raises
    ------
    ArgumentError
        If a file is written that is read, with the flag and the file.
    """
    given = {flag: Path(file) for flag, file in written.items() if file is not None}
    for flag, file in given.items():
        if _is_data(file, data):
            raise ArgumentError(f"{flag} {file} would overwrite the data: name another file.")
        if model and any(_same(file, each) for each in _of_run(Path(model))):
            raise ArgumentError(f"{flag} {file} would overwrite a file of the run: name another file.")
    for (one, first), (other, second) in combinations(given.items(), 2):
        if _same(first, second):
            raise ArgumentError(f"{one} and {other} both name {first}: give each a file of its own.")


def _same(one: Path, other: Path) -> bool:
    """Whether two names mean one file, through links as well; what is no file, such as /dev/null, loses nothing."""
    if one.exists() and other.exists():
        return one.is_file() and os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _is_data(file: Path, data: str) -> bool:
    if not data:
        return False
    if data in builtin.names():
        return _same(file, builtin.path(data))
    source = Path(data)
    if source.is_dir():
        inside = Path(os.path.realpath(file)).is_relative_to(os.path.realpath(source))
        return inside and file.is_file() and (file.suffix.lower() in images.SUFFIXES or is_idx(file))
    return any(_same(file, each) for each in _of_data(source))


def _of_data(source: Path) -> Iterator[Path]:
    """A file of data, and the labels that lie beside IDX images."""
    yield source
    if is_idx(source):
        try:
            yield idx_labels(source)
        except DataError:
            return


def _of_run(model: Path) -> Iterator[Path]:
    """The model and what lies beside it; a report only where it is that of a run."""
    folder = model if model.is_dir() else model.parent
    yield folder / MODEL if model.is_dir() else model
    yield folder / HISTORY
    yield folder / RUN
    if (folder / RUN).is_file():
        yield folder / REPORT
