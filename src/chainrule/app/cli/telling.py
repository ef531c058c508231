"""What `chainrule train` says: what was decided before the run, how it went after it, and the same as JSON."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

from chainrule.app.cli import screen
from chainrule.app.jobs.outcome import Column, Outcome, Repaired
from chainrule.app.jobs.runs import HISTORY, MODEL, REPORT, RUN
from chainrule.app.jobs.training import Finished, Plan
from chainrule.app.report.figures import count, duration, metric, metric_name, plural
from chainrule.app.report.markup import plain
from chainrule.look.diagnosis.views import brief_lines
from chainrule.look.explaining.lines import rich_text
from chainrule.look.remedies.loop import Trial
from chainrule.look.remedies.views import one_line as trial_line
from chainrule.look.remedies.views import repair_lines

MOST_NOTES = 8
MOST_COLUMNS = 5
LEFT_OUT = "left out"


def plan(about: Plan) -> None:
    """The data, the decisions and the network, before the first step."""
    from rich.text import Text

    lesson, rows = about.lesson, about.lesson.rows
    learned = f"{plural(len(lesson.classes), 'class', 'classes')}" if lesson.classes else "numbers"
    what = "the class of each image" if lesson.kind == "images" else plain(lesson.target, 40)
    total = f"{count(sum(rows.values()))} {'images' if lesson.kind == 'images' else 'rows'}"
    name = (plain(Path(lesson.data).name or lesson.data, 40), "bold")
    screen.console().print(Text.assemble(name, f": {total}, learning ", (what, "bold"), f" ({learned})"))
    screen.heading("Data")
    screen.pairs([*_data(lesson.columns, rows, lesson.classes), *_notes(lesson.notes)])
    screen.heading("Decisions (each flag changes one)")
    _settings(about.choices.settings(lesson))
    screen.heading(f"Training {plural(about.parameters, 'number')} in the network")


def _data(columns: tuple[Column, ...], rows: dict[str, int], classes: tuple[str, ...]) -> list[tuple[str, str]]:
    used = [each for each in columns if each.kind not in ("target", "weights") and each.encoding != LEFT_OUT]
    kinds = [each.kind for each in used]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    lines = [("columns", counted)] if used else []
    left_out = [each for each in columns if each.encoding == LEFT_OUT]
    if left_out:
        shown = ", ".join(f"{plain(each.name, 30)} ({plain(each.detail, 40)})" for each in left_out[:MOST_COLUMNS])
        more = f" and {len(left_out) - MOST_COLUMNS} more" if len(left_out) > MOST_COLUMNS else ""
        lines.append((LEFT_OUT, shown + more))
    if classes:
        shown = ", ".join(plain(each, 20) for each in classes[:10])
        lines.append(("classes", shown + (f", ... ({len(classes)})" if len(classes) > 10 else "")))
    parts = f"{count(rows['training'])} to learn from, {count(rows['validation'])} to choose the best epoch by"
    return [*lines, ("split", f"{parts}, {count(rows['test'])} kept aside for the result")]


def _notes(notes: tuple[str, ...]) -> list[tuple[str, str]]:
    told = [note for note in notes if not note.endswith("it is left out.")]  # that stands above in one line already
    lines = [("note", plain(note, 300)) for note in told[:MOST_NOTES]]
    more = len(told) - MOST_NOTES
    return [*lines, ("", f"and {more} more, which are in the report")] if more > 0 else lines


def _settings(settings: dict[str, tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for flag, (value, why) in settings.items():
        who = Text("you", f"bold {screen.BLUE}") if why == "you" else Text(why, screen.GREY)
        grid.add_row(Text(f"  {flag}"), Text(plain(value, 40), "bold"), who)
    screen.console().print(grid)


def result(finished: Finished) -> None:
    """Scores beside the rivals, the verdict, what mattered, and where everything is."""
    from rich.text import Text

    outcome, out = finished.outcome, screen.console()
    if outcome.interrupted:
        epoch = outcome.history.best_epoch
        out.print(
            Text(f"Stopped by you: what is kept is the network of epoch {epoch}, the best so far.", screen.ORANGE)
        )
    things = "image" if outcome.kind == "images" else "row"
    screen.heading(f"Result on {plural(outcome.rows['test'], things)} kept aside: {metric_name(outcome.main)}")
    for place, each in enumerate((outcome.network_score, *outcome.baselines)):
        value = each.metrics[outcome.main]
        look = screen.BLUE if place == 0 else screen.GREY
        name, figure = f"  {each.name:<22}", f" {metric(outcome.main, value):>8}"
        out.print(Text.assemble((name, "bold" if place == 0 else ""), (screen.bar(value), look), (figure, "bold")))
    others = ", ".join(
        f"{metric_name(name)} {metric(name, value)}"
        for name, value in outcome.network_score.metrics.items()
        if name != outcome.main
    )
    screen.paragraph(Text(others, screen.GREY))
    screen.paragraph(Text(outcome.verdict))
    _importance(outcome)
    if outcome.repair is not None:
        _repair(outcome.repair)
    else:
        _findings(finished)
    screen.heading(f"Trained for {duration(outcome.seconds)}. Saved in {finished.folder}")
    screen.pairs(
        [
            (MODEL, "the network, with the columns it expects"),
            (REPORT, "everything about this run: open it in a browser"),
            (HISTORY, f"a line for each of {plural(len(outcome.history), 'epoch')}"),
            (RUN, "the flags that make this run again, for chainrule diagnose"),
        ]
    )
    sample = "IMAGES" if outcome.kind == "images" else "NEW.csv"
    out.print()
    out.print(f"Next: chainrule predict {finished.folder} {sample}", soft_wrap=True)


def _importance(outcome: Outcome) -> None:
    from rich.text import Text

    top = [each for each in outcome.importance if each.drop > 0][:MOST_COLUMNS]
    if not top:
        return
    screen.heading(f"What it leans on: loss of {metric_name(outcome.main)} when a column is shuffled")
    for each in top:
        drawn = (screen.bar(each.drop, high=top[0].drop), screen.BLUE)
        screen.console().print(Text.assemble(f"  {plain(each.column, 20):<22}", drawn, f" {each.drop:>8.3f}"))


class Trials:
    """Tells of each change that a repair tries, in a line."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, trial: Trial) -> None:
        screen.console().print(f"  {trial_line(next(self._numbers), trial)}", markup=False, soft_wrap=True)


