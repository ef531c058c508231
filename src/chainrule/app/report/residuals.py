"""How far predicted numbers lie from the true ones: predicted against true, errors against predictions, quantiles."""

import math

import numpy as np

from chainrule.app.jobs.outcome import Residuals
from chainrule.app.report.chart import points
from chainrule.app.report.figures import plural, three
from chainrule.app.report.markup import details, name, plain, table
from chainrule.app.report.scale import usable

_MOST_POINTS = 2000


def residuals(found: Residuals, target: str) -> str:
    """The section: two clouds of points and the errors in numbers, in the target's own unit."""
    head = "<h2>How far off it is</h2>"
    pairs = [pair for pair in zip(found.targets, found.predictions, strict=True) if usable(pair[0]) and usable(pair[1])]
    left_out = len(found.targets) - len(pairs)
    lost = f'<p class="warn">{plural(left_out, "prediction")} left out: not a finite number.</p>' if left_out else ""
    if not pairs:
        return f"{head}{lost}<p>There were no held-out rows to compare.</p>"
    drawn = pairs[:: math.ceil(len(pairs) / _MOST_POINTS)]
    rows = f"{plural(len(drawn), 'held-out row')}"
    first = points(
        "predicted",
        f"Predicted against true {plain(target, 60)}",
        f"{rows}; the dashed diagonal is where prediction and truth agree.",
        drawn,
        "true",
        "predicted",
        diagonal=True,
    )
    second = points(
        "errors",
        f"Errors of {plain(target, 60)} by prediction",
        f"{rows}; the dashed line at zero is no error.",
        [(guess, guess - true) for true, guess in drawn],
        "predicted",
        "predicted − true",
        look="error",
    )
    about_first = (
        "Each point is a held-out row; on the dashed diagonal the prediction is right. A bad sign: a flat cloud "
        "(it always says about the same), or one that leaves the diagonal at an end."
    )
    about_second = (
        "The error of each row: above zero the network said too much, below too little. A bad sign: a bend or a "
        "funnel; then something regular is left to learn."
    )
    figures = details("The errors in numbers", _numbers(pairs), opened=True)
    return (
        f'{head}{lost}<div class="pair"><figure><h3>Predicted and true: {name(target, 60)}</h3>{first}'
        f"<figcaption>{about_first}</figcaption></figure><figure><h3>Errors</h3>{second}"
        f"<figcaption>{about_second}</figcaption></figure></div>{figures}"
    )


def _numbers(pairs: list[tuple[float, float]]) -> str:
    errors = np.array([guess - true for true, guess in pairs])
    sizes = np.abs(errors)
    rows = [
        ["half of the rows are off by at most", three(float(np.quantile(sizes, 0.5)))],
        ["nine of ten rows are off by at most", three(float(np.quantile(sizes, 0.9)))],
        ["the worst row is off by", three(float(sizes.max()))],
        ["mean of predicted − true (its bias)", three(float(errors.mean()))],
        ["spread of the errors (standard deviation)", three(float(errors.std()))],
    ]
    return table(f"Errors of {plural(len(pairs), 'held-out row')}, in the target’s unit", ["figure", "value"], rows)
