"""Rules about a run: what its losses say, epoch by epoch, and how it ended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from chainrule.look.diagnosis.case import JUMP, RISEN, RISES, Case
from chainrule.look.diagnosis.flow import may_be_faster
from chainrule.look.diagnosis.probes import ROWS, Probe
from chainrule.look.diagnosis.registry import PROBING, Rule, Sign, Threshold, error, hint, warning
from chainrule.train.evaluation import predict
from chainrule.train.history import History

LARGER_RATE = "a larger learning rate, "
STILL, OVER, GAP, LESS, SPREAD = 0.03, 0.1, 0.4, 0.05, 0.25


def _column(history: History, name: str) -> list[float]:
    return [row.get(name, math.nan) for row in history]


def _finite(values: list[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _not_finite(case: Case) -> Iterator[Sign]:
    assert case.history is not None
    losses = _column(case.history, "loss")
    broken = next((place for place, loss in enumerate(losses, 1) if not math.isfinite(loss)), None)
    if broken is not None or case.history.stopped == "failed":
        epoch = broken or len(losses) + 1
        yield error(
            f"epoch {epoch}",
            "The loss or a gradient became infinite or NaN, and the run ended there.",
            "a learning rate ten times smaller, clip_global_norm=1.0 in the optimizer, and inputs scaled to size 1",
            epochs_before=epoch - 1,
            last_finite_loss=case.losses[-1] if case.losses else math.nan,
        )


def _diverging(case: Case) -> Iterator[Sign]:
    losses = case.losses
    if len(losses) < 2:
        return
    falls = [before - after for before, after in itertools.pairwise(losses)]
    if len(falls) >= 3 and losses[-1] < -2 * abs(losses[0]) and falls[-1] >= falls[-2] >= falls[-3] > 0:
        yield error(
            f"epoch {len(losses)}",
            f"The loss is {losses[-1]:.3g}, below 0, and falls faster and faster: it has no floor.",
            "look at the sign in your loss: what is right must make it smaller, and nothing can be better than right",
            first=losses[0],
            last=losses[-1],
        )
        return
    if losses[-1] > RISEN * max(min(losses), case.much):
        yield error(
            f"epoch {len(losses)}",
            f"The training loss went up, from {min(losses):.3g} to {losses[-1]:.3g}"
            + (f"; the best constant answer has {case.chance:.3g}." if math.isfinite(case.chance) else "."),
            f"a learning rate ten times smaller{_rate(case)}",
            lowest=min(losses),
            last=losses[-1],
            chance=case.chance,
        )


def _rate(case: Case) -> str:
    return f": {case.rate / 10:g}" if case.rate is not None else ""


def _oscillating(case: Case) -> Iterator[Sign]:
    losses, turns = np.array(case.losses), case.turns
    if len(losses) >= 5 and turns.sum() >= max(2, RISES * len(losses)):
        yield warning(
            f"epoch {int(np.argmax(turns)) + 2}",
            f"The training loss turns up and down {int(turns.sum())} times by more than {JUMP:.0%} of the loss of a "
            "constant answer.",
            f"a learning rate ten times smaller{_rate(case)}, or larger batches",
            turns=int(turns.sum()),
            largest_jump=float(np.abs(np.diff(losses)).max()),
        )


def _not_learning(case: Case) -> Iterator[Sign]:
    losses = case.losses
    if len(losses) < 3 or not math.isfinite(case.chance) or case.chance <= 0:
        return
    tail = losses[-max(2, len(losses) // 2) :]
    if min(tail) > (1 - STILL) * case.chance and (tail[0] - tail[-1]) < STILL * tail[0]:
        yield warning(
            f"epochs {len(losses) - len(tail) + 1} to {len(losses)}",
            f"The training loss stays at {tail[-1]:.3g}, and an answer that ignores the inputs has {case.chance:.3g}: "
            "nothing was learned.",
            "try to learn 20 rows by heart, cr.fit(net, (X[:20], y[:20]), epochs=200); if that fails too, the network "
            "is at fault, else the data or the rate",
            loss=tail[-1],
            chance=case.chance,
            fall=(tail[0] - tail[-1]) / tail[0],
        )


def _underfitting(case: Case) -> Iterator[Sign]:
    """The network knows less of the rows that it was trained on than simple methods know of rows they have not seen."""
    losses = case.losses
    if len(losses) < 3 or _still_falling(losses, case.chance) or case.failure is not None or not case.guess.size:
        return
    own = None if case.told is None else _own_score(case)
    if own is None or own >= 1 - LESS or case.probes is None or case.told is None:
        return
    best, classes = max(case.probes, key=lambda probe: probe.score), case.told[1]
    if best.score > own + _margin(best, len(case.told[0])):
        yield warning(
            "the network",
            f"It gets {own:.0%} of its own training rows right; a simple method {best.score:.0%} of rows unseen."
            if classes
            else f"It explains {max(own, 0):.0%} of its own training targets; a simple method {best.score:.0%}.",
            f"more units or layers, {LARGER_RATE if may_be_faster(case) else ''}less dropout and weight_decay, "
            "more epochs",
            network_on_training_rows=own,
            simple_method=best.score,
            constant_answer=best.blind,
        )


def _margin(best: Probe, rows: int) -> float:
    return LESS + 2 * math.sqrt(max(best.score * (1 - best.score), 0.0) / rows)


def _own_score(case: Case) -> float | None:
    """Accuracy or R² of the network on the sample."""
    chosen = [case.row(place) for place in range(min(ROWS, len(case.sample[0])))]
    guess, y = predict(case.net, case.X[chosen]), case.y[chosen].reshape(-1)
    if case.classes is not None:
        if case.loss.name == "cross_entropy" and guess.ndim == 2 and guess.shape[1] > 1:
            return float((guess.argmax(axis=1) == y).mean())
        if guess.size == len(y):
            return float(((guess.reshape(-1) > 0) == (y > 0)).mean())
        return None
    if guess.size != len(y) or case.loss.name not in ("mean_squared_error", "mean_absolute_error", "huber"):
        return None
    wide = y.astype(np.float64)
    return 1 - float(((guess.reshape(-1) - wide) ** 2).mean() / max(wide.var(), 1e-300))


# --- Training and validation --------------------------------------------------------------------------------------


def _still_falling(losses: list[float], chance: float) -> bool:
    """Whether the last epochs still brought the loss down by a good part of what there is."""
    scale = chance if math.isfinite(chance) and chance > 0 else max(losses)
    return len(losses) >= 3 and losses[-3] - losses[-1] > STILL * scale and losses[-1] <= min(losses) + 1e-12


def _above(last: float, least: float) -> str:
    """How far a loss is above another, which may be 0."""
    return f"{last / least - 1:.0%} above" if least > 0 else f"{last - least:.3g} above"


def _overfitting(case: Case) -> Iterator[Sign]:
    assert case.history is not None
    train, held = _column(case.history, "loss"), _column(case.history, "validation_loss")
    pairs = [(a, b) for a, b in zip(train, held, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(pairs) < 3:
        return
    best = min(range(len(pairs)), key=lambda place: pairs[place][1])
    # After early stopping the network is that of the best epoch; what came later is undone.
    last_kept = pairs[best] if case.history.stopped == "early stopping" else pairs[-1]
    (own, last), (own_then, least) = last_kept, pairs[best]
    scale = case.chance if math.isfinite(case.chance) and case.chance > 0 else max(train)
    rose = last > (1 + OVER) * least and last - least > 0.08 * scale and own < own_then
    gap = last - own > GAP * scale and own < 0.5 * scale
    if rose or gap:
        yield warning(
            f"epoch {best + 1 if rose or last_kept is pairs[best] else len(pairs)}",
            f"Training loss is {own:.3g}, validation loss {last:.3g}"
            + (f", {_above(last, least)} its best in epoch {best + 1}" if rose else "")
            + ": the network learns its rows by heart.",
            "more rows, patience=10, nn.Dropout(0.3), weight_decay=1e-2 with AdamW, or fewer units",
            training_loss=own,
            validation_loss=last,
            best_validation_loss=least,
            best_epoch=best + 1,
        )


def _too_long(case: Case) -> Iterator[Sign]:
    assert case.history is not None
    held = _finite(_column(case.history, "validation_loss"))
    if len(held) < 6 or case.history.stopped == "early stopping":
        return
    best = held.index(min(held)) + 1
    if best <= 0.6 * len(held) and held[-1] > (1 + OVER) * min(held):
        yield hint(
            f"epoch {best}",
            f"Validation was best in epoch {best} of {len(held)}; it ended {_above(held[-1], min(held))} that.",
            "patience=5 in fit: it stops there and keeps the best parameters",
            best_epoch=best,
            epochs=len(held),
        )


def _too_early(case: Case) -> Iterator[Sign]:
    assert case.history is not None
    monitored = _finite(_column(case.history, case.history.monitored))
    if case.history.stopped not in ("epochs", "interrupted", "") or len(monitored) < 3:
        return
    if _still_falling(monitored, case.chance):
        fall = (monitored[-3] - monitored[-1]) / 2
        yield hint(
            f"epoch {len(monitored)}",
            f"The loss was still falling by {fall:.3g} an epoch when training ended.",
            f"epochs={3 * len(monitored)}, with patience=5",
            last_loss=monitored[-1],
            fall_in_an_epoch=fall,
        )


def _seeds(case: Case) -> Iterator[Sign]:
    if len(case.runs) < 3:
        return
    ends = [_finite(_column(run, run.monitored))[-1:] for run in case.runs]
    last = np.array([value for end in ends for value in end])
    if len(last) < 3:
        return
    scale = case.chance if math.isfinite(case.chance) and case.chance > 0 else float(np.abs(last).max())
    spread = float(last.std(ddof=1))
    failed = len(case.runs) - len(last)
    if failed or spread > SPREAD * scale:
        yield warning(
            f"{len(case.runs)} runs",
            f"Runs with different seeds end between {last.min():.3g} and {last.max():.3g}: one run says little.",
            "a smaller learning rate, a warm-up, larger batches; report the mean and spread of 5 seeds",
            deviation=spread,
            lowest=float(last.min()),
            highest=float(last.max()),
        )


RULES = (
    Rule(
        "loss-not-finite",
        "A run that ended because loss or gradient was NaN or infinite.",
        "After it nothing can be learned.",
        ("during",),
        _not_finite,
        (
            Threshold(
                0, "such epochs, at most", "SageMaker Debugger, ExplodingTensor; DeepLocalize (2021); UMLAUT (2021)"
            ),
        ),
    ),
    Rule(
        "diverging-loss",
        "A training loss that goes up, or falls faster and faster below 0.",
        "Every step makes it worse: it leaps over the valley, or there is none.",
        ("during",),
        _diverging,
        (Threshold(RISEN, "last loss by lowest, and by chance", "ours; DeepDiagnosis (Wardat et al., 2022)"),),
        ("oscillating-loss", "stopped-too-early"),
    ),
    Rule(
        "oscillating-loss",
        "A training loss that jumps up and down.",
        "Steps are longer than the valley is wide.",
        ("during",),
        _oscillating,
        (
            Threshold(RISES, "share of the epochs in which it turns", "AutoTrainer (2021), η"),
            Threshold(JUMP, "size of a jump, by the loss of a constant answer", "ours; AutoTrainer ζ is of accuracy"),
        ),
        ("underfitting",),
    ),
    Rule(
        "not-learning",
        "A training loss that stays where an answer without inputs is.",
        "Nothing was learned.",
        ("during",),
        _not_learning,
        (Threshold(STILL, "fall of the loss, and its distance to chance", "ours; SageMaker, LossNotDecreasing 0.1%"),),
        ("underfitting", "stopped-too-early"),
    ),
    Rule(
        "overfitting",
        "Validation that gets worse, or stays far behind, while training gets better.",
        "The network learns its rows by heart.",
        ("after",),
        _overfitting,
        (
            Threshold(OVER, "rise above the best validation loss", "SageMaker Debugger, Overfit ratio_threshold"),
            Threshold(GAP, "distance of the losses, by the loss of a constant answer", "ours"),
        ),
        ("trained-too-long",),
    ),
    Rule(
        "underfitting",
        "A network that knows its training rows less well than simple methods know rows they have not seen.",
        "It is too small, too restrained, or was not trained.",
        ("after",),
        _underfitting,
        (Threshold(LESS, "how much better, beyond two deviations", "ours"),),
        cost=PROBING,
    ),
    Rule(
        "trained-too-long",
        "Validation that was best long before the end.",
        "Time was spent on making the network worse.",
        ("after",),
        _too_long,
        (
            Threshold(0.6, "best epoch by all epochs", "ours; SageMaker Debugger, Overtraining"),
            Threshold(OVER, "rise above the best validation loss", "SageMaker Debugger, Overfit"),
        ),
    ),
    Rule(
        "stopped-too-early",
        "A loss that was still falling at the end.",
        "A better network was a few epochs away.",
        ("after",),
        _too_early,
        (Threshold(STILL, "fall in the last two epochs, by the loss of a constant answer", "ours"),),
    ),
    Rule(
        "seeds-disagree",
        "Runs that differ only in their seed and end far apart (give several histories).",
        "What one run shows may be luck.",
        ("after",),
        _seeds,
        (
            Threshold(
                SPREAD, "deviation of the last losses, by the loss of a constant answer", "ours; Bouthillier (2021)"
            ),
        ),
    ),
)
