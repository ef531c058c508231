"""Pictures of a run and of what a network does, one call each, with Matplotlib where it is installed.

Comes in: a history or a network. Goes out: a Matplotlib figure, which a notebook shows and `savefig` writes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, DataError
from chainrule.look.explaining.palette import LIGHT
from chainrule.look.watching.measuring import ACTIVATION_BINS, GRADIENT_BINS
from chainrule.nn.module import Module
from chainrule.train.evaluation import predict
from chainrule.train.history import History
from chainrule.train.watched import Watched

Array = np.ndarray[Any, Any]
_FINE = 200  # points along each side of a decision surface


def loss_curves(history: History) -> Any:
    """The losses of training and validation over the epochs.

    Raises
    ------
    DataError
        If the history has no epoch.
    ArgumentError
        Without Matplotlib.
    """
    if not history.epochs:
        raise DataError("the history has no epoch yet; there is nothing to draw.")
    figure, axes = _figure()
    numbers = history["epoch"]
    axes.plot(numbers, history["loss"], "o-", color=LIGHT["forward"], markersize=3, label="training")
    if "validation_loss" in history.epochs[0]:
        validation = history["validation_loss"]
        axes.plot(numbers, validation, "s--", color=LIGHT["error"], markersize=3, label="validation")
        axes.axvline(history.best_epoch, color=LIGHT["still"], linewidth=1, linestyle=":", label="best epoch")
    axes.set(xlabel="epoch", ylabel="loss", title="Loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def gradient_flow(history: History, figure_of_layer: str = "gradient_norm") -> Any:
    """A figure of every layer over the steps as colours: layers from first to last, a colour for each power of ten.

    Parameters
    ----------
    history
        Of a run with `cr.look.Watch`.
    figure_of_layer
        Which figure; default the norm of the gradient.

    Raises
    ------
    DataError
        If nothing was watched.
    ArgumentError
        If no layer has that figure, or without Matplotlib.
    """
    watched = _watched(history)
    having = [layer for layer in watched.layers if figure_of_layer in watched.figures_of(layer)]
    columns = {layer: watched.column(figure_of_layer, layer) for layer in having or watched.layers[:1]}
    columns = {layer: column for layer, column in columns.items() if np.isfinite(column).any()}
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.log10(np.stack([*columns.values()]))
    figure, axes = _figure(height=1.5 + 0.35 * len(columns))
    shown = np.ma.masked_invalid(sizes)
    mesh = axes.pcolormesh(_edges(watched.steps), np.arange(len(columns) + 1), shown, cmap="cividis", shading="flat")
    axes.set_yticks(np.arange(len(columns)) + 0.5, [*columns])
    axes.invert_yaxis()
    axes.set(xlabel="step", ylabel="layer, first on top", title=figure_of_layer.replace("_", " ").capitalize())
    figure.colorbar(mesh, ax=axes, label=f"log10 of {figure_of_layer.replace('_', ' ')}")
    return figure


def activation_histograms(history: History, kind: str = "activation", glance: int = -1) -> Any:
    """In which bins the activations, or with `kind="gradient"` the gradients, of every layer were at one step.

    Raises
    ------
    DataError
        If nothing was watched, or without histograms.
    ArgumentError
        If `kind` is something else, there is no such glance, or without Matplotlib.
    """
    if kind not in ("activation", "gradient"):
        raise ArgumentError(f'kind must be "activation" or "gradient", but is {kind!r}.')
    watched = _watched(history)
    if not -len(watched) <= glance < len(watched):
        raise ArgumentError(f"{len(watched)} steps were watched, so there is no glance {glance!r}.")
    seen = watched[glance]
    shares = {layer: each[kind] for layer, each in seen.histograms.items() if kind in each}
    if not shares:
        raise DataError("the run was watched without histograms: train with cr.look.Watch(histograms=True).")
    names = _bin_names(ACTIVATION_BINS if kind == "activation" else GRADIENT_BINS)
    figure, _ = _figure(height=1.2 + 1.1 * len(shares), rows=len(shares))
    for panel, (layer, values) in zip(figure.axes, shares.items(), strict=True):
        panel.bar(range(len(values)), values, color=LIGHT["forward" if kind == "activation" else "error"])
        panel.set_ylabel(layer, rotation=0, ha="right")
        panel.set(yticks=[], xticks=[])
    figure.axes[-1].set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    figure.axes[0].set_title(f"{kind.capitalize()} of each layer, step {seen.step}")
    return figure


def decision_surface(net: Module, X: Any, y: Any = None, *, margin: float = 0.1) -> Any:
    """What a network of two inputs answers everywhere around the data: its class, or its only output.

    Parameters
    ----------
    net
        A network of inputs of shape (rows, 2).
    X, y
        Data of shape (rows, 2) to draw, and its targets, by which the points are coloured.
    margin
        How far to look beyond the data, as a part of its width.

    Raises
    ------
    DataError
        If X has not two columns.
    ArgumentError
        Without Matplotlib.
    """
    points = np.asarray(X)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise DataError(f"a decision surface needs X of shape (rows, 2), but it is {points.shape}.")
    low, high = points.min(axis=0), points.max(axis=0)
    room = margin * np.maximum(high - low, 1e-9)
    sides = [np.linspace(low[i] - room[i], high[i] + room[i], _FINE) for i in range(2)]
    grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2).astype(np.float32)
    answers = np.asarray(predict(net, grid)).reshape(len(grid), -1)
    classes = answers.shape[1]
    surface = (answers.argmax(axis=1) if classes > 1 else answers[:, 0]).reshape(_FINE, _FINE)
    figure, axes = _figure(height=5)
    drawn = {"cmap": "viridis"} | ({"levels": np.arange(classes + 1) - 0.5} if classes > 1 else {"levels": 20})
    filled = axes.contourf(*sides, surface, alpha=0.6, **drawn)
    colour = None if y is None else np.asarray(y).reshape(len(points), -1)[:, 0]
    axes.scatter(*points.T, c=colour, cmap="viridis", edgecolors=LIGHT["ink"], linewidths=0.5, s=18)
    bar = figure.colorbar(filled, ax=axes, label="class" if classes > 1 else "output")
    if classes > 1:
        bar.set_ticks(range(classes))
    axes.set(xlabel="first input", ylabel="second input", title="Decision surface")
    return figure


def _watched(history: History) -> Watched:
    if not len(history.watched):
        raise DataError("nothing was watched: train with fit(..., callbacks=[cr.look.Watch()]).")
    return history.watched


def _edges(steps: Sequence[int]) -> Array:
    """Where the columns of steps begin and end."""
    middles = [(before + after) / 2 for before, after in pairwise(steps)]
    return np.array([steps[0] - 0.5, *middles, steps[-1] + 0.5])


def _bin_names(edges: Sequence[float]) -> list[str]:
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *inner, f"from {edges[-1]:g}"]


def _figure(height: float = 3.6, rows: int = 1) -> tuple[Any, Any]:
    """A figure that belongs to nobody else, and its axes; no window opens."""
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ArgumentError("pictures need Matplotlib: pip install 'chainrule[plots]'.") from error
    figure = figures.Figure(figsize=(7, height), layout="constrained")
    return figure, figure.subplots(rows, 1)
