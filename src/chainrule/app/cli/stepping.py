"""What `chainrule explain` says: the rows in the user's words, then the step; as text, page, formulas and JSON."""

import dataclasses
import math
from typing import Any

import numpy as np

from chainrule.app.cli import screen
from chainrule.app.cli.questions import Answers
from chainrule.app.jobs.explaining import Cell, Example, Explained
from chainrule.app.report.markup import plain, text
from chainrule.errors import ArgumentError
from chainrule.look.explaining import page as pages
from chainrule.look.explaining.figures import WHOLE, place, short, signed
from chainrule.look.explaining.latex import too_large
from chainrule.look.explaining.lines import WIDTH, Line, cut, heading, rich_text
from chainrule.look.explaining.sensitivity import Sensitivity
from chainrule.look.explaining.terminal import explanation_lines, tensor_line
from chainrule.look.explaining.tree_page import adds, examples_fragment, greatest, tree_fragment
from chainrule.look.explaining.views import examples_lines, tree_lines

MOST_CELLS, MOST_ROWS, MOST_INPUTS, MOST_CLASSES, MOST_PICTURES = 12, 8, 12, 3, 12
MOST_INPUTS_OF_MANY = 4  # where several rows are shown
LARGEST = 400  # elements of a gradient that are shown one by one
BAR = 16


def show(found: Explained, answers: Answers) -> None:
    """Print the rows, and what was asked; the four phases where nothing was."""
    lines = rows_lines(found)
    if not answers.are_there:
        lines += [[], *explanation_lines(found.step)]
    if answers.path is not None:
        lines += [[], *tree_lines(answers.path)]
    if answers.examples is not None:
        lines += [[], *examples_lines(answers.examples)]
    if answers.gradient is not None:
        lines += [[], *gradient_lines(*answers.gradient)]
    if answers.sensitivity is not None:
        lines += [[], *sensitivity_lines(found, answers.sensitivity)]
    screen.console().print(rich_text(lines))


# --- The rows ----------------------------------------------------------------------------------------------------


def rows_lines(found: Explained) -> list[Line]:
    """One row with its cells, or several as a table."""
    if len(found.examples) == 1:
        return _one_row(found, found.examples[0])
    lines: list[Line] = [[(f"{len(found.examples)} rows", "title"), (f"  {plain(found.target, 30)}", "still")]]
    for each in found.examples[:MOST_ROWS]:
        where = _tail(each.where.partition(" of ")[0], 16)
        lines.append(_within([(f"  row {each.row:<7,} ", "title"), (f"{where:<10}  ", "still"), *_verdict(each)]))
    more = len(found.examples) - MOST_ROWS
    return [*lines, [(f"  … and {more:,} more", "still")]] if more > 0 else lines


def _tail(where: str, width: int) -> str:
    return where if len(where) <= width else "…" + where[1 - width :]


def _within(line: Line, width: int = WIDTH) -> Line:
    """The line without what goes beyond the page."""
    kept: Line = []
    for piece, style in line:
        room = width - sum(len(each) for each, _ in kept)
        if room > 0:
            kept.append((cut(piece, room), style))
    return kept


def _one_row(found: Explained, example: Example) -> list[Line]:
    where = f"  {_tail(example.where, 60)}" if example.where else ""
    lines: list[Line] = [[(f"Row {example.row:,}", "title"), (where, "still")]]
    lines.append(_within([(f"  {plain(found.target, 24)}: ", ""), *_verdict(example)]))
    if example.cells:
        lines.append([(f"  {'column':<24}{'in the data':<16}what the network gets", "still")])
    for cell in example.cells[:MOST_CELLS]:
        row = f"  {cut(plain(cell.column), 22):<24}{cut(plain(cell.written), 14):<16}"
        lines.append([(row, ""), (cut(_inputs_text(cell), 38), "forward")])
    more = len(example.cells) - MOST_CELLS
    return [*lines, [(f"  … and {more:,} columns more", "still")]] if more > 0 else lines


