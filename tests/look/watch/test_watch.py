"""Watching: what it says is what NumPy says of an eager step, and the run that is watched has the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data.batches import Batches
from chainrule.look.watching.measuring import ACTIVATION_BINS, GRADIENT_BINS
from look.watch.runs import BATCH, NETS, OPTIMIZERS, ROWS, STEPS, bits, data, plain, trained

Array = np.ndarray[Any, Any]


class ByHand:
    """The plain network's steps in NumPy, in float64, with SGD: an oracle that has nothing of ours but the weights."""

    def __init__(self, net: nn.Module, rate: float) -> None:
        self.p = {name: array.astype(np.float64) for name, array in net.arrays().items()}
        self.rate = rate

    def step(self, x: Array, y: Array) -> tuple[float, dict[str, Array], dict[str, Array], dict[str, Array]]:
        p, outputs = self.p, {}
        outputs["0"] = x @ p["0.weight"] + p["0.bias"]
        outputs["1"] = np.maximum(outputs["0"], 0)
        outputs["2"] = outputs["1"] @ p["2.weight"] + p["2.bias"]
        outputs["3"] = 1 / (1 + np.exp(-outputs["2"]))
        outputs["4"] = outputs["3"] @ p["4.weight"] + p["4.bias"]
        shifted = outputs["4"] - outputs["4"].max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -logs[np.arange(len(y)), y].mean()
        error = (np.exp(logs) - np.eye(3)[y]) / len(y)
        gradients = {"4.weight": outputs["3"].T @ error, "4.bias": error.sum(axis=0)}
        error = (error @ p["4.weight"].T) * outputs["3"] * (1 - outputs["3"])
        gradients |= {"2.weight": outputs["1"].T @ error, "2.bias": error.sum(axis=0)}
        error = (error @ p["2.weight"].T) * (outputs["0"] > 0)
        gradients |= {"0.weight": x.T @ error, "0.bias": error.sum(axis=0)}
        before = dict(p)
        self.p = {name: value - self.rate * gradients[name] for name, value in p.items()}
        return float(loss), outputs, gradients, before


def batches(epochs: int) -> list[Array]:
    order = Batches((np.arange(ROWS),), BATCH, True, 0)
    return [order.order(epoch)[at : at + BATCH] for epoch in range(epochs) for at in range(0, ROWS, BATCH)]


def norm(*arrays: Array) -> float:
    return float(np.sqrt(sum(np.sum(array**2) for array in arrays)))


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
def test_every_figure_is_what_numpy_says(compile: bool) -> None:
    cr.random.seed(1)
    hand = ByHand(plain(), 0.5)
    _, _, history = trained(plain, lambda: cr.optim.SGD(0.5), cr.look.Watch(every=2, sample=None), compile=compile)
    X, y = data()
    watched = iter(history.watched)
    for number, rows in enumerate(batches(3)):
        loss, outputs, gradients, before = hand.step(X[rows].astype(np.float64), y[rows])
        if number % 2:
            continue
        glance = next(watched)
        assert (glance.step, glance.epoch, glance.learning_rate) == (number + 1, number // STEPS + 1, 0.5)
        assert glance.loss == pytest.approx(loss, rel=1e-5)
        assert list(glance.layers) == ["0", "1", "2", "3", "4"]
        for layer, output in outputs.items():
            found = glance.layers[layer]
            assert found["activation_mean"] == pytest.approx(output.mean(), rel=1e-4, abs=1e-6)
            assert found["activation_deviation"] == pytest.approx(output.std(), rel=1e-4)
            assert found["activation_zero"] == pytest.approx((output == 0).mean(), abs=1e-6)
            inner, _ = np.histogram(output, [-np.inf, *ACTIVATION_BINS, np.inf])
            # An element within rounding of an edge may stand on its other side.
            assert glance.histograms[layer]["activation"] == pytest.approx(inner / output.size, abs=2.1 / output.size)
        assert glance.layers["3"]["activation_saturated"] == pytest.approx(
            ((outputs["3"] <= 0.01) | (outputs["3"] >= 0.99)).mean(), abs=1e-6
        )
        assert "activation_saturated" not in glance.layers["0"]
        for layer in ("0", "2", "4"):
            names = [f"{layer}.weight", f"{layer}.bias"]
            found, moved = glance.layers[layer], [hand.p[name] - before[name] for name in names]
            assert found["gradient_norm"] == pytest.approx(norm(*(gradients[n] for n in names)), rel=1e-4)
            assert found["weight_norm"] == pytest.approx(norm(*(before[n] for n in names)), rel=1e-5)
            assert found["update_norm"] == pytest.approx(norm(*moved), rel=1e-3)
            assert found["update_ratio"] == pytest.approx(norm(*moved) / norm(*(before[n] for n in names)), rel=1e-3)
            all_of_it = np.concatenate([np.abs(gradients[name]).ravel() for name in names])
            inner, _ = np.histogram(all_of_it, [-np.inf, *GRADIENT_BINS, np.inf])
            assert glance.histograms[layer]["gradient"] == pytest.approx(
                inner / all_of_it.size, abs=2.1 / all_of_it.size
            )
    assert next(watched, None) is None


def test_signal_to_noise_is_that_of_the_last_ten_watched_gradients() -> None:
    cr.random.seed(1)
    hand = ByHand(plain(), 0.5)
    _, _, history = trained(plain, lambda: cr.optim.SGD(0.5), cr.look.Watch(every=1))
    X, y = data()
    last: list[Array] = []
    for rows, ratio in zip(batches(3), history.watched.column("signal_to_noise", "4"), strict=True):
        _, _, gradients, _ = hand.step(X[rows].astype(np.float64), y[rows])
        last = [*last, np.concatenate([gradients["4.weight"].ravel(), gradients["4.bias"]])][-10:]
        if len(last) < 2:
            assert np.isnan(ratio)
            continue
        centre, noise = np.mean(last, axis=0), np.var(last, axis=0, ddof=1)
        signal = max(0.0, np.sum(centre**2 - noise / len(last)))
        assert ratio == pytest.approx(np.sqrt(signal / noise.sum()), rel=1e-3, abs=1e-3)


def test_vanishing_gradients_do_not_vanish_from_the_figures() -> None:
    """Their squares are below the smallest number of float32."""
    _, _, history = trained(
        lambda: nn.Dense(8, 1),
        lambda: cr.optim.SGD(0.1),
        cr.look.Watch(),
        loss=lambda g, t: 1e-30 * cr.mean(g),
        epochs=1,
    )
    found = history.watched[0].layers["Dense"]["gradient_norm"]
    x = data()[0][batches(1)[0]]
    assert found == pytest.approx(1e-30 * norm(x.mean(axis=0).astype(np.float64), np.ones(1)), rel=1e-5)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("net", NETS)
def test_a_watched_run_has_the_bits_of_one_that_is_not(net: str, optimizer: str, every: int) -> None:
    alone = trained(NETS[net], OPTIMIZERS[optimizer], metrics=["accuracy"])
    watched = trained(NETS[net], OPTIMIZERS[optimizer], cr.look.Watch(every=every), metrics=["accuracy"])
    assert bits(alone[0]) == bits(watched[0])
    assert bits(alone[1]) == bits(watched[1])
    assert alone[2]["loss"] == watched[2]["loss"]
    assert alone[2]["accuracy"] == watched[2]["accuracy"]
    assert watched[2].watched.steps == list(range(1, 3 * STEPS + 1, every))
    assert watched[2].watched.column("loss")[0] > 0


def test_layers_are_named_by_their_paths_and_seen_through_containers() -> None:
    _, _, history = trained(NETS["busy"], OPTIMIZERS["adam"], cr.look.Watch())
    assert history.watched.layers == ["0", "1", "2", "3", "4.dense", "4", "5", "6"]
    assert "gradient_norm" in history.watched[0].layers["4.dense"]
    assert "gradient_norm" not in history.watched[0].layers["4"]
    assert "activation_saturated" in history.watched[0].layers["4"]  # its own tanh


def test_it_is_saved_with_the_history_and_goes_on_after_a_checkpoint(tmp_path) -> None:
    path = tmp_path / "run.safetensors"
    trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2), cr.Checkpoint(path), epochs=2)  # fmt: skip
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2), epochs=3, resume=path)
    _, _, whole = trained(plain, OPTIMIZERS["adam"], cr.look.Watch(every=2), epochs=3)
    assert history.watched.steps == whole.watched.steps == list(range(1, 16, 2))
    for figure in ("gradient_norm", "update_ratio", "weight_norm"):
        assert (history.watched.column(figure, "2") == whole.watched.column(figure, "2")).all()
    read = cr.History.from_jsonl(whole.to_jsonl())
    assert [glance.layers for glance in read.watched][1:] == [glance.layers for glance in whole.watched][1:]
    assert read.to_jsonl() == whole.to_jsonl()
    assert read["loss"] == whole["loss"]


