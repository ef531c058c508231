"""The top of the report: what was learned in one sentence, the figure that counts, the rivals, the size of the run."""

import math

from chainrule.app.jobs.outcome import Outcome, Score
from chainrule.app.report.chart import Bar, bars
from chainrule.app.report.figures import count, duration, metric, metric_name, percent, plural
from chainrule.app.report.markup import details, file_name, name, plain, table, text
from chainrule.train.metrics import METRICS

_LONGEST_LIST = 50
_NO_INPUT = ("target", "weights")


def opening(outcome: Outcome) -> str:
    """The sentence, the headline figure beside the baselines, the verdict, and the tiles."""
    behind = " behind" if not _leads(outcome) else ""
    return "\n".join(
        [
            f"<h1>{sentence(outcome)}</h1>",
            *_interruption(outcome),
            f'<div class="hero"><div>{_headline(outcome)}',
            f'<p class="verdict{behind}">{text(outcome.verdict, 400)}</p></div>',
            f"<div>{rivals(outcome)}</div></div>",
            tiles(outcome),
        ]
    )


def sentence(outcome: Outcome) -> str:
    """What was learned from what, and how it went on rows that the network had not seen; HTML."""
    learned = "learned to" if _beats_the_weakest(outcome) else "was trained to"
    if not outcome.history.epochs:
        learned = "was to learn to"
    data = name(file_name(outcome.data), 80)
    if outcome.kind == "images":
        into = f" into {plural(len(outcome.confusion.classes), 'class', 'classes')}" if outcome.confusion else ""
        return f"A neural network {learned} sort the images of {data}{into}. {_result(outcome)}"
    used = sum(1 for each in outcome.columns if each.kind not in _NO_INPUT and each.encoding != "left out")
    source = f"{plural(used, 'column')} of {data}" if used else data
    return f"A neural network {learned} predict {name(outcome.target)} from {source}. {_result(outcome)}"


def _result(outcome: Outcome) -> str:
    score, tested = outcome.network_score.metrics, outcome.rows.get("test", 0)
    unseen = f"{_things(outcome, tested)} that it had never seen"
    value = score.get(outcome.main, math.nan)
    if not math.isfinite(value):
        return f"There is no result on {unseen}."
    right = _right(outcome)
    if right is not None:
        return f"On {unseen}, it got {count(right)} right ({metric(outcome.main, value)})."
    if outcome.main == "r2":
        off = f", off by {metric('mae', score['mae'])} on average" if math.isfinite(score.get("mae", math.nan)) else ""
        if value < 0:
            return f"On {unseen}, it does worse than always guessing the mean{off}."
        return f"On {unseen}, it explains {percent(value)} of the differences in {name(outcome.target)}{off}."
    return f"On {unseen}, it reached {text(metric_name(outcome.main))} {metric(outcome.main, value)}."


def _things(outcome: Outcome, number: int) -> str:
    return plural(number, "image" if outcome.kind == "images" else "row")


def _right(outcome: Outcome) -> int | None:
    """How many held-out rows were right, where the confusion matrix and the unweighted accuracy agree on it."""
    if outcome.main != "accuracy" or outcome.confusion is None:
        return None
    counts = outcome.confusion.counts
    total, right = sum(map(sum, counts)), sum(row[place] for place, row in enumerate(counts) if place < len(row))
    value = outcome.network_score.metrics.get("accuracy", math.nan)
    return right if total and abs(right / total - value) < 1e-3 else None


