"""`chainrule train --repair`: the loop of `cr.look.repair` over flags in place of networks.

Comes in: flags, the lesson, and how a run is made. Goes out: the best choices with their run, and everything that was
tried. The rows kept aside for the result have no part in it: the validation rows decide.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.app.jobs import judge
from chainrule.app.jobs.advising import with_flags
from chainrule.app.jobs.answers import scored
from chainrule.app.jobs.choices import Choices, build, decide, optimizer_for
from chainrule.app.jobs.diagnosing import as_written
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.lesson import Lesson
from chainrule.app.jobs.outcome import Repaired
from chainrule.app.jobs.remedies import command, options
from chainrule.data.schema import TableSchema
from chainrule.errors import ChainruleError
from chainrule.look.diagnosing import findings_about
from chainrule.look.diagnosis.finding import Finding, Findings
from chainrule.look.remedies.judging import Judge
from chainrule.look.remedies.loop import Change, Trial, ending, improve, together
from chainrule.look.remedies.way import KeepsHistory
from chainrule.nn.losses import get_loss
from chainrule.nn.module import Module
from chainrule.train.callbacks import Callback
from chainrule.train.evaluation import predict
from chainrule.train.history import History

Array = np.ndarray[Any, Any]
Learn = Callable[[Choices, Module, Callback], History]
ATTEMPTS = 8
CHANGED = ("hidden", "activation", "dropout", "optimizer", "learning_rate", "batch_size", "epochs", "patience")


@dataclass(frozen=True, slots=True)
class Trained:
    """A run with these choices: its network and history, what it answers to the validation rows, or why it failed."""

    choices: Choices
    net: Module
    history: History
    answers: Array | None
    failure: ChainruleError | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return self.history.stopped == "interrupted"


@dataclass(frozen=True, slots=True)
class Run:
    """What the loop asks about flags: how they are trained with, diagnosed, changed and judged."""

    lesson: Lesson
    learn: Learn

    def run(self, way: Flags, seed: int) -> Trained:
        """Decide, build and train."""
        choices = decide(replace(way, seed=seed), self.lesson)
        net, kept = build(choices, self.lesson), KeepsHistory()
        try:
            history = self.learn(choices, net, kept)
        except ChainruleError as error:
            return Trained(choices, net, kept.history or History(), None, error)
        return Trained(choices, net, history, predict(net, self.lesson.validation.X))

    def findings(self, way: Flags, run: Trained) -> Findings:
        """What is found of the network as it begins, and of its run.

        Raises
        ------
        ChainruleError
            If the run failed for a reason that no rule knows.
        """
        choices, lesson = run.choices, self.lesson
        held = choices.answers.learned(lesson.validation)
        names = lesson.schema.feature_names if isinstance(lesson.schema, TableSchema) else ()
        about: dict[str, Any] = {
            "feature_names": names,
            "loss": choices.answers.loss,
            "validation": held[:2],
            "batch_size": choices.batch_size,
            "names": (lesson.training.place, lesson.validation.place),
            "as_written": as_written(lesson.schema),
        }
        data = choices.answers.learned(lesson.training)
        optimizer = optimizer_for(choices, len(lesson.training))
        before = findings_about(build(choices, lesson), data, **about)
        after = findings_about(run.net, data, history=run.history, optimizer=optimizer, **about)
        found = with_flags(together(before, after), run.net, run.history)
        if run.failure is not None and not found.of("error") and not found.of("warning"):
            raise run.failure
        return found

    def options(self, way: Flags, finding: Finding) -> Iterator[Change[Flags]]:
        """The flags that may help."""
        return options(way, decide(way, self.lesson), finding)

    def settings(self, way: Flags) -> dict[str, Hashable]:
        """What the flags decide, or what is chosen where they are silent."""
        choices = decide(way, self.lesson)
        return {name: getattr(choices, name) for name in CHANGED}

    def judge(self, way: Flags) -> Judge:
        """By the loss and the main metric, on the validation rows."""
        answers = decide(way, self.lesson).answers
        _, y, *weights = answers.learned(self.lesson.validation)
        return Judge(get_loss(answers.loss), scored(answers, judge.main_metric(self.lesson.task)), y, *weights)


def mend(
    flags: Flags, lesson: Lesson, learn: Learn, told: Callable[[Trial], None], attempts: int
) -> tuple[Trained, Repaired]:
    """Train, change flags and train again, until nothing more helps.

    Parameters
    ----------
    flags, lesson
        What the user asked for, and what is learned.
    learn
        Trains a network with choices, and hangs in a callback.
    told
        Hears of each trial.
    attempts
        How many changes are tried at most.

    Raises
    ------
    ChainruleError
        If no run came to its end; what the last one said.
    """
    subject, seed = Run(lesson, learn), flags.seed or 0
    course = improve(subject, flags, attempts=attempts, seed=seed, told=told)
    if course.run.failure is not None:
        raise course.run.failure
    after = subject.judge(course.way).figures(course.run.answers)
    stopped = ending(subject, course, attempts)
    told_of = Repaired(tuple(course.trials), course.first, after, course.findings, stopped, command(course.way))
    return course.run, told_of
