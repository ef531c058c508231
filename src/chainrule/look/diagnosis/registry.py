"""What a rule is: a declaration with its thresholds and their sources, and a pure function of a case.

A family of rules is a tuple `RULES` in a file of its own; `ALL` in `rules` puts them in the order from causes to
symptoms. Docs and tests are made from these declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chainrule.look.diagnosis.finding import SEVERITIES, Evidence, Finding

if TYPE_CHECKING:
    from chainrule.look.diagnosis.case import Case


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that a rule decides by, what it bounds, and where it comes from."""

    value: float
    bounds: str
    source: str


@dataclass(frozen=True, slots=True)
class Sign:
    """What a rule's function gives back: a finding without the name of its rule."""

    severity: str
    where: str
    summary: str
    advice: str
    evidence: Evidence


def error(where: str, summary: str, advice: str, **evidence: float | str) -> Sign:
    """A sign that the network cannot learn like this; underscores in names of evidence become blanks."""
    return _sign("error", where, summary, advice, evidence)


def warning(where: str, summary: str, advice: str, **evidence: float | str) -> Sign:
    """A sign that it very likely learns worse."""
    return _sign("warning", where, summary, advice, evidence)


def hint(where: str, summary: str, advice: str, **evidence: float | str) -> Sign:
    """A sign that is worth a look."""
    return _sign("hint", where, summary, advice, evidence)


def _sign(severity: str, where: str, summary: str, advice: str, evidence: dict[str, float | str]) -> Sign:
    return Sign(severity, where, summary, advice, {name.replace("_", " "): value for name, value in evidence.items()})


# What rules cost, as examples that a run learns from in about the same time: simple methods that answer the question
# without the network, or some more passes through it; and learning rates tried out aside.
PROBING, TRYING = 500, 1000
SHARE = 0.05  # of a run, that its examination at the end of `fit` takes about at most


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes
    ----------
    name
        Its identifier, in kebab-case.
    looks_for
        What it looks for, in one sentence.
    why
        What the fault does to learning.
    phases
        When it can be asked: `"before"` training (no history), `"during"`, `"after"`.
    check
        The function from a case to signs.
    thresholds
        The numbers that it decides by.
    explains
        Rules whose findings are likely symptoms of this one's; they come later in the order.
    fresh
        Whether it is about how a network begins, and not asked once there is a history.
    cost
        How many examples a run learns from in the time that the rule takes, beyond what all rules share; see
        `PROBING` and `TRYING`.
    """

    name: str
    looks_for: str
    why: str
    phases: tuple[str, ...]
    check: Callable[[Case], Iterable[Sign]]
    thresholds: tuple[Threshold, ...] = ()
    explains: tuple[str, ...] = ()
    fresh: bool = False
    cost: int = 0

    def findings(self, case: Case) -> Iterator[Finding]:
        """What the rule finds in a case; nothing where it cannot be asked."""
        if case.history is None and "before" not in self.phases:
            return
        if self.fresh and case.history is not None:
            return
        phase = "before" if case.history is None else self.phases[-1]
        for sign in self.check(case):
            yield Finding(self.name, sign.severity, sign.where, sign.summary, sign.evidence, sign.advice, phase)


def ordered(findings: Iterable[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """The gravest findings first, and among equally grave ones causes before their symptoms.

    A symptom names its cause in `because`, and a cause is as grave as its gravest symptom.
    """
    found = list(findings)
    names = {finding.rule for finding in found}
    place = {rule.name: number for number, rule in enumerate(rules)}
    cause_of: dict[str, str] = {}
    for rule in rules:
        if rule.name in names:
            for effect in rule.explains:
                cause_of.setdefault(effect, rule.name)
    gravity: dict[str, int] = {}
    for finding in found:
        name, rank = finding.rule, SEVERITIES.index(finding.severity)
        while name:
            gravity[name] = min(gravity.get(name, rank), rank)
            name = cause_of.get(name, "")
    told = [replace(finding, because=cause_of.get(finding.rule, "")) for finding in found]
    return sorted(told, key=lambda each: (gravity[each.rule], bool(each.because), place[each.rule]))
