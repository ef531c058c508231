"""Pictures and event files: what is drawn and written is what was seen; without the library the error says so."""

from __future__ import annotations

import importlib.util
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from look.watch.runs import OPTIMIZERS, plain, trained

# Both are in the development lock; they are optional for users, who may run the tests without them.
needs_matplotlib, needs_tensorboard = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name}, an optional dependency, is not there")
    for name in ("matplotlib", "tensorboardX")
)


@pytest.fixture(scope="module")
def history() -> cr.History:
    return trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2), validation=0.2)[2]


@needs_matplotlib
def test_loss_curves_are_those_of_the_history(history: cr.History, tmp_path) -> None:
    figure = cr.look.plots.loss_curves(history)
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert list(drawn["training"]) == history["loss"]
    assert list(drawn["validation"]) == history["validation_loss"]
    figure.savefig(tmp_path / "loss.png")


@needs_matplotlib
def test_gradient_flow_has_a_row_for_each_layer_with_parameters(history: cr.History, tmp_path) -> None:
    figure = cr.look.plots.gradient_flow(history)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "2", "4"]
    expected = np.log10([history.watched.column("gradient_norm", layer) for layer in ("0", "2", "4")])
    assert np.asarray(axes.collections[0].get_array()) == pytest.approx(expected)
    figure.savefig(tmp_path / "flow.png")


@needs_matplotlib
@pytest.mark.parametrize(("kind", "layers"), [("activation", 5), ("gradient", 3)])
def test_histograms_have_the_shares_of_the_last_glance(history: cr.History, kind: str, layers: int, tmp_path) -> None:
    figure = cr.look.plots.activation_histograms(history, kind)
    assert len(figure.axes) == layers
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx(history.watched[-1].histograms["0"][kind])
    figure.savefig(tmp_path / "histograms.png")


@needs_matplotlib
def test_a_decision_surface_is_what_the_network_predicts(tmp_path) -> None:
    net = cr.nn.Sequential(cr.nn.Dense(2, 3))
    X = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    figure = cr.look.plots.decision_surface(net, X, np.arange(30) % 3)
    assert len(figure.axes[0].collections[-1].get_offsets()) == 30
    figure.savefig(tmp_path / "surface.png")
    with pytest.raises(cr.DataError, match=r"X of shape \(rows, 2\), but it is \(30, 1\)"):
        cr.look.plots.decision_surface(net, X[:, :1])


def test_what_cannot_be_drawn_is_said(history: cr.History) -> None:
    bare = trained(plain, OPTIMIZERS["adam"], epochs=1)[2]
    with pytest.raises(cr.DataError, match="nothing was watched: train with"):
        cr.look.plots.gradient_flow(bare)
    with pytest.raises(cr.DataError, match="has no epoch"):
        cr.look.plots.loss_curves(cr.History())
    with pytest.raises(cr.ArgumentError, match='kind must be "activation" or "gradient"'):
        cr.look.plots.activation_histograms(history, "weights")
    with pytest.raises(cr.ArgumentError, match="there is no glance 99"):
        cr.look.plots.activation_histograms(history, glance=99)
    plain_watch = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(histograms=False), epochs=1)[2]
    with pytest.raises(cr.DataError, match="watched without histograms"):
        cr.look.plots.activation_histograms(plain_watch)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, as the definition of the events that tensorboardX brings reads the only file there.

    A record is its length (8 bytes), a checksum (4), the event, and a checksum (4).
    """
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.iterdir()
    content, found = file.read_bytes(), {}
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event, content = Event.FromString(content[12 : 12 + length]), content[16 + length :]
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@needs_tensorboard
def test_event_files_hold_what_was_seen(history: cr.History, tmp_path) -> None:
    found = scalars(cr.look.to_tensorboard(history, tmp_path / "events"))
    for layer in ("0", "2", "4"):
        steps, values = zip(*found[f"gradient_norm/{layer}"], strict=True)
        assert list(steps) == history.watched.steps
        assert values == pytest.approx(history.watched.column("gradient_norm", layer))
    assert [value for _, value in found["epoch/loss"]] == pytest.approx(history["loss"])


@pytest.mark.parametrize(
    ("library", "call", "extra"),
    [
        ("matplotlib.figure", lambda history, folder: cr.look.plots.loss_curves(history), "plots"),
        ("tensorboardX", lambda history, folder: cr.look.to_tensorboard(history, folder), "tensorboard"),
    ],
)
def test_without_the_library_the_error_says_what_to_install(
    history: cr.History, monkeypatch: pytest.MonkeyPatch, tmp_path, library: str, call: Any, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(cr.ArgumentError, match=rf"pip install 'chainrule\[{extra}\]'"):
        call(history, tmp_path)
