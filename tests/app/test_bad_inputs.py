"""Whatever is wrong with what a user gives, the command says so in one sentence and ends with status 2.

Each row of `BAD` makes one bad input in an empty folder and says which words its sentence must hold.
"""

import errno
import gzip
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from chainrule.app.cli import screen

GOOD_ROWS = "".join(f"{n * 37 % 101},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(1, 41))
GOOD = "size,weight,late\n" + GOOD_ROWS


def table(text: str | bytes, *flags: str, name: str = "data.csv", target: str = "late") -> Callable[[Path], list[Any]]:
    """A command that trains on a file with this content."""

    def make(folder: Path) -> list[Any]:
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return ["train", name, *(["--target", target] if target else []), *flags]

    return make


def flags(*given: str) -> Callable[[Path], list[Any]]:
    """A command with these flags on a good table."""
    return table(GOOD, *given)


def images(**folders: dict[str, bytes]) -> Callable[[Path], list[Any]]:
    """A command that trains on a folder with these folders and files."""

    def make(folder: Path) -> list[Any]:
        (folder / "images").mkdir()
        for name, files in folders.items():
            (folder / "images" / name).mkdir()
            for file, content in files.items():
                (folder / "images" / name / file).write_bytes(content)
        return ["train", "images"]

    return make


def png(size: int = 8) -> bytes:
    """The bytes of a small image of noise."""
    from io import BytesIO

    stream = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (size, size), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def idx(values: np.ndarray) -> bytes:
    """The bytes of an IDX file of bytes."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def idx_pair(images: int, labels: int) -> Callable[[Path], list[Any]]:
    """Files of images and labels in one folder."""

    def make(folder: Path) -> list[Any]:
        (folder / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((images, 4, 4), np.uint8)))
        (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(labels, dtype=np.uint8) % 3))
        return ["train", "train-images-idx3-ubyte"]

    return make


def sparse(folder: Path) -> list[Any]:
    """A header and one field of 1 GiB, which takes no room on disk."""
    with (folder / "data.csv").open("wb") as stream:
        stream.write(b"size,late\n1,")
        stream.truncate(1 << 30)
    return ["train", "data.csv", "--target", "late"]


def output_under_a_file(folder: Path) -> list[Any]:
    (folder / "notes.txt").write_text("hello")
    return [*flags("--output", "notes.txt/run")(folder)]


BAD: dict[str, tuple[Callable[[Path], list[Any]], tuple[str, ...]]] = {
    # The file
    "no such file": (lambda folder: ["train", "people.csv", "--target", "x"], ("no file people.csv",)),
    "nearly the name of a file": (
        lambda folder: [table(GOOD)(folder)[0], "dta.csv", "--target", "late"],
        ("no file dta.csv", "did you mean data.csv"),
    ),
    "nearly the name of a built-in set": (lambda folder: ["train", "digit"], ("digit", 'Did you mean "digits"')),
    "empty file": (table(""), ("data.csv is empty",)),
    "blank file": (table(" \n\n  \n"), ("data.csv is blank",)),
    "header only": (table("size,late\n"), ("column names but no rows",)),
    "an ending that is not known": (table(GOOD, name="data.xyz"), ("data.xyz", "known are .csv")),
    "an Excel workbook": (table(b"PK\x03\x04" + bytes(60)), ("Excel workbook",)),
    "a folder of tables": (lambda folder: [table(GOOD)(folder)[0], folder], ("is a folder", "data.csv")),
    "nothing besides the target": (table("late\n" + "yes\nno\n" * 9), ("No column is left", 'besides "late"')),
    "a folder without images": (images(), ("no folders in it",)),
    # Bytes and records
    "undecodable bytes": (table((GOOD + "1,2,nö\n").encode() + b"41,\xff\xfe,no\n"), ("UTF-8", "line 43")),
    "a zero byte": (table(GOOD.encode() + b"4\0,1,yes\n"), ("data.csv", "0x00")),
    "ragged rows": (table(GOOD + "1,2,3,4\n"), ("line 42", "found 4 values, expected 3")),
    "a quotation mark that never closes": (table(GOOD + '7,"8,no\n'), ("line 42", "never closes")),
    "duplicate headers": (table(GOOD.replace("weight", "size", 1)), ('columns 1 and 2 are both named "size"',)),
    "a column without a name": (table(GOOD.replace("weight", "", 1)), ("column 2 of 3 has no name",)),
    # 65 MiB are enough: a row is refused when it passes 64 MiB, however much of it follows.
    "a giant field": (table(b"size,late\n1," + b"x" * (65 << 20)), ("line 2", "more than 64 MiB")),
    "a field of 1 GiB that is empty on disk": (sparse, ("data.csv", "byte 12 is 0x00")),
    "10,000 columns": (
        table(",".join(f"c{n}" for n in range(10_000)) + "\n" + (",".join("1" * 10_000) + "\n") * 6, target="c1"),
        ("10,000 columns", "5,000"),
    ),
    "a gzip file cut short": (table(gzip.compress(GOOD.encode())[:-20], name="data.csv.gz"), ("data.csv.gz", "gzip")),
    "a damaged Parquet file": (table(b"PAR1" + bytes(40) + b"PAR1", name="data.parquet"), ("Parquet",)),
    "a line that is no JSON": (table('{"late": 1}\n{"late": }\n', name="data.jsonl"), ("line 2", "JSON")),
    # The target
    "no target named": (table(GOOD, target=""), ("--target is missing", "size, weight, late")),
    "no target column": (table(GOOD, target="latte"), ('no column "latte"', 'did you mean "late"')),
    "target all missing": (table("size,late\n1,\n2,NA\n3,NaN\n"), ('"late" is empty in every row',)),
    "one class only": (table(GOOD.replace("yes", "no")), ('every row has the class "no"',)),
    "a target that is always the same": (table("k,s\n" + "5.5,1\n5.5,2\n" * 9, target="k"), ("always 5.5",)),
    "a target that is different in every row": (
        table("size,late\n" + "".join(f"{n},word{n}\n" for n in range(60))),
        ("60 different values", "too many for classes"),
    ),
    "a regression of words": (flags("--task", "regression"), ("line 2", '"late"', "is no number")),
    "too few rows": (table("size,late\n1,no\n2,yes\n3,no\n"), ("only 3 rows",)),
    # Cells and columns
    "infinity in numbers": (table(GOOD + "inf,2,no\n"), ("line 42", '"size"', "infinite")),
    "minus infinity in the target": (table(GOOD.replace("late", "x", 1) + "-inf,2,no\n", target="size"), ("infinite",)),
    "NaN in every cell": (table("size,late\n" + "NaN,yes\nNaN,no\n" * 9), ("No column is left", "is empty")),
    "a word in a column of numbers": (table(GOOD + "4l,2,no\n"), ("line 42", '"size"', '"4l"', "column of numbers")),
    "a number beyond all bounds": (table(GOOD + "1e308,2,no\n" * 3), ('"size"', "too large")),
    "everything ignored": (flags("--ignore", "size", "--ignore", "weight"), ("No column is left",)),
    "an ignored column that is not there": (flags("--ignore", "siz"), ('no column "siz"', '"size"')),
    "the target ignored": (flags("--ignore", "late"), ("--target and --ignore",)),
    "weights that are not there": (flags("--weights", "wait"), ('no column "wait"', '"weight"')),
    "weights below 0": (table(GOOD.replace("74,2,", "74,-2,", 1), "--weights", "weight"), ("line 3", "from 0")),
    "weights that are words": (table(GOOD, "--weights", "late", target="size"), ('"late"', "is no number")),
    # Images
    "one class of images": (images(cat={"1.png": png()}), ("only one class folder",)),
    "a class without images": (images(cat={"1.png": png()}, dog={}), ("dog", "holds no images")),
    "a truncated image": (images(cat={"1.png": png(64)[:900]}, dog={"1.png": png(64)}), ("1.png", "damaged or cut")),
    "a text that is called an image": (images(cat={"1.png": b"hello"}, dog={"1.png": png()}), ("not an image",)),
    "a file that is no image": (images(cat={"1.exe": b"MZ"}, dog={"1.png": png()}), ("1.exe", "not of a kind")),
    "one image": (table(png(), name="a.png", target=""), ("is one image",)),
    "IDX images cut short": (
        table(idx(np.zeros((9, 9, 9), np.uint8))[:99], name="a-images-idx3-ubyte", target=""),
        ("a-images-idx3-ubyte", "labels"),
    ),
    "IDX labels of another number": (idx_pair(30, 20), ("30 images", "labels")),
    "a target for images": (
        lambda folder: [*images(a={"1.png": png()}, b={"1.png": png()})(folder), "--target", "x"],
        ("--target is for tables",),
    ),
    # Flags
    "no data": (lambda folder: ["train"], ("Missing argument",)),
    "a flag that is not known": (flags("--epoch", "3"), ("--epoch", "--epochs")),
    "a command that is not known": (lambda folder: ["trian", "iris"], ('"trian"', '"train"')),
    "negative epochs": (flags("--epochs", "-3"), ("--epochs", "from 1", "-3")),
    "epochs that are no number": (flags("--epochs", "many"), ("--epochs", "integer")),
    "no rows in a batch": (flags("--batch-size", "0"), ("--batch-size", "from 1")),
    "no patience": (flags("--patience", "0"), ("--patience", "from 1")),
    "a negative seed": (flags("--seed", "-1"), ("--seed", "from 0")),
    "a dropout of 1": (flags("--dropout", "1"), ("--dropout", "below 1")),
    "a learning rate of 0": (flags("--learning-rate", "0"), ("--learning-rate", "above 0")),
    "a learning rate of NaN": (flags("--learning-rate", "nan"), ("--learning-rate", "above 0")),
    "a test share of 20": (flags("--test", "20"), ("--test", "below 1")),
    "no validation": (flags("--validation", "0"), ("--validation", "above 0")),
    "hidden layers that are words": (flags("--hidden", "big"), ("--hidden", "128,64", '"big"')),
    "a hidden layer of -5": (flags("--hidden", "64,-5"), ("--hidden", "-5")),
    "a loss that is not known": (flags("--loss", "cros_entropy"), ('"cros_entropy"', 'did you mean "cross_entropy"')),
    "a loss of another task": (flags("--loss", "mse"), ("mean_squared_error", "not for a classification")),
    "a loss for two classes": (
        table(GOOD.replace("1,yes", "1,maybe"), "--loss", "bce"),
        ("binary_cross_entropy", "two classes", "3"),
    ),
    "counts below 0": (
        table(GOOD + "-4,2,no\n", "--loss", "poisson", target="size"),
        ("line 42", "below 0", "poisson"),
    ),
    "an optimizer that is not known": (flags("--optimizer", "adm"), ('"adm"', 'did you mean "adam"')),
    "an activation that is not known": (flags("--activation", "reul"), ('"reul"', 'did you mean "relu"')),
    "a schedule that is not known": (flags("--schedule", "cosin"), ('"cosin"', 'did you mean "cosine"')),
    "a task that is not known": (flags("--task", "regresion"), ('"regresion"', 'did you mean "regression"')),
    "binary for three classes": (table(GOOD.replace("1,yes", "1,maybe"), "--task", "binary"), ("3 classes, not two",)),
    # Output
    "output under a file": (output_under_a_file, ("notes.txt/run", "Not a directory")),
    "output that is a file": (lambda folder: flags("--output", "data.csv")(folder), ("data.csv is a file",)),
    "output that cannot be made": (flags("--output", "/proc/chainrule/run"), ("/proc/chainrule/run", "cannot be made")),
    # Sets
    "a set that is not known": (lambda folder: ["datasets", "show", "irises"], ('"irises"', 'Did you mean "iris"')),
    "a set that is elsewhere": (lambda folder: ["datasets", "fetch", "mnist"], ("not inside chainrule",)),
}


def one_sentence(err: str) -> str:
    """What stands on standard error, if it is one line that says "error"."""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err.removeprefix("error: ").strip()


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_sentence(name: str, chainrule, tmp_path: Path) -> None:
    make, words = BAD[name]
    ran = chainrule(*make(tmp_path))
    assert (ran.status, ran.out) == (2, "")
    sentence = one_sentence(ran.err)
    for word in words:
        assert word in sentence
    assert not list(tmp_path.glob("runs/*")), "a run that never began left a folder"


def test_there_are_thirty_of_them() -> None:
    assert len(BAD) >= 30


# --- Models ------------------------------------------------------------------------------------------------------


def with_metadata(run: Path, path: Path, **changes: object) -> Path:
    """The model of a run with other metadata; None removes an entry."""
    from safetensors import safe_open

    with safe_open(run / "model.safetensors", "numpy") as file:
        metadata = file.metadata() | {name: json.dumps(value) for name, value in changes.items() if value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        del metadata[name]
    save_file(load_file(run / "model.safetensors"), path, metadata)
    return path


MODELS: dict[str, tuple[Callable[[Path, Path], Path], tuple[str, ...]]] = {
    "no such model": (lambda run, path: path, ("no file", "model.safetensors")),
    "a folder without a model": (lambda run, path: path.parent, ("has no model.safetensors",)),
    "an empty model": (lambda run, path: path.write_bytes(b"") or path, ("not a whole safetensors file",)),
    "a truncated model": (
        lambda run, path: path.write_bytes((run / "model.safetensors").read_bytes()[:-50]) and path,
        ("damaged, cut short",),
    ),
    "a model cut within its header": (
        lambda run, path: path.write_bytes((run / "model.safetensors").read_bytes()[:100]) and path,
        ("damaged, cut short",),
    ),
    "a file of another kind": (lambda run, path: path.write_bytes(os.urandom(4000)) and path, ("of another kind",)),
    "a model of another program": (
        lambda run, path: save_file({"w": np.ones(3, np.float32)}, path) or path,
        ("not of a chainrule network",),
    ),
    "a newer model": (lambda run, path: with_metadata(run, path, version=999), ("newer chainrule", "update")),
    "a network that is not known": (
        lambda run, path: with_metadata(run, path, network={"class": "Mystery", "arguments": {}}),
        ("Mystery",),
    ),
    "a model without a schema": (lambda run, path: with_metadata(run, path, schema=None), ("schema",)),
    "a damaged schema": (lambda run, path: with_metadata(run, path, schema={"version": 1}), ("cannot be used",)),
    "a newer schema": (
        lambda run, path: with_metadata(
            run,
            path,
            schema={"version": 99, "target": {}, "columns": [], "dropped": [], "weights": None, "notes": []},
        ),
        ("version 99",),
    ),
    "a loss that is not known": (lambda run, path: with_metadata(run, path, loss="magic"), ("damaged header", "magic")),
    "a loss of another task": (lambda run, path: with_metadata(run, path, loss="huber"), ("damaged header", "huber")),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_bad_model_ends_in_one_sentence(name: str, chainrule, iris_run: Path, tmp_path: Path) -> None:
    make, words = MODELS[name]
    ran = chainrule("predict", make(iris_run, tmp_path / "model.safetensors"), "iris")
    assert (ran.status, ran.out) == (2, "")
    sentence = one_sentence(ran.err)
    for word in words:
        assert word in sentence


HEAD = "sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n"
ROWS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "a missing column": ("predict", "sepal_length_cm,sepal_width_cm,petal_length\n1,2,3\n", ("petal_length_cm",)),
    "a word for a number": ("predict", HEAD + "5,3,1,0.2,\n5,3,wide,0.2,\n", ("line 3", "petal_length_cm", '"wide"')),
    "infinity": ("predict", HEAD + "5,3,inf,0.2,\n", ("line 2", "petal_length_cm", "infinite")),
    "a number far out": ("predict", HEAD + "5,3,1e300,0.2,\n", ("line 2", "petal_length_cm", "too large")),
    "a class that is not known": ("evaluate", HEAD + "5,3,1,0.2,tulip\n", ("line 2", "species", '"tulip"')),
    "no answers": ("evaluate", HEAD + "5,3,1,0.2,\n", ("species", "empty in every row")),
    "no column of answers": ("evaluate", HEAD.replace(",species", "") + "5,3,1,0.2\n", ("species",)),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_do_not_fit_the_model(name: str, chainrule, iris_run: Path, tmp_path: Path) -> None:
    command, text, words = ROWS[name]
    (tmp_path / "new.csv").write_text(text)
    ran = chainrule(command, iris_run, "new.csv")
    assert (ran.status, ran.out) == (2, "")
    for word in words:
        assert word in one_sentence(ran.err)


def test_a_table_model_does_not_take_images(chainrule, iris_run: Path, shapes: Path) -> None:
    ran = chainrule("predict", iris_run, shapes)
    assert ran.status == 2
    assert "trained on a table" in one_sentence(ran.err)


# --- Files that are read and written ------------------------------------------------------------------------------

OVER: dict[str, tuple[tuple[str, ...], str]] = {
    "a page over the data": (("explain", "run", "d.csv", "--html", "d.csv"), "--html d.csv would overwrite the data"),
    "by another name": (("explain", "run", "d.csv", "--html", "run/../d.csv"), "would overwrite the data"),
    "through a link": (("explain", "run", "d.csv", "--latex", "link.csv"), "--latex link.csv would overwrite the data"),
    "a page over the model": (
        ("explain", "run", "d.csv", "--html", "run/model.safetensors"),
        "--html run/model.safetensors would overwrite a file of the run",
    ),
    "formulas over the model that was named": (
        ("explain", "run/model.safetensors", "d.csv", "--latex", "run/model.safetensors"),
        "would overwrite a file of the run",
    ),
    "a page over the flags": (("explain", "run", "d.csv", "--html", "run/run.json"), "would overwrite a file"),
    "a page and formulas in one": (
        ("explain", "run", "d.csv", "--html", "a.x", "--latex", "./a.x"),
        "--html and --latex both name a.x",
    ),
    "findings over the history": (("diagnose", "run", "--html", "run/history.jsonl"), "would overwrite a file"),
    "findings over the data of the run": (("diagnose", "run", "--html", "d.csv"), "would overwrite the data"),
    "findings over other data": (("diagnose", "run", "link.csv", "--html", "d.csv"), "would overwrite the data"),
    "answers over the data": (("predict", "run", "d.csv", "--output", "d.csv"), "--output d.csv would overwrite"),
    "answers over the report": (("predict", "run", "d.csv", "--output", "run/report.html"), "would overwrite a file"),
    "a run over its data": (
        ("train", "run/history.jsonl", "--target", "loss", "--output", "run"),
        "--output run/history.jsonl would overwrite the data",
    ),
}


@pytest.fixture
def own_run(chainrule, iris_run: Path, tmp_path: Path) -> Path:
    """A run and its data d.csv, both in the folder where commands run, and a link to the data."""
    assert chainrule("datasets", "fetch", "iris").status == 0
    (tmp_path / "iris.csv").rename(tmp_path / "d.csv")
    (tmp_path / "link.csv").symlink_to("d.csv")
    shutil.copytree(iris_run, tmp_path / "run")
    document = json.loads((iris_run / "run.json").read_text())
    document["flags"] |= {"data": str(tmp_path / "d.csv"), "target": "species"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(document))
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("name", OVER)
def test_nothing_is_written_over_what_is_read(name: str, chainrule, own_run: Path) -> None:
    command, words = OVER[name]
    before = contents(own_run)
    ran = chainrule(*command)
    assert (ran.status, ran.out) == (2, "")
    assert words in one_sentence(ran.err)
    assert contents(own_run) == before


def test_answers_are_not_written_over_an_image(chainrule, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "shapes")
    assert chainrule("train", "shapes", "--epochs", "1", "--quiet", "--output", "run").status == 0
    before = contents(tmp_path)
    for command, file in (("predict", "--output"), ("explain", "--html"), ("diagnose", "--html")):
        ran = chainrule(command, "run", "shapes", file, "shapes/left/00.png")
        assert (ran.status, ran.out) == (2, "")
        assert f"{file} shapes/left/00.png would overwrite the data" in one_sentence(ran.err)
    assert contents(tmp_path) == before
    assert chainrule("predict", "run", ".", "--output", "answers.csv").status == 0
    assert chainrule("predict", "run", ".", "--output", "answers.csv").status == 0


def test_a_file_may_be_written_again_and_be_no_file(chainrule, own_run: Path) -> None:
    for output in ("a.html", "a.html", "/dev/null"):
        assert chainrule("explain", "run", "d.csv", "--html", output).status == 0
    before = contents(own_run)
    assert chainrule("explain", "run", "d.csv", "--html", "/dev/null", "--latex", "/dev/null").status in (0, 2)
    assert contents(own_run) == before


def test_formulas_that_are_too_large_name_the_flag_and_leave_no_page(chainrule, own_run: Path) -> None:
    ran = chainrule("explain", "run", "d.csv", "--rows", "0:40", "--html", "a.html", "--latex", "a.tex")
    assert (ran.status, ran.out) == (2, "")
    assert "--latex is for small networks" in one_sentence(ran.err)
    assert "Fewer rows do not help; --html FILE has no limit." in ran.err
    assert "to_html" not in ran.err
    assert not (own_run / "a.html").exists()


# --- Names that would do something to the terminal ----------------------------------------------------------------

EVIL = "\x1b[31mev\x9bil\x7f\u202e"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def test_control_characters_in_names_never_reach_the_terminal(chainrule, tmp_path: Path, monkeypatch) -> None:
    rows = "".join(f"{n * 37 % 101},{n * 37 % 101},{'xy'[n % 2]}{EVIL},{'pq'[n % 3 > 0]}{EVIL}\n" for n in range(60))
    (tmp_path / f"d{EVIL}.csv").write_text(f"a{EVIL},b{EVIL},c{EVIL},t{EVIL}\n{rows}")
    data, run = f"d{EVIL}.csv", f"run{EVIL}"
    screen.console()  # made before standard output says that it is a terminal: without colours, which are escapes too
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    commands: list[tuple[str, ...]] = [
        ("train", data, "--target", f"t{EVIL}", "--epochs", "2", "--output", run, "--hidden", "4"),
        ("train", data, "--target", f"t{EVIL}", "--epochs", "2", "--output", run, "--overwrite", "--quiet"),
        ("train", data, "--target", f"t{EVIL}", "--epochs", "2", "--output", run, "--overwrite", "--json"),
        *((name, run, *more) for name, *more in (("diagnose",), ("diagnose", "--json"), ("diagnose", data))),
        *((name, run, data, *more) for name, *more in (("evaluate",), ("predict",), ("predict", "--json"))),
        ("explain", run, data),
        ("explain", run, data, "--rows", "0:4"),
        ("explain", run, data, "--json"),
        ("explain", run, data, "--sensitivity"),
        ("explain", run, data, "--path", "0.weight", "0,0"),
        ("explain", run, data, "--examples", "0.weight", "0,0"),
        ("explain", run, data, "--html", f"{EVIL}.html"),
    ]
    mistakes = [("train", data, "--target", EVIL), ("train", EVIL), (EVIL,), ("train", f"--{EVIL}")]
    for command in [*commands, *mistakes]:
        ran = chainrule(*command)
        assert ran.status == (2 if command in mistakes else 0), command
        assert ran.out or ran.err
        assert HARMFUL.findall(ran.out + ran.err) == [], command
    assert json.loads(chainrule("predict", run, data, "--json").out)["predictions"][0]["prediction"][1:] == EVIL


def test_a_program_that_reads_the_answers_gets_names_as_they_are(chainrule, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(GOOD.replace("yes", f"yes{EVIL}"))
    assert chainrule("train", "d.csv", "--target", "late", "--epochs", "1", "--output", "run").status == 0
    assert f"probability_yes{EVIL}" in chainrule("predict", "run", "d.csv").out


# --- Disks -------------------------------------------------------------------------------------------------------


def test_a_full_disk_under_predictions(chainrule, iris_run: Path) -> None:
    ran = chainrule("predict", iris_run, "iris", "--output", "/dev/full")
    assert ran.status == 2
    assert "/dev/full" in one_sentence(ran.err)
    assert "disk is full" in ran.err


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_disk_that_takes_nothing_is_found_before_training(chainrule, tmp_path, monkeypatch, number, words) -> None:
    # The tests may run as root, whom no permission stops: the system call itself says no.
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    command = flags("--output", "run")(tmp_path)
    monkeypatch.setattr("chainrule.train.storage.os.fsync", refuse)
    ran = chainrule(*command)
    assert ran.status == 2
    assert words in one_sentence(ran.err)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_while_the_run_goes_on(chainrule, tmp_path, monkeypatch) -> None:
    real, calls = os.fsync, []

    def full_after_the_first(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    command = flags("--output", "run", "--epochs", "1", "--quiet")(tmp_path)
    monkeypatch.setattr("chainrule.train.storage.os.fsync", full_after_the_first)
    ran = chainrule(*command)
    assert ran.status == 2
    assert "disk is full" in one_sentence(ran.err)
    assert not list((tmp_path / "run").glob("*")), "half a file was left behind"


def test_parquet_with_nan_and_infinity(chainrule, tmp_path: Path) -> None:
    values = [float(n) for n in range(39)]
    pl.DataFrame({"size": [*values, float("inf")], "late": ["a", "b"] * 20}).write_parquet(tmp_path / "a.parquet")
    ran = chainrule("train", "a.parquet", "--target", "late")
    assert ran.status == 2
    assert 'row 40, column "size" is infinite' in one_sentence(ran.err)
