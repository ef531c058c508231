"""`chainrule predict`: a trained network answers for new rows or images, as CSV or JSON."""

import csv
import io
from typing import Annotated

import typer

from chainrule.app.cli import screen
from chainrule.app.jobs.outputs import spare_inputs
from chainrule.app.jobs.runs import open_model
from chainrule.app.jobs.using import Predictions, predict_rows
from chainrule.train.storage import write_atomically

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="The folder of a run, or its model.safetensors.", show_default=False)],
    data: Annotated[
        str,
        typer.Argument(
            help="A table with the columns of training, in any order; for images a file or a folder.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None, typer.Option("--output", help="A CSV file to write; default the terminal.", metavar="FILE")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of CSV.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but the predictions.")] = False,
) -> None:
    """Let a trained network answer for new data.

    Writes one line for each row, in the order of the data: the prediction, and for classes the probability of each.
    Columns are matched by name; the target need not be there.

    [bold]chainrule predict runs/people new.csv --output answers.csv[/bold]
    """
    spare_inputs({"--output": output}, data=data, model=model)
    found = predict_rows(open_model(model), data)
    if not quiet:
        for note in found.notes:
            screen.remark(note)
    if json:
        names = found.header()
        rows = [dict(zip(names, row, strict=True)) for row in found.rows()]
        screen.print_json({"model": model, "data": data, "rows": len(rows), "predictions": rows})
        return
    text = as_csv(found)
    if output is None:
        screen.print_plain(text)
        return
    write_atomically(output, text.encode())
    if not quiet:
        screen.remark(f"{len(found.answers):,} predictions are in {output}.")


def as_csv(found: Predictions) -> str:
    """The predictions as CSV text with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found.header())
    for row in found.rows():
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
    return text.getvalue()
