"""Remedies for how a run goes: rate, clipping, weight decay, epochs, patience, batches. They take any network."""

from __future__ import annotations

import copy
import math

from chainrule.look.diagnosis.finding import Finding
from chainrule.look.diagnosis.flow import balanced_rows
from chainrule.look.explaining.figures import short
from chainrule.look.remedies.loop import Change
from chainrule.look.remedies.way import Way, anew
from chainrule.nn.optimizers import Optimizer
from chainrule.nn.schedules import Constant, Schedule

CLIP, LONGER, USUAL_BATCH, MOST_BATCH, MOST_EPOCHS = 1.0, 3, 32, 512, 1000
L2, DECOUPLED = 1e-3, 0.1  # weight decay that holds back
_RATES, _LENGTHS = ("learning_rate", "peak"), ("steps", "every")


# --- The optimizer -----------------------------------------------------------------------------------------------


def suggested_rate(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """The learning rate that a range test found best, or else a hundredth of the step by weight that is usual."""
    rate = finding.evidence.get("suggested")
    ratio = finding.evidence.get("update by weight")
    if rate is None and isinstance(ratio, float) and ratio > 1:
        rate = float(f"{way.optimizer.current_learning_rate() * 0.01 / ratio:.1g}")
    return _with_rate(way, rate) if isinstance(rate, float) else None


def smaller_rate(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """A tenth of the learning rate."""
    return _with_rate(way, way.optimizer.current_learning_rate() / 10)


def larger_rate(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Ten times the learning rate."""
    return _with_rate(way, way.optimizer.current_learning_rate() * 10)


def _with_rate(way: Way, rate: float) -> Change[Way] | None:
    old = way.optimizer.current_learning_rate()
    if not old or not math.isfinite(rate) or rate <= 0 or math.isclose(rate, old):
        return None
    schedule = stretched(way.optimizer.learning_rate, rate=rate / old)
    if schedule is None:
        return None
    optimizer = anew(way.optimizer)
    optimizer.learning_rate = Constant(float(f"{rate:.6g}")) if isinstance(schedule, Constant) else schedule
    words = f"learning rate {short(rate)} in place of {short(old)}"
    return Change(way.with_(optimizer=optimizer), words, _code(optimizer))


def stretched(schedule: Schedule, *, rate: float = 1.0, length: int = 1) -> Schedule | None:
    """A schedule with rates and lengths multiplied; None where its rate has another name than those of ours."""
    other, settings = copy.deepcopy(schedule), schedule.settings()
    found = False
    for name, value in settings.items():
        if isinstance(value, Schedule):
            inner = stretched(value, rate=rate, length=length)
            if inner is None:
                return None
            setattr(other, name, inner)
            found = True
        elif name in _RATES or (name == "then" and isinstance(value, float)):
            setattr(other, name, value * rate)
            found = True
        elif name in _LENGTHS:
            setattr(other, name, value * length)
    return other if found else None


def _code(optimizer: Optimizer) -> str:
    return f"optimizer=cr.optim.{optimizer!r}"


def clip(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """The gradient of a step is never longer than `CLIP`."""
    if way.optimizer.clip_global_norm is not None:
        return None
    optimizer = anew(way.optimizer)
    optimizer.clip_global_norm = CLIP
    return Change(way.with_(optimizer=optimizer), f"gradients are clipped to the norm {CLIP:g}", _code(optimizer))


def no_decay(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """No weight decay."""
    if not way.optimizer.weight_decay:
        return None
    optimizer = anew(way.optimizer)
    optimizer.weight_decay = 0.0
    words = f"no weight decay in place of {short(way.optimizer.weight_decay)}"
    return Change(way.with_(optimizer=optimizer), words, _code(optimizer))


def more_decay(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Weight decay that holds the network back from learning rows by heart."""
    wanted = DECOUPLED if way.optimizer.decoupled_decay else L2
    if way.optimizer.weight_decay >= wanted:
        return None
    optimizer = anew(way.optimizer)
    optimizer.weight_decay = wanted
    return Change(way.with_(optimizer=optimizer), f"weight decay of {wanted:g}", _code(optimizer))


# --- How long, and how many rows ---------------------------------------------------------------------------------


def longer(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Three times as many epochs; schedules are stretched with them."""
    epochs = min(LONGER * way.epochs, MOST_EPOCHS)
    if epochs <= way.epochs:
        return None
    optimizer, schedule = anew(way.optimizer), stretched(way.optimizer.learning_rate, length=LONGER)
    if schedule is not None:
        optimizer.learning_rate = schedule
    words = f"{epochs} epochs in place of {way.epochs}"
    return Change(way.with_(epochs=epochs, optimizer=optimizer), words, f"epochs={epochs}")


def stop_at_best(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Training stops when validation no longer improves, and the best parameters are kept."""
    patience = max(3, way.epochs // 5)
    if way.patience is not None and way.patience <= patience:
        return None
    return Change(
        way.with_(patience=patience), "it stops where validation is best, and keeps that", f"patience={patience}"
    )


def balanced_batch(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Batches in which signal and noise are about equal; where that is not known, of at least `USUAL_BATCH` rows."""
    balance = finding.evidence.get("rows for balance")
    wanted = balanced_rows(balance) if isinstance(balance, float) else USUAL_BATCH
    return _with_batch(way, wanted)


def larger_batch(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Four times as many rows in a step."""
    return _with_batch(way, min(4 * way.batch_size, MOST_BATCH))


def smaller_batch(way: Way, finding: Finding, seed: int) -> Change[Way] | None:
    """Batches of `USUAL_BATCH` rows, which make more steps of an epoch."""
    return _with_batch(way, USUAL_BATCH) if way.batch_size > USUAL_BATCH else None


def _with_batch(way: Way, rows: int) -> Change[Way] | None:
    rows = min(rows, len(way.data[0]))
    if rows == way.batch_size:
        return None
    words = f"batches of {rows} rows in place of {way.batch_size}"
    return Change(way.with_(batch_size=rows), words, f"batch_size={rows}")
