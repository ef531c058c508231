"""Which flags of `chainrule train` may help against which finding, the most likely first.

Comes in: the flags, what the run chose by them, and a finding. Goes out: changes, each as other flags.
"""

import dataclasses
import math
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from chainrule.app.jobs.choices import Choices
from chainrule.app.jobs.flags import Flags
from chainrule.look.diagnosis.finding import Finding
from chainrule.look.diagnosis.flow import balanced_rows
from chainrule.look.explaining.figures import short
from chainrule.look.remedies.loop import Change

FlagRemedy = Callable[[Flags, Choices, Finding], Change[Flags] | None]
LONGER, MOST_EPOCHS, PATIENCE = 3, 1000, 20
USUAL_BATCH, MOST_BATCH = 32, 1024
LEAST_UNITS, MOST_UNITS, USUAL_WIDTHS, USUAL_DEPTH = 64, 1024, (64,), 2
SMALL_DROPOUT, USUAL_DROPOUT = 0.1, 0.3
_SATURATING = ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh")


def given(flags: Flags) -> list[str]:
    """The arguments on the command line that say the same, without `--output`.

    Examples
    --------
    >>> given(Flags("people.csv", target="pay", hidden=(64, 32), learning_rate=0.01, ignore=("first name",)))
    ['people.csv', '--target', 'pay', '--hidden', '64,32', '--learning-rate', '0.01', '--ignore', 'first name']
    """
    words = [flags.data]
    for field in dataclasses.fields(flags):
        value = getattr(flags, field.name)
        if value in (None, ()) and not (field.name == "hidden" and value == ()):
            continue
        if field.name in ("data", "output"):
            continue
        for each in value if field.name == "ignore" else (value,):
            words += [f"--{field.name.replace('_', '-')}", _text(each)]
    return words


def command(flags: Flags) -> str:
    """The command line, as a shell reads it.

    Examples
    --------
    >>> command(Flags("my people.csv", hidden=()))
    "chainrule train 'my people.csv' --hidden none"
    """
    return shlex.join(["chainrule", "train", *given(flags)])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _change(flags: Flags, words: str, **changed: Any) -> Change[Flags]:
    code = " ".join(f"--{name.replace('_', '-')} {_text(value)}" for name, value in changed.items())
    return Change(dataclasses.replace(flags, **changed), words, code)


# --- How it learns -----------------------------------------------------------------------------------------------