def test_a_large_layer_is_sampled_evenly() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 200)).astype(np.float32)
    exact, sampled = (
        trained(
            lambda: nn.Sequential(nn.Dense(200, 600), nn.ReLU(), nn.Dense(600, 1)),
            OPTIMIZERS["adam"],
            cr.look.Watch(sample=sample),
            data=(X, X[:, :1]),
            loss="mse",
            batch_size=64,
        )[2].watched[0].layers
        for sample in (None, 8192)
    )  # fmt: skip
    for layer, figures in exact.items():
        for name, value in figures.items():
            assert sampled[layer][name] == pytest.approx(value, rel=0.05, abs=0.02, nan_ok=True), (layer, name)
    assert exact["0"]["weight_norm"] != sampled["0"]["weight_norm"]
    assert exact["0"]["gradient_norm"] == pytest.approx(sampled["0"]["gradient_norm"], rel=1e-12)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "10"])
def test_every_and_sample_are_whole_numbers(wrong: Any) -> None:
    with pytest.raises(cr.ArgumentError, match="Watch: every must be a whole number from 1"):
        cr.look.Watch(every=wrong)
    with pytest.raises(cr.ArgumentError, match="Watch: sample must be a whole number from 1"):
        cr.look.Watch(sample=wrong)


def test_one_watcher_is_enough() -> None:
    with pytest.raises(cr.ArgumentError, match="only one may look into the steps of a run, but Watch and Watch would"):
        trained(plain, OPTIMIZERS["adam"], cr.look.Watch(), cr.look.Watch())


def test_what_was_not_watched_is_said() -> None:
    _, _, history = trained(plain, OPTIMIZERS["adam"], cr.look.Watch())
    with pytest.raises(cr.ArgumentError, match='no layer "7" was watched, but 0, 1, 2, 3, 4'):
        history.watched.column("gradient_norm", "7")
    with pytest.raises(cr.ArgumentError, match='no figure "norm" of layers was watched, but activation_mean'):
        history.watched.column("norm", "0")
    with pytest.raises(cr.ArgumentError, match=r'layer "1" has no "gradient_norm": .* it has activation_mean'):
        history.watched.column("gradient_norm", "1")
    with pytest.raises(cr.ArgumentError, match='"gradient_norm" is a figure of layers'):
        history.watched.column("gradient_norm")
    with pytest.raises(cr.DataError, match="line 1: this is not what was seen of a step"):
        cr.History.from_jsonl('{"watched": {"step": "first"}}')
