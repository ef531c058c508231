"""JAX: a jitted step called once a batch, and a scan of the step over all batches in one call; Adam by hand."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from workloads import BETA1, BETA2, EPSILON, Array, Workload, cycled, data_of, first_weights

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": partial(jax.nn.gelu, approximate=False)}


def forward(workload: Workload, parameters: Any, x: Any) -> Any:
    """What the network answers."""
    owners = iter(parameters)
    for kind, _, _ in workload.layers:
        if kind == "dense":
            weight, bias = next(owners)
            x = x @ weight + bias
        elif kind == "norm":
            weight, bias = next(owners)
            centred = x - x.mean(1, keepdims=True)
            x = centred * jax.lax.rsqrt((centred * centred).mean(1, keepdims=True) + 1e-5) * weight + bias
        else:
            x = ACTIVATIONS[kind](x)
    return x


def loss_of(workload: Workload, parameters: Any, x: Any, y: Any) -> Any:
    """The loss of a batch."""
    answers = forward(workload, parameters, x)
    if workload.loss == "mean_squared_error":
        return jnp.mean((answers - y) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(answers), y[:, None], 1))


def step(workload: Workload, state: Any, batch: Any) -> Any:
    """One step: the state afterwards, and the loss before."""
    parameters, means, squares, count = state
    loss, gradients = jax.value_and_grad(partial(loss_of, workload))(parameters, *batch)
    count = count + 1
    # 1 - beta**count, which float32 would round to five digits where it is small.
    first, second = (-jnp.expm1(count * math.log(beta)) for beta in (BETA1, BETA2))
    correction = jnp.sqrt(second)
    rate, epsilon = workload.rate * correction / first, EPSILON * correction
    means = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradients)
    squares = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, squares, gradients)
    update = lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon)  # noqa: E731  a formula
    return (jax.tree.map(update, parameters, means, squares), means, squares, count), loss


class EachStep:
    """One call of the jitted step a batch; nobody waits in between."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        inputs, targets = data_of(workload).batches()
        self.stacked = jnp.asarray(inputs), jnp.asarray(targets)
        self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(inputs, targets, strict=True)]
        self.step = jax.jit(partial(step, workload), donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        """The first weights, and moments of zero."""
        parameters = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in first_weights(self.workload)]
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state = parameters, zeros(parameters), zeros(parameters), jnp.zeros((), self.workload.dtype)
        jax.block_until_ready(self.state)

    def run(self, count: int) -> int:
        """Make `count` steps."""
        state = self.state
        for number in cycled(self.workload.pool, count):
            state, _ = self.step(state, self.batches[number])
        self.state = jax.block_until_ready(state)
        return count

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        found = []
        for number in cycled(self.workload.pool, steps):
            self.state, loss = self.step(self.state, self.batches[number])
            found.append(float(loss))
        return found


class ManySteps(EachStep):
    """All batches of the pool in one call."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.batches = []
        self.scan = jax.jit(partial(jax.lax.scan, partial(step, workload)), donate_argnums=0)

    def run(self, count: int) -> int:
        """Make at least `count` steps, whole rounds of the pool."""
        rounds = -(-count // self.workload.pool)
        for _ in range(rounds):
            self.state, losses = self.scan(self.state, self.stacked)
        jax.block_until_ready((self.state, losses))
        return rounds * self.workload.pool

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        found: list[float] = []
        while len(found) < steps:
            self.state, losses = self.scan(self.state, self.stacked)
            found += map(float, losses)
        return found[:steps]


class Prediction:
    """The jitted network."""

    def __init__(self, workload: Workload) -> None:
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        parameters = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in first_weights(workload)]
        self.x = jnp.asarray(data_of(workload).inputs[: workload.batch])
        function = jax.jit(partial(forward, workload))
        self.function = lambda: function(parameters, self.x).block_until_ready()

    def reset(self) -> None:
        """Nothing changes."""

    def run(self, count: int) -> int:
        """Predict `count` times."""
        for _ in range(count):
            self.function()
        return count

    def answers(self) -> Array:
        """What the network answers."""
        return np.asarray(self.function())
