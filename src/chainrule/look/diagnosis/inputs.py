"""Rules about the inputs: what a network cannot read, or reads badly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.look.diagnosis.case import Case
from chainrule.look.diagnosis.extremes import SPARSE, STANDS, extreme_inputs
from chainrule.look.diagnosis.registry import Rule, Sign, Threshold, error, hint, warning
from chainrule.look.diagnosis.repeats import by_chance
from chainrule.nn.embedding import EmbeddedColumns, Embedding

Array = np.ndarray[Any, Any]
_SCALE = "X = (X - mean) / deviation, both of the training rows alone; or begin the network with nn.BatchNorm"
LARGE, LARGE_HINT, SMALL, SMALL_HINT, UNEVEN = 20.0, 5.0, 0.01, 0.08, 100.0
SHARED, MOVED = 0.02, 3.0
FEW, SOME = 25, 50


def _too_few(case: Case) -> Iterator[Sign]:
    rows = case.rows + (0 if case.every_row[1] is None else len(case.every_row[1]))
    if rows >= SOME or _is_truth_table(case):
        return
    held = max(1, rows // 5)
    yield (warning if rows < FEW else hint)(
        "the data",
        f"There {'are' if rows > 1 else 'is'} only {rows} row{'s' if rows > 1 else ''} to learn from and to choose by: "
        f"a network learns them by heart, and of a fifth of them ({held}) even a score of 100% says little"
        + (f": by chance alone it comes up with a probability of {0.5**held:.0%}." if rows < FEW else "."),
        "more rows, some dozens for each class at least; until then a linear model, and every row held out once: "
        "sklearn.model_selection.LeaveOneOut",
        rows=rows,
        enough_for_a_network=SOME,
    )


def _is_truth_table(case: Case) -> bool:
    """Whether the columns take two values each and the rows are all their combinations: no other row is possible."""
    values = [np.unique(column).size for column in case.X.reshape(len(case.X), -1).T]
    return max(values) <= 2 and len(np.unique(case.X, axis=0)) == math.prod(values) > 1


def _not_finite(case: Case) -> Iterator[Sign]:
    held = [] if case.validation is None else list(zip("Xy", case.validation, strict=False))
    for name, array, is_held in (("X", case.X, False), ("y", case.y, False), *((*part, True) for part in held)):
        bad = ~np.isfinite(array)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            row, rows = case.named_row(place[0], held=is_held), int(bad.reshape(len(array), -1).any(axis=1).sum())
            of = "" if not is_held else " of validation" if case.numbers is None else " (held out for validation)"
            where = f"{name}{of}, {row}" if case.numbers is None else f"{name}, {row}{of}"
            yield error(
                where + (f", {case.column(_flat(case, place))}" if name == "X" else ""),
                f"{name}{of if case.numbers is None else ''} holds {array[place]} in {row} and {int(bad.sum()):,} "
                "such numbers in all: one is enough to turn "
                + ("its loss and the choice of the best epoch" if is_held else "every parameter")
                + " into NaN.",
                "fill them in, X = np.where(np.isfinite(X), X, np.nanmean(X, axis=0)), or drop those rows"
                if name == "X"
                else "drop those rows: known = np.isfinite(y); X, y = X[known], y[known]",
                rows=rows,
                share_of_rows=rows / len(array),
            )


def _flat(case: Case, place: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(place[1:], case.X.shape[1:])) if len(place) > 1 else 0


def _read_by_network(case: Case) -> tuple[Array, bool] | None:
    """The numbers that the first layer with weights reads, (rows, columns), and whether they are X itself."""
    for layer in case.layers:
        if isinstance(layer.module, Embedding | EmbeddedColumns):
            return None
        if any(parameter.ndim >= 2 for parameter in layer.module.parameters()):
            break
        if any(True for _ in layer.module.parameters()):  # a normalisation that learns
            return None
    else:
        return (case.sample[0], True) if case.is_numeric else None
    received = layer.received
    if received.dtype.kind != "f" or not received.size:
        return None
    is_x = received.size == case.batch[0].size and np.array_equal(received.ravel(), case.batch[0].ravel())
    return (case.sample[0] if is_x else received.reshape(len(received), -1)), is_x


def _not_scaled(case: Case) -> Iterator[Sign]:
    found = _read_by_network(case)
    if found is None or not found[0].size:
        return
    rows, is_x = found[0].astype(np.float64), found[1]
    size, spread = np.sqrt((rows**2).mean(axis=0)), rows.std(axis=0)
    varied = spread > 0
    if not varied.any():
        return
    largest, smallest = float(size[varied].max()), float(spread[varied].min())
    uneven = float(spread.max()) / smallest
    place = int(np.argmax(np.where(varied, size, 0)))
    where = case.column(place) if is_x and case.X.ndim == 2 else "X" if is_x else "what the first layer reads"
    evidence = {
        "largest_typical_size": largest,
        "largest_deviation": float(spread.max()),
        "smallest_deviation": smallest,
    }
    if largest >= LARGE or (uneven >= UNEVEN and largest >= LARGE_HINT) or largest <= SMALL:
        yield warning(
            where,
            "Inputs are far from the size 1 for which first weights and learning rates are made"
            + (f"; one column varies {uneven:,.0f} times as much as another." if uneven >= UNEVEN else "."),
            _SCALE,
            **evidence,
        )
    elif largest >= LARGE_HINT or largest <= SMALL_HINT:
        yield hint(
            where, "Inputs are not scaled to about size 1; learning is slower than it could be.", _SCALE, **evidence
        )


def looks_like_pixels(rows: Array) -> bool:
    """Whether columns are pixels: many, not negative, most with one common maximum. Borders may be blank then."""
    tops = rows.max(axis=0)
    return rows.shape[1] >= 16 and bool(rows.min() >= 0) and float(np.mean(tops == tops.max())) >= 0.3


def _constant(case: Case) -> Iterator[Sign]:
    rows = case.sample[0]
    if not case.is_table or len(rows) < 8 or looks_like_pixels(rows):
        return
    constant = np.flatnonzero((rows == rows[0]).all(axis=0))
    if constant.size:
        names = ", ".join(case.column(int(place)) for place in constant[:3])
        more = f" and {constant.size - 3} more" if constant.size > 3 else ""
        sign = warning if constant.size * 2 > rows.shape[1] else hint
        yield sign(
            f"{names}{more}",
            f"{constant.size} of {rows.shape[1]} columns always hold the same number and tell nothing.",
            "drop them: X = X[:, X.std(axis=0) > 0]",
            columns=int(constant.size),
            value=float(rows[0, constant[0]]),
        )


def _duplicate(case: Case) -> Iterator[Sign]:
    rows = case.sample[0]
    if not case.is_table or len(rows) < 16 or not 2 <= rows.shape[1] <= 512 or looks_like_pixels(rows):
        return
    wide = rows.astype(np.float64) - rows.mean(axis=0)
    length = np.linalg.norm(wide, axis=0)
    alive = np.flatnonzero(length > 0)
    unit = wide[:, alive] / length[alive]
    alike = np.triu(np.abs(unit.T @ unit) > 1 - 1e-9, 1)
    pairs = np.argwhere(alike)
    if len(pairs):
        first, second = (case.column(int(alive[place])) for place in pairs[0])
        yield hint(
            f"{first} and {second}",
            "One column says exactly what another says (scaled or shifted), which counts it twice.",
            f"keep one of them: X = np.delete(X, {int(alive[pairs[0][1]])}, axis=1)",
            pairs=len(pairs),
            correlation=1.0,
        )


def _shared_rows(case: Case) -> Iterator[Sign]:
    if case.validation is None or case.validation[0].shape[1:] != case.X.shape[1:] or not case.X[0].size:
        return
    own, held = case.keys or (np.empty(0), np.empty(0))
    shared = np.isin(held, own)
    repeated = 1 - len(np.unique(own)) / len(own)
    # Rows of few values repeat by themselves; where chance does not explain that, the file holds copies.
    natural = min(repeated, by_chance(case.sample[0])) if repeated else 0.0
    share = float(shared.mean())
    if share > SHARED + 2 * natural:
        yield warning(
            f"validation, {case.named_row(int(np.argmax(shared)), held=True, of_all=True)}",
            f"{share:.0%} of the validation rows are also in the training rows, so that validation praises memory.",
            "take each row once: first = np.unique(X, axis=0, return_index=True)[1]; X, y = X[first], y[first]; then "
            "split",
            shared_rows=int(shared.sum()),
            share=share,
            repeated_training_rows=repeated,
        )


def _moved_validation(case: Case) -> Iterator[Sign]:
    if case.validation is None or not case.is_numeric or case.validation[0].shape[1:] != case.X.shape[1:]:
        return
    rows, held = case.sample[0].astype(np.float64), case.validation[0].reshape(len(case.validation[0]), -1)
    held = held[np.isfinite(held).all(axis=1)]  # a gap is a finding of its own
    spread = rows.std(axis=0)
    # Of a rare mark, such as that of a missing cell, so few rows held out need not have one.
    alive = (spread > 0) & ((rows != np.median(rows, axis=0)).mean(axis=0) * len(held) >= 8)
    if not alive.any() or len(held) < 8:
        return
    away = np.abs(held.mean(axis=0) - rows.mean(axis=0))[alive] / spread[alive]
    wider = held.std(axis=0)[alive] / spread[alive]
    moved = (away > MOVED) | (wider > 10) | (wider < 0.1)
    if moved.mean() >= 0.25:
        place = int(np.flatnonzero(alive)[int(np.argmax(away))])
        yield warning(
            case.column(place),
            "The validation rows are not scaled as the training rows are: columns have another mean or width.",
            "scale both by the training rows: X_validation = (X_validation - X.mean(0)) / X.std(0)",
            columns=f"{int(moved.sum())} of {moved.size}",
            mean_away_in_deviations=float(away.max()),
            width_ratio=float(wider[int(np.argmax(np.abs(np.log(np.maximum(wider, 1e-12)))))]),
        )


_TRAINING = (
    "learning-rate-too-high",
    "initial-loss-far-from-chance",
    "activations-grow",
    "activations-shrink",
    "exploding-gradients",
    "vanishing-gradients",
    "dead-relu",
    "saturated-units",
    "loss-not-finite",
    "diverging-loss",
    "oscillating-loss",
    "not-learning",
    "underfitting",
)
RULES = (
    Rule(
        "too-few-rows",
        "Data of so few rows that nothing can be learned or measured by them.",
        "A network learns few rows by heart, and no result on a handful of rows differs from luck.",
        ("before",),
        _too_few,
        (
            Threshold(FEW, "rows, for a warning", "ours: that a fifth is all right is luck in over 1 of 20"),
            Threshold(SOME, "rows, for a hint", "scikit-learn, Choosing the right estimator (Pedregosa et al., 2011)"),
        ),
        ("network-size", "overfitting", "trained-too-long", "underfitting", "not-learning", "stopped-too-early"),
    ),
    Rule(
        "data-not-finite",
        "NaN or infinite numbers in inputs or targets.",
        "One of them makes the loss NaN, and the next step every parameter.",
        ("before",),
        _not_finite,
        (Threshold(0, "such numbers, at most", "UMLAUT (Schoop et al., 2021), NaN in input"),),
        _TRAINING,
    ),
    Rule(
        "extreme-inputs",
        "Single inputs far from all others of their column: misprints, other units, marks for what is missing.",
        "One row decides mean, deviation and steps; scaled by it, all other rows look the same.",
        ("before",),
        extreme_inputs,
        (
            Threshold(STANDS, "distance from the median, by the largest usual one", "ours, by gaps as Dixon (1950)"),
            Threshold(SPARSE, "the same of nearly constant columns, by a typical column", "ours"),
        ),
        ("inputs-not-scaled", "validation-scaled-otherwise", "overfitting", *_TRAINING),
    ),
    Rule(
        "inputs-not-scaled",
        "Inputs whose size is far from 1, or whose columns differ much in size.",
        "The loss is then steep in some directions and flat in others, and units saturate: no learning rate suits all.",
        ("before",),
        _not_scaled,
        (
            Threshold(LARGE, "root mean square of the largest column, for a warning", "ours; UMLAUT warns beyond 1"),
            Threshold(LARGE_HINT, "the same for a hint", "ours"),
            Threshold(SMALL, "root mean square of the largest column from below", "ours"),
            Threshold(UNEVEN, "greatest by smallest deviation of columns", "LeCun et al., Efficient BackProp (1998)"),
        ),
        _TRAINING,
    ),
    Rule(
        "constant-columns",
        "Columns that hold one value.",
        "They carry nothing, and a column that should vary but does not is often a mistake in reading the file.",
        ("before",),
        _constant,
        (Threshold(0.5, "share of columns from which it is a warning", "ours"),),
    ),
    Rule(
        "duplicate-columns",
        "Columns that repeat another one.",
        "What stands twice weighs twice, and explanations split between the two.",
        ("before",),
        _duplicate,
        (Threshold(1 - 1e-9, "absolute correlation of two columns", "ours"),),
    ),
    Rule(
        "validation-shares-rows",
        "Rows that stand in training and validation.",
        "Validation then measures what was memorised, and early stopping comes too late.",
        ("before",),
        _shared_rows,
        (Threshold(SHARED, "share of the validation rows, beyond twice what repeats by chance", "ours"),),
        ("labels-look-shuffled",),
    ),
    Rule(
        "validation-scaled-otherwise",
        "Validation rows whose columns have another mean or width than those of training.",
        "The network is asked about inputs that it never saw; validation says nothing of it.",
        ("before",),
        _moved_validation,
        (Threshold(MOVED, "distance of the means in deviations, in a quarter of the columns", "ours"),),
        ("overfitting", "trained-too-long"),
    ),
)
