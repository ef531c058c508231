"""`chainrule train`: reads the flags, tells what was decided, shows the run, and says how it went."""

import typer

from chainrule.app.cli import options, screen, telling
from chainrule.app.jobs import training
from chainrule.app.jobs.flags import Flags, read_widths
from chainrule.app.jobs.repairing import ATTEMPTS
from chainrule.errors import ArgumentError
from chainrule.look.watching.watch import Watch
from chainrule.train.progress import Progress

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

INTERRUPTED = 130


@app.command()
def train(
    data: options.Data,
    target: options.Target = None,
    task: options.Task = None,
    ignore: options.Ignore = None,
    weights: options.Weights = None,
    validation: options.Validation = None,
    test: options.Test = None,
    hidden: options.Hidden = None,
    activation: options.Activation = None,
    dropout: options.Dropout = None,
    loss: options.Loss = None,
    optimizer: options.OptimizerName = None,
    learning_rate: options.LearningRate = None,
    schedule: options.ScheduleName = None,
    batch_size: options.BatchSize = None,
    epochs: options.Epochs = None,
    patience: options.Patience = None,
    seed: options.Seed = None,
    repair: options.Repair = False,
    attempts: options.Attempts = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    watch: options.Watch = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn to predict a column of a table, or the class of images.

    Column kinds, network and settings are decided for you and printed; every decision has a flag. A part of the rows is
    kept aside: the result is measured on them, beside simpler methods that learned from the same rows. Ctrl-C stops in
    good order and keeps the best network so far.

    [bold]chainrule train digits[/bold]

    [bold]chainrule train people.csv --target income --ignore name --hidden 64,32[/bold]

    [bold]chainrule train digits --learning-rate 3 --repair[/bold]
    """
    flags = Flags(
        data=data,
        target=target,
        task=task,
        hidden=None if hidden is None else read_widths(hidden),
        activation=activation,
        dropout=dropout,
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience,
        validation=validation,
        test=test,
        seed=seed,
        ignore=tuple(ignore or ()),
        weights=weights,
        output=output,
    )
    _run(flags, json, quiet, watch, repair, attempts, overwrite)


def _run(
    flags: Flags, json: bool, quiet: bool, watch: bool, repair: bool, attempts: int | None, overwrite: bool
) -> None:
    """Train, and say what happened in the way that was asked for."""
    if attempts is not None and not repair:
        raise ArgumentError("--attempts says how many changes --repair tries: give --repair too.")
    silent = json or quiet
    watchers = [Watch(live=not silent)] if watch else []
    shown = silent or any(watcher.shows_progress() for watcher in watchers)
    finished = training.train(
        flags,
        begin=(lambda plan: None) if silent else telling.plan,
        callbacks=[*watchers, *([] if shown else [Progress()])],
        repair=None if not repair else telling.nothing if silent else telling.Trials(),
        attempts=ATTEMPTS if attempts is None else attempts,
        overwrite=overwrite,
    )
    if json:
        screen.print_json(telling.document(finished))
    elif quiet:
        telling.one_line(finished)
    else:
        telling.result(finished)
    if finished.outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
