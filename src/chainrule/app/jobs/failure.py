"""A run that broke down, in the words of the command line: rows by their lines, advice as flags.

Comes in: what `fit` raised, which speaks of Python. Goes out: the same error with another message.
"""

from pathlib import Path

from chainrule.app.jobs.choices import Choices
from chainrule.app.jobs.lesson import Lesson
from chainrule.errors import NonFiniteError
from chainrule.look.diagnosis.finding import Findings
from chainrule.train.advice import SLOWER
from chainrule.train.nonfinite import Culprit


def in_words_of_flags(
    error: NonFiniteError, lesson: Lesson, choices: Choices, kept: Path | None, found: Findings, *, was_repaired: bool
) -> NonFiniteError:
    """The error for somebody who gave flags.

    Parameters
    ----------
    error, lesson, choices
        What was raised, by a run on which data, with which settings.
    kept
        The folder that holds the best network so far, if one was written.
    found
        What the diagnosis says of the run, with advice as flags.
    was_repaired
        Whether a repair was asked for already, and came to no better end.
    """
    happened = str(error).partition(", so training stopped there")[0]
    saved = f"the best network so far is in {kept}" if kept is not None else "nothing was saved"
    slower = f"a smaller --learning-rate (it was {choices.learning_rate:g})"
    if not was_repaired:
        slower += ", or add --repair, which looks for one"
    culprit = error.culprit
    if not isinstance(culprit, Culprit):
        began, advice = "", f"Try {slower}, and look for extreme values in the data."
    else:
        began = f" {culprit.told(f'for {lesson.training.place(culprit.row)}' if culprit.row is not None else '')}"
        # advice about an op is about Python code, of which there is none here
        advice = culprit.advice.replace(SLOWER, slower) if "cr." not in culprit.advice else f"Use {slower}."
    cause = next((each for each in found.causes if each.rule != "loss-not-finite"), None)
    if cause is not None:
        place = "" if cause.rule == "learning-rate-too-high" else f", {cause.where}"
        advice += f" The diagnosis names {cause.rule}{place}: {cause.summary} Try {cause.advice}."
    message = f"{happened}, so training stopped there and {saved}.{began} {advice}"
    return NonFiniteError(message, culprit, error.step, error.epoch)
