"""What happened in each epoch of a run, as plain rows that can be read, plotted and saved as JSON Lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from chainrule.errors import ArgumentError, DataError
from chainrule.nn.module import Module
from chainrule.train.watched import Glance, Watched

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step that was left out because it made something infinite or NaN: its number and epoch (from 1), and why."""

    step: int
    epoch: int
    why: str


class Recording(Protocol):
    """A run that was kept, such as by `cr.look.Record`."""

    def at(self, step: int) -> Module:
        """The network as it was after so many steps."""

    def moment(self, step: int) -> Any:
        """The run as it was after so many steps."""


class Findings(Protocol):
    """What an examination of the run found, such as `cr.look.Findings`."""

    def announce(self) -> None:
        """Say on standard error what matters of it; nothing where all is well."""


@dataclass
class History:
    """One row for each epoch: `epoch` (from 1), `loss`, metrics, the same with `validation_`, `learning_rate`, ...

    `steps` and `seconds` end each row. Losses and metrics of training are those of the guesses made on the way, each
    before its step. After Ctrl-C the last row may be of an epoch that was not finished: its `steps` are fewer.

    Attributes
    ----------
    epochs
        The rows, in order.
    stopped
        Why the run ended: "epochs", "early stopping", "interrupted" or "failed"; `""` while it runs.
    watched
        What `cr.look.Watch` saw of every layer.
    skipped
        The steps that `fit(..., on_nan="skip")` left out.
    began
        The root mean square of each parameter before the first step, by its name, where `fit` was to diagnose the run;
        not saved.
    recording
        What `cr.look.Record` kept of the run; not saved.
    findings
        What the diagnosis at the end found, a `cr.look.Findings`: empty where all is well, None where it was not
        asked, as with `progress=False` unless `diagnose=True`. Not saved; `chainrule train` writes it into run.json.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    >>> history["loss"], history.best_epoch
    ([0.5, 0.25], 2)
    """

    epochs: list[Row] = field(default_factory=list)
    stopped: str = ""
    watched: Watched = field(default_factory=Watched)
    skipped: list[Skipped] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    recording: Recording | None = field(default=None, repr=False, compare=False)
    findings: Any = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        return self.column(name)

    def column(self, name: str) -> list[float]:
        """The values of one figure over the epochs, such as `"validation_loss"`.

        Raises
        ------
        ArgumentError
            If no epoch has that figure.
        """
        if self.epochs and name not in self.epochs[0]:
            raise ArgumentError(f'the history has no "{name}"; it has {", ".join(self.epochs[0])}.')
        return [row[name] for row in self.epochs]

    @property
    def monitored(self) -> str:
        """The loss by which epochs are compared: validation where there is one."""
        return "validation_loss" if self.epochs and "validation_loss" in self.epochs[0] else "loss"

    @property
    def first_rate(self) -> float | None:
        """The learning rate of the first epoch; None where it is not known, or no number."""
        rate = self.epochs[0].get("learning_rate") if self.epochs else None
        return rate if rate is not None and math.isfinite(rate) else None

    @property
    def best_epoch(self) -> int:
        """The epoch (from 1) with the smallest monitored loss; 0 before the first."""
        if not self.epochs:
            return 0
        losses = [value if math.isfinite(value) else math.inf for value in self.column(self.monitored)]
        return int(self.epochs[losses.index(min(losses))]["epoch"])

    def at(self, step: int) -> Module:
        """The network as it was after so many steps of a recorded run; 0 gives it as it was before the first.

        Raises
        ------
        ArgumentError
            If the run was not recorded, or has no such step.
        DataError
            If the steps come to other losses than in the run: data, layers or loss were changed since.
        """
        return self._recorded().at(step)

    def moment(self, step: int) -> Any:
        """As `at`, but all of it: `net`, `optimizer`, and the `batch` that the next step learned from.

        The step with that batch is made again too, so that it is seen where the data was changed since. After the last
        step there is no such batch, and asking for it is an ArgumentError.
        """
        return self._recorded().moment(step)

    def _recorded(self) -> Recording:
        if self.recording is None:
            raise ArgumentError("the run was not recorded: train with fit(..., callbacks=[cr.look.Record()]).")
        return self.recording

    def to_jsonl(self) -> str:
        """One JSON object a line; what is infinite or NaN, which JSON does not have, is null.

        First the epochs, then each step that was watched, as `{"watched": {...}}`, then each that was left out, as
        `{"skipped": {...}}`.
        """
        rows: list[dict[str, Any]] = [
            {name: value if math.isfinite(value) else None for name, value in row.items()} for row in self.epochs
        ]
        rows += [{"watched": glance.to_dict()} for glance in self.watched]
        rows += [{"skipped": asdict(step)} for step in self.skipped]
        return "".join(json.dumps(row) + "\n" for row in rows)

    @staticmethod
    def from_jsonl(text: str, source: str | Path = "history") -> History:
        """The history that `to_jsonl` wrote.

        Raises
        ------
        DataError
            If a line is not a JSON object of numbers, or no epoch with a loss, with its line number.
        """
        rows: list[Row] = []
        places: list[str] = []
        watched: list[Glance] = []
        skipped: list[Skipped] = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{source}, line {number}: not JSON.") from error
            if isinstance(row, dict) and set(row) == {"watched"}:
                watched.append(Glance.from_dict(row["watched"], f"{source}, line {number}"))
                continue
            if isinstance(row, dict) and set(row) == {"skipped"}:
                skipped.append(_skipped(row["skipped"], f"{source}, line {number}"))
                continue
            if not isinstance(row, dict) or not all(_is_number(value) for value in row.values()):
                raise DataError(f"{source}, line {number}: expected an object of numbers.")
            rows.append({name: math.nan if value is None else value for name, value in row.items()})
            places.append(f"{source}, line {number}")
        for row, place in zip(rows, places, strict=True):
            _require_epoch(row, place)
        return History(rows, watched=Watched(watched), skipped=skipped)

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(no epochs)"
        last = self.epochs[-1]
        figures = ", ".join(f"{k} {v:.4g}" for k, v in last.items() if k not in ("epoch", "seconds", "steps"))
        return f"History({len(self)} epochs, stopped by {self.stopped or 'nothing yet'}; last: {figures})"


def _require_epoch(row: Row, place: str) -> None:
    absent = [name for name in ("epoch", "loss") if name not in row]
    if absent:
        raise DataError(f'{place}: this is no epoch, as it has no "{absent[0]}".')
    if not isinstance(row["epoch"], int):
        raise DataError(f'{place}: "epoch" must be a whole number, but is {row["epoch"]}.')


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def _skipped(found: Any, source: str) -> Skipped:
    try:
        return Skipped(int(found["step"]), int(found["epoch"]), str(found["why"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{source}: this is not a step that was left out ({error}).") from error
