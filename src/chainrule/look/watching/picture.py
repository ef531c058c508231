"""A run at one moment as lines of text: where it stands, the course of the loss, and a row for each layer.

Comes in: a `Scene`. Goes out: styled lines that fit a terminal, which `live` shows. A figure that is out of its healthy
range has a sign beside it, and the foot says by which rule; colour only repeats that. Of a deep network the layers that
do not fit are summed up in lines of their own, those with a sign last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chainrule.look.explaining.figures import bars, digits, short
from chainrule.look.explaining.lines import Line, cut, shortened
from chainrule.look.watching.course import braille, is_wide, resampled
from chainrule.look.watching.ranges import Kind, Mark, marks_of
from chainrule.train.progress import duration, sparkline
from chainrule.train.watched import Figures

LEAST_WIDTH, MOST_WIDTH = 40, 110
_AXIS = 10  # columns left of the chart
_NAME, _LONG_NAME = 11, 32
_MARKS, _NAMED = 3, 3  # rules that the foot spells out, and layers that it names for each
_MISSING = "·"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of a run at one moment.

    Attributes
    ----------
    step, steps, epoch, epochs
        Steps made and all that there will be (0 if unknown), the epoch under way and all epochs.
    speed, left, spent
        Steps a second, seconds left (NaN if unknown), seconds since the start.
    loss, validation_loss, learning_rate
        Of the last watched step, and of the last epoch (NaN without); the rate of the last update.
    losses
        The course of the loss over the run.
    layers, histograms
        The figures of the last watched step, by layer in the order of the forward pass.
    trends
        For each layer with parameters the course of its gradient's norm.
    kinds
        What `ranges.kinds_of` says of the network.
    ended
        Why the run ended; "" while it goes on.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    speed: float = math.nan
    left: float = math.nan
    spent: float = 0.0
    loss: float = math.nan
    validation_loss: float = math.nan
    learning_rate: float = math.nan
    losses: Sequence[float] = ()
    layers: Mapping[str, Figures] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    trends: Mapping[str, Sequence[float]] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    ended: str = ""


def picture(scene: Scene, width: int = 80, height: int = 40) -> list[Line]:
    """The scene in at most so many columns and lines; the last column stays free, so that no terminal breaks a line."""
    width = max(LEAST_WIDTH, min(width, MOST_WIDTH)) - 1
    marks = marks_of(scene.layers, scene.kinds)
    foot = _foot(scene, marks, width)
    chart = 5 if height >= 24 else 3 if height >= 16 else 0
    lines = [_head(scene, width), *_losses(scene, width, chart)]
    if scene.layers:
        columns = _fitting(_columns({(mark.layer, mark.figure): mark.sign for mark in marks}), width)
        lines += [[], _titles(columns, width)]
        lines += _rows(scene, marks, columns, width, room=max(3, height - len(lines) - len(foot)))
    return [*lines, *foot]


# --- Above the table ---------------------------------------------------------------------------------------------


def _head(scene: Scene, width: int) -> Line:
    of_all = f" of {scene.steps:,}" if scene.steps else ""
    left = f"step {scene.step:,}{of_all}"
    parts = [f"epoch {scene.epoch}/{scene.epochs}"]
    parts += [f"{short(scene.speed)} steps/s"] if math.isfinite(scene.speed) else []
    if scene.ended:
        parts.append(f"ended after {duration(scene.spent)} ({scene.ended})")
    elif math.isfinite(scene.left):
        parts.append(f"{duration(scene.left)} left")
    middle = "  " + "  ".join(parts)
    right = f"learning rate {short(scene.learning_rate)}" if math.isfinite(scene.learning_rate) else ""
    middle = cut(middle, width - len(left))
    room = width - len(left) - len(middle)
    right = right if len(right) + 2 <= room else ""
    return [(left, "title"), (middle, ""), (" " * (room - len(right)) + right, "still")]


def _losses(scene: Scene, width: int, rows: int) -> list[Line]:
    title: Line = [("◀ loss ", "back title"), (short(scene.loss) if math.isfinite(scene.loss) else "…", "title")]
    if math.isfinite(scene.validation_loss):
        title.append((f"   validation {short(scene.validation_loss)}", ""))
    values = resampled(scene.losses, min(2 * (width - _AXIS), max(len(scene.losses), 1))) if scene.losses else []
    finite = [value for value in values if math.isfinite(value)]
    if not rows or len(finite) < 2:
        return [title]
    values = resampled(values, 2 * (width - _AXIS))  # a short run is drawn as wide as a long one
    is_log = is_wide(values)
    if is_log:
        title.append(("   on a logarithmic axis", "still"))
    curve = braille([math.log(value) if is_log else value for value in values], width - _AXIS, rows)
    lines = [title]
    for number, line in enumerate(curve):
        label = short(max(finite)) if number == 0 else short(min(finite)) if number == rows - 1 else ""
        axis = f"{label:>{_AXIS - 2}} {'┤' if label else '│'}"
        lines.append([(axis, "still"), (line, "back")])
    return lines


# --- The table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its title, its width, how much it matters (0 the most), and what it says of a layer."""

    title: str
    width: int
    rank: int
    style: str
    cell: Callable[[Scene, str], Line]


