"""`chainrule diagnose`: says why a run did not learn, or what would make the next one better."""

from pathlib import Path
from typing import Annotated

import typer

from chainrule.app.cli import screen
from chainrule.app.jobs.diagnosing import Diagnosis, diagnose_run
from chainrule.app.jobs.outputs import spare_inputs
from chainrule.app.report.figures import count, plural
from chainrule.app.report.markup import plain
from chainrule.look.diagnosis.views import findings_lines, findings_page, page_of
from chainrule.look.explaining.lines import rich_text
from chainrule.train.storage import write_atomically

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def diagnose(
    run: Annotated[str, typer.Argument(help="The folder of a run.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled data to look at; by default what the run learned from.", show_default=False),
    ] = None,
    html: Annotated[
        str | None, typer.Option("--html", help="Also write one HTML page.", metavar="FILE", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Say why a run did not learn, or what would make the next one better.

    Asks about data, network and history of the run: what is wrong, where, with which numbers, and which flag of
    chainrule train changes it. Causes come before their symptoms. The status is 0, whatever is found.

    [bold]chainrule diagnose runs/people[/bold]
    """
    spare_inputs({"--html": html}, data=data or "", model=run)
    found = diagnose_run(run, data)
    if html is not None:
        spare_inputs({"--html": html}, data=found.data)  # which the run itself names
        page = findings_page(found.findings, f"Diagnosis of {run}", has_run=found.findings.has_run)
        write_atomically(html, page.encode(errors="replace"))
    if json:
        screen.print_json(document(run, found))
        return
    for note in found.notes:
        screen.remark(note)
    show(run, found)
    if html is not None:
        screen.remark(f"the page is in {html}.")


def show(run: str, found: Diagnosis) -> None:
    """What was looked at, then every finding."""
    from rich.text import Text

    name = plain(Path(found.data).name or found.data, 40)
    held = f", {count(found.held_out)} held out" if found.held_out else ""
    looked = f": {plural(found.epochs, 'epoch')}; {name}, {plural(found.rows, 'row')}{held}"
    screen.console().print(Text.assemble((plain(run, 60), "bold"), looked))
    screen.console().print()
    screen.console().print(rich_text(findings_lines(found.findings, pages=True, has_run=found.findings.has_run)))


def document(run: str, found: Diagnosis) -> dict[str, object]:
    """The diagnosis as values for JSON."""
    findings = [finding.to_dict() | {"page": page_of(finding)} for finding in found.findings]
    seen = {"data": found.data, "rows": found.rows, "held_out": found.held_out, "epochs": found.epochs}
    return {"run": run, **seen, "notes": list(found.notes), "findings": findings}