def _inputs_text(cell: Cell) -> str:
    """One input as a number; of several those that are not 0, without the name of the column."""
    if len(cell.inputs) == 1:
        return short(cell.inputs[0][1])
    alive = [(name.removeprefix(cell.column).removeprefix("="), value) for name, value in cell.inputs if value]
    shown = (f"{plain(name, 20)} {short(value)}" if name else short(value) for name, value in alive)
    return ", ".join(shown) or "0 everywhere"


def _verdict(example: Example) -> Line:
    """The answer beside what the network says."""
    said = _shares(example) or plain(example.guess, 20)
    if not example.likely:
        return [(plain(example.answer, 20), "title"), ("; the network says ", ""), (said, "forward")]
    sign, style = ("✓", "good") if example.answer == example.guess else ("✗", "bad")
    return [(plain(example.answer, 16), "title"), (f" {sign} ", style), ("network ", "still"), (said, "forward")]


def _shares(example: Example) -> str:
    return ", ".join(f"{plain(name, 14)} {share:.1%}" for name, share in example.likely[:MOST_CLASSES] if share > 5e-4)


# --- Answers -----------------------------------------------------------------------------------------------------


def gradient_lines(name: str, gradient: Any) -> list[Line]:
    """A gradient in one line, and if it is not large, all its numbers."""
    lines = [heading("∂", f"loss/∂{name}", "back", "the gradient of the loss"), tensor_line(name, gradient, "back")]
    if WHOLE < gradient.size <= LARGEST:  # a smaller one stands in its line already
        written = np.array2string(gradient, max_line_width=76, precision=4, threshold=LARGEST + 1)
        lines += [[(f"  {line}", "")] for line in written.splitlines()]
    return lines


def sensitivity_lines(found: Explained, sensitivity: Sensitivity) -> list[Line]:
    """The inputs to which the loss reacts most, with bars."""
    lines = [heading("∂", "loss/∂x", "back", "which inputs the loss reacts to most")]
    for row in range(_shown(found)):
        if len(found.examples) > 1:
            lines.append([(f"  row {found.examples[row].row:,}", "title")])
        strongest = _strongest(found, sensitivity, row)
        most = greatest(value for _, value in strongest)
        for name, value in strongest:
            bar = "█" * max(1, round(BAR * abs(value) / most)) if value and math.isfinite(value) else ""
            style, way = _way(value)
            lines.append(
                [
                    (f"    {cut(name, 24):<25}", ""),
                    (f"{bar:<{BAR}} ", style),
                    (f"{signed(value):>9}  ", ""),
                    (way, "still"),
                ]
            )
    return lines


def _way(value: float) -> tuple[str, str]:
    """The style of a bar, and what more of that input does to the loss."""
    if not math.isfinite(value):
        return "bad", "not finite"
    if value == 0:
        return "still", "changes nothing"
    return ("back", "more of it: more loss") if value > 0 else ("forward", "more of it: less loss")


def _strongest(found: Explained, sensitivity: Sensitivity, row: int) -> list[tuple[str, float]]:
    """The inputs of a row that matter most, by name."""
    count = MOST_INPUTS if len(found.examples) == 1 else MOST_INPUTS_OF_MANY
    return [
        (plain(found.step.labels.input(index).strip('"') or f"x{place(index)}", 60), value)
        for index, value in sensitivity.strongest(count, row=row)
    ]


# --- Files -------------------------------------------------------------------------------------------------------


def page(found: Explained, answers: Answers) -> str:
    """One HTML page: rows, the four phases, and the answers to what was asked."""
    parts = [_rows_page(found)]
    if answers.path is not None:
        parts.append(tree_fragment(answers.path))
    if answers.examples is not None:
        parts.append(examples_fragment(answers.examples))
    if answers.gradient is not None:
        name, gradient = answers.gradient
        parts.append(pages.wrapped(pages.tensor(f"∂loss/∂{name}", gradient, "error")))
    if answers.sensitivity is not None:
        parts.append(_sensitivity_page(found, answers.sensitivity))
    title = f"{found.target}: one step on {_count(found)}"
    return pages.document(title, "\n".join([*parts, pages.fragment(found.step)]))


def _count(found: Explained) -> str:
    return f"row {found.examples[0].row}" if len(found.examples) == 1 else f"{len(found.examples)} rows"