def _columns(signs: Mapping[tuple[str, str], str]) -> list[_Column]:
    def number(figure: str, width: int, style: str, is_share: bool = False) -> Callable[[Scene, str], Line]:
        def cell(scene: Scene, layer: str) -> Line:
            value = scene.layers[layer].get(figure)
            text = _MISSING if value is None else _share(value) if is_share else _narrow(value, width - 1)
            sign = signs.get((layer, figure), "")
            return [(f"{text:>{width - 1}}", "still" if value is None else style), (sign or " ", "bad" if sign else "")]

        return cell

    def trend(scene: Scene, layer: str) -> Line:
        values = [math.log(v) if 0 < v < math.inf else math.nan for v in scene.trends.get(layer, ())]
        return [(f"{sparkline(resampled(values, min(5, len(values))), 5):<5}", "back")]

    def bins(scene: Scene, layer: str) -> Line:
        shares = scene.histograms.get(layer, {}).get("activation", ())
        if not shares:
            return [(" " * 14, "")]
        joined = (shares[0] + shares[1], *shares[2:-2], shares[-2] + shares[-1])
        return [(bars(tuple(round(1e4 * share) for share in joined)), "forward")]

    return [
        _Column("gradient ", 8, 0, "back", number("gradient_norm", 8, "back")),
        _Column("trend", 5, 6, "back", trend),
        _Column("update ", 8, 1, "back", number("update_ratio", 8, "back")),
        _Column("mean ", 7, 5, "forward", number("activation_mean", 7, "forward")),
        _Column("spread ", 8, 2, "forward", number("activation_deviation", 8, "forward")),
        _Column("zero ", 5, 3, "forward", number("activation_zero", 5, "forward", True)),
        _Column("ends ", 5, 4, "forward", number("activation_saturated", 5, "forward", True)),
        _Column("◂−10   0   10▸", 14, 7, "forward", bins),
    ]


def _fitting(columns: list[_Column], width: int) -> list[_Column]:
    """As many of the columns as there is room for, those that matter most."""
    kept = sorted(columns, key=lambda column: column.rank)
    while _NAME + sum(column.width + 1 for column in kept) > width:
        kept.pop()
    return [column for column in columns if column in kept]


def _name_width(columns: Sequence[_Column], width: int) -> int:
    return min(_LONG_NAME, width - sum(column.width + 1 for column in columns))


def _titles(columns: Sequence[_Column], width: int) -> Line:
    line: Line = [(f"{'layer':<{_name_width(columns, width)}}", "still")]
    for column in columns:
        line.append((f" {column.title:>{column.width}}"[: column.width + 1], f"{column.style} title"))
    return line


