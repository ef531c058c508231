"""`chainrule datasets`: the built-in data sets, listed, shown, and copied as CSV to open and change."""

from typing import Annotated

import typer

from chainrule.app.cli import screen
from chainrule.app.jobs.source import table
from chainrule.app.report.figures import count
from chainrule.app.report.markup import plain
from chainrule.data import builtin

app = typer.Typer(add_completion=False, rich_markup_mode="rich", help="The built-in data sets: small, real, free.")

FIRST_ROWS = 5
MOST_COLUMNS = 6


def _facts(known: builtin.BuiltinSet) -> dict[str, object]:
    return {
        "name": known.name,
        "title": known.title,
        "task": known.task,
        "target": known.target,
        "rows": known.rows,
        "columns": known.columns,
        "classes": list(known.classes),
        "has_missing": known.has_missing,
        "licence": known.licence,
        "source": known.source,
        "about": known.about,
    }


@app.command("list")
def list_sets(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """List the sets."""
    if json:
        screen.print_json([_facts(known) for known in builtin.SETS])
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    heads = ("name", "rows", "columns", "learns", "what it is")
    grid.add_row(*(Text(head, "bold", justify="right" if head in ("rows", "columns") else "left") for head in heads))
    for known in builtin.SETS:
        learns = f"{known.target}: {len(known.classes)} classes" if known.classes else f"{known.target}: a number"
        numbers = (Text(count(number), justify="right") for number in (known.rows, known.columns))
        grid.add_row(Text(known.name, f"bold {screen.BLUE}"), *numbers, learns, Text(known.title))
    screen.console().print(grid)
    screen.console().print()
    screen.console().print("Next: chainrule datasets show NAME, or chainrule train NAME")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of a set.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a set is, where it comes from and under which licence, and show its first rows."""
    known = builtin.describe(name)
    frame = table(str(builtin.path(known.name))).frame
    first = frame.head(FIRST_ROWS)
    if json:
        screen.print_json(_facts(known) | {"column_names": frame.columns, "first_rows": first.rows()})
        return
    from rich.table import Table
    from rich.text import Text

    screen.console().print(Text(known.title, f"bold {screen.BLUE}"))
    screen.pairs(
        [
            ("", known.about),
            ("learns", f"{known.target}, {known.task}" + (f": {', '.join(known.classes)}" if known.classes else "")),
            ("size", f"{count(known.rows)} rows, {count(known.columns)} columns besides {known.target}"),
            ("missing", "some cells are empty" if known.has_missing else "none"),
            ("source", known.source),
            ("licence", known.licence),
        ]
    )
    names = [*[each for each in frame.columns if each != known.target][: MOST_COLUMNS - 1], known.target]
    screen.heading(f"First rows ({len(names)} of {frame.width} columns)")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(*(Text(plain(each, 16), "bold") for each in names))
    for row in first.select(names).rows():
        grid.add_row(*(Text("" if cell is None else plain(cell, 16)) for cell in row))
    screen.console().print(grid)
    screen.console().print()
    screen.console().print(f"Next: chainrule train {known.name}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The name of a set.", show_default=False)],
    output: Annotated[str, typer.Option("--output", help="The folder to write NAME.csv into.", metavar="FOLDER")] = ".",
) -> None:
    """Copy a set as a plain CSV file, to open and change it."""
    screen.print_plain(f"{builtin.fetch(name, output)}\n")
