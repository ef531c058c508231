"""The live picture: it fits the terminal, changes nothing, costs a bounded share, and gives the terminal back."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.look.explaining import lines
from chainrule.look.watching import live
from chainrule.look.watching.course import Course, braille, resampled
from chainrule.look.watching.picture import Scene, picture
from chainrule.look.watching.ranges import Kind
from look.watch.runs import OPTIMIZERS, bits, plain, trained

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def opened(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 80 columns and 24 lines for the rest of the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def shown(stream: io.StringIO) -> list[str]:
    """The lines of the last picture, without colours."""
    last = re.split(r"\x1b\[1A\x1b\[2K(?!\x1b\[1A)", stream.getvalue())[-1]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).splitlines()


# --- In a run ----------------------------------------------------------------------------------------------------


def test_the_last_picture_stands_and_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2, live=True), validation=0.2, progress=True)
    found = shown(terminal)
    assert found[0].startswith("step 12 of 12  epoch 3/3  ")
    assert "ended after" in found[0]
    assert found[1].startswith(f"◀ loss {history.watched[-1].loss:.3g}"[:12])
    assert "validation" in found[1]
    rows = {line.split()[0]: line for line in found if re.match(r"\d (Dense|ReLU|Sigmoid)", line)}
    assert list(rows) == ["0", "1", "2", "3", "4"]
    for layer in ("0", "2", "4"):
        assert rows[layer].split()[2].startswith(f"{history.watched[-1].layers[layer]['gradient_norm']:.3g}"[:5])
    zero = history.watched[-1].layers["1"]["activation_zero"]
    assert f"{zero:.0%}" in rows["1"]
    assert "rows/s" not in terminal.getvalue()  # the line of progress stays away
    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 1


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
def test_it_changes_nothing(monkeypatch: pytest.MonkeyPatch, compile: bool) -> None:
    terminal = opened(monkeypatch)
    monkeypatch.setattr(live, "REFRESH", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    watched = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2, live=True), compile=compile)
    alone = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2), compile=compile)
    assert terminal.getvalue().count("epoch") > 5
    assert bits(watched[0]) == bits(alone[0])
    assert bits(watched[1]) == bits(alone[1])
    assert watched[2]["loss"] == alone[2]["loss"]
    assert [glance.layers for glance in watched[2].watched][1:] == [glance.layers for glance in alone[2].watched][1:]


def test_a_pipe_gets_the_plain_lines_and_the_last_picture(capsys: pytest.CaptureFixture[str]) -> None:
    watch = cr.look.Watch(every=2, live=True)
    _, _, history = trained(plain, OPTIMIZERS["adam"], watch, progress=True, diagnose=False)
    plain_lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("epoch ") for line in plain_lines[:3])
    assert plain_lines[3] == ""
    picture = plain_lines[4:]
    assert picture[0].startswith("step 15 of 15  epoch 3/3  ")
    assert picture[1].startswith(f"◀ loss {history.watched[-1].loss:.3g}"[:12])
    assert [line.split()[0] for line in picture if re.match(r"\d (Dense|ReLU|Sigmoid)", line)] == list("01234")
    assert max(map(len, picture)) < 80
    assert "\x1b" not in "".join(plain_lines)


def test_a_pipe_gets_the_rows_of_a_deep_network_without_a_gap(capsys: pytest.CaptureFixture[str]) -> None:
    def deep() -> nn.Module:
        return nn.Sequential(nn.Dense(8, 4), *(nn.Tanh() for _ in range(60)), nn.Dense(4, 3))

    trained(deep, OPTIMIZERS["adam"], cr.look.Watch(every=2, live=True), progress=False, diagnose=False)
    found = [line.split()[0] for line in capsys.readouterr().err.splitlines() if re.match(r" *\d+ (Dense|Tanh)", line)]
    assert found == [str(number) for number in range(62)]


class AtStep(cr.Callback):
    """Does something after a step."""

    def __init__(self, step: int, what) -> None:
        self.step, self.what = step, what

    def on_batch_end(self, trainer) -> None:
        if trainer.steps == self.step:
            self.what()


def test_control_c_leaves_a_clean_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    stop = AtStep(7, lambda: os.kill(os.getpid(), signal.SIGINT))
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2, live=True), stop)
    assert history.stopped == "interrupted"
    assert "interrupted" in shown(terminal)[0]
    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 1


def fail() -> None:
    raise RuntimeError("a defect of the user's")


def test_a_run_that_fails_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    with pytest.raises(RuntimeError, match="a defect"):
        trained(plain, OPTIMIZERS["adam"], cr.look.Watch(live=True), AtStep(3, fail))
    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 1


class Slow:
    """A display that takes its time, on a console of a given size."""

    width, height = 80, 24

    def __init__(self, seconds: float) -> None:
        self.seconds, self.console, self.spent = seconds, self, 0.0

    def update(self, picture: object, *, refresh: bool) -> None:
        self.spent += self.seconds

    def stop(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.5])
def test_drawing_takes_a_bounded_share_of_the_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Time is a clock that the display and the steps put forward."""
    display, clock = Slow(seconds), [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0] + display.spent)
    view = live.LiveView(display)
    trainer = cr.train.trainer.Trainer(
        plain(), cr.optim.Adam(), cr.losses.mean_squared_error, [], [],
        cr.train.inputs.ShuffledRows(cr.train.inputs.rows_of((np.ones((4, 8)), np.ones(4)), np.float32), 2, 0),
        None, 1, 0, compile=False,
    )  # fmt: skip
    for _ in range(10_000):
        view.draw_if_due(trainer)
        clock[0] += 0.01  # a slice of steps
    whole = clock[0] + display.spent
    assert view.drawn >= 2
    assert display.spent <= live.SHARE * whole + seconds  # and the picture that is just being drawn
    assert view.drawn <= whole / live.REFRESH + 1


