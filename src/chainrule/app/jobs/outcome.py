"""What a finished training run knows about itself: plain values, made by the job, shown by the terminal and the report.

Nothing here computes or prints; every field can be written as JSON but for `history`, which has a file of its own, and
`repair`, which has `to_dict`.
"""

from dataclasses import dataclass, field
from typing import Any

from chainrule.look.diagnosis.finding import Findings
from chainrule.look.remedies.loop import Trial
from chainrule.look.remedies.report import repair_dict
from chainrule.train.history import History


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data as the run understood it: name, kind, what it became, how many cells were missing."""

    name: str
    kind: str
    encoding: str
    missing: int
    detail: str


@dataclass(frozen=True, slots=True)
class Score:
    """How one model did on the held-out rows: metric names and values, the run's main metric first."""

    name: str
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Held-out rows by true class (first index) and by predicted class (second)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Residuals:
    """Held-out targets and predictions in the target's own unit; at most some thousands of them, evenly chosen."""

    targets: tuple[float, ...]
    predictions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Importance:
    """How much the main metric got worse when one column was shuffled: mean and spread over some repeats."""

    column: str
    drop: float
    spread: float


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair tried.

    Attributes
    ----------
    trials
        Every change of flags, in order.
    before, after
        Validation loss and metric at first and at last; an infinite loss is a run that failed.
    findings
        What is still found.
    stopped
        Why it ended: "healthy", "no remedy", "attempts" or "interrupted".
    command
        The command line that makes the repaired run without `--repair`.
    """

    trials: tuple[Trial, ...]
    before: dict[str, float]
    after: dict[str, float]
    findings: Findings
    stopped: str
    command: str

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data for JSON."""
        told = repair_dict(self.trials, self.before, self.after, self.findings, self.stopped)
        return {**told, "command": self.command}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run.

    Attributes
    ----------
    data
        What the user named: a path or the name of a built-in set.
    kind
        "table" or "images".
    task
        "binary", "multiclass" or "regression".
    target
        The column that was learned, or "class" for images.
    rows
        Rows by part: training, validation, test.
    network
        The network, printed.
    parameters
        How many numbers were learned.
    settings
        Every choice by the name of its flag, as text, with who made it: "you" or the reason.
    columns
        The columns of a table; empty for images.
    notes
        Decisions and warnings, in short sentences.
    history
        The epochs; `history.best_epoch` is the one whose parameters were kept.
    main
        The metric that scores are compared by: "accuracy" or "r2"; higher is better.
    network_score
        The network on the test rows.
    baselines
        Honest rivals trained on the same rows.
    verdict
        One sentence: whether the network beats its baselines, and by how much.
    confusion, residuals
        The one that fits the task; the other is None.
    importance
        Columns by falling importance; empty for images.
    mistakes
        A few held-out rows that the network got most wrong: (row of the file, true, predicted, probability or error).
    findings
        What the diagnosis found, with advice as flags; empty where all is well.
    seconds
        How long training took.
    interrupted
        Whether Ctrl-C ended it.
    repair
        What `--repair` tried; None without it.
    """

    data: str
    kind: str
    task: str
    target: str
    rows: dict[str, int]
    network: str
    parameters: int
    settings: dict[str, tuple[str, str]]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    history: History
    main: str
    network_score: Score
    baselines: tuple[Score, ...]
    verdict: str
    confusion: Confusion | None = None
    residuals: Residuals | None = None
    importance: tuple[Importance, ...] = ()
    mistakes: tuple[tuple[str, str, str, float], ...] = ()
    findings: Findings = field(default_factory=Findings)
    seconds: float = 0.0
    interrupted: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    repair: Repaired | None = None
