"""How findings look: a page for the terminal in 80 columns, and a fragment of HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainrule.look.explaining.figures import short
from chainrule.look.explaining.lines import WIDTH, Line, wrapped
from chainrule.look.explaining.page import document, text
from chainrule.look.explaining.page import wrapped as with_sheet

if TYPE_CHECKING:
    from chainrule.look.diagnosis.finding import Finding, Findings

HEALTHY = "Nothing found: data, network and training look healthy."
UNTRAINED = "Nothing found in data and network; there is no run to judge."
_SIGN = {"error": "✗", "warning": "!", "hint": "·"}
_STYLE = {"error": "bad", "warning": "back title", "hint": "forward title"}
_INDENT = "    "


def findings_lines(findings: Sequence[Finding], *, pages: bool = False, has_run: bool = True) -> list[Line]:
    """The page: what was found, with evidence and advice, one finding under the other, and its page in the manual.

    Where nothing was found, that is said of what was looked at: data and network, and with `has_run` the run.
    """
    if not findings:
        return [[(HEALTHY if has_run else UNTRAINED, "good")]]
    blocks = [_block(f) + ([[(f"{_INDENT}{page_of(f)}", "still")]] if pages else []) for f in findings]
    return [[("Diagnosis  ", "title"), (counted(findings), "still")], *(line for block in blocks for line in block)]


def page_of(finding: Finding) -> str:
    """Where the manual says more about a finding."""
    return f"docs/diagnosis.md#{finding.rule}"


def brief_lines(findings: Findings, more_with: str = "print(history.findings)") -> list[Line]:
    """The causes alone, each with what was found and what to change, one line for each; then what shows the rest."""
    told: list[Line] = []
    for finding in findings.causes:
        head = f"{_SIGN[finding.severity]} {finding.severity}: {finding.rule}"
        told.append([(head, _STYLE[finding.severity]), (f"  {finding.where}  ", "title"), (finding.summary, "")])
        told.append([(f"  → {finding.advice}", "good")])
    more = len(findings) - len(findings.causes)
    if told and more:
        told.append([(f"  {more} more with {more_with}", "still")])
    return told


def counted(findings: Sequence[Finding]) -> str:
    """How many of each severity, in words."""
    counts = {severity: sum(f.severity == severity for f in findings) for severity in _SIGN}
    return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count)


def _block(finding: Finding) -> list[Line]:
    place = f"  {finding.where}" if finding.where else ""
    head = f"{_SIGN[finding.severity]} {finding.severity}: {finding.rule}"
    block: list[Line] = [[], [(head, _STYLE[finding.severity]), (place, "title")]]
    block += [[(line, "")] for line in wrapped(finding.summary, WIDTH, _INDENT)]
    if finding.evidence:
        block += [[(line, "still")] for line in wrapped(evidence_text(finding), WIDTH, _INDENT)]
    if finding.because:
        block += [[(line, "still")] for line in wrapped(f"likely because of {finding.because}", WIDTH, _INDENT)]
    first, *rest = wrapped(finding.advice, WIDTH, _INDENT + "  ")
    return [*block, [(f"{_INDENT}→ {first.strip()}", "good")], *([(line, "good")] for line in rest)]


def evidence_text(finding: Finding) -> str:
    """The numbers in one row: `name 3.2, other 0.1`."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in finding.evidence.items())


def value_text(value: float | str) -> str:
    """A number as people read it; whole numbers whole."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else short(value)


def findings_html(findings: Sequence[Finding], *, has_run: bool = True) -> str:
    """The same as a fragment with its own style sheet, without scripts."""
    if not findings:
        return with_sheet(f'<h1>Diagnosis</h1><p class="good">{text(HEALTHY if has_run else UNTRAINED)}</p>')
    head = f'<h1>Diagnosis</h1><p class="muted">{text(counted(findings))}</p>'
    return with_sheet(head + "".join(_card(finding) for finding in findings))


def findings_page(findings: Sequence[Finding], title: str, *, has_run: bool = True) -> str:
    """The same as a whole page."""
    return document(title, findings_html(findings, has_run=has_run))


def _card(finding: Finding) -> str:
    colour = {"error": "error", "warning": "error", "hint": "forward"}[finding.severity]
    mark = "bad" if finding.severity == "error" else "kind"
    rows = "".join(
        f'<tr><td>{text(name)}</td><td class="r">{text(value_text(value))}</td></tr>'
        for name, value in finding.evidence.items()
    )
    because = f'<p class="muted">likely because of {text(finding.because)}</p>' if finding.because else ""
    return (
        f'<details class="{colour}" open><summary><span class="{mark}">{_SIGN[finding.severity]} '
        f"{text(finding.severity)}</span><b>{text(finding.rule)}</b><span>{text(finding.where)}</span>"
        f'<span class="gist">{text(finding.phase)} training</span></summary>'
        f'<div class="inside"><p>{text(finding.summary)}</p><table class="t">{rows}</table>{because}'
        f'<p class="good">→ {text(finding.advice)}</p></div></details>'
    )