def _rows(scene: Scene, marks: Sequence[Mark], columns: Sequence[_Column], width: int, room: int) -> list[Line]:
    """A line for each layer, or for as many as there is room for and one for each gap."""
    names = [*scene.layers]
    chosen = _chosen(names, {mark.layer for mark in marks}, room)
    lines: list[Line] = []
    gap: list[str] = []
    for name in [*names, ""]:
        if name and name not in chosen:
            gap.append(name)
            continue
        if gap:
            lines.append(_gap(scene, gap, {mark.layer for mark in marks}, width))
            gap = []
        if name:
            text = _full_name(scene, name, _name_width(columns, width))
            line: Line = [(f"{text:<{_name_width(columns, width)}}", "title")]
            for column in columns:
                line += [(" ", ""), *column.cell(scene, name)]
            lines.append(line)
    return lines


def _chosen(names: Sequence[str], marked: set[str], room: int) -> set[str]:
    """The layers that get a line: first and last, those with a sign, and from the first on as many as fit."""
    ends = [names[0], names[-1]]
    order = list(dict.fromkeys([*ends, *(name for name in names if name in marked), *names]))
    for count in range(min(len(names), room), 1, -1):
        chosen = set(order[:count])
        # A gap of one layer takes no more room than the layer itself.
        chosen |= {b for a, b, c in zip(names, names[1:], names[2:], strict=False) if a in chosen and c in chosen}
        gaps = sum(a in chosen and b not in chosen for a, b in pairwise(names))
        if len(chosen) + gaps <= room:
            return chosen
    return set(ends)


def _full_name(scene: Scene, layer: str, width: int) -> str:
    kind = scene.kinds[layer].name if layer in scene.kinds else ""
    whole = layer if kind in ("", layer) else f"{layer} {kind}"
    return whole if len(whole) <= width else shortened(layer, width)


def _gap(scene: Scene, layers: Sequence[str], marked: set[str], width: int) -> Line:
    """What a run of layers without lines of their own have in common."""
    text = f"  … {len(layers)} more"
    signs = len(marked.intersection(layers))
    text += f", {signs} of them with a sign" if signs else ""
    for figure, name in (("gradient_norm", "gradient"), ("update_ratio", "update")):
        values = [v for layer in layers if math.isfinite(v := scene.layers[layer].get(figure, math.nan))]
        text += f"; {name} {short(min(values))} to {short(max(values))}" if values else ""
    return [(cut(text, width), "still")]


def _share(value: float) -> str:
    """A share in at most four columns; what is not quite nothing or all is never said to be."""
    if not math.isfinite(value):
        return "NaN"
    if 0 < value < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= value < 1 else f"{value:.0%}"


def _narrow(value: float, width: int) -> str:
    """A number with as many of three digits as there is room for."""
    for count in (3, 2, 1):
        text = digits(value, count)
        if len(text) <= width:
            return text
    return cut(text, width)


# --- Below it ----------------------------------------------------------------------------------------------------


def _foot(scene: Scene, marks: Sequence[Mark], width: int) -> list[Line]:
    if not scene.layers:
        return []
    if not marks:
        return [[("✓ ", "good"), (cut("every figure is within the ranges of cr.look.diagnose", width - 2), "still")]]
    rules = dict.fromkeys(mark.rule for mark in marks)
    lines: list[Line] = []
    for rule in [*rules][:_MARKS]:
        those = [mark for mark in marks if mark.rule == rule]
        layers = [*dict.fromkeys(mark.layer for mark in those)]
        named = ", ".join(layers[:_NAMED]) + (f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else "")
        lines.append([(f"{those[0].sign} ", "bad"), (cut(f"{rule} in {named}: {those[0].says}", width - 2), "")])
    if len(rules) > _MARKS:
        lines.append([(cut(f"  and {', '.join([*rules][_MARKS:])}", width), "still")])
    return lines
