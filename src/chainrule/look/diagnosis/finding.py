"""What a rule found, and all that was found together: as text, in colour, as a page and as data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chainrule.look.diagnosis.views import brief_lines, findings_html, findings_lines
from chainrule.look.explaining import lines

SEVERITIES = ("error", "warning", "hint")
PHASES = ("before", "during", "after")
Evidence = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes
    ----------
    rule
        The identifier of the rule that found it, such as `"inputs-not-scaled"`; `docs/diagnosis.md` has its page.
    severity
        `"error"`: the network cannot learn like this. `"warning"`: it very likely learns worse. `"hint"`: worth a look.
    where
        The column, layer, parameter or epoch, in the words of the network.
    summary
        What was found, in one sentence.
    evidence
        The numbers that the rule decided by, with their names.
    advice
        What to change, in code.
    phase
        When it shows: `"before"`, `"during"` or `"after"` training.
    because
        The rule of another finding that is likely the cause of this one; `""` where none is known.
    """

    rule: str
    severity: str
    where: str
    summary: str
    evidence: Evidence
    advice: str
    phase: str
    because: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data for JSON; evidence that is infinite or NaN is None."""
        return {name: getattr(self, name) for name in self.__slots__} | {"evidence": finite(self.evidence)}


def finite(figures: Mapping[str, float | str]) -> dict[str, float | str | None]:
    """The figures for JSON, which has no infinite numbers."""
    return {name: value if isinstance(value, str) or math.isfinite(value) else None for name, value in figures.items()}


class Findings(list[Finding]):
    """A list of findings, causes before their symptoms, that prints as a page and shows itself in a notebook.

    Parameters
    ----------
    found
        The findings.
    has_run
        Whether a run was looked at too, or data and network alone.

    Examples
    --------
    >>> print(Findings())
    Nothing found: data, network and training look healthy.
    """

    def __init__(self, found: Iterable[Finding] = (), *, has_run: bool = True) -> None:
        super().__init__(found)
        self.has_run = has_run

    def of(self, severity: str) -> list[Finding]:
        """Those of one severity."""
        return [finding for finding in self if finding.severity == severity]

    @property
    def rules(self) -> list[str]:
        """The rules that found something, each once, in order."""
        return list(dict.fromkeys(finding.rule for finding in self))

    @property
    def causes(self) -> list[Finding]:
        """The errors and warnings that no other error or warning of them is the likely cause of."""
        grave = [finding for finding in self if finding.severity != "hint"]
        rules = {finding.rule for finding in grave}
        return [finding for finding in grave if finding.because not in rules]

    def brief(self) -> str:
        """The causes in two lines each, `""` where there are none."""
        return lines.plain(brief_lines(self), 10_000)

    def announce(self) -> None:
        """Say `brief` on standard error, in colour where it has one; nothing where there is nothing to say."""
        if self.causes:
            lines.show_error(brief_lines(self))

    def to_dict(self) -> dict[str, Any]:
        """All findings as plain data for JSON."""
        return {"findings": [finding.to_dict() for finding in self]}

    def __str__(self) -> str:
        return lines.plain(findings_lines(self, has_run=self.has_run))

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.of(severity))} {severity}s" for severity in SEVERITIES if self.of(severity))
        return f"<Findings: {counts or 'nothing'}>"

    def __rich__(self) -> Any:
        return lines.rich_text(findings_lines(self, has_run=self.has_run))

    def _repr_html_(self) -> str:
        return findings_html(self, has_run=self.has_run)
