"""The folder of a run: where it is, what lies in it, and the model file that holds all that prediction needs.

model.safetensors has the parameters, the architecture, the fitted schema and how outputs are read; history.jsonl a row
for each epoch; report.html the report. Each is written aside and renamed, so that none is ever half there.
"""

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.app.jobs.answers import Answers, answers_for
from chainrule.data.images import KIND as IMAGES
from chainrule.data.images import ImageSchema
from chainrule.data.schema import TableSchema
from chainrule.errors import ArgumentError, DataError, FileFormatError
from chainrule.interop.files import read_model, save
from chainrule.nn.module import Module
from chainrule.train.storage import write_atomically

MODEL, HISTORY, REPORT = "model.safetensors", "history.jsonl", "report.html"
RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class Model:
    """A trained network with what is needed to use it on data: schema and the way outputs are read."""

    path: Path
    net: Module
    schema: TableSchema | ImageSchema
    answers: Answers
    classes: tuple[str, ...]
    task: str


@contextlib.contextmanager
def opened_folder(output: str | None, data: str) -> Iterator[Path]:
    """The folder of a new run, made and proved to be writable before time is spent on training.

    Without `output` it is `runs/NAME`, or `runs/NAME-2` and so on where that is taken. A folder that was made for a run
    which ends in an error before anything is written is taken away again.

    Raises
    ------
    DataError
        If the folder cannot be made or written.
    """
    folder = Path(output) if output else _free_folder(data)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        _make(folder)
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            for each in made:
                each.rmdir()  # refuses as soon as something is in it
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise DataError(f"--output {folder} is a file: name a folder.") from error
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be made: {error.strerror or error}.") from error
    probe = folder / ".chainrule"
    write_atomically(probe, b"may this folder be written?\n")
    probe.unlink(missing_ok=True)


def save_model(folder: Path, net: Module, schema: TableSchema | ImageSchema, answers: Answers) -> None:
    """Write the model file.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    save(net, folder / MODEL, {"schema": schema.to_json(), "loss": answers.loss})


def open_model(path: str) -> Model:
    """The model in a file, or in the folder of a run.

    Raises
    ------
    FileFormatError
        If it is not there, damaged, foreign, of a newer chainrule, or without a schema.
    """
    file = Path(path)
    if file.is_dir():
        file /= MODEL
        if not file.is_file():
            raise FileFormatError(f"{path} has no {MODEL} in it: give the folder of a run, or a model file.")
    net, metadata = read_model(file)
    if "schema" not in metadata or not isinstance(metadata.get("loss"), str):
        raise FileFormatError(
            f"{file} holds a network but not the schema of its data: it was not made by `chainrule train`; "
            "load it in Python with chainrule.load."
        )
    schema = _schema(metadata["schema"], file)
    classes = tuple(str(each) for each in schema.classes)
    try:
        answers = answers_for(metadata["loss"], len(classes))
    except ArgumentError as error:
        raise FileFormatError(f"{file} has a damaged header: {error}") from error
    of_classes = "binary" if len(classes) == 2 else "multiclass"
    task = schema.task if isinstance(schema, TableSchema) else of_classes
    return Model(file, net, schema, answers, classes, task)


def _schema(data: Any, file: Path) -> TableSchema | ImageSchema:
    try:
        if isinstance(data, dict) and data.get("kind") == IMAGES:
            return ImageSchema.from_json(data)
        return TableSchema.from_json(data)
    except FileFormatError as error:
        raise FileFormatError(f"{file} cannot be used: {error}") from error


def _free_folder(data: str) -> Path:
    """A folder under `runs` that is named after the data and not there yet."""
    stem = Path(data).resolve().name if data in ("", ".", "..") else Path(data).name
    plain = re.sub(r"[^\w.-]+", "-", stem.split(".")[0]).strip("-.") or "run"
    names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
    return next(RUNS / name for name in names if not (RUNS / name).exists())
