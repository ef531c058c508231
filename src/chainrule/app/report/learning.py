"""How the run went, epoch by epoch: loss, metrics and learning rate as curves, and the numbers behind them."""

import math

from chainrule.app.jobs.outcome import Outcome
from chainrule.app.report.chart import Line, curves
from chainrule.app.report.figures import duration, metric, metric_name, three
from chainrule.app.report.markup import details, rest, table, text
from chainrule.train.history import History

_NO_METRIC = {"epoch", "loss", "learning_rate", "steps", "seconds"}
_MOST_ROWS = 300
_MOST_METRICS = 3
_WHY = {
    "epochs": "after the number of epochs that was set",
    "early stopping": "because the validation loss had stopped getting better",
    "interrupted": "because it was interrupted",
    "failed": "because training failed",
}


def learning(outcome: Outcome) -> str:
    """The section of the curves; a sentence where there is no epoch to draw."""
    history = outcome.history
    if not history.epochs:
        return "<h2>How it learned</h2><p>No epoch was finished, so there are no curves.</p>"
    metrics = [each for each in _columns(history) if each not in _NO_METRIC and not each.startswith("validation_")]
    metrics.sort(key=lambda each: each != outcome.main)
    charts = [_loss(history), *(_metric(history, each, order) for order, each in enumerate(metrics[:_MOST_METRICS]))]
    charts += _rate(history)
    why = f"<p>The run ended {_WHY[history.stopped]}.</p>" if history.stopped in _WHY else ""
    parts = [why, *_broken(history), f'<div class="pair">{"".join(charts)}</div>', _numbers(history)]
    return "<h2>How it learned</h2>" + "\n".join(parts)


def _columns(history: History) -> list[str]:
    return list(dict.fromkeys(each for row in history.epochs for each in row))


def _values(history: History, column: str) -> list[float]:
    return [float(row.get(column, math.nan)) for row in history.epochs]


def _lines(history: History, column: str, look: str) -> list[Line]:
    lines = [Line("training", _values(history, column), look)]
    validation = f"validation_{column}"
    if validation in _columns(history):
        lines = [
            Line("training", lines[0].values, f"{look} dashed"),
            Line("validation", _values(history, validation), look),
        ]
    return lines


def _chart(key: str, title: str, history: History, lines: list[Line], beside: str, caption: str, best: int) -> str:
    ends = ", ".join(f"{line.name} from {three(line.values[0])} to {three(line.values[-1])}" for line in lines)
    about = f"{len(history)} epochs: {ends}." + (f" Best epoch: {best}." if best else "")
    svg = curves(key, title, about, _values(history, "epoch"), lines, beside, best)
    return f"<figure><h3>{text(title)}</h3>{svg}<figcaption>{caption}</figcaption></figure>"


def _loss(history: History) -> str:
    caption = (
        "How wrong the network was after each pass over the data; lower is better. A bad sign: a line that stays flat "
        "(it does not learn), or a solid line that climbs while the dashed one falls (it learns the rows by heart)."
    )
    return _chart("loss", "Loss", history, _lines(history, "loss", "error"), "loss", caption, history.best_epoch)


def _metric(history: History, column: str, order: int) -> str:
    named = metric_name(column)
    title = named[0].upper() + named[1:] if named else column
    caption = (
        f"{text(title)} after each pass. A bad sign: the solid line (rows kept aside) far away from the dashed one "
        "(rows it learned from)."
    )
    lines = _lines(history, column, "forward")
    return _chart(f"metric-{order}", title, history, lines, named, caption, history.best_epoch)


def _rate(history: History) -> list[str]:
    rates = _values(history, "learning_rate")
    finite = [rate for rate in rates if math.isfinite(rate)]
    if not finite or max(finite) == min(finite):
        return []
    caption = (
        "How large a correction each step made. It follows its schedule; a bad sign is a loss that still falls steeply "
        "where the rate has already come to nothing."
    )
    lines = [Line("learning rate", rates, "grey")]
    return [_chart("rate", "Learning rate", history, lines, "", caption, 0)]


def _broken(history: History) -> list[str]:
    for row in history.epochs:
        if not math.isfinite(row.get("loss", 0.0)):
            return [
                f'<p class="warn">From epoch {int(row["epoch"])} on, the loss is not a finite number: training broke '
                "down. A smaller learning rate usually helps.</p>"
            ]
    return []


def _numbers(history: History) -> str:
    columns = [each for each in _columns(history) if each != "epoch"]
    total, best = len(history), history.best_epoch
    every = max(1, math.ceil(total / _MOST_ROWS))
    rows = []
    for order, row in enumerate(history.epochs):
        epoch = int(row.get("epoch", order + 1))
        if order % every and order + 1 != total and epoch != best:
            continue
        head = f"{epoch} (best)" if epoch == best else str(epoch)
        rows.append([head, *(_cell(each, row.get(each, math.nan)) for each in columns)])
    heads = ["epoch", *(text(each.replace("_", " ")) for each in columns)]
    note = rest(len(rows), total, "epochs in history.jsonl")
    return details("Every epoch in numbers", table("Figures by epoch", heads, rows) + note)


def _cell(column: str, value: float) -> str:
    if column == "seconds":
        return duration(value)
    if column == "steps" and math.isfinite(value):
        return f"{int(value):,}"
    return metric(column.removeprefix("validation_"), value)
