"""The flags of `chainrule train`, each a declaration: its name, its type, what it does, and where the help shows it."""

from typing import Annotated

import typer

from chainrule.app.jobs.repairing import ATTEMPTS

DATA, NETWORK, LEARNING, OUTPUT = "What to learn", "The network", "How it learns", "What comes out"


def _option(name: str, metavar: str, panel: str, about: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(
        name, help=about, rich_help_panel=panel, metavar=metavar, show_default=False
    )
    return found


Data = Annotated[
    str,
    typer.Argument(
        help="A table (.csv, .tsv, .parquet, .jsonl, also .gz), a folder of images with a folder for each class, "
        "IDX files (MNIST), or a built-in set: see chainrule datasets list.",
        show_default=False,
    ),
]
Target = Annotated[str | None, _option("--target", "COLUMN", DATA, "The column to learn.")]
Task = Annotated[
    str | None, _option("--task", "TASK", DATA, "classification or regression; by default as the target looks.")
]
Ignore = Annotated[
    list[str] | None, _option("--ignore", "COLUMN", DATA, "A column to leave out; may be given several times.")
]
Weights = Annotated[str | None, _option("--weights", "COLUMN", DATA, "A column that says how much each row counts.")]
Validation = Annotated[
    float | None,
    _option("--validation", "SHARE", DATA, "Share of the rest to choose the best epoch by; default 0.2."),
]
Test = Annotated[
    float | None, _option("--test", "SHARE", DATA, "Share of the rows kept aside for the result; default 0.2.")
]
Hidden = Annotated[
    str | None, _option("--hidden", "WIDTHS", NETWORK, "Widths of the hidden layers, such as 128,64, or none.")
]
Activation = Annotated[
    str | None, _option("--activation", "NAME", NETWORK, "relu, gelu, silu, tanh, ...; default relu.")
]
Dropout = Annotated[
    float | None, _option("--dropout", "SHARE", NETWORK, "Share of each hidden layer that a step hides, below 1.")
]
Loss = Annotated[
    str | None,
    _option("--loss", "NAME", LEARNING, "cross_entropy, hinge, ... for classes; mse, mae, huber, poisson for numbers."),
]
OptimizerName = Annotated[
    str | None, _option("--optimizer", "NAME", LEARNING, "sgd, adagrad, rmsprop, adam or adamw; default adamw.")
]
LearningRate = Annotated[
    float | None, _option("--learning-rate", "RATE", LEARNING, "How large the corrections are, such as 0.001.")
]
ScheduleName = Annotated[
    str | None,
    _option("--schedule", "NAME", LEARNING, "How the rate moves: constant, cosine, one_cycle, plateau, ..."),
]
BatchSize = Annotated[int | None, _option("--batch-size", "ROWS", LEARNING, "Rows in a step.")]
Epochs = Annotated[int | None, _option("--epochs", "NUMBER", LEARNING, "Passes over the data, at most.")]
Patience = Annotated[
    int | None, _option("--patience", "NUMBER", LEARNING, "Epochs without progress after which to stop.")
]
Seed = Annotated[
    int | None, _option("--seed", "NUMBER", LEARNING, "The same number gives the same run, to the bit; default 0.")
]
Output = Annotated[
    str | None, _option("--output", "FOLDER", OUTPUT, "For model, history and report; default a new one, runs/NAME.")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace the run that is in that folder already; without it nothing is written over.",
        rich_help_panel=OUTPUT,
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Show every layer while it learns: gradients, updates, activations, with a sign where one is out of "
        "its healthy range. Where standard error is no terminal, once, at the end. The history keeps the figures.",
        rich_help_panel=OUTPUT,
    ),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Diagnose the run, change one flag at a time, train again, keep what measurably helps.",
        rich_help_panel=LEARNING,
    ),
]
Attempts = Annotated[
    int | None,
    _option("--attempts", "NUMBER", LEARNING, f"How many changes --repair tries at most; default {ATTEMPTS}."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the result, in one line.", rich_help_panel=OUTPUT)]
