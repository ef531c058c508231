"""A run written down between two steps, so that it can go on later with the same bits.

A checkpoint holds the arrays of network and optimizer, of random generators and callbacks, the history, and how far
the epoch under way has come.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.engine import random
from chainrule.errors import ArgumentError, DataError, DTypeError, FileFormatError, ShapeError
from chainrule.train.history import History
from chainrule.train.storage import read_arrays, write_arrays
from chainrule.train.trainer import Part, Trainer

Array = np.ndarray[Any, Any]
FORMAT = "chainrule checkpoint"
VERSION = 1


def save_checkpoint(path: str | Path, trainer: Trainer) -> None:
    """Write the state of a run between two steps.

    Raises
    ------
    DataError
        If the file cannot be written; an older checkpoint at `path` is left whole.
    """
    stream, part = random.default(), trainer.part
    arrays = {
        **_prefixed("net", trainer.net.arrays()),
        **_prefixed("optimizer", trainer.optimizer.arrays()),
        "random/key": np.array(stream.key, np.int64),
        "random/counter": stream.counter.value,
        "part/sums": np.array([part.learning_rate, part.batches, part.loss_sum, part.weight_sum, part.seconds]),
        **{f"seen/{i}": np.concatenate(each) for i, each in enumerate(zip(*part.seen, strict=True))},
    }
    for place, callback in _callbacks(trainer).items():
        arrays |= _prefixed(place, callback.arrays())
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "history": replace(trainer.history, epochs=trainer.history.epochs[: trainer.epoch]).to_jsonl(),
        "run": _run(trainer),
        "epoch": trainer.epoch,
    }
    write_arrays(path, arrays, metadata)


def load_checkpoint(path: str | Path, trainer: Trainer) -> None:
    """Put a run back to where `save_checkpoint` left it.

    Raises
    ------
    FileFormatError
        If the file is damaged, no checkpoint, of a newer version, or of another network or run.
    """
    arrays, metadata = read_arrays(path)
    if metadata.get("format") != FORMAT:
        raise FileFormatError(f"{path} is not a chainrule checkpoint; give the file that Checkpoint wrote.")
    if metadata.get("version") != VERSION:
        raise FileFormatError(
            f"{path} is a checkpoint of version {metadata.get('version')}, but this chainrule reads version {VERSION}; "
            "update chainrule."
        )
    if metadata.get("run") != _run(trainer):
        raise FileFormatError(
            f"{path} is of a run with {metadata.get('run')}, but this one has {_run(trainer)}; resume with the same "
            "data and settings, or start anew without resume."
        )
    try:
        _restore(trainer, arrays, metadata, path)
    except (KeyError, ValueError, TypeError, AttributeError, ArgumentError, DataError, ShapeError, DTypeError) as error:
        raise FileFormatError(f"{path} does not go with this network, optimizer and callbacks: {error}") from error


def _restore(trainer: Trainer, arrays: dict[str, Array], metadata: dict[str, Any], path: str | Path) -> None:
    history, epoch = History.from_jsonl(metadata["history"], path), metadata["epoch"]
    if epoch != len(history):
        raise DataError(f"{epoch} epochs are done, but the history has {len(history)}.")
    learning_rate, batches, loss_sum, weight_sum, seconds = arrays["part/sums"].tolist()
    seen = [arrays[f"seen/{i}"] for i in range(3) if f"seen/{i}" in arrays]
    key, counter = int(arrays["random/key"]), arrays["random/counter"]
    trainer.net.load_arrays(_within("net", arrays))
    trainer.optimizer.load_arrays(_within("optimizer", arrays), trainer.net.parameters())
    for place, callback in _callbacks(trainer).items():
        saved = _within(place, arrays)
        if saved:
            callback.load_arrays(saved)
    trainer.history, trainer.epoch = history, epoch
    trainer.part = Part(learning_rate, int(batches), loss_sum, weight_sum, seconds, [tuple(seen)] if seen else [])
    random.default().key = key
    random.default().counter.assign(counter)


def _run(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for a run to go on with the same bits."""
    return {"seed": trainer.seed, "batches": trainer.source.batches, "optimizer": type(trainer.optimizer).__name__}


def _callbacks(trainer: Trainer) -> dict[str, Any]:
    return {f"callback {i} {type(callback).__name__}": callback for i, callback in enumerate(trainer.callbacks)}


def _prefixed(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _within(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    start = f"{prefix}/"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
