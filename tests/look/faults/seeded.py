"""Seeded faults: each puts one mistake into a healthy problem, and names the rules that should find it.

A fault gets a problem, a way to build a network, and gives back what `diagnose` is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import chainrule as cr
from chainrule.look.diagnosis.rules import ALL as ALL
from look.faults.asking import Asked, Fault
from look.faults.in_data import (
    bytes_of_pixels,
    classes_as_quantities,
    classes_from_one,
    constant_column,
    few_rows,
    float_classes,
    given_away,
    marks_of_missing,
    minus_and_plus_one,
    missing_numbers,
    missing_targets,
    one_hot_integers,
    one_huge_column,
    one_target,
    one_wild_input,
    one_wild_target,
    rare_class,
    repeated_column,
    scaled_by_a_wild_input,
    shared_rows,
    shuffled,
    sorted_split,
    targets_of_thousands,
    unscaled,
    validation_unscaled,
    wrong_labels,
)
from look.faults.in_networks import (
    all_frozen,
    bias_before_norm,
    detached,
    dropout_at_the_end,
    dropout_out_of_reach,
    equal_weights,
    far_too_many_outputs,
    first_frozen,
    forgotten_eval,
    hidden_layer,
    huge_network,
    huge_weights,
    large_last_layer,
    layer_norm_at_the_end,
    many_sigmoids,
    no_activation,
    one_output,
    one_output_for_no_class,
    one_unit,
    relu_at_the_end,
    relu_logits,
    sigmoid_at_the_end,
    sigmoid_twice,
    softmax_twice,
    tanh_at_the_end,
    tiny_batches,
    tiny_weights,
    too_few_outputs,
    unused,
    zero_weights,
)
from look.faults.in_training import (
    began_large,
    began_small,
    blown_up,
    clipped,
    cut_short,
    dead_units,
    exploding,
    gone_on_too_long,
    held_down,
    jumping,
    learned_by_heart,
    rate_too_high,
    rate_too_low,
    saturated,
    seeds_apart,
    stuck,
    tiny_batch_noise,
    too_small,
    trained_with_high_rate,
    trained_with_low_rate,
    wrong_sign,
)
from look.faults.problems import Build, problem

TABLES = ("iris", "wine")
MANY = ("digits", "breast-cancer")
FAULTS = (
    Fault("raw columns", ("inputs-not-scaled",), unscaled, ("wine", "breast-cancer")),
    Fault("bytes of pixels", ("inputs-not-scaled",), bytes_of_pixels, ("digits", "iris")),
    Fault("one huge column", ("inputs-not-scaled",), one_huge_column, TABLES),
    Fault("NaN and infinity in X", ("data-not-finite",), missing_numbers, TABLES),
    Fault("NaN in y", ("data-not-finite",), missing_targets, ("diabetes", "wine")),
    Fault("one wild input", ("extreme-inputs",), one_wild_input, ("wine", "digits")),
    Fault("scaled with one wild input", ("extreme-inputs",), scaled_by_a_wild_input, ("wine", "breast-cancer")),
    Fault("-9999 marks what is missing", ("extreme-inputs",), marks_of_missing, ("wine", "diabetes")),
    Fault("one wild target", ("extreme-targets",), one_wild_target, ("diabetes", "penguins-mass")),
    Fault("few rows", ("too-few-rows",), few_rows, ("wine", "diabetes")),
    Fault("sorted before the split", ("validation-of-other-targets",), sorted_split, ("wine", "diabetes")),
    Fault("constant column", ("constant-columns",), constant_column, TABLES),
    Fault("repeated column", ("duplicate-columns",), repeated_column, TABLES),
    Fault("validation holds training rows", ("validation-shares-rows",), shared_rows),
    Fault("validation not scaled", ("validation-scaled-otherwise",), validation_unscaled, ("wine", "breast-cancer")),
    Fault("classes numbered from 1", ("label-out-of-range",), classes_from_one),
    Fault("classes -1 and 1", ("label-out-of-range",), minus_and_plus_one),
    Fault("classes as floats", ("label-wrong-kind",), float_classes),
    Fault("one-hot integers", ("label-wrong-kind",), one_hot_integers),
    Fault("classes as quantities", ("label-wrong-kind",), classes_as_quantities),
    Fault("one target everywhere", ("constant-target",), one_target, ("diabetes", "wine")),
    Fault("rare class", ("class-imbalance",), rare_class, ("digits", "wine")),
    Fault("column gives target away", ("target-given-away",), given_away, ("wine", "diabetes")),
    Fault("labels shuffled", ("labels-look-shuffled",), shuffled, ("digits", "diabetes")),
    Fault("a quarter of labels wrong", ("labels-likely-wrong",), wrong_labels, ("digits", "wine")),
    Fault("targets of thousands", ("targets-not-scaled",), targets_of_thousands, ("diabetes", "digits")),
    Fault("softmax before cross entropy", ("probabilities-before-logits",), softmax_twice),
    Fault("sigmoid before binary cross entropy", ("probabilities-before-logits",), sigmoid_twice),
    Fault("too few outputs", ("output-width",), too_few_outputs),
    Fault("one output for many classes", ("output-width",), one_output),
    Fault("twice too many outputs", ("output-width",), far_too_many_outputs, ("digits", "breast-cancer")),
    Fault("classes from 1, an output too many", ("output-width",), one_output_for_no_class),
    Fault("no activation", ("no-nonlinearity",), no_activation),
    Fault(
        "relu on a regression's output",
        ("output-cannot-reach-targets",),
        relu_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault(
        "tanh on a regression's output",
        ("output-cannot-reach-targets",),
        tanh_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault(
        "sigmoid on a regression's output",
        ("output-cannot-reach-targets",),
        sigmoid_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault(
        "layer norm on one output",
        ("output-cannot-reach-targets",),
        layer_norm_at_the_end,
        ("diabetes", "penguins-mass"),
    ),
    Fault("relu on logits", ("output-cannot-reach-targets",), relu_logits),
    Fault("gradient cut off", ("no-gradient",), detached),
    Fault("layer never called", ("no-gradient",), unused),
    Fault("everything frozen", ("no-gradient",), all_frozen),
    Fault("first layer frozen as drawn", ("frozen-parameters",), first_frozen),
    Fault("layer hidden in a function", ("hidden-parameters",), hidden_layer),
    Fault("dropout out of reach of eval", ("dropout-misplaced",), dropout_out_of_reach),
    Fault("one layer left in training", ("dropout-misplaced",), forgotten_eval),
    Fault("dropout on the output", ("dropout-misplaced",), dropout_at_the_end),
    Fault("batch norm on two rows", ("batch-norm-tiny-batch",), tiny_batches),
    Fault("bias before batch norm", ("bias-before-batch-norm",), bias_before_norm),
    Fault("hidden layer of one unit", ("network-size",), one_unit),
    Fault("huge network, few rows", ("network-size",), huge_network),
    Fault("zero weights", ("symmetric-weights",), zero_weights),
    Fault("equal weights", ("symmetric-weights",), equal_weights),
    Fault("weights 20 times too large", ("first-weights-scale", "activations-grow"), huge_weights),
    Fault("weights 200 times too small", ("first-weights-scale", "activations-shrink"), tiny_weights),
    Fault("last layer 15 times too large", ("initial-loss-far-from-chance",), large_last_layer),
    Fault("many sigmoids", ("vanishing-gradients", "activations-shrink"), many_sigmoids),
    Fault(
        "trained from small weights",
        ("activations-shrink", "first-weights-scale", "vanishing-gradients"),
        began_small,
    ),
    Fault("trained from large weights", ("activations-grow", "first-weights-scale"), began_large, ("digits", "wine")),
    Fault("rate too high", ("learning-rate-too-high", "updates-too-large-or-small"), rate_too_high),
    Fault("rate too low", ("learning-rate-too-low",), rate_too_low),
    Fault(
        "trained with too high a rate",
        ("learning-rate-too-high", "oscillating-loss", "diverging-loss"),
        trained_with_high_rate,
    ),
    Fault("trained with too low a rate", ("learning-rate-too-low",), trained_with_low_rate),
    Fault("blown up to NaN", ("learning-rate-too-high", "loss-not-finite"), blown_up, ("diabetes", "digits")),
    Fault("gradients clipped to nothing", ("updates-too-large-or-small",), clipped, ("digits", "wine")),
    Fault("loss with the wrong sign", ("diverging-loss",), wrong_sign),
    Fault("dead units", ("dead-relu",), dead_units),
    Fault("saturated units", ("saturated-units",), saturated),
    Fault("exploding gradients", ("exploding-gradients", "activations-grow", "first-weights-scale"), exploding),
    Fault("loss jumps", ("oscillating-loss",), jumping),
    Fault("inputs blanked out", ("not-learning",), stuck),
    Fault("batches of one", ("batch-too-small",), tiny_batch_noise, ("digits", "diabetes")),
    Fault("learned by heart", ("overfitting",), learned_by_heart, ("digits", "diabetes")),
    Fault("two units for ten classes", ("underfitting", "network-size"), too_small, ("digits", "small-digits")),
    Fault(
        "weight decay holds everything down",
        ("weights-collapsed", "underfitting", "not-learning"),
        held_down,
        ("digits", "wine"),
    ),
    Fault("cut short", ("stopped-too-early",), cut_short, ("digits", "breast-cancer")),
    Fault("went on too long", ("trained-too-long", "overfitting"), gone_on_too_long, ("digits", "diabetes")),
    Fault("seeds far apart", ("seeds-disagree",), seeds_apart, ("iris", "digits")),
)


@dataclass(frozen=True)
class Case:
    """One seeded network: a fault in one set and one architecture."""

    fault: Fault
    set: str
    build: Build

    @property
    def id(self) -> str:
        return f"{self.fault.name}-{self.set}-{self.build.__name__}".replace(" ", "_")

    def asked(self) -> Asked:
        cr.random.seed(7)
        return self.fault.seed(problem(self.set), self.build)


def cases() -> list[Case]:
    """Every fault in every of its sets and architectures, each once."""
    found = {
        (fault.name, name, build.__name__): Case(fault, name, build)
        for fault in FAULTS
        for name in fault.sets
        for build in fault.builds
    }
    return list(found.values())