# --- The picture itself ------------------------------------------------------------------------------------------


def scene(depth: int, **more) -> Scene:
    figures = {"gradient_norm": 0.1, "weight_norm": 5.0, "update_ratio": 1e-3, "activation_mean": -1.234e-7,
               "activation_deviation": 0.9, "activation_zero": 0.499, "activation_saturated": 0.01}  # fmt: skip
    names = [f"encoder.blocks.{number}.attention.mix" for number in range(depth)]
    settings = {
        "step": 1230, "steps": 5000, "epoch": 3, "epochs": 10, "speed": 412.3, "left": 9.1, "loss": 0.123,
        "learning_rate": 1e-3, "losses": [float(1 + np.exp(-k / 20)) for k in range(100)],
        "layers": dict.fromkeys(names, figures),
        "histograms": {name: {"activation": (1 / 16,) * 16} for name in names},
        "trends": {name: [0.1, 0.2, 0.4] for name in names},
        "kinds": {name: Kind("Dense", 100, is_weighted=True) for name in names},
    }  # fmt: skip
    return Scene(**settings | more)


@given(width=st.integers(40, 140), height=st.integers(8, 60), depth=st.integers(1, 90))
def test_it_fits_the_terminal(width: int, height: int, depth: int) -> None:
    found = picture(scene(depth), width, height)
    texts = ["".join(text for text, _ in line) for line in found]
    assert len(texts) <= height
    assert max(map(len, texts)) < width


def test_of_a_deep_network_it_shows_ends_and_signs_and_sums_up_the_rest() -> None:
    bad = {"gradient_norm": 0.1, "weight_norm": 5.0, "update_ratio": 7.0}
    whole = scene(60)
    name = "encoder.blocks.41.attention.mix"
    text = lines.plain(picture(scene(60, layers={**whole.layers, name: bad}), 80, 24))
    assert re.search(r"^encod\S*41\S*|^e\S+mix.* 7▲", text, re.MULTILINE)
    assert "▲ updates-too-large-or-small in encoder.blocks.41" in text
    gaps = [int(count) for count in re.findall(r"… (\d+) more", text)]
    rows = [line for line in text.splitlines() if "0.1" in line and "…" in line[:11]]
    assert sum(gaps) + len(rows) >= 60
    assert "gradient 0.1 to 0.1; update 0.001 to 0.001" in text


def test_a_sign_is_no_matter_of_colour() -> None:
    layers = {"0": {"gradient_norm": np.nan, "update_ratio": 2.0}, "1": {"activation_mean": 0.0}}
    found = picture(scene(1, layers=layers, kinds={}, histograms={}, trends={}), 80, 24)
    text = lines.plain(found)
    assert "NaN✗" in text
    assert "2▲" in text
    assert "✗ loss-not-finite in 0: it is infinite or NaN" in text
    assert "✓" in lines.plain(picture(scene(3), 80, 24))


def test_before_the_first_watched_step_there_is_only_the_head() -> None:
    text = lines.plain(picture(Scene(0, 0, 1, 3), 80, 24))
    assert text.splitlines() == ["step 0  epoch 1/3", "◀ loss …"]


# --- Courses and curves ------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e3, 1e3), max_size=300), st.sampled_from([2, 4, 16]))
def test_a_course_is_the_means_of_equal_parts(values: list[float], most: int) -> None:
    course = Course(most)
    for value in values:
        course.add(value)
    expected = [np.mean(values[at : at + course.size]) for at in range(0, len(values), course.size)]
    assert len(course.means) <= most
    assert course.means == pytest.approx(expected)
    assert len(values) <= most or len(course.means) > most // 2


def test_what_is_not_finite_leaves_a_gap() -> None:
    course = Course(4)
    for value in (1.0, np.nan, np.inf, np.nan, 3.0):
        course.add(value)
    assert course.means == pytest.approx([1.0, np.nan, 3.0], nan_ok=True)
    assert braille([0.0, np.nan, np.nan, 1.0], 2, 1) == ["⡀⠈"]
    assert braille([np.nan], 1, 1) == ["⠀"]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9),
    st.integers(1, 6),
)
@example([0.0, 5e-324], 1)
@example([-1e308, 0.0, 1e308], 2)
def test_a_curve_has_a_dot_for_every_value_at_its_level(values: list[float], rows: int) -> None:
    columns = (len(values) + 1) // 2
    cells = [[ord(cell) - 0x2800 for cell in line] for line in braille(values, columns, rows)]
    assert [len(line) for line in cells] == [columns] * rows
    bit = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
    low, high = Fraction(min(values)), Fraction(max(values))
    for place, value in enumerate(values):
        levels = [row for row in range(4 * rows) if cells[row // 4][place // 2] & bit[row % 4][place % 2]]
        assert levels, "every value has a dot"
        if high > low:
            exact = float((4 * rows - 1) * (1 - (Fraction(value) - low) / (high - low)))
            assert min(abs(level - exact) for level in levels) <= 0.5 + 1e-6


def test_resampled_keeps_the_mean() -> None:
    values = list(np.arange(12.0))
    assert np.mean(resampled(values, 4)) == pytest.approx(np.mean(values))
    assert resampled(values, 12) == values
