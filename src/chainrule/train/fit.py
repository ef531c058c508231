"""fit: a whole run over data, from the first guess to the best parameters.

It checks what it was given and hands over to a `Trainer`, which sees whether everything fits before its first step;
Ctrl-C ends the run in good order.
`predict` and `evaluate`, which stand in `evaluation`, can be imported from here too.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import ArgumentError, DataError, NonFiniteError
from chainrule.nn.losses import Loss, LossFunction, get_loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer, get_optimizer
from chainrule.train.callbacks import Checkpoint, EarlyStopping
from chainrule.train.checkpoints import load_checkpoint
from chainrule.train.evaluation import evaluate as evaluate
from chainrule.train.evaluation import predict as predict
from chainrule.train.examination import FinishedRun, door, rms
from chainrule.train.history import History
from chainrule.train.inputs import BatchSource, GivenBatches, ShuffledRows, hold_out, rows_of
from chainrule.train.metrics import Figure, Metric, get_metric
from chainrule.train.progress import Progress
from chainrule.train.steps import net_dtype
from chainrule.train.trainer import Callback as Callback
from chainrule.train.trainer import Trainer as Trainer
from chainrule.train.trial import Trial

Array = np.ndarray[Any, Any]
KEPT = 1000  # rows of an iterable of batches that a diagnosis looks at


def fit(
    net: Module,
    data: Any,
    *,
    loss: str | LossFunction,
    optimizer: str | Optimizer = "adam",
    epochs: int = 10,
    batch_size: int = 32,
    validation: float | tuple[Any, ...] | None = None,
    metrics: Sequence[str | Figure | Metric] = (),
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    patience: int | None = None,
    sample_weights: Any = None,
    resume: str | Path | None = None,
    compile: bool = True,
    on_nan: str = "raise",
    diagnose: bool | None = None,
) -> History:
    """Train a network: for each batch guess, measure the error, send it back, correct.

    Parameters
    ----------
    net
        Any module; it is changed in place.
    data
        `(X, y)` or `(X, y, weights)`: arrays, memory maps or tensors with rows first; or an iterable of such batches
        that can be walked once an epoch.
    loss
        A name such as `"cross_entropy"`, or a function `loss(predictions, targets)`, with `weights=` where the data
        has weights.
    optimizer
        A name such as `"adam"`, or an optimizer.
    epochs
        How often to walk over the data, from 1; default 10.
    batch_size
        Rows in a step, from 1; default 32. The last step of an epoch may have fewer.
    validation
        A fraction of the rows to hold out (by class where `y` numbers classes), or a set `(X, y)` or `(X, y, weights)`.
    metrics
        Names (`"accuracy"`, `"r2"`, ...) or functions of predictions, targets and weights, for training and validation.
    seed
        Decides the order of rows and the validation rows, from 0. The same seed gives the same bits.
    callbacks
        `Callback` objects, called in their order; a `Checkpoint` comes last.
    progress
        Whether to show the run on standard error.
    patience
        Stop after this many epochs without a better validation loss, and restore the best parameters.
    sample_weights
        A weight for each row, the same as `weights` in `data`.
    resume
        A file written by `Checkpoint`: go on where it was, with the same bits. A missing file starts anew.
    compile
        Whether to make machine code of the whole step and run many steps in one call (arrays only, not iterables of
        batches). Without it each step runs on NumPy; results then differ by rounding. Default yes.
    on_nan
        What to do with a step that makes a loss, a gradient or a parameter infinite or NaN: `"raise"`, the default,
        stops; `"skip"` goes on as if its batch had not been there, and notes it in `history.skipped`.
    diagnose
        Whether to look for faults when the run is over (`cr.look.diagnose` on up to 1,000 rows, of an iterable of
        batches on the first ones, and after short runs without costly rules): all of them are then in
        `history.findings`, and errors and warnings are said in two lines each where progress is shown. It changes
        nothing and takes a fraction of a second. By default where progress is shown. Where it was not asked,
        `history.findings` is None.

    Returns
    -------
    History
        A row for each epoch. After Ctrl-C it ends with `stopped == "interrupted"` and the network can be used.

    Raises
    ------
    DataError, ArgumentError, ShapeError
        If the data or an argument do not fit, before the first step.
    NonFiniteError
        If a loss, a gradient or a parameter becomes infinite or NaN; the network is then as it was before that step.
        It names the op, the layer, the phase and the example with which it began; its `history` has the epochs before,
        and the findings. With `on_nan="skip"` only after 20 such steps in a row.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import nn
    >>> X = np.linspace(-1, 1, 64).reshape(64, 1)
    >>> history = fit(nn.Dense(1, 1), (X, 3 * X + 1), loss="mse", optimizer="adam", epochs=3, progress=False)
    >>> len(history), history.stopped
    (3, 'epochs')
    """
    _check_numbers(epochs=(epochs, 1), batch_size=(batch_size, 1), seed=(seed, 0))
    _check(net, on_nan)
    chosen, dtype = get_loss(loss), net_dtype(net)
    wanted = progress if diagnose is None else diagnose
    held_out = rows_of(validation, dtype) if isinstance(validation, tuple | list) else None
    source: BatchSource
    rows = None
    if _are_batches(data):
        source = _given(data, epochs, validation, sample_weights, KEPT if wanted else 0)
    else:
        rows = rows_of(data, dtype, sample_weights)
        kept = rows
        if validation is not None and held_out is None:
            kept, held_out = hold_out(rows, validation, seed, chosen)
        source = ShuffledRows(kept, batch_size, seed)
    if held_out is not None:
        Trial(net, chosen, held_out).try_out()
    trainer = Trainer(
        net,
        get_optimizer(optimizer) if isinstance(optimizer, str) else optimizer,
        chosen.function,
        [get_metric(m) for m in metrics],
        _watchers(callbacks, patience, progress),
        source,
        held_out,
        epochs,
        seed,
        compile,
        skips_bad_steps=on_nan == "skip",
        trial=None if rows is None else Trial(net, chosen, rows),
    )
    if resume is not None and Path(resume).exists():
        load_checkpoint(resume, trainer)
    with _interruptible(trainer):
        trainer.prepare()
        _run(trainer, chosen, batch_size, wanted=wanted, aloud=progress)
    return trainer.history


def _run(trainer: Trainer, loss: Loss, batch_size: int, *, wanted: bool, aloud: bool) -> None:
    """The run and, if that is wanted, its examination, also where numbers became infinite or NaN."""
    history = trainer.history
    if wanted and not history.epochs:
        history.began = {name: rms(parameter.value) for name, parameter in trainer.net.named_parameters()}
    try:
        trainer.run()
    except NonFiniteError as error:
        error.history = history
        _examine(trainer, loss, batch_size, wanted=wanted, aloud=aloud)
        raise
    _examine(trainer, loss, batch_size, wanted=wanted, aloud=aloud)


def _examine(trainer: Trainer, loss: Loss, batch_size: int, *, wanted: bool, aloud: bool) -> None:
    """Note in the history what is wrong with a run. A trained network is never lost to an examination that fails."""
    history, source = trainer.history, trainer.source
    if not wanted:
        return
    if isinstance(source, ShuffledRows):
        rows, total = source.rows, len(source.rows)
    elif isinstance(source, GivenBatches) and source.kept:
        rows, batch_size = source.first_rows(), len(source.kept[0][0])
        total = max(len(rows), trainer.rows_seen // max(1, trainer.epoch))
    else:
        return
    run = FinishedRun(trainer.net, loss, trainer.optimizer, history, rows, trainer.validation, batch_size, total=total)
    try:
        history.findings = door.examine(run)
    except Exception as error:
        print(f"The run could not be diagnosed: {type(error).__name__}: {error}", file=sys.stderr)
        return
    if aloud and history.findings is not None:
        history.findings.announce()


# --- Before the first step ---------------------------------------------------------------------------------------


def _check_numbers(**arguments: tuple[Any, int]) -> None:
    for name, (value, least) in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"{name} must be a whole number from {least}, but is {value!r}.")


def _check(net: Module, on_nan: str) -> None:
    if on_nan not in ("raise", "skip"):
        raise ArgumentError(f'on_nan must be "raise" or "skip", but is {on_nan!r}.')
    if not net.parameters():
        raise ArgumentError(f"{type(net).__name__} has no parameters, so there is nothing to learn.")


def _are_batches(data: Any) -> bool:
    """Whether `data` is an iterable of batches: a list of tuples, or any iterable that is not a tuple."""
    if isinstance(data, list):
        return bool(data) and all(isinstance(batch, tuple) for batch in data)
    return not isinstance(data, tuple)


def _given(data: Any, epochs: int, validation: Any, sample_weights: Any, keep: int) -> GivenBatches:
    if not isinstance(data, Iterable) or isinstance(data, str | bytes | dict | np.ndarray | Tensor):
        raise DataError(f"data must be (X, y), (X, y, weights) or an iterable of batches, not {type(data).__name__}.")
    if sample_weights is not None:
        raise ArgumentError("sample_weights goes with arrays; with batches, give each batch as (x, y, weights).")
    if validation is not None and not isinstance(validation, tuple | list):
        raise ArgumentError("a fraction for validation needs arrays; with batches give a set: validation=(X, y).")
    return GivenBatches(data, epochs, keep)


def _watchers(callbacks: Sequence[Callback], patience: int | None, progress: bool) -> list[Callback]:
    """All callbacks; checkpoints come after those whose state they keep, progress after everything."""
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise ArgumentError(f"callbacks must be Callback objects, but one is {callback!r:.60}.")
    early: list[Callback] = [EarlyStopping(patience)] if patience is not None else []
    ordered = sorted([*early, *callbacks], key=lambda callback: isinstance(callback, Checkpoint))
    shown = any(callback.shows_progress() for callback in callbacks)
    return [*ordered, *([Progress()] if progress and not shown else [])]


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C ends the run after the step under way; a second one raises KeyboardInterrupt at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.interrupted = True

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
