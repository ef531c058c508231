"""What was seen of a run as event files for TensorBoard, written by tensorboardX where it is installed."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from chainrule.errors import ArgumentError, DataError
from chainrule.train.history import History


def to_tensorboard(history: History, folder: str | Path) -> Path:
    """Write a history as event files: epochs by epoch, watched figures by step under the layers' names.

    Parameters
    ----------
    history
        Of any run; figures of layers are in it after `cr.look.Watch`.
    folder
        Where to write; made if it is not there. Look at it with `tensorboard --logdir FOLDER`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ArgumentError
        Without tensorboardX.
    DataError
        If the folder cannot be written.
    """
    try:
        library: Any = importlib.import_module("tensorboardX")
    except ImportError as error:
        raise ArgumentError("event files need tensorboardX: pip install 'chainrule[tensorboard]'.") from error
    try:
        writer = library.SummaryWriter(str(folder))
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}.") from error
    with writer:
        for row in history:
            for name, value in row.items():
                _write(writer, f"epoch/{name}", value, int(row["epoch"]))
        for glance in history.watched:
            _write(writer, "step/loss", glance.loss, glance.step)
            _write(writer, "step/learning_rate", glance.learning_rate, glance.step)
            for layer, figures in glance.layers.items():
                for name, value in figures.items():
                    _write(writer, f"{name}/{layer}", value, glance.step)
    return Path(folder)


def _write(writer: Any, name: str, value: float, step: int) -> None:
    """One number; what is not finite has no place in a chart."""
    if math.isfinite(value) and name != "epoch/epoch":
        writer.add_scalar(name, value, step)
