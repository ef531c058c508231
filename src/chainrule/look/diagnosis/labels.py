"""Rules about the targets: whether they fit the loss, and whether the inputs tell anything of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.look.diagnosis.case import Case
from chainrule.look.diagnosis.extremes import STANDS, extreme_targets
from chainrule.look.diagnosis.probes import NEIGHBOURS, ROWS, standardised
from chainrule.look.diagnosis.registry import PROBING, Rule, Sign, Threshold, error, hint, warning

Array = np.ndarray[Any, Any]
IMBALANCE, SIGMAS, WRONG, GIVEN_AWAY, TARGET, TARGET_HINT = 10.0, 3.0, 0.1, 0.005, 100.0, 10.0
OTHER_CLASSES, OTHER_MEAN = 0.2, 1.0
_TRAINING = ("learning-rate-too-high", "exploding-gradients", "loss-not-finite", "diverging-loss", "not-learning")


def _out_of_range(case: Case) -> Iterator[Sign]:
    y, name = case.y, case.loss.name
    width = case.guess.shape[1] if case.guess.ndim == 2 else 1
    if name in ("cross_entropy", "hinge") and width > 1 and y.dtype.kind in "iu" and y.size == len(y):
        low, high = int(y.min()), int(y.max())
        starts_late = high >= width and low > 0 and high - low < width
        if low < 0 or starts_late:
            wrong = (y.reshape(-1) < 0) | (y.reshape(-1) >= width)
            advice = f"number the classes from 0: y = y - {low}" if high - low < width else "number the classes from 0"
            yield error(
                f"y, {case.named_row(int(np.argmax(wrong)))}",
                f"Classes are numbered {low} to {high}, but the network's {width} outputs stand for 0 to {width - 1}.",
                advice,
                wrong_labels=int(wrong.sum()),
                outputs=width,
            )
    bounds = {"binary_cross_entropy": (0, 1), "poisson": (0, math.inf), "kl_divergence": (0, 1)}.get(name)
    if bounds is not None and y.dtype.kind != "b":
        beyond = np.any(((y < bounds[0]) | (y > bounds[1])).reshape(len(y), -1), axis=1)
        if beyond.any():
            what = {"poisson": "counts from 0", "kl_divergence": "probabilities"}.get(name, "0, 1 or a probability")
            two = np.unique(y).size == 2
            advice = f"map your two classes to 0 and 1: y = y == {np.unique(y)[-1]}" if two else "check the column"
            yield error(
                f"y, {case.named_row(int(np.argmax(beyond)))}",
                f"{name} expects {what}, but y goes from {float(y.min()):g} to {float(y.max()):g}.",
                advice if name == "binary_cross_entropy" else "choose a loss for such targets: mean_squared_error",
                wrong_labels=int(beyond.sum()),
            )


def _wrong_kind(case: Case) -> Iterator[Sign]:
    y, loss = case.y, case.loss
    column = y.reshape(-1) if y.size == len(y) else None
    if loss.name in ("cross_entropy", "hinge") and y.dtype.kind == "f" and column is not None and case.guess.ndim == 2:
        if case.guess.shape[1] < 2:
            return
        whole = np.isfinite(column).all() and (column == np.round(column)).all()
        yield error(
            "y",
            f"{loss.name} expects class numbers (integers), but y holds {y.dtype.name}"
            + ("." if whole else " with fractions: this is a quantity, not a class."),
            "y = y.astype(int)" if whole else 'predict the number: loss="mean_squared_error" and one output',
            different_values=int(np.unique(column).size),
        )
    elif loss.name == "cross_entropy" and y.dtype.kind in "iub" and y.ndim == 2 and y.shape[1] > 1:
        yield error(
            "y",
            f"y has the shape {y.shape}, integers: one-hot rows, where cross_entropy expects one class number a row.",
            "y = y.argmax(axis=1)",
            columns=y.shape[1],
        )
    elif loss.kind == "regression" and loss.name != "poisson" and y.dtype.kind in "iubf" and column is not None:
        yield from _classes_as_quantities(loss.name, column)


def _classes_as_quantities(loss: str, column: Array) -> Iterator[Sign]:
    values = np.unique(column)
    if not 2 <= values.size <= 20 or not np.array_equal(values, np.arange(values.size)):
        return
    if len(column) < 5 * values.size:
        return
    binary = values.size == 2
    other = "binary_cross_entropy" if binary else f"cross_entropy and {values.size} outputs"
    if column.dtype.kind != "f":
        yield (hint if binary else warning)(
            "y",
            f"y numbers {values.size} classes, but {loss} treats them as quantities: 2 as twice 1.",
            f"train with {other}; if y is a quantity, make it float: y = y.astype(np.float32)",
            classes=int(values.size),
        )
    elif not binary:  # who wrote fractions may well mean quantities
        yield hint(
            "y",
            f"y holds only the numbers 0 to {values.size - 1}; if they number classes, {loss} treats them wrongly as "
            "quantities: 2 as twice 1.",
            f"train with {other} on y.astype(int); if y is a quantity, all is well",
            classes=int(values.size),
        )


def _constant(case: Case) -> Iterator[Sign]:
    y = case.sample[1]
    if case.loss.kind == "regression" and len(y) >= 8 and bool((y == y[0]).all()):
        yield error(
            "y",
            f"Every target is {_some(y[0])}: the best answer is always the same, and there is nothing to learn.",
            "check the target column, and how it was made",
            rows=len(y),
            value=float(y.reshape(-1)[0]),
        )


def _some(target: Array) -> str:
    return f"{target.reshape(-1)[0]:g}" if target.size == 1 else f"the same {target.size} numbers"


def _imbalance(case: Case) -> Iterator[Sign]:
    if case.classes is None or case.weighted or case.classes.size < 20 or case.classes.min() < 0:
        return
    counts = np.bincount(case.classes)
    present = counts[counts > 0]
    if present.size < 2:
        only = int(np.argmax(counts))
        yield error("y", f"Every row is of class {only}: there is nothing to tell apart.", "check the target column")
        return
    ratio = float(present.max() / present.min())
    if ratio >= IMBALANCE and case.loss.name != "hinge":
        rare = int(np.flatnonzero(counts == present.min())[0])
        yield warning(
            f"class {rare}",
            f"Class {rare} has {int(present.min()):,} rows, the largest {int(present.max()):,}: a network that never "
            f"says {rare} looks good.",
            "weigh rows: fit(..., sample_weights=(len(y) / np.bincount(y))[y]), and judge by metrics=['f1']",
            largest_by_smallest=ratio,
            share_of_largest=float(present.max() / present.sum()),
        )


def _scale_of_targets(case: Case) -> Iterator[Sign]:
    if case.loss.name not in ("mean_squared_error", "mean_absolute_error", "huber") or case.y.dtype.kind == "b":
        return
    y = case.sample[1].astype(np.float64).reshape(len(case.sample[1]), -1)
    if not len(y):
        return
    size, spread = float(np.sqrt((y**2).mean(axis=0)).max()), float(y.std(axis=0).max())
    too_small = spread > 0 and size < 1e-3
    if size < TARGET_HINT and not too_small:
        return
    sign = warning if size >= TARGET or too_small else hint
    yield sign(
        "y",
        f"Targets are about {size:.3g} in size, while a new network answers numbers about 1: the first steps only "
        "carry it there.",
        "learn (y - y.mean()) / y.std() and scale the answers back",
        mean=float(y.mean()),
        deviation=spread,
    )


def _moved_targets(case: Case) -> Iterator[Sign]:
    """Classes by their shares, numbers by their mean, both beyond what chance does to so few rows."""
    if case.validation is None or len(case.validation[1]) < 16 or len(case.sample[1]) < 16:
        return
    y, other, rows = case.sample[1], case.validation[1], len(case.validation[1])
    if case.classes is not None and other.shape[1:] == y.shape[1:]:
        known, values = (part.argmax(axis=1) if part.size > len(part) else part.reshape(-1) for part in (y, other))
        names = np.union1d(known, values)
        here, there = ((part[:, None] == names).mean(axis=0) for part in (known, values))
        by_chance = float(np.sqrt(2 * here * (1 - here) / (math.pi * rows)).sum()) / 2
        away = float(np.abs(here - there).sum()) / 2
        if away > OTHER_CLASSES + 2 * by_chance:
            most = int(np.argmax(np.abs(here - there)))
            yield _other_rows(
                f"class {names[most]:g}",
                f"Class {names[most]:g} is {here[most]:.0%} of the training rows and {there[most]:.0%} of those of "
                "validation",
                share_of_rows_that_differ=away,
            )
    elif case.loss.kind == "regression" and y.size == len(y) and other.size == rows and float(y.std()) > 0:
        away = abs(float(np.nanmean(other)) - float(y.mean())) / float(y.std())
        if away > OTHER_MEAN + 3 / math.sqrt(rows):
            yield _other_rows(
                "y",
                f"The targets of validation have the mean {float(np.nanmean(other)):.3g}, those of training "
                f"{float(y.mean()):.3g}",
                mean_away_in_deviations=away,
            )


def _other_rows(where: str, summary: str, **evidence: float) -> Sign:
    return warning(
        where,
        f"{summary}: validation asks for something else than what was learned.",
        "shuffle before you split: order = np.random.default_rng(0).permutation(len(y)); X, y = X[order], y[order]; or "
        "fit(..., validation=0.2)",
        **evidence,
    )


# --- Do the inputs tell the targets? -----------------------------------------------------------------------------


def _shuffled(case: Case) -> Iterator[Sign]:
    if case.generalised or case.told is None or len(case.told[0]) < 60 or case.probes is None:
        return
    near, lines = case.probes
    best = max(near, lines, key=lambda probe: probe.sigmas)
    if best.sigmas < SIGMAS:
        yield warning(
            "y",
            "Neither nearest neighbours nor a linear model tell the targets better than chance: rows of X and y seem "
            "not to belong together.",
            "shuffle both by one permutation, X, y = X[order], y[order], and check how they were joined",
            neighbours_score=near.score,
            linear_score=lines.score,
            constant_answer=best.blind,
            deviations_above_chance=best.sigmas,
        )


def _likely_wrong(case: Case) -> Iterator[Sign]:
    if case.told is None or len(case.told[0]) < 60 or not case.told[1]:
        return
    answers, classes = case.told
    counts = (answers[case.near][:, :, None] == np.arange(classes)).sum(axis=1)
    top, sure = counts.argmax(axis=1), counts.max(axis=1) >= math.ceil(0.6 * NEIGHBOURS)
    against = sure & (top != answers)
    by_class = [(top == c) & sure for c in range(classes)]
    shares = [float(against[c].mean()) for c in by_class if c.sum() >= 8]
    if len(shares) < 2 or sure.mean() < 0.5:
        return
    share = float(np.median(shares))
    if case.probes is not None and max(probe.score for probe in case.probes) > 1 - share:
        return  # of labels that are wrong in so many rows, nothing could tell more than the rest
    if min(shares) >= WRONG / 2 and share >= WRONG:
        yield warning(
            f"y, {case.named_row(case.row(int(np.argmax(against))))}",
            f"About {share:.0%} of the rows stand among rows of one other class, in every class alike: their "
            "labels are likely wrong.",
            "look at some of these rows; cr.losses.cross_entropy(..., label_smoothing=0.1) bears wrong labels better",
            rows_among_another_class=int(against.sum()),
            share=share,
        )


def _given_away(case: Case) -> Iterator[Sign]:
    if case.told is None or len(case.told[0]) <= 100 or not case.is_table or case.sample[0].shape[1] < 2:
        return
    rows, (answers, classes) = case.sample[0][:ROWS], case.told
    if classes:
        order = np.argsort(rows, axis=0, kind="stable")
        changes = (np.diff(answers[order], axis=0) != 0).sum(axis=0)
        pure = changes <= classes - 1 + 2 * int(GIVEN_AWAY * len(rows))
        score = 1 - np.maximum(changes - (classes - 1), 0) / len(rows)
    else:
        wide = standardised(np.column_stack([rows, answers]))
        score = np.abs(wide[:, :-1].T @ wide[:, -1]) / len(rows)
        pure = score > 0.999
    varied = rows.std(axis=0) > 0
    for place in np.flatnonzero(pure & varied)[:3]:
        yield warning(
            case.column(int(place)),
            "This column alone gives the target away"
            + ("; it may have been made from it." if classes else " as it is."),
            f"if it is not known before the answer is, drop it: X = np.delete(X, {int(place)}, axis=1)",
            **{"told_right" if classes else "correlation": float(score[place])},
        )


RULES = (
    Rule(
        "label-out-of-range",
        "Targets that the loss cannot take: classes below 0 or numbered from 1, probabilities above 1, counts below 0.",
        "The loss has no meaning for them, or refuses.",
        ("before",),
        _out_of_range,
        (Threshold(0, "such targets, at most", "the definition of the loss"),),
        ("output-width",),
    ),
    Rule(
        "label-wrong-kind",
        "Targets of another kind than the loss expects: fractions as classes, one-hot integers, classes as quantities.",
        "The loss then measures something else than the task.",
        ("before",),
        _wrong_kind,
        (Threshold(20, "different whole numbers that still look like classes", "ours"),),
        (
            "output-width",
            "output-cannot-reach-targets",
            "targets-not-scaled",
            "initial-loss-far-from-chance",
            "underfitting",
        ),
    ),
    Rule(
        "constant-target",
        "Targets of a regression that are all the same.",
        "The bias of the last layer alone is the answer; nothing is learned from the inputs.",
        ("before",),
        _constant,
        (Threshold(0, "difference between targets", "the definition"),),
        (
            "targets-not-scaled",
            "initial-loss-far-from-chance",
            "output-cannot-reach-targets",
            *_TRAINING,
            "learning-rate-too-low",
            "underfitting",
        ),
    ),
    Rule(
        "class-imbalance",
        "A class that is much rarer than another, without weights.",
        "Gradients of the frequent class drown those of the rare one.",
        ("before",),
        _imbalance,
        (Threshold(IMBALANCE, "largest by smallest class", "SageMaker Debugger, ClassImbalance threshold_imbalance"),),
    ),
    Rule(
        "validation-of-other-targets",
        "Validation rows of other classes, or with targets of another mean, than the training rows.",
        "A split of sorted rows: the network is asked about what it never saw.",
        ("before",),
        _moved_targets,
        (
            Threshold(OTHER_CLASSES, "share of the rows in other classes, beyond twice what chance does", "ours"),
            Threshold(OTHER_MEAN, "distance of the means in deviations, beyond three errors of the mean", "ours"),
        ),
        ("validation-scaled-otherwise", "output-width", "overfitting", "trained-too-long"),
    ),
    Rule(
        "extreme-targets",
        "Single targets of a regression that stand far from all others.",
        "A squared error counts one of them more than all other rows together.",
        ("before",),
        extreme_targets,
        (Threshold(STANDS, "distance from the median, by the largest usual one", "ours, by gaps as Dixon (1950)"),),
        (
            "targets-not-scaled",
            "initial-loss-far-from-chance",
            "labels-look-shuffled",
            *_TRAINING,
            "learning-rate-too-low",
            "underfitting",
            "overfitting",
            "oscillating-loss",
            "trained-too-long",
        ),
    ),
    Rule(
        "targets-not-scaled",
        "Targets of a regression that are far from size 1.",
        "Gradients are as large as the targets; a rate that suits the network is too small or too large for them.",
        ("before",),
        _scale_of_targets,
        (
            Threshold(TARGET, "root mean square, for a warning", "ours"),
            Threshold(TARGET_HINT, "root mean square, for a hint", "ours"),
        ),
        ("initial-loss-far-from-chance", *_TRAINING, "oscillating-loss", "learning-rate-too-low", "underfitting"),
    ),
    Rule(
        "target-given-away",
        "One column that alone tells the target.",
        "It is often the target in other words, and missing when the network is used.",
        ("before",),
        _given_away,
        (
            Threshold(GIVEN_AWAY, "share of rows that one column gets wrong", "ours; Kaufman et al., Leakage (2012)"),
            Threshold(0.999, "absolute correlation, for numbers", "ours"),
        ),
    ),
    Rule(
        "labels-look-shuffled",
        "Targets that have nothing to do with the inputs.",
        "A network can then only memorise; validation stays at chance.",
        ("before",),
        _shuffled,
        (Threshold(SIGMAS, "deviations above chance of the better of two probes", "Ojala and Garriga (2010)"),),
        ("labels-likely-wrong", "not-learning", "underfitting", "overfitting", "trained-too-long", "stopped-too-early"),
        cost=PROBING,
    ),
    Rule(
        "labels-likely-wrong",
        "Many rows whose label differs from that of their whole neighbourhood.",
        "The network learns the mistakes by heart (Zhang et al., 2017).",
        ("before",),
        _likely_wrong,
        (
            Threshold(
                WRONG, "share, the median over classes", "ours, after Northcutt et al., Confident Learning (2021)"
            ),
        ),
        ("overfitting", "trained-too-long"),
        cost=PROBING,
    ),
)