def nothing(trial: Trial) -> None:
    """Say nothing of a change."""


def _repair(repaired: Repaired) -> None:
    """What was tried, what is left, and the command line that makes the same run at once."""
    page = repair_lines(repaired.trials, repaired.before, repaired.after, repaired.findings, repaired.stopped)
    screen.console().print()
    screen.console().print(rich_text(page))
    screen.heading("The same run without --repair")
    screen.console().print(f"  {repaired.command}", markup=False, soft_wrap=True)


def _findings(finished: Finished) -> None:
    """What is wrong with the run, in two lines a cause; nothing where all is well."""
    findings = finished.outcome.findings
    if not findings.causes:
        return
    screen.heading("Diagnosis")
    for line in brief_lines(findings, f"chainrule diagnose {finished.folder}"):
        screen.paragraph(rich_text([line], wrap=True))


def one_line(finished: Finished) -> None:
    """The result and the folder."""
    outcome = finished.outcome
    value = metric(outcome.main, outcome.network_score.metrics[outcome.main])
    where = f"on {outcome.rows['test']:,} rows kept aside; {finished.folder}"
    screen.print_plain(f"{metric_name(outcome.main)} {value} {where}\n")


def document(finished: Finished) -> dict[str, Any]:
    """The outcome as values for JSON, with the paths of the files."""
    outcome = finished.outcome
    values = {
        field.name: getattr(outcome, field.name)
        for field in dataclasses.fields(outcome)
        if field.name not in ("history", "repair")
    }
    plain_values = {name: _plain(value) for name, value in values.items()}
    plain_values["settings"] = {
        flag: {"value": value, "chosen_by": why} for flag, (value, why) in outcome.settings.items()
    }
    history = outcome.history
    plain_values["epochs"] = [
        {name: value if math.isfinite(value) else None for name, value in row.items()} for row in history
    ]
    plain_values |= {"best_epoch": history.best_epoch, "stopped": history.stopped}
    if outcome.repair is not None:
        plain_values["repair"] = outcome.repair.to_dict()
    files = {name: str(finished.folder / name) for name in (MODEL, HISTORY, RUN, REPORT)}
    return plain_values | {"folder": str(finished.folder), "files": files}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
