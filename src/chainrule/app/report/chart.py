"""Charts as SVG that stands inside a page: curves over epochs, points, bars. Colours come from the page's style.

Every chart is 400 units wide, so that its letters stay readable on a telephone; each has a title and a description.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.app.report.figures import short
from chainrule.app.report.markup import fitting, text
from chainrule.app.report.scale import Scale, around, spans_decades, usable

_WIDTH, _HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 388, 34, 212
_MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; `look` holds style classes, such as "error dashed"."""

    name: str
    values: Sequence[float]
    look: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A named bar from 0 to `value`, with the number as text and perhaps a spread to both sides."""

    name: str
    value: float
    shown: str
    look: str
    spread: float = 0.0


def _svg(key: str, height: float, title: str, about: str, inside: Sequence[str]) -> str:
    body = "\n".join(inside)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-labelledby="{key}-title {key}-about">'
        f'<title id="{key}-title">{text(title, 200)}</title><desc id="{key}-about">{text(about, 600)}</desc>\n'
        f"{body}\n</svg>"
    )


def _label(x: float, y: float, content: str, anchor: str = "start", look: str = "") -> str:
    return f'<text x="{x:.4g}" y="{y:.4g}" text-anchor="{anchor}" class="{look}">{text(content)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    return f'<line x1="{x1:.4g}" y1="{y1:.4g}" x2="{x2:.4g}" y2="{y2:.4g}" class="{look}"/>'


def _frame(x: Scale, y: Scale, below: str, beside: str, whole: bool = False) -> list[str]:
    parts = []
    for value in y.ticks():
        parts.append(_rule(_LEFT, y(value), _RIGHT, y(value), "grid"))
        parts.append(_label(_LEFT - 6, y(value) + 4, short(value), "end", "tick"))
    for value in x.ticks(6):
        if whole and value != round(value):
            continue
        parts.append(_rule(x(value), _BOTTOM, x(value), _BOTTOM + 4, "axis"))
        parts.append(_label(x(value), _BOTTOM + 18, short(value), "middle", "tick"))
    parts.append(_rule(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"))
    parts.append(_label((_LEFT + _RIGHT) / 2, _HEIGHT - 4, below, "middle", "tick"))
    return [*parts, _label(_LEFT, 12, beside, "start", "tick")] if beside else parts


def _path(x: Scale, y: Scale, places: Sequence[float], values: Sequence[float]) -> tuple[str, str]:
    """The line through the values, broken where one cannot be drawn, and a dot for each value that stands alone."""
    parts, dots, run = [], [], 0
    for order, (place, value) in enumerate(zip(places, values, strict=True)):
        if not usable(value) or (y.log and value <= 0):
            run = 0
            continue
        run += 1
        point = f"{x(place):.5g} {y(value):.5g}"
        parts.append(f"{'L' if run > 1 else 'M'}{point}")
        following = values[order + 1] if order + 1 < len(values) else float("nan")
        if run == 1 and not usable(following):
            dots.append(f"M{point}h0")
    return "".join(parts), "".join(dots)


def _thinned(places: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most some hundred points: of each stretch the smallest and the greatest value, so that no spike is lost."""
    if len(values) <= _MOST_POINTS:
        return list(places), list(values)
    width = -(-len(values) // (_MOST_POINTS // 2))
    kept: list[int] = []
    for start in range(0, len(values), width):
        stretch = range(start, min(start + width, len(values)))
        drawn = [place for place in stretch if usable(values[place])] or [start]
        kept += sorted({min(drawn, key=values.__getitem__), max(drawn, key=values.__getitem__)})
    return [places[place] for place in kept], [values[place] for place in kept]


def curves(
    key: str, title: str, about: str, epochs: Sequence[float], lines: Sequence[Line], beside: str, best: int = 0
) -> str:
    """Figures over epochs; `best` is the epoch that is marked (0: none)."""
    every = [value for line in lines for value in line.values]
    log = spans_decades(every)
    x = Scale(epochs[0] - 0.5, epochs[0] + 0.5, _LEFT, _RIGHT)
    if len(epochs) > 1:
        x = Scale(epochs[0], epochs[-1], _LEFT, _RIGHT)
    y = around(every, _BOTTOM, _TOP, log=log)
    parts = _frame(x, y, "epoch", f"{beside} (logarithmic)" if log else beside, whole=True)
    for line in lines:
        drawn, dots = _path(x, y, *_thinned(epochs, line.values))
        parts.append(f'<path d="{drawn}" class="line {line.look}"/>' if drawn else "")
        parts.append(f'<path d="{dots}" class="dots {line.look}"/>' if dots else "")
    parts += _best(x, y, epochs, lines, best)
    place = float(_RIGHT)
    for line in reversed(lines):  # the legend, from the right
        place -= 6.6 * len(line.name)
        parts.append(_label(place, 12, line.name, "start", "tick"))
        parts.append(_rule(place - 25, 8, place - 5, 8, f"line {line.look}"))
        place -= 36
    return _svg(key, _HEIGHT, title, about, [part for part in parts if part])


def _best(x: Scale, y: Scale, epochs: Sequence[float], lines: Sequence[Line], best: int) -> list[str]:
    if best not in epochs:
        return []
    place = x(best)
    parts = [_rule(place, _TOP - 4, place, _BOTTOM, "best")]
    value = lines[-1].values[list(epochs).index(best)]
    if usable(value) and (value > 0 or not y.log):
        parts.append(f'<circle cx="{place:.5g}" cy="{y(value):.5g}" r="4.5" class="ring {lines[-1].look}"/>')
    anchor = "end" if place > _RIGHT - 50 else "start" if place < _LEFT + 50 else "middle"
    return [*parts, _label(place, _TOP - 8, f"best: epoch {best}", anchor, "tick strong")]


def points(
    key: str,
    title: str,
    about: str,
    pairs: Sequence[tuple[float, float]],
    below: str,
    beside: str,
    *,
    diagonal: bool = False,
    look: str = "forward",
) -> str:
    """Points, with the line that they should lie on: the diagonal, or zero."""
    across, up = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if diagonal:
        both = around([*across, *up], 0, 1)
        x = Scale(both.low, both.high, _LEFT, _RIGHT)
        y = Scale(both.low, both.high, _BOTTOM, _TOP)
        ideal = _rule(x(both.low), y(both.low), x(both.high), y(both.high), "ideal")
    else:
        x, y = around(across, _LEFT, _RIGHT), around(up, _BOTTOM, _TOP, include=[0.0])
        y = Scale(y.low - 0.05 * (y.high - y.low), y.high, _BOTTOM, _TOP)
        ideal = _rule(_LEFT, y(0), _RIGHT, y(0), "ideal")
    dots = "".join(f"M{x(a):.4g} {y(b):.4g}h0" for a, b in pairs)
    cloud = f'<path d="{dots}" class="cloud {look}"/>'
    return _svg(key, _HEIGHT, title, about, [*_frame(x, y, below, beside), cloud, ideal])


def bars(key: str, title: str, about: str, rows: Sequence[Bar], limits: tuple[float, float] | None = None) -> str:
    """Horizontal bars, one a row, with names on the left and numbers on the right."""
    label, number, pitch = 126, 76, 25
    ends = [end for bar in rows for end in (bar.value - bar.spread, bar.value + bar.spread)]
    drawn = [0.0, *filter(usable, ends)]
    low, high = limits or (min(drawn), max(drawn))
    x = Scale(low, high if high > low else low + 1, label + 8, _WIDTH - number)
    height = pitch * len(rows) + 6
    parts = []
    for order, bar in enumerate(rows):
        middle = 3 + pitch * (order + 0.5)
        parts.append(_label(label, middle + 4, fitting(bar.name, 20), "end", "name"))
        parts.append(_label(_WIDTH - number + 8, middle + 4, bar.shown, "start", "strong"))
        if not usable(bar.value):
            continue
        left, right = sorted((x(0), x(bar.value)))
        width = max(right - left, 1)
        shape = f'<rect x="{left:.4g}" y="{middle - 7:.4g}" width="{width:.4g}" height="14" rx="1.5"'
        parts.append(f'{shape} class="bar {bar.look}"/>')
        if bar.spread and usable(bar.spread):
            a, b = x(bar.value - bar.spread), x(bar.value + bar.spread)
            parts.append(_rule(a, middle, b, middle, "whisker"))
            parts += [_rule(end, middle - 4, end, middle + 4, "whisker") for end in (a, b)]
    parts.append(_rule(x(0), 0, x(0), height, "axis"))
    return _svg(key, height, title, about, parts)
