"""The main job: from data to a trained network, its scores beside honest rivals, and the folder of the run.

Comes in: `Flags`. Goes out: an `Outcome` and the files. Nothing here prints: the caller is told of each stage by a
function and shows what it likes.
"""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

import chainrule.app.jobs.flags as asked
from chainrule.app.jobs import baselines, judge
from chainrule.app.jobs.answers import scored
from chainrule.app.jobs.choices import Choices, build, decide, flags_of, optimizer_for
from chainrule.app.jobs.diagnosing import diagnose_training
from chainrule.app.jobs.failure import in_words_of_flags
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.importance import importances
from chainrule.app.jobs.lesson import Lesson, prepare
from chainrule.app.jobs.outcome import Outcome, Repaired
from chainrule.app.jobs.outputs import spare_inputs
from chainrule.app.jobs.repairing import ATTEMPTS, mend
from chainrule.app.jobs.runs import FILES, REPORT, clear, opened_folder, save_model, save_run
from chainrule.app.jobs.source import open_source
from chainrule.app.report.html import render
from chainrule.errors import ArgumentError, NonFiniteError
from chainrule.look.diagnosis.finding import Findings
from chainrule.look.remedies.loop import Trial
from chainrule.nn.module import Module
from chainrule.train.callbacks import Callback, EarlyStopping
from chainrule.train.evaluation import predict
from chainrule.train.fit import fit
from chainrule.train.history import History
from chainrule.train.storage import write_atomically
from chainrule.train.trainer import Trainer

SECONDS_BETWEEN_SAVES = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to be trained: the lesson, the choices, the network, and where the run is kept."""

    lesson: Lesson
    choices: Choices
    net: Module
    folder: Path

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.value.size for parameter in self.net.parameters())


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over: what happened, and the folder that holds it."""

    outcome: Outcome
    folder: Path


class KeepBest(Callback):
    """Writes the model of the best epoch while the run goes on, so that not even a power cut loses it.

    At most one model every two seconds, so that small networks do not spend their time on writing.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.has_written = False
        self._written = time.monotonic()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the model if it is the best so far."""
        now = time.monotonic()
        if trainer.history.best_epoch == trainer.epoch and now - self._written >= SECONDS_BETWEEN_SAVES:
            save_model(self.plan.folder, trainer.net, self.plan.lesson.schema, self.plan.choices.answers)
            self._written, self.has_written = now, True


def train(
    flags: Flags,
    *,
    begin: Callable[[Plan], None] = lambda plan: None,
    callbacks: Sequence[Callback] = (),
    repair: Callable[[Trial], None] | None = None,
    attempts: int = ATTEMPTS,
    overwrite: bool = False,
) -> Finished:
    """Train a network on the user's data.

    Parameters
    ----------
    flags
        What the user asked for.
    begin
        Called when everything is decided and the first step comes next.
    callbacks
        For `fit`, such as a display of the progress.
    repair
        Hears of each change that was tried to make the run better; None tries none.
    attempts
        How many changes a repair tries at most.
    overwrite
        Whether a run that is in the folder of `flags.output` is replaced; it goes when the first step comes next.

    Returns
    -------
    Finished
        The outcome, and the folder with model, history and report. After Ctrl-C it is the best network so far, and
        `outcome.interrupted` is true.

    Raises
    ------
    ChainruleError
        If the data or a flag is wrong, training breaks down, or the folder cannot be written or holds a run already.
    """
    asked.check(flags)
    if attempts < 0:
        raise ArgumentError(f"--attempts must be a whole number from 0, but is {attempts}.")
    if flags.output is not None:
        for name in FILES:
            spare_inputs({"--output": Path(flags.output) / name}, data=flags.data)
    with opened_folder(flags.output, flags.data, overwrite) as folder:
        lesson = prepare(open_source(flags.data), flags)
        choices = decide(flags, lesson)
        plan = Plan(lesson, choices, build(choices, lesson), folder)
        begin(plan)
        clear(folder)
        began = time.perf_counter()
        best, repaired = KeepBest(plan), None
        try:
            if repair is None:
                history = _learn(plan, [best, *callbacks])
            else:
                plan, history, repaired = _repaired(flags, plan, [best, *callbacks], repair, attempts)
        except NonFiniteError as error:
            kept = folder if best.has_written else None
            found = diagnose_training(plan.net, lesson, choices, error.history or History(stopped="failed"))
            raise in_words_of_flags(error, lesson, choices, kept, found, was_repaired=repair is not None) from error
        seconds = time.perf_counter() - began
        save_model(folder, plan.net, lesson.schema, plan.choices.answers)
        findings = diagnose_training(plan.net, lesson, plan.choices, history)
        save_run(folder, flags_of(flags, plan.choices), history, findings)
        outcome = _judged(plan, history, seconds, repaired, findings)
        write_atomically(folder / REPORT, render(outcome).encode(errors="replace"))
    return Finished(outcome, folder)


