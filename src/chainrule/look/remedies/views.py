"""How a repair looks: a page for the terminal in 80 columns, and a fragment of HTML for notebooks and reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from chainrule.look.diagnosis.finding import Findings
from chainrule.look.diagnosis.views import counted
from chainrule.look.explaining.figures import short
from chainrule.look.explaining.lines import WIDTH, Line, wrapped
from chainrule.look.explaining.page import text
from chainrule.look.explaining.page import wrapped as with_sheet
from chainrule.look.remedies.loop import Trial

Figures = Mapping[str, float]
_INDENT = "    "
_ENDS = {
    "healthy": "Nothing is found any more: data, network and training look healthy.",
    "no remedy": "What is still found has no remedy left that is safe to apply without you:",
    "attempts": "All attempts were used. Still found:",
    "interrupted": "Stopped by you. Still found:",
}


def repair_lines(
    trials: Sequence[Trial], before: Figures, after: Figures, findings: Findings, stopped: str
) -> list[Line]:
    """The page: what came of it, each trial, and what is left to do."""
    head: Line = [("Repair  ", "title"), (summary(trials), "still")]
    page: list[Line] = [head, [(_INDENT[:2] + both(before, after), "title")]]
    for number, trial in enumerate(trials, 1):
        page += trial_lines(number, trial)
    page += [
        [],
        *([(line, "good" if stopped == "healthy" else "still")] for line in wrapped(_ENDS[stopped], WIDTH, "")),
    ]
    for finding in findings:
        page.append([(f"{_INDENT}{finding.severity}: {finding.rule}", "back"), (f"  {finding.where}", "")])
        page += [[(line, "still")] for line in wrapped(f"→ {finding.advice}", WIDTH, _INDENT + "  ")]
    return page


def summary(trials: Sequence[Trial]) -> str:
    """How many changes were tried and kept, in words."""
    if not trials:
        return "nothing was changed"
    kept = sum(trial.kept for trial in trials)
    return f"{len(trials)} change{'s' if len(trials) > 1 else ''} tried, {kept} kept"


def both(before: Figures, after: Figures) -> str:
    """The figures before and after: `validation loss 2.35 → 0.12, accuracy 0.31 → 0.967`."""
    return "validation " + ", ".join(
        f"{name} {value_text(before[name])} → {value_text(after[name])}" for name in before
    )


def value_text(value: float) -> str:
    """A figure as people read it."""
    return "none" if math.isnan(value) else "(failed)" if math.isinf(value) else short(value)


def trial_lines(number: int, trial: Trial) -> list[Line]:
    """One trial: what it was tried against, what was changed, what came of it."""
    sign, style = ("✓", "good") if trial.kept else ("✗", "still")
    kept = "kept" if trial.kept else "not kept"
    found: Line = [(f"  against {trial.finding.rule}", ""), (f"  {trial.finding.where}", "still")]
    block: list[Line] = [[], [(f"{sign} {number}. {kept}", f"{style} bold" if style == "good" else style), *found]]
    told = (trial.change + ":", trial.code, f"{both(trial.before, trial.after)}; {trial.why}")
    for part, look in zip(told, ("title", "forward", "still"), strict=True):
        block += [[(line, look)] for line in wrapped(part, WIDTH, _INDENT)]
    return block


def one_line(number: int, trial: Trial) -> str:
    """A trial in one line, for a run that is under way."""
    return f"{number}. {trial.change}: {both(trial.before, trial.after)}; {'kept' if trial.kept else 'not kept'}"


def repair_html(trials: Sequence[Trial], before: Figures, after: Figures, findings: Findings, stopped: str) -> str:
    """The same as a fragment with its own style sheet, without scripts."""
    return with_sheet("".join(_html(trials, before, after, findings, stopped)))


def _html(trials: Sequence[Trial], before: Figures, after: Figures, findings: Findings, stopped: str) -> Iterator[str]:
    yield f'<h1>Repair</h1><p class="muted">{text(summary(trials))}</p><p><b>{text(both(before, after))}</b></p>'
    for number, trial in enumerate(trials, 1):
        kept = "kept" if trial.kept else "not kept"
        yield (
            f'<details class="{"forward" if trial.kept else "error"}" open><summary><span class="kind">'
            f"{'✓' if trial.kept else '✗'} {number}. {kept}</span><b>{text(trial.change)}</b>"
            f'<span>against {text(trial.finding.rule)}</span></summary><div class="inside">'
            f"<p><code>{text(trial.code)}</code></p><p>{text(both(trial.before, trial.after))}; {text(trial.why)}</p>"
            "</div></details>"
        )
    left = f" ({counted(findings)})" if findings else ""
    yield f'<p class="muted">{text(_ENDS[stopped])}{text(left)}</p>'
    yield "".join(f"<p><b>{text(each.rule)}</b> {text(each.where)}: {text(each.advice)}</p>" for each in findings)
