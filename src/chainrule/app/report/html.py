"""The report of a training run: an `Outcome` becomes one HTML file without scripts that needs nothing else."""

from chainrule.app.jobs.outcome import Outcome
from chainrule.app.report import record
from chainrule.app.report.confusion import confusion
from chainrule.app.report.importance import importance
from chainrule.app.report.learning import learning
from chainrule.app.report.markup import file_name, text
from chainrule.app.report.residuals import residuals
from chainrule.app.report.style import SHEET
from chainrule.app.report.summary import opening

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_FLOW = '<span class="flow" aria-hidden="true"><b>→</b><i>←</i></span>'


def render(outcome: Outcome) -> str:
    """The report as HTML, under 1 MB whatever the data.

    Parameters
    ----------
    outcome
        A finished or interrupted run. Names, labels and notes in it may hold anything: they come out as text.

    Returns
    -------
    str
        A whole document in UTF-8, with its style and its charts inside.
    """
    sections = [
        opening(outcome),
        record.findings(outcome),
        learning(outcome),
        confusion(outcome.confusion) if outcome.confusion else "",
        residuals(outcome.residuals, outcome.target) if outcome.residuals else "",
        importance(outcome.importance, outcome.main),
        record.repair(outcome),
        record.mistakes(outcome),
        record.notes(outcome),
        record.columns(outcome),
        record.network(outcome),
        record.settings(outcome),
    ]
    body = "\n".join(f"<section>\n{section}\n</section>" for section in sections if section)
    title = f"{text(outcome.target, 60)} from {text(file_name(outcome.data), 60)} – chainrule"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title}</title>
<style>
{SHEET}</style>
</head>
<body>
<header><p class="brand">{_FLOW}chainrule training report</p></header>
<main>
{body}
</main>
{record.footer(outcome)}
</body>
</html>
"""