def interval(right: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927): where the true share lies, as far as that many rows can tell.

    Examples
    --------
    >>> low, high = interval(8, 10)
    >>> f"{low:.3f} {high:.3f}"
    '0.490 0.943'
    """
    z = 1.959964
    middle = (right + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(right * (total - right) / total + z * z / 4)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _headline(outcome: Outcome) -> str:
    value, right = outcome.network_score.metrics.get(outcome.main, math.nan), _right(outcome)
    tested = outcome.rows.get("test", 0)
    lines = [f'<p class="figure">{metric(outcome.main, value)}</p>']
    lines.append(f"<p>{text(metric_name(outcome.main))} on {_things(outcome, tested)} kept aside</p>")
    if right is not None and outcome.confusion is not None:
        low, high = interval(right, sum(map(sum, outcome.confusion.counts)))
        lines.append(
            f'<p class="small">With so many rows the true share lies between {percent(low)} and {percent(high)} '
            "(95% interval).</p>"
        )
    elif outcome.main == "r2":
        lines.append(
            '<p class="small">R² is the share of the target’s variance that the predictions explain: '
            "1 is perfect, 0 is no better than always guessing the mean.</p>"
        )
    return "".join(lines)


def _scores(outcome: Outcome) -> list[Score]:
    return [outcome.network_score, *outcome.baselines]


def _rival_values(outcome: Outcome) -> list[float]:
    values = [score.metrics.get(outcome.main, math.nan) for score in outcome.baselines]
    return [value for value in values if math.isfinite(value)]


def _leads(outcome: Outcome) -> bool:
    value = outcome.network_score.metrics.get(outcome.main, math.nan)
    return math.isfinite(value) and all(value > rival for rival in _rival_values(outcome))


def _beats_the_weakest(outcome: Outcome) -> bool:
    value, rivals = outcome.network_score.metrics.get(outcome.main, math.nan), _rival_values(outcome)
    return math.isfinite(value) and value > (min(rivals) if rivals else 0.0)


def rivals(outcome: Outcome) -> str:
    """The network and the baselines by the main metric, and all their metrics in a table."""
    rows = [
        Bar(score.name, score.metrics.get(outcome.main, math.nan), "", "grey" if order else "forward")
        for order, score in enumerate(_scores(outcome)[:12])
    ]
    rows = [Bar(bar.name, bar.value, metric(outcome.main, bar.value), bar.look) for bar in rows]
    drawn = [bar.value for bar in rows if math.isfinite(bar.value)]
    limits = (max(min([0.0, *drawn]), -1.0), 1.0)  # a rival can be arbitrarily bad; the bar then ends at -1
    named = metric_name(outcome.main)
    about = "; ".join(f"{plain(bar.name)} {bar.shown}" for bar in rows)
    chart = bars("rivals", f"The network beside simpler methods, by {named}", about, rows, limits)
    caption = (
        "The network (blue) beside simpler methods (grey) that learned from the same rows; longer is better. "
        "A bad sign: a grey bar as long as the blue one. Then the simpler method would do."
    )
    head = f"<h3>The network beside simpler methods: {text(named)}</h3>"
    return f"{head}<figure>{chart}<figcaption>{caption}</figcaption></figure>{_every_score(outcome)}"


def _every_score(outcome: Outcome) -> str:
    names = list(dict.fromkeys(each for score in _scores(outcome) for each in score.metrics))
    rows = []
    for order, score in enumerate(_scores(outcome)[:_LONGEST_LIST]):
        cells = [metric(each, score.metrics.get(each, math.nan)) for each in names]
        rows.append([f"<bdi>{text(score.name)}</bdi>" + (" (the network)" if order == 0 else ""), *cells])
    known = [METRICS[each] for each in names if each in METRICS]
    meaning = "; ".join(f"{metric_name(each.name)}: {each.about} ({each.better} is better)" for each in known)
    heads = ["method", *(text(metric_name(each)) for each in names)]
    inside = table("Held-out rows; every method learned from the same training rows.", heads, rows)
    return details("Every score", inside + f'<p class="small">{text(meaning, 1500)}.</p>')


def tiles(outcome: Outcome) -> str:
    """How much data, how large a network, how long it took."""
    rows, epochs = outcome.rows, len(outcome.history.epochs)
    best, things = outcome.history.best_epoch, "images" if outcome.kind == "images" else "rows"
    facts = [
        ("training", count(rows.get("training", 0)), f"{things} that it learned from"),
        ("validation", count(rows.get("validation", 0)), f"{things} to choose the best epoch by"),
        ("held out", count(rows.get("test", 0)), f"{things} it never saw: every score is of them"),
        ("parameters", count(outcome.parameters), "numbers that were learned"),
        ("epochs", count(epochs), f"passes over the data; the best was {best}" if best else "passes over the data"),
        ("time", duration(outcome.seconds), "of training"),
    ]
    cells = "".join(f"<div><dt>{head}</dt><dd>{value}<span>{more}</span></dd></div>" for head, value, more in facts)
    return f'<dl class="tiles">{cells}</dl>'


def _interruption(outcome: Outcome) -> list[str]:
    epochs = len(outcome.history.epochs)
    if not epochs:
        return [
            '<p class="warn">The run ended before its first epoch was over: the network has learned nothing yet.</p>'
        ]
    if outcome.interrupted:
        best = outcome.history.best_epoch
        return [
            f'<p class="warn">The run was interrupted in epoch {epochs}. What is kept, and measured here, is the best '
            f"network until then, that of epoch {best}.</p>"
        ]
    return []