def suggested_rate(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """The learning rate that a range test found best."""
    rate, ratio = finding.evidence.get("suggested"), finding.evidence.get("update by weight")
    if rate is None and isinstance(ratio, float) and ratio > 1:
        rate = choices.learning_rate * 0.01 / ratio
    return _rate(flags, choices, rate) if isinstance(rate, float) else None


def smaller_rate(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """A tenth of the learning rate."""
    return _rate(flags, choices, choices.learning_rate / 10)


def larger_rate(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Ten times the learning rate."""
    return _rate(flags, choices, choices.learning_rate * 10)


def _rate(flags: Flags, choices: Choices, rate: float) -> Change[Flags] | None:
    rate = float(f"{rate:.4g}")
    if rate <= 0 or not math.isfinite(rate) or math.isclose(rate, choices.learning_rate):
        return None
    words = f"learning rate {short(rate)} in place of {short(choices.learning_rate)}"
    return _change(flags, words, learning_rate=rate)


def longer(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Three times as many epochs, at most."""
    epochs = min(LONGER * choices.epochs, MOST_EPOCHS)
    if epochs <= choices.epochs:
        return None
    return _change(flags, f"{epochs} epochs in place of {choices.epochs}", epochs=epochs)


def more_patience(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """It waits longer for progress before it stops."""
    if choices.patience >= PATIENCE:
        return None
    words = f"it stops after {PATIENCE} epochs without progress in place of {choices.patience}"
    return _change(flags, words, patience=PATIENCE)


def balanced_batch(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Batches in which signal and noise are about equal."""
    balance = finding.evidence.get("rows for balance")
    rows = balanced_rows(balance) if isinstance(balance, float) else USUAL_BATCH
    return _batch(flags, choices, rows)


def larger_batch(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Four times as many rows in a step."""
    return _batch(flags, choices, min(4 * choices.batch_size, max(MOST_BATCH, choices.batch_size)))


def smaller_batch(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Batches of the usual size, which make more steps of an epoch."""
    return _batch(flags, choices, min(choices.batch_size, USUAL_BATCH))


def _batch(flags: Flags, choices: Choices, rows: int) -> Change[Flags] | None:
    if rows == choices.batch_size:
        return None
    return _change(flags, f"batches of {rows} rows in place of {choices.batch_size}", batch_size=rows)


def usual_optimizer(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """AdamW with the rate that suits it, in place of what was asked for."""
    if choices.optimizer == "adamw" and flags.learning_rate is None:
        return None
    words = f"adamw with its usual rate in place of {choices.optimizer}"
    other = dataclasses.replace(flags, optimizer="adamw", learning_rate=None)
    return Change(other, words, "--optimizer adamw without --learning-rate")


# --- The network -------------------------------------------------------------------------------------------------


def relu(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """ReLU in place of sigmoid or tanh, whose slope is small."""
    if choices.activation not in _SATURATING:
        return None
    return _change(flags, f"relu in place of {choices.activation}", activation="relu")


def leaky_relu(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """LeakyReLU, which lets a gradient pass where a unit is off."""
    if choices.activation != "relu":
        return None
    return _change(flags, "leaky_relu in place of relu", activation="leaky_relu")


def shallower(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """No more than two hidden layers."""
    if len(choices.hidden) <= USUAL_DEPTH:
        return None
    words = f"{USUAL_DEPTH} hidden layers in place of {len(choices.hidden)}"
    return _change(flags, words, hidden=choices.hidden[:USUAL_DEPTH])


def wider(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Hidden layers of twice the width and at least `LEAST_UNITS`; one where there was none."""
    wide = tuple(min(max(2 * units, LEAST_UNITS), max(units, MOST_UNITS)) for units in choices.hidden) or USUAL_WIDTHS
    return _widths(flags, choices, wide)


def narrower(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Hidden layers of a quarter of the width."""
    return _widths(flags, choices, tuple(max(units // 4, min(units, 16)) for units in choices.hidden))


def fit_size(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Wider layers where one is too narrow for the classes, else narrower ones."""
    return (wider if "units" in finding.evidence else narrower)(flags, choices, finding)


def _widths(flags: Flags, choices: Choices, widths: tuple[int, ...]) -> Change[Flags] | None:
    if widths == choices.hidden:
        return None
    words = f"hidden layers of {_text(widths)} units in place of {_text(choices.hidden)}"
    return _change(flags, words, hidden=widths)


def less_dropout(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Dropout hides no more than `SMALL_DROPOUT`."""
    if choices.dropout <= SMALL_DROPOUT:
        return None
    return _change(flags, f"dropout of {SMALL_DROPOUT:g} in place of {choices.dropout:g}", dropout=SMALL_DROPOUT)


def more_dropout(flags: Flags, choices: Choices, finding: Finding) -> Change[Flags] | None:
    """Dropout that holds the network back from learning rows by heart."""
    if choices.dropout >= USUAL_DROPOUT or not choices.hidden:
        return None
    return _change(flags, f"dropout of {USUAL_DROPOUT:g} in place of {choices.dropout:g}", dropout=USUAL_DROPOUT)


FLAG_REMEDIES: dict[str, tuple[FlagRemedy, ...]] = {
    "dropout-misplaced": (less_dropout,),
    "network-size": (fit_size,),
    "activations-shrink": (relu, shallower),
    "activations-grow": (shallower,),
    "learning-rate-too-high": (suggested_rate, smaller_rate, usual_optimizer),
    "vanishing-gradients": (relu, shallower),
    "exploding-gradients": (shallower, smaller_rate),
    "dead-relu": (smaller_rate, leaky_relu),
    "saturated-units": (relu, smaller_rate),
    "learning-rate-too-low": (suggested_rate, larger_rate, usual_optimizer),
    "updates-too-large-or-small": (suggested_rate, usual_optimizer),
    "weights-collapsed": (usual_optimizer, larger_rate),
    "batch-too-small": (balanced_batch,),
    "loss-not-finite": (smaller_rate, usual_optimizer),
    "diverging-loss": (smaller_rate, usual_optimizer),
    "oscillating-loss": (smaller_rate, larger_batch),
    "not-learning": (usual_optimizer, relu, shallower),
    "overfitting": (more_dropout, narrower),
    "underfitting": (less_dropout, wider, usual_optimizer, longer, more_patience, smaller_batch),
    "stopped-too-early": (longer,),
}


def options(flags: Flags, choices: Choices, finding: Finding) -> Iterator[Change[Flags]]:
    """The changes that may help against a finding, the most likely first."""
    for remedy in FLAG_REMEDIES.get(finding.rule, ()):
        change = remedy(flags, choices, finding)
        if change is not None:
            yield change
