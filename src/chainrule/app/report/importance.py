"""Which columns the network leans on: bars of how much worse it gets when a column is shuffled."""

from collections.abc import Sequence

from chainrule.app.jobs.outcome import Importance
from chainrule.app.report.chart import Bar, bars
from chainrule.app.report.figures import metric_name, three
from chainrule.app.report.markup import details, name, plain, rest, table, text
from chainrule.app.report.scale import usable

_MOST_BARS = 20
_MOST_ROWS = 200
_UNITS = {
    "accuracy": " (0.01: one row in a hundred more is wrong)",
    "r2": " (1 is all the way from a perfect answer to guessing the mean)",
}


def importance(found: Sequence[Importance], main: str) -> str:
    """The section; empty where nothing was measured."""
    if not found:
        return ""
    named = metric_name(main)
    heading = "<h2>What it looks at</h2>"
    shown = found[:_MOST_BARS]
    rows = [Bar(each.column, each.drop, three(each.drop), "forward", each.spread) for each in shown]
    about = f"Loss of {named} when a column is shuffled: " + "; ".join(
        f"{plain(each.column, 40)} {three(each.drop)}" for each in shown[:10]
    )
    chart = bars("importance", f"Importance of the columns, by {named}", about, rows)
    caption = (
        f"How much {text(named)} falls when the values of one column are shuffled among the held-out rows"
        f"{_UNITS.get(main, '')}; the thin line is the spread over repeats. A bad sign: one column that towers over "
        "all others (does it give the answer away?). Columns that say the same hide each other."
    )
    nothing = ""
    if not any(usable(each.drop) and each.drop > each.spread for each in found):
        nothing = '<p class="warn">Shuffling no column made a clear difference: the network leans on none of them.</p>'
    figure = f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"
    return heading + nothing + figure + rest(len(shown), len(found), "columns") + _numbers(found, named)


def _numbers(found: Sequence[Importance], named: str) -> str:
    rows = [[name(each.column), three(each.drop), f"± {three(each.spread)}"] for each in found[:_MOST_ROWS]]
    shown = table(f"Loss of {text(named)} when shuffled", ["column", "mean", "spread"], rows)
    return details("Every column in numbers", shown + rest(len(rows), len(found), "columns"))
