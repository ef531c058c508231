"""What one sees while a network learns."""

import io
import re
import sys

import numpy as np
import pytest

from chainrule import nn
from chainrule.train.fit import fit
from chainrule.train.progress import sparkline

DATA = (np.linspace(-1, 1, 64)[:, None], np.linspace(-1, 1, 64))


def learn(**settings) -> None:
    settings = {"diagnose": False} | settings  # three epochs teach nothing, which would be said
    fit(nn.Dense(1, 1), DATA, loss="mse", epochs=3, validation=0.25, metrics=["mae"], **settings)


def test_a_pipe_gets_one_plain_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    learn()
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"epoch {number}/3  loss \S+  mae \S+  validation loss \S+  validation mae \S+  \S+ s", line
        ), line


def test_without_progress_there_is_silence(capsys: pytest.CaptureFixture[str]) -> None:
    learn(progress=False)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    learn()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    last = plain.strip().splitlines()[-1]
    assert "epoch 3/3" in last
    assert "validation mae" in last
    assert "rows/s" in last
    assert "epochs" in last
    assert any(bar in last for bar in "▁▂▃▄▅▆▇█")


def test_a_run_that_fails_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    class Failing(nn.Module):
        def __init__(self) -> None:
            self.dense = nn.Dense(1, 1)

        def __call__(self, x):
            if self.training:
                raise RuntimeError("a defect of the user's")
            return self.dense(x)

    with pytest.raises(RuntimeError, match="a defect"):
        fit(Failing(), DATA, loss="mse", epochs=3)
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")  # the cursor shows again


def test_a_sparkline_has_gaps_where_numbers_are_not_finite() -> None:
    assert sparkline([1.0, float("nan"), 0.0, float("inf"), 0.5]) == "█ ▁ ▅"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([float("nan")]) == " "
    assert len(sparkline(list(np.arange(100.0)), width=10)) == 10
