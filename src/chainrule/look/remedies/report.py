"""What a repair did: the network that came of it, and every change that was tried, kept or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chainrule.look.diagnosis.finding import Findings, finite
from chainrule.look.explaining import lines
from chainrule.look.remedies.judging import Figures
from chainrule.look.remedies.loop import Trial
from chainrule.look.remedies.views import repair_html, repair_lines
from chainrule.nn.module import Module
from chainrule.train.history import History


@dataclass(frozen=True, slots=True)
class Repair:
    """The outcome of `repair`. It prints as a page and shows itself in a notebook.

    Attributes
    ----------
    net
        The best network, trained; it takes X and answers in the unit of y as they were given.
    history
        Its run.
    trials
        Every change that was tried, in order.
    before, after
        Validation loss and metric at first and at last, by name; an infinite loss is a run that failed.
    findings
        What is still found of the best network and its run.
    stopped
        `"healthy"`: nothing is found; `"no remedy"`: what is found has no remedy left; `"attempts"`: all were used;
        `"interrupted"`: by Ctrl-C.
    """

    net: Module
    history: History
    trials: list[Trial]
    before: dict[str, float]
    after: dict[str, float]
    findings: Findings = field(repr=False)
    stopped: str

    @property
    def kept(self) -> list[Trial]:
        """The changes that were kept, in order."""
        return [trial for trial in self.trials if trial.kept]

    @property
    def code(self) -> str:
        """The kept changes as code, one a line; `""` where nothing was changed."""
        return "\n".join(trial.code for trial in self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the network and its history as plain data for JSON; what is infinite or NaN is None."""
        return repair_dict(self.trials, self.before, self.after, self.findings, self.stopped)

    def __str__(self) -> str:
        return lines.plain(self._lines())

    def __rich__(self) -> Any:
        return lines.rich_text(self._lines())

    def _repr_html_(self) -> str:
        return repair_html(self.trials, self.before, self.after, self.findings, self.stopped)

    def _lines(self) -> list[lines.Line]:
        return repair_lines(self.trials, self.before, self.after, self.findings, self.stopped)


def repair_dict(
    trials: Iterable[Trial], before: Figures, after: Figures, findings: Findings, stopped: str
) -> dict[str, Any]:
    """What a repair tried and came to, as plain data for JSON."""
    return {
        "trials": [trial.to_dict() for trial in trials],
        "before": finite(before),
        "after": finite(after),
        "stopped": stopped,
        "findings": [each.to_dict() for each in findings],
    }
