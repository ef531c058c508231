"""What is trained: the networks, their first weights, their data, and how much work a step is. Only NumPy is needed.

Everybody gets the same arrays: the rows are shuffled once into batches, the first weights are drawn here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SCALE = {"relu": 2.0, "gelu": 2.0, "tanh": 1.0}  # the variance of a weight, times the inputs
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
NOISE = 0.5  # in the targets, so that no network gets to the end of what there is to learn


@dataclass(frozen=True, slots=True)
class Workload:
    """A training step.

    Attributes
    ----------
    name
        As the tables call it.
    widths
        Features in and out of the dense layers, one more than there are layers.
    activation
        "relu", "tanh" or "gelu", after every dense layer but the last.
    loss
        "cross_entropy" of class numbers, or "mean_squared_error".
    batch
        Rows in a step.
    pool
        How many different batches there are; they come in turns. Also how many steps a call of many steps makes.
    dtype
        "float32" or "float64".
    normalised
        Whether a layer norm stands before each activation.
    rate
        The learning rate of Adam.
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    pool: int
    dtype: str = "float32"
    normalised: bool = False
    rate: float = 1e-3

    @property
    def layers(self) -> list[tuple[str, int, int]]:
        """The kind of each layer, with features in and out."""
        found = []
        for number, (inputs, outputs) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            found.append(("dense", inputs, outputs))
            if number < len(self.widths) - 2:
                if self.normalised:
                    found.append(("norm", outputs, outputs))
                found.append((self.activation, outputs, outputs))
        return found

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        sizes = {"dense": lambda inputs, outputs: (inputs + 1) * outputs, "norm": lambda inputs, _: 2 * inputs}
        return sum(sizes[kind](inputs, outputs) for kind, inputs, outputs in self.layers if kind in sizes)

    @property
    def step_operations(self) -> int:
        """Multiplications and additions of the matrix products of a step: everything else is left out.

        Each layer multiplies forward, for the weight's gradient, and (but the first) for the input's gradient.
        """
        products = [2 * self.batch * a * b for a, b in zip(self.widths, self.widths[1:], strict=False)]
        return 3 * sum(products) - products[0]

    @property
    def forward_operations(self) -> int:
        """Multiplications and additions of the matrix products of a prediction."""
        return sum(2 * self.batch * a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    @property
    def state_bytes(self) -> int:
        """Bytes of the parameters and of Adam's two moments: a step reads and writes each of them."""
        return 3 * self.parameters * np.dtype(self.dtype).itemsize

    def as_data(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def from_data(data: dict[str, Any]) -> Workload:
    """The workload that `as_data` wrote down."""
    return Workload(**{**data, "widths": tuple(data["widths"])})


WORKLOADS = [
    Workload("2-16-16-1, batch 32", (2, 16, 16, 1), "tanh", "mean_squared_error", 32, 1000),
    Workload("784-128-10, batch 64", (784, 128, 10), "relu", "cross_entropy", 64, 100),
    Workload("256-512-512-10, batch 128", (256, 512, 512, 10), "relu", "cross_entropy", 128, 50),
    Workload("1024-2048-2048-1000, batch 256", (1024, 2048, 2048, 1000), "relu", "cross_entropy", 256, 6, rate=1e-4),
    Workload("13-64-64-1, batch 256, float64", (13, 64, 64, 1), "relu", "mean_squared_error", 256, 200, "float64"),
    Workload("8 layers of 32, batch 16, layer norm, gelu", (*[32] * 9, 10), "gelu", "cross_entropy", 16, 500,
             normalised=True),
]  # fmt: skip
QUICK = [WORKLOADS[0], WORKLOADS[1], WORKLOADS[4], WORKLOADS[5]]


@dataclass(frozen=True, slots=True)
class Data:
    """Rows, and which of them make each batch: `inputs` (rows, features), `order` (pool, batch)."""

    inputs: Array
    targets: Array
    order: Array

    def batches(self) -> tuple[Array, Array]:
        """All batches, gathered: (pool, batch, features) and (pool, batch, ...)."""
        return self.inputs[self.order], self.targets[self.order]


@functools.lru_cache(maxsize=1)
def data_of(workload: Workload) -> Data:
    """Standard normal inputs; targets from a random linear teacher with noise."""
    rng = np.random.default_rng(1)
    rows, outputs = workload.pool * workload.batch, workload.widths[-1]
    inputs = rng.standard_normal((rows, workload.widths[0]), np.float32)
    teacher = rng.standard_normal((workload.widths[0], outputs), np.float32) / np.sqrt(np.float32(workload.widths[0]))
    answers = inputs @ teacher + NOISE * rng.standard_normal((rows, outputs), np.float32)
    targets = np.argmax(answers, 1) if workload.loss == "cross_entropy" else np.sin(2 * answers).astype(workload.dtype)
    order = rng.permutation(rows).reshape(workload.pool, workload.batch)
    return Data(inputs.astype(workload.dtype), targets, order)


def first_weights(workload: Workload) -> list[tuple[Array, Array]]:
    """Weight (inputs, outputs) and bias of each dense layer and norm, in order."""
    rng = np.random.default_rng(2)
    pairs = []
    for kind, inputs, outputs in workload.layers:
        if kind == "dense":
            deviation = np.sqrt(SCALE[workload.activation] / inputs)
            pairs.append((deviation * rng.standard_normal((inputs, outputs)), np.zeros(outputs)))
        elif kind == "norm":
            pairs.append((np.ones(inputs), np.zeros(inputs)))
    return [(weight.astype(workload.dtype), bias.astype(workload.dtype)) for weight, bias in pairs]


def cycled(pool: int, steps: int) -> Iterator[int]:
    """The numbers of the batches of the first steps."""
    return (step % pool for step in range(steps))
