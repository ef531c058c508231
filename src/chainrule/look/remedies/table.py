"""Which remedies belong to which rule, the most likely first. What has none here needs somebody who knows the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chainrule.look.diagnosis.finding import Finding
from chainrule.look.remedies import inputs, layers, training, weights
from chainrule.look.remedies.loop import Change
from chainrule.look.remedies.way import Way

Remedy = Callable[[Way, Finding, int], Change[Way] | None]

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "data-not-finite": (inputs.fill_gaps,),
    "inputs-not-scaled": (inputs.standardise_inputs,),
    "label-out-of-range": (layers.fit_width,),
    "label-wrong-kind": (inputs.targets_in_kind,),
    "targets-not-scaled": (inputs.standardise_targets,),
    "output-width": (layers.fit_width,),
    "probabilities-before-logits": (layers.drop_last_activation,),
    "output-cannot-reach-targets": (layers.drop_last_activation,),
    "no-gradient": (weights.unfreeze,),
    "frozen-parameters": (weights.unfreeze,),
    "no-nonlinearity": (layers.activate_between,),
    "dropout-misplaced": (layers.less_dropout,),
    "batch-norm-tiny-batch": (training.balanced_batch, layers.layer_norm_instead),
    "network-size": (layers.fit_size, training.more_decay),
    "symmetric-weights": (weights.redraw,),
    "first-weights-scale": (weights.redraw,),
    "activations-shrink": (weights.redraw, layers.relu_instead, layers.normalise_between),
    "activations-grow": (weights.redraw, layers.normalise_between),
    "initial-loss-far-from-chance": (weights.redraw, training.clip),
    "weights-collapsed": (training.no_decay,),
    "learning-rate-too-high": (training.suggested_rate, training.smaller_rate),
    "vanishing-gradients": (layers.relu_instead, weights.redraw, layers.normalise_between),
    "exploding-gradients": (training.clip, weights.redraw, layers.normalise_between),
    "dead-relu": (weights.redraw, layers.leaky_instead),
    "saturated-units": (inputs.standardise_inputs, weights.redraw, layers.relu_instead),
    "learning-rate-too-low": (training.suggested_rate, training.larger_rate),
    "updates-too-large-or-small": (training.suggested_rate,),
    "batch-too-small": (training.balanced_batch,),
    "loss-not-finite": (training.smaller_rate, training.clip),
    "diverging-loss": (training.smaller_rate, training.clip),
    "oscillating-loss": (training.smaller_rate, training.larger_batch),
    "not-learning": (weights.redraw, training.larger_rate),
    "overfitting": (training.stop_at_best, layers.more_dropout, training.more_decay, layers.narrower),
    "underfitting": (training.no_decay, layers.less_dropout, layers.wider, training.longer, training.smaller_batch),
    "trained-too-long": (training.stop_at_best,),
    "stopped-too-early": (training.longer,),
}


def options(way: Way, finding: Finding, seed: int) -> Iterator[Change[Way]]:
    """The changes that may help against a finding, the most likely first; none where the network does not allow one."""
    for remedy in REMEDIES.get(finding.rule, ()):
        change = remedy(way, finding, seed)
        if change is not None:
            yield change