def _learn(plan: Plan, callbacks: Sequence[Callback]) -> History:
    """The run itself; afterwards the network is that of its best epoch."""
    lesson, choices = plan.lesson, plan.choices
    return fit(
        plan.net,
        choices.answers.learned(lesson.training),
        loss=choices.answers.loss,
        optimizer=optimizer_for(choices, len(lesson.training)),
        epochs=choices.epochs,
        batch_size=choices.batch_size,
        validation=choices.answers.learned(lesson.validation),
        metrics=[scored(choices.answers, judge.main_metric(lesson.task))],
        seed=choices.seed,
        callbacks=[EarlyStopping(choices.patience), *callbacks],
        progress=False,
    )


def _repaired(
    flags: Flags, plan: Plan, callbacks: Sequence[Callback], told: Callable[[Trial], None], attempts: int
) -> tuple[Plan, History, Repaired]:
    """The best run that a repair came to; `callbacks` watch the first one."""
    watching = iter([callbacks])

    def learn(choices: Choices, net: Module, kept: Callback) -> History:
        return _learn(replace(plan, choices=choices, net=net), [kept, *next(watching, ())])

    best, repaired = mend(flags, plan.lesson, learn, told, attempts)
    return replace(plan, choices=best.choices, net=best.net), best.history, repaired


def _judged(plan: Plan, history: History, seconds: float, repaired: Repaired | None, findings: Findings) -> Outcome:
    """Everything that is worth knowing about the run, measured on the rows that were held out."""
    lesson, choices = plan.lesson, plan.choices
    likely, main = choices.answers.probabilities, judge.main_metric(lesson.task)
    scores = choices.answers.scores(predict(plan.net, lesson.test.X))
    network = judge.score("network", lesson, scores, lesson.test, likely=likely)
    rivals = baselines.rivals(lesson)
    return Outcome(
        data=lesson.data,
        kind=lesson.kind,
        task=lesson.task,
        target=lesson.target,
        rows=lesson.rows,
        network=str(plan.net),
        parameters=plan.parameters,
        settings=choices.settings(lesson),
        columns=lesson.columns,
        notes=lesson.notes,
        history=history,
        main=main,
        network_score=network,
        baselines=rivals,
        verdict=judge.verdict(network, rivals, main, len(lesson.test)),
        confusion=judge.confusion(lesson, scores),
        residuals=judge.residuals(lesson, scores),
        importance=importances(plan.net, lesson, choices.answers, choices.seed),
        mistakes=judge.mistakes(lesson, scores, likely=likely),
        findings=findings,
        seconds=seconds,
        interrupted=history.stopped == "interrupted" or (repaired is not None and repaired.stopped == "interrupted"),
        versions={"chainrule": version("chainrule"), "numpy": np.__version__, "Python": platform.python_version()},
        repair=repaired,
    )
