"""`chainrule evaluate`: how good a trained network is on data whose answers are known."""

from typing import Annotated

import typer

from chainrule.app.cli import screen
from chainrule.app.jobs.runs import open_model
from chainrule.app.jobs.using import Evaluation, evaluate_rows
from chainrule.app.report.figures import count, metric, metric_name, plural
from chainrule.train.metrics import METRICS

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

MOST_CLASSES = 12


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="The folder of a run, or its model.safetensors.", show_default=False)],
    data: Annotated[
        str,
        typer.Argument(help="Data with the target; for images a folder with a folder per class.", show_default=False),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the main figure.")] = False,
) -> None:
    """Measure a trained network on rows whose answers are known.

    Rows that the network learned from look better than new ones: measure on rows that it has not seen.

    [bold]chainrule evaluate runs/people people-2025.csv[/bold]
    """
    found = evaluate_rows(open_model(model), data)
    if json:
        screen.print_json({"model": model, "data": data, "rows": found.rows, "metrics": found.metrics})
        return
    if quiet:
        print(f"{found.metrics[found.main]:.6g}")
        return
    for note in found.notes:
        screen.remark(note)
    show(found)


def show(found: Evaluation) -> None:
    """The metrics with what they mean, and the confusion of classes."""
    from rich.table import Table
    from rich.text import Text

    screen.heading(f"{plural(found.rows, 'row')} measured")
    measured = Table.grid(padding=(0, 2, 0, 0))
    for name, value in found.metrics.items():
        about = f"{METRICS[name].about} ({METRICS[name].better} is better)"
        figure = Text(metric(name, value), "bold", justify="right", no_wrap=True)
        measured.add_row(Text(f"  {metric_name(name)}", no_wrap=True), figure, Text(about, screen.GREY))
    screen.console().print(measured)
    if found.confusion is None or len(found.confusion.classes) > MOST_CLASSES:
        return
    screen.heading("Rows by true class (down) and predicted class (across)")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row("", *(Text(screen.short(name), "bold", justify="right") for name in found.confusion.classes))
    for place, (name, row) in enumerate(zip(found.confusion.classes, found.confusion.counts, strict=True)):
        cells = [
            Text(
                count(number),
                screen.BLUE if column == place else (screen.ORANGE if number else screen.GREY),
                justify="right",
            )
            for column, number in enumerate(row)
        ]
        grid.add_row(Text(f"  {screen.short(name)}", "bold"), *cells)
    screen.console().print(grid)
