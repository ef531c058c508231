"""The folder of a run: where it is, what lies in it, and the model file that holds all that prediction needs.

model.safetensors has the parameters, the architecture, the fitted schema and how outputs are read; history.jsonl a row
for each epoch; run.json the flags and what the diagnosis found; report.html the report. Each is written aside and
renamed, so that none is ever half there.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.app.jobs.answers import Answers, answers_for
from chainrule.app.jobs.flags import Flags, check
from chainrule.data import builtin
from chainrule.data.images import KIND as IMAGES
from chainrule.data.images import ImageSchema
from chainrule.data.schema import TableSchema
from chainrule.data.stored import checked
from chainrule.errors import ArgumentError, DataError, FileFormatError
from chainrule.interop.files import read_model, save
from chainrule.look.diagnosis.finding import Findings
from chainrule.nn.module import Module
from chainrule.train.history import History
from chainrule.train.storage import write_atomically

MODEL, HISTORY, REPORT, RUN = FILES = "model.safetensors", "history.jsonl", "report.html", "run.json"
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


@dataclass(frozen=True, slots=True)
class Run:
    """What a finished run left: its folder, model and history, and its flags (None: unknown)."""

    folder: Path
    model: Model
    history: History
    flags: Flags | None


@contextlib.contextmanager
def opened_folder(output: str | None, data: str, overwrite: bool = False) -> Iterator[Path]:
    """The folder of a new run, made and proved to be writable before time is spent on training.

    Without `output` it is `runs/NAME`, or, unless that is to be overwritten, `runs/NAME-2` and so on where it is taken.
    A folder that was made for a run which ends in an error before anything is written is taken away again.

    Raises
    ------
    ArgumentError
        If it holds files of the names that a run writes, unless `overwrite` allows it.
    DataError
        If the folder cannot be made or written.
    """
    folder = Path(output) if output else next(each for each in _folders(data) if overwrite or not each.exists())
    taken = [name for name in FILES if os.path.lexists(folder / name)]
    if taken and not overwrite:
        raise ArgumentError(
            f"--output {folder} already has a {taken[0]}: name another folder, or give --overwrite to replace it."
        )
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


def clear(folder: Path) -> None:
    """Take away what an earlier run left, so that nothing of it stands beside the files of a new one.

    Raises
    ------
    DataError
        If it cannot be taken away.
    """
    for name in FILES:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{folder / name} cannot be overwritten: {error.strerror or error}.") from error


def save_model(folder: Path, net: Module, schema: TableSchema | ImageSchema, answers: Answers) -> None:
    """Write the model file.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    save(net, folder / MODEL, {"schema": schema.to_json(), "loss": answers.loss})


def save_run(folder: Path, flags: Flags, history: History, findings: Findings) -> None:
    """Write down how the run went, with which flags it is made again, and what was found wrong with it.

    The data get a path that holds everywhere.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    known = flags.data if flags.data in builtin.names() else str(Path(flags.data).resolve())
    given = {name: value for name, value in dataclasses.asdict(flags).items() if value is not None}
    document = {"flags": given | {"data": known, "output": str(folder)}, "stopped": history.stopped}
    document |= findings.to_dict()
    write_atomically(folder / RUN, json.dumps(document, indent=2).encode())
    write_atomically(folder / HISTORY, history.to_jsonl().encode())


def open_run(path: str) -> Run:
    """The run in a folder, or beside a model file.

    Raises
    ------
    FileFormatError, DataError
        If the folder has no model or history, or one of them is damaged.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    model = open_model(path)
    if not (folder / HISTORY).is_file():
        raise FileFormatError(f"{folder} has no {HISTORY}: it is not the folder of a finished run.")
    history = History.from_jsonl(_text(folder / HISTORY), folder / HISTORY)
    flags, history.stopped = flags_of_run(model) or (None, "")
    return Run(folder, model, history, flags)


def flags_of_run(model: Model) -> tuple[Flags, str] | None:
    """The flags of the run that a model is of, and why it ended; None where nothing is written about it beside it.

    Raises
    ------
    FileFormatError
        If what is written is damaged, or of another model; the message names the file and the field.
    """
    file = model.path.parent / RUN
    if not file.is_file():
        return None
    try:
        found = json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{file} is damaged: it is not JSON.") from error
    if not isinstance(found, dict) or not isinstance(found.get("flags"), dict) or "stopped" not in found:
        raise FileFormatError(f'{file} is damaged, or of another program: it must hold "flags" and "stopped".')
    flags = _flags(found["flags"], file)
    target = model.schema.target.name if isinstance(model.schema, TableSchema) else None
    if flags.target is not None and flags.target != target:
        learned = "classes of images" if target is None else f'"{target}"'
        raise FileFormatError(f'{file} has the target "{flags.target}", but the model beside it learned {learned}.')
    return flags, checked(found["stopped"], str, f'{file} is damaged: "stopped"')


def _flags(given: dict[str, Any], file: Path) -> Flags:
    """The flags in a file, each of its declared type and in its range."""
    declared = typing.get_type_hints(Flags)
    unknown = [name for name in given if name not in declared]
    if unknown or "data" not in given:
        what = f'does not know the flag "{unknown[0]}"' if unknown else 'needs the flag "data"'
        raise FileFormatError(f"{file} is damaged, or of another chainrule: this one {what}.")
    where = f"{file} is damaged: the flag"
    flags = Flags(**{name: checked(value, declared[name], f'{where} "{name}"') for name, value in given.items()})
    try:
        check(flags)
    except ArgumentError as error:
        raise FileFormatError(f"{file} is damaged: {error}") from error
    return flags


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{file} is damaged: it holds bytes that are no text.") from error


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


def _folders(data: str) -> Iterator[Path]:
    """The folders under `runs` that are named after the data."""
    stem = Path(data).resolve().name if data in ("", ".", "..") else Path(data).name
    plain = re.sub(r"[^\w.-]+", "-", stem.split(".")[0]).strip("-.") or "run"
    yield RUNS / plain
    yield from (RUNS / f"{plain}-{number}" for number in itertools.count(2))
