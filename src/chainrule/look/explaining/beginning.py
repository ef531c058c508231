"""Where a step went wrong whose loss or gradient is not finite, in one paragraph.

Comes in: the step as it was explained. Goes out: the first op that made such a number with its layer and example, as
training names it; where the step cannot be traced, the first layer that produced one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.tensor import asarray
from chainrule.look.explaining.labels import Labels
from chainrule.look.explaining.story import LayerStory
from chainrule.look.explaining.update import _copied
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer
from chainrule.train.nonfinite import culprit_of

Array = np.ndarray[Any, Any]


def beginning_of(
    net: Module,
    loss: Loss,
    optimizer: Optimizer,
    batch: tuple[Array, Array],
    stories: Sequence[LayerStory],
    labels: Labels,
) -> str:
    """Which number was the first that is not finite; for a step of which it is known that there is one."""
    inputs, targets = batch
    found = culprit_of(net, loss.function, _copied(optimizer), (asarray(inputs), asarray(targets)))
    if found is None:
        return _by_layers(inputs, stories)
    called = "" if found.example is None else labels.example(found.example)
    named = f" Example {found.example} is {called}." if found.example is not None and labels.examples else ""
    return f"{found.result[:1].upper()}{found.result[1:]}. {found}{named}"


def _by_layers(inputs: Array, stories: Sequence[LayerStory]) -> str:
    """The same from the values between layers, where the step cannot be run op by op."""
    if not np.isfinite(inputs).all():
        return "The loss or a gradient is not finite: x itself holds numbers that are not."
    for story in stories:
        for each in story.parameters:
            if not np.isfinite(each.value).all():
                return f'The loss or a gradient is not finite: the parameter "{each.name}" itself holds such numbers.'
        if not all(np.isfinite(each.value).all() for each in story.produced):
            return f"The loss or a gradient is not finite: it began at {story.label} ({story.kind})."
    return "A gradient is not finite, although every number of the forward pass is."
