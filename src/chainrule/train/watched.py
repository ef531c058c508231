"""What was seen of a run while it went on: figures of every layer at some of its steps.

A `Glance` is one step that was looked into; `Watched` holds them in order. They are written and read as JSON, one
object a glance, beside the rows of the epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from chainrule.errors import ArgumentError, DataError

Array = np.ndarray[Any, Any]
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Glance:
    """One step that was looked into.

    Attributes
    ----------
    step, epoch
        Its number in the run and the epoch that it belongs to, both from 1.
    loss, learning_rate
        The loss before the step, and the rate of its update.
    layers
        For each layer, by its path, its figures by name; a figure that a layer does not have is missing.
    histograms
        For each layer the shares of its activations and of its gradient's elements in each bin.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    layers: Mapping[str, Figures]
    histograms: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The glance for JSON; what is infinite or NaN, which JSON does not have, is None."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "loss": _finite(self.loss),
            "learning_rate": _finite(self.learning_rate),
            "layers": {layer: {k: _finite(v) for k, v in figures.items()} for layer, figures in self.layers.items()},
            "histograms": {layer: {k: [*v] for k, v in each.items()} for layer, each in self.histograms.items()},
        }

    @staticmethod
    def from_dict(found: Any, source: str = "watched") -> Glance:
        """The glance that `to_dict` wrote.

        Raises
        ------
        DataError
            If it is something else.
        """
        try:
            return Glance(
                int(found["step"]),
                int(found["epoch"]),
                _number(found["loss"]),
                _number(found["learning_rate"]),
                {layer: {k: _number(v) for k, v in figures.items()} for layer, figures in found["layers"].items()},
                {
                    layer: {k: tuple(map(float, v)) for k, v in each.items()}
                    for layer, each in found.get("histograms", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{source}: this is not what was seen of a step of a run ({error}).") from error


class Unnamed(Protocol):
    """A step that was looked into and whose figures have no names yet."""

    def glance(self) -> Glance:
        """The glance with names."""


class Watched:
    """The steps of a run that were looked into, in order.

    Examples
    --------
    >>> seen = Watched([Glance(1, 1, 0.5, 0.1, {"0": {"gradient_norm": 2.0}})])
    >>> seen.steps, seen.layers, seen.column("gradient_norm", "0").tolist()
    ([1], ['0'], [2.0])
    """

    def __init__(self, glances: Iterable[Glance] = ()) -> None:
        self._glances = list(glances)
        self._waiting: list[Unnamed] = []

    def add(self, step: Unnamed) -> None:
        """One more step, whose glance is made when somebody looks."""
        self._waiting.append(step)

    @property
    def glances(self) -> list[Glance]:
        """All of them."""
        self._glances += [step.glance() for step in self._waiting]
        self._waiting = []
        return self._glances

    def __len__(self) -> int:
        return len(self._glances) + len(self._waiting)

    def __iter__(self) -> Iterator[Glance]:
        return iter(self.glances)

    def __getitem__(self, number: int) -> Glance:
        return self.glances[number]

    @property
    def steps(self) -> list[int]:
        """The numbers of the steps, from 1."""
        return [glance.step for glance in self.glances]

    @property
    def layers(self) -> list[str]:
        """The paths of all layers, in the order in which they were first called."""
        return list(dict.fromkeys(layer for glance in self.glances for layer in glance.layers))

    @property
    def figures(self) -> list[str]:
        """The names of all figures of layers."""
        every = (figures for glance in self.glances for figures in glance.layers.values())
        return list(dict.fromkeys(name for figures in every for name in figures))

    def figures_of(self, layer: str) -> list[str]:
        """The figures that one layer has at some step."""
        return list(dict.fromkeys(name for glance in self.glances for name in glance.layers.get(layer, {})))

    def column(self, figure: str, layer: str | None = None) -> Array:
        """One figure over the steps.

        Parameters
        ----------
        figure
            `"loss"` or `"learning_rate"`, or with `layer` a figure such as `"gradient_norm"`.
        layer
            The path of the layer.

        Returns
        -------
        ndarray
            float64 of shape (glances,); NaN where a step has no such figure.

        Raises
        ------
        ArgumentError
            If there is no such figure or layer, or the layer never had that figure, as an activation has no weights.
        """
        if layer is None and figure in ("loss", "learning_rate"):
            return np.array([getattr(glance, figure) for glance in self.glances])
        if layer is None:
            raise ArgumentError(f'"{figure}" is a figure of layers: name one of {", ".join(self.layers)} as layer.')
        if self.glances and layer not in self.layers:
            raise ArgumentError(f'no layer "{layer}" was watched, but {", ".join(self.layers)}.')
        if self.glances and figure not in self.figures:
            raise ArgumentError(f'no figure "{figure}" of layers was watched, but {", ".join(self.figures)}.')
        if self.glances and figure not in (known := self.figures_of(layer)):
            raise ArgumentError(
                f'layer "{layer}" has no "{figure}": figures of parameters need some that a gradient comes to, figures '
                f"of activations need floating numbers; it has {', '.join(known)}."
            )
        return np.array([glance.layers.get(layer, {}).get(figure, math.nan) for glance in self.glances])

    def __repr__(self) -> str:
        if not self.glances:
            return "Watched(nothing)"
        return f"Watched({len(self)} steps from {self.steps[0]} to {self.steps[-1]}, {len(self.layers)} layers)"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
