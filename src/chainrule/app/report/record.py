"""What the run was made of: notes, worst mistakes, columns, settings, the network's layers, versions."""

from chainrule.app.jobs.outcome import Outcome
from chainrule.app.report.figures import count, percent, three
from chainrule.app.report.markup import details, name, rest, table, text, verbatim
from chainrule.look.diagnosis.views import evidence_text
from chainrule.look.remedies.views import both

_MOST_NOTES = 100
_MOST_MISTAKES = 30
_MOST_COLUMNS = 200
_MOST_LINES = 400
_MOST_FINDINGS = 30


def notes(outcome: Outcome) -> str:
    """Decisions and warnings, as they were printed."""
    if not outcome.notes:
        return ""
    shown = "\n".join(f"<li>{name(note, 500)}</li>" for note in outcome.notes[:_MOST_NOTES])
    return f"<h2>Decisions and warnings</h2><ul>{shown}</ul>{rest(_MOST_NOTES, len(outcome.notes), 'notes')}"


def findings(outcome: Outcome) -> str:
    """What the diagnosis found, with its numbers and what to change."""
    if not outcome.findings or outcome.repair is not None:
        return ""  # what a repair left is told with it
    parts = []
    for each in outcome.findings[:_MOST_FINDINGS]:
        kind = "warn" if each.severity != "hint" else "small"
        because = f" Likely because of {text(each.because)}." if each.because else ""
        numbers = f'<span class="small">{text(evidence_text(each), 400)}.{because}</span>' if each.evidence else because
        parts.append(
            f'<div class="{kind}"><b>{text(each.severity)}: {text(each.rule)}</b> {name(each.where)}'
            f"<p>{text(each.summary, 600)} {numbers}</p><p>→ {text(each.advice, 600)}</p></div>"
        )
    more = rest(_MOST_FINDINGS, len(outcome.findings), "findings")
    about = "What rules about data, network and run found; the page diagnosis.md of the documentation explains each."
    return f"<h2>Diagnosis</h2><p>{about}</p>{''.join(parts)}{more}"


def mistakes(outcome: Outcome) -> str:
    """The held-out rows that the network got most wrong."""
    if not outcome.mistakes:
        return ""
    numbers = outcome.task == "regression"
    heads = ["row", "true", "predicted", "error" if numbers else "probability"]
    rows = []
    for row, true, guess, figure in outcome.mistakes[:_MOST_MISTAKES]:
        rows.append([name(row), name(true, 60), name(guess, 60), three(figure) if numbers else percent(figure)])
    about = (
        "The rows with the largest error."
        if numbers
        else "The rows where the network was surest of a wrong class, and the probability that it gave to it."
    )
    advice = "Worth a look at the data: often a mistake is a wrong label, a typing error, or a truly unusual case."
    shown = table(about, heads, rows, () if numbers else (1, 2))
    return f"<h2>Its worst mistakes</h2><p>{advice}</p>{shown}{rest(len(rows), len(outcome.mistakes), 'rows')}"


def columns(outcome: Outcome) -> str:
    """The schema: what each column is, what the network gets of it, how many cells were missing."""
    if not outcome.columns:
        return ""
    rows = [
        [name(each.name), text(each.kind), text(each.encoding), count(each.missing), name(each.detail or "–", 160)]
        for each in outcome.columns[:_MOST_COLUMNS]
    ]
    heads = ["column", "kind", "what it became", "missing cells", "detail"]
    shown = table("The columns of the data as the run understood them", heads, rows, (1, 2, 4))
    shown += rest(len(rows), len(outcome.columns), "columns")
    head = f"<h2>The data: {count(len(outcome.columns))} columns</h2>"
    return head + (shown if len(rows) <= 15 else details("All columns", shown))


def repair(outcome: Outcome) -> str:
    """What `--repair` tried, and the command line that makes the same run at once."""
    tried = outcome.repair
    if tried is None:
        return ""
    rows = [
        [
            "kept" if each.kept else "not kept",
            text(each.code),
            text(each.finding.rule),
            text(both(each.before, each.after)),
            text(each.why, 200),
        ]
        for each in tried.trials
    ]
    about = "One flag was changed at a time; the rows by which the best epoch is chosen decided what was kept."
    shown = (
        table(about, ["", "change", "against", "what came of it", "why"], rows, (1, 2, 3, 4))
        if rows
        else "<p>Nothing was changed.</p>"
    )
    return f"<h2>Repair</h2>{shown}<p>The same run without it: <code>{text(tried.command, 1000)}</code></p>"


def settings(outcome: Outcome) -> str:
    """Every choice and who made it."""
    rows = []
    for flag, (value, why) in outcome.settings.items():
        who = '<span class="you">you</span>' if why == "you" else text(why, 300)
        rows.append([name(flag), name(value, 300), who])
    if not rows:
        return ""
    return "<h2>Settings</h2>" + table("Every choice and who made it", ["setting", "value", "chosen by"], rows, (1, 2))


def network(outcome: Outcome) -> str:
    """The layers as printed."""
    lines = outcome.network.splitlines()
    note = rest(_MOST_LINES, len(lines), "lines")
    return f'<h2>The network</h2><pre tabindex="0">{verbatim(lines[:_MOST_LINES])}</pre>{note}'


def footer(outcome: Outcome) -> str:
    """The versions of the software."""
    parts = [f"{text(what)} {text(version)}" for what, version in list(outcome.versions.items())[:30]]
    made = f"Made with {', '.join(parts)}. " if parts else ""
    more = "Every epoch is also in history.jsonl beside this file, and the network in the model file."
    return f"<footer>{made}{more} This page loads nothing and runs no program.</footer>"