def _rows_page(found: Explained) -> str:
    head = f"<h1>{text(_count(found).capitalize())}: <bdi>{text(found.target)}</bdi></h1>"
    shares = {each.row: _shares(each) for each in found.examples}
    rows = "".join(
        f"<tr><td>row {each.row}</td><td>{text(each.where, 200)}</td><td>{text(each.answer)}</td>"
        f'<td class="{"good" if each.answer == each.guess or not each.likely else "bad"}">{text(each.guess)}</td>'
        f"<td>{text(shares[each.row] or '–', 200)}</td></tr>"
        for each in found.examples[:200]
    )
    heads = "<tr><th>row</th><th>where</th><th>answer</th><th>the network</th><th>probabilities</th></tr>"
    table = f'<div class="scroll"><table class="t">{heads}{rows}</table></div>'
    cells = found.examples[0].cells if len(found.examples) == 1 else ()
    if cells:
        inside = "".join(
            f"<tr><td>{text(cell.column)}</td><td>{text(cell.written)}</td>"
            f"<td>{text(_inputs_text(cell), 300)}</td></tr>"
            for cell in cells
        )
        columns = f"<tr><th>column</th><th>in the data</th><th>what the network gets</th></tr>{inside}"
        table += (
            f"<details{' open' if len(cells) <= 2 * MOST_CELLS else ''}><summary>{len(cells)} columns</summary>"
            f'<div class="inside scroll"><table class="t">{columns}</table></div></details>'
        )
    return pages.wrapped(head + table)


def _sensitivity_page(found: Explained, sensitivity: Sensitivity) -> str:
    head = "<h1>Which inputs the loss reacts to</h1>"
    if found.size is None:
        return pages.wrapped(head + "".join(_strongest_page(found, sensitivity, row) for row in range(_shown(found))))
    figures = "".join(
        f'<figure><img alt="row {example.row}" src="{sensitivity.picture_link(row, found.size)}">'
        f"<figcaption>row {example.row}: {text(example.answer)}</figcaption></figure>"
        for row, example in list(enumerate(found.examples))[:MOST_PICTURES]
    )
    note = '<p class="muted">orange: more of this pixel makes the loss larger; blue: smaller</p>'
    return pages.wrapped(head + note + figures)


def _shown(found: Explained) -> int:
    return min(len(found.examples), MOST_ROWS)


def _strongest_page(found: Explained, sensitivity: Sensitivity, row: int) -> str:
    strongest = _strongest(found, sensitivity, row)
    most = greatest(value for _, value in strongest)
    items = "".join(f'<li><div class="leaf">{text(name)}{adds(value, most)}</div></li>' for name, value in strongest)
    return f'<p class="muted">row {found.examples[row].row}</p><ul class="tree root">{items}</ul>'


def formulas(found: Explained, answers: Answers) -> str:
    """The step as LaTeX.

    Raises
    ------
    ArgumentError
        If the step does not fit on paper.
    """
    large = too_large(found.step)
    if large:
        raise ArgumentError(f"--latex is for small networks: {large}; --html FILE has no limit.")
    return found.step.to_latex()


def document(model: str, data: str, found: Explained, answers: Answers) -> dict[str, Any]:
    """Everything as values for JSON."""
    asked: dict[str, Any] = {}
    if answers.path is not None:
        asked["path"] = answers.path.to_dict()
    if answers.examples is not None:
        asked["examples"] = answers.examples.to_dict()
    if answers.gradient is not None:
        name, gradient = answers.gradient
        asked["gradient"] = {"of": name, "shape": list(gradient.shape), "values": gradient.tolist()}
    if answers.sensitivity is not None:
        asked["sensitivity"] = answers.sensitivity.gradient.tolist()
    labels = found.step.labels
    return {
        "model": model,
        "data": data,
        "target": found.target,
        "rows": [dataclasses.asdict(each) for each in found.examples],
        "inputs": list(labels.inputs),
        "outputs": list(labels.outputs),
        "step": found.step.to_dict(),
        "answers": asked,
        "notes": list(found.notes),
    }
