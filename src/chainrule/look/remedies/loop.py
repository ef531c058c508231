"""The loop of a repair: train, diagnose, change one thing, train again, keep what helped; and so on.

It knows nothing of networks: a `Subject` says what a way is, how it is trained, what is wrong with it, and what can be
changed. So Python's networks and the command line's flags are repaired by the same few lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.look.diagnosis.finding import SEVERITIES, Finding, Findings, finite
from chainrule.look.diagnosis.registry import ordered
from chainrule.look.diagnosis.rules import ALL
from chainrule.look.remedies.judging import Judge, Verdict, no_worse, verdict

Array = np.ndarray[Any, Any]
W = TypeVar("W")


class Outcome(Protocol):
    """What the loop wants to know of a run."""

    @property
    def answers(self) -> Array | None:
        """What the network answers to the validation rows; None where the run failed."""

    @property
    def failure(self) -> ChainruleError | None:
        """Why it failed."""

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""


R = TypeVar("R", bound=Outcome)


@dataclass(frozen=True, slots=True)
class Change(Generic[W]):
    """Another way, what is different in it in words, and the same as code or as flags."""

    way: W
    words: str
    code: str


class Subject(Protocol[W, R]):
    """What is repaired."""

    def run(self, way: W, seed: int) -> R:
        """Train it."""

    def findings(self, way: W, run: R) -> Findings:
        """What is wrong with a way and its run."""

    def options(self, way: W, finding: Finding) -> Iterable[Change[W]]:
        """What may help against a finding, the most likely first."""

    def settings(self, way: W) -> Mapping[str, Hashable]:
        """What a way is made of, by name: what a change replaces must not be put back by a later one."""

    def judge(self, way: W) -> Judge:
        """Who compares answers to the validation rows."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One change that was tried.

    Attributes
    ----------
    finding
        What it was tried against.
    change, code
        The change in words, and as code or flags.
    before, after
        Validation loss and metric without and with it, by name; an infinite loss is a run that failed.
    kept
        Whether it was kept.
    why
        Why it was kept or not.
    """

    finding: Finding
    change: str
    code: str
    before: dict[str, float]
    after: dict[str, float]
    kept: bool
    why: str

    def to_dict(self) -> dict[str, Any]:
        """The trial as plain data for JSON; what is infinite or NaN is None."""
        return {
            "finding": self.finding.to_dict(),
            "change": self.change,
            "code": self.code,
            "before": finite(self.before),
            "after": finite(self.after),
            "kept": self.kept,
            "why": self.why,
        }


@dataclass(slots=True)
class Course(Generic[W, R]):
    """How far a repair has come: the best way with its run and findings, the first figures, and all trials.

    A change is judged beside the way that it changes. So when another one is kept, those that were rejected may be
    tried again: in their place if the run failed without them, as nothing could show what they are worth, and else
    after everything that is new.

    Attributes
    ----------
    closed
        Changes that are not tried, by their code: those kept, and those tried since.
    refused
        Changes that did not help another way that could be trained, by their code.
    left
        Settings that kept changes have replaced.
    """

    way: W
    run: R
    findings: Findings
    first: dict[str, float]
    trials: list[Trial]
    interrupted: bool = False
    closed: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    left: set[tuple[str, Hashable]] = field(default_factory=set)


def improve(
    subject: Subject[W, R], way: W, *, attempts: int, seed: int, told: Callable[[Trial], None] = lambda trial: None
) -> Course[W, R]:
    """Try the remedies of what is found, the gravest first, and keep what measurably helps.

    It ends when nothing is found that has a remedy left to try, after `attempts` trials, or after Ctrl-C.
    """
    run = subject.run(way, seed)
    course = Course(way, run, subject.findings(way, run), subject.judge(way).figures(run.answers), [])
    course.interrupted = run.interrupted
    while not course.interrupted and len(course.trials) < attempts:
        step = _next(subject, course)
        if step is None:
            break
        finding, change = step
        course.closed.add(change.code)
        trial = _try(subject, course, finding, change, seed)
        if trial is not None:
            course.trials.append(trial)
            told(trial)
    return course


def _next(subject: Subject[W, R], course: Course[W, R]) -> tuple[Finding, Change[W]] | None:
    """The first change that is new to this way; where there is none, the first that did not help another way."""
    settings, again = subject.settings(course.way).items(), None
    for finding in course.findings:
        for change in subject.options(course.way, finding):
            put_back = (subject.settings(change.way).items() - settings) & course.left
            if change.code in course.closed or put_back:
                continue
            if change.code not in course.refused:
                return finding, change
            again = again or (finding, change)
    return again


def _keep(subject: Subject[W, R], course: Course[W, R], change: Change[W], run: R, findings: Findings | None) -> None:
    """Go on with a change."""
    kept = {trial.code for trial in course.trials if trial.kept} | {change.code}
    if course.run.answers is not None:
        course.refused |= course.closed - kept
    course.closed = kept
    course.left |= subject.settings(course.way).items() - subject.settings(change.way).items()
    course.way, course.run = change.way, run
    course.findings = subject.findings(change.way, run) if findings is None else findings


def _try(subject: Subject[W, R], course: Course[W, R], finding: Finding, change: Change[W], seed: int) -> Trial | None:
    """Train with one change, and go on with it if it helps; None where Ctrl-C came in between."""
    run = subject.run(change.way, seed)
    course.interrupted = run.interrupted
    if run.interrupted:
        return None
    old, new = subject.judge(course.way), subject.judge(change.way)
    before, after = old.figures(course.run.answers), new.figures(run.answers)
    findings: Findings | None = None
    if run.answers is None:
        found, findings = _further(subject, course, change.way, run)
    elif course.run.answers is None:
        found = Verdict(math.isfinite(after["loss"]), "it can be trained now", True)
    else:
        found = verdict(new, course.run.answers, run.answers)
    if found.better and not found.clear:
        first, second = subject.run(course.way, seed + 1), subject.run(change.way, seed + 1)
        course.interrupted = first.interrupted or second.interrupted
        agreed = no_worse(new, first.answers, second.answers)
        more = "also with another seed" if agreed else "but not with another seed"
        found = Verdict(agreed, f"{found.why}, {more}")
    if found.better:
        _keep(subject, course, change, run, findings)
    return Trial(finding, change.words, change.code, before, after, found.better, found.why)


def _further(subject: Subject[W, R], course: Course[W, R], way: W, run: R) -> tuple[Verdict, Findings | None]:
    """Of a run that failed: whether it came further than the one before, which failed too."""
    said = f"the run fails: {str(run.failure).partition('; ')[0].rstrip('.')}"
    if course.run.answers is not None:
        return Verdict(False, said), None
    findings = subject.findings(way, run)
    if len(findings.of("error")) < len(course.findings.of("error")):
        return Verdict(True, "that error is gone, though others are left"), findings
    return Verdict(False, said), findings


def ending(subject: Subject[W, R], course: Course[W, R], attempts: int) -> str:
    """Why a repair ended: "interrupted", "healthy", "attempts" where something is left to try, or "no remedy"."""
    if course.interrupted:
        return "interrupted"
    if not course.findings:
        return "healthy"
    left = _next(subject, course) is not None
    return "attempts" if left and len(course.trials) >= attempts else "no remedy"


def together(before: Findings, after: Findings) -> Findings:
    """What was found before and after a run, each rule once at a place, in one order."""
    known = {finding.rule for finding in before}
    kept = [*before, *(finding for finding in after if finding.rule not in known)]
    return Findings(ordered(sorted(kept, key=lambda finding: SEVERITIES.index(finding.severity)), ALL))
