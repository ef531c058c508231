"""`chainrule explain`: one training step of a saved network on rows of the user's data, taken apart."""

from typing import Annotated

import typer

from chainrule.app.cli import questions, screen, stepping
from chainrule.app.jobs.explaining import explain_rows
from chainrule.app.jobs.outputs import spare_inputs
from chainrule.train.storage import write_atomically

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

ROWS, QUESTIONS, STEP, OUTPUT = "Which rows", "What to ask; hides the four phases", "The step", "What comes out"
Weight = tuple[str, str]


def _option(name: str, metavar: str | None, panel: str, about: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(
        name, help=about, rich_help_panel=panel, metavar=metavar, show_default=False
    )
    return found


Model = Annotated[str, typer.Argument(help="The folder of a run, or its model.safetensors.", show_default=False)]
Data = Annotated[
    str, typer.Argument(help="Data with the target; for images a folder with a folder per class.", show_default=False)
]
Row = Annotated[
    list[int] | None,
    _option(
        "--row",
        "N",
        ROWS,
        "A row, counted from 0, or from the end: -1 is the last. May be given several times; default 0.",
    ),
]
Rows = Annotated[
    str | None,
    _option("--rows", "FROM:TO", ROWS, "Several rows as one batch: 0:8 are rows 0 to 7, -8: the last eight."),
]
Path = Annotated[
    Weight | None,
    _option(
        "--path", "WEIGHT I,J", QUESTIONS, "Why a gradient is what it is: 0.weight 3,5 (input 3 to unit 5), 0.bias 1."
    ),
]
Examples = Annotated[
    Weight | None,
    _option("--examples", "WEIGHT I,J", QUESTIONS, "Which rows of the batch pushed a weight, named as for --path."),
]
GradientOf = Annotated[
    str | None,
    _option("--gradient-of", "NAME", QUESTIONS, "The gradient of a parameter (0.weight), a layer (0), or the input x."),
]
Sensitivity = Annotated[bool, _option("--sensitivity", None, QUESTIONS, "Which inputs the loss reacts to most.")]
Check = Annotated[bool, _option("--check", None, STEP, "Put numeric gradients beside the exact ones.")]
Training = Annotated[bool, _option("--training", None, STEP, "With dropout, and batch statistics, as in training.")]
OptimizerName = Annotated[
    str | None, _option("--optimizer", "NAME", STEP, "sgd, adam, ...; default that of the run, at its first step.")
]
LearningRate = Annotated[
    float | None, _option("--learning-rate", "RATE", STEP, "Default that with which the run began.")
]
Html = Annotated[str | None, _option("--html", "FILE", OUTPUT, "Also write one HTML page.")]
Latex = Annotated[
    str | None, _option("--latex", "FILE", OUTPUT, "Also write the formulas with their numbers; for small networks.")
]
Json = Annotated[bool, _option("--json", None, OUTPUT, "Print one JSON document and nothing else.")]


@app.command()
def explain(
    model: Model,
    data: Data,
    row: Row = None,
    rows: Rows = None,
    path: Path = None,
    examples: Examples = None,
    gradient_of: GradientOf = None,
    sensitivity: Sensitivity = False,
    check: Check = False,
    training: Training = False,
    optimizer: OptimizerName = None,
    learning_rate: LearningRate = None,
    html: Html = None,
    latex: Latex = None,
    json: Json = False,
) -> None:
    """Take one training step apart: forward, loss, backpropagation, update.

    Shows what the network would learn from rows whose answers are known, number by number. Nothing changes: the model
    stays as it is. With a question it shows that answer and leaves the four phases out; a page has both.

    Layers are named by their place in the network, as the phases show them: 0 is the first, 0.weight its weight, 0.bias
    its bias. A weight has two places, I,J: from input I to unit J; a bias has one.

    [bold]chainrule explain runs/people people.csv --row 3[/bold]

    [bold]chainrule explain runs/people people.csv --rows 0:32 --path 0.weight 3,5[/bold]
    """
    spare_inputs({"--html": html, "--latex": latex}, data=data, model=model)
    asked = questions.Questions(path, examples, gradient_of, sensitivity)
    found = explain_rows(
        model, data, row or (), rows, optimizer=optimizer, rate=learning_rate, training=training, check=check
    )
    answers = questions.answered(asked, found)
    wanted = ((html, stepping.page), (latex, stepping.formulas))
    written = {file: text(found, answers) for file, text in wanted if file is not None}
    for file, content in written.items():  # only when all of them could be made
        write_atomically(file, content.encode(errors="replace"))
    if json:
        screen.print_json(stepping.document(model, data, found, answers))
        return
    for note in found.notes:
        screen.remark(note)
    stepping.show(found, answers)
    for file in written:
        screen.remark(f"written to {file}.")
