"""chainrule: a compiled step called once a batch, and many steps in one native call that gathers its batches itself."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from workloads import BETA1, BETA2, EPSILON, Array, Workload, cycled, data_of, first_weights

KINDS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def network(workload: Workload) -> nn.Sequential:
    """The workload's network with its first weights."""
    layers: list[nn.Module] = []
    for kind, inputs, outputs in workload.layers:
        if kind == "dense":
            layers.append(nn.Dense(inputs, outputs))
        else:
            layers.append(nn.LayerNorm(inputs) if kind == "norm" else KINDS[kind]())
    owners = iter(first_weights(workload))
    for layer in layers:
        if layer.parameters():
            weight, bias = next(owners)
            layer.weight, layer.bias = cr.Parameter(weight), cr.Parameter(bias)
    return nn.Sequential(*layers)


def adam(workload: Workload) -> cr.optim.Adam:
    """The optimizer that all have."""
    return cr.optim.Adam(workload.rate, beta1=BETA1, beta2=BETA2, epsilon=EPSILON)


class EachStep:
    """One call of the compiled function a step, on batches gathered beforehand."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.data = data_of(workload)
        self.batches = list(zip(*self.data.batches(), strict=True))
        net, optimizer = network(workload), adam(workload)
        loss_of = getattr(cr.losses, workload.loss)

        @cr.compile
        def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
            loss = loss_of(net(x), y)
            optimizer.update(cr.backpropagate(loss))
            return loss

        self.net, self.optimizer, self.step = net, optimizer, step
        self.first = {name: array.copy() for name, array in net.arrays().items()}

    def reset(self) -> None:
        """The first weights, and moments of zero."""
        self.net.load_arrays(self.first)
        self.optimizer.load_arrays({"step_count": 0}, self.net.parameters())

    def run(self, count: int) -> int:
        """Make `count` steps."""
        step, batches = self.step, self.batches
        for number in cycled(self.workload.pool, count):
            step(*batches[number])
        return count

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        return [self.step(*self.batches[number]).item() for number in cycled(self.workload.pool, steps)]


class ManySteps(EachStep):
    """All batches of the pool in one native call."""

    def run(self, count: int) -> int:
        """Make at least `count` steps, whole rounds of the pool."""
        program = self.step.program(*self.batches[0])
        rounds = -(-count // self.workload.pool)
        for _ in range(rounds):
            program.loop([self.data.inputs, self.data.targets], self.data.order)
        return rounds * self.workload.pool

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        program = self.step.program(*self.batches[0])
        rows = self.data.order[list(cycled(self.workload.pool, steps))]
        (losses,) = program.loop([self.data.inputs, self.data.targets], rows)
        return [float(loss) for loss in losses]


class Fit:
    """`cr.fit` for one epoch on what data there is: everything between the call and the finished step."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.data = workload, data_of(workload)
        self.reset()

    def reset(self) -> None:
        """A new network."""
        self.net, self.optimizer = network(self.workload), adam(self.workload)

    def run(self, count: int) -> int:
        """One epoch, whatever `count` is."""
        work = self.workload
        cr.fit(
            self.net, (self.data.inputs, self.data.targets), loss=work.loss, optimizer=self.optimizer, epochs=1,
            batch_size=work.batch, progress=False,
        )  # fmt: skip
        return work.pool


class Prediction:
    """The compiled network: arrays go in and come out, as from onnxruntime; the others work on tensors of their own."""

    def __init__(self, workload: Workload) -> None:
        net = network(workload)
        net.eval()
        self.x = data_of(workload).inputs[: workload.batch]
        self.function = cr.compile(lambda x: net(x))

    def reset(self) -> None:
        """Nothing changes."""

    def run(self, count: int) -> int:
        """Predict `count` times."""
        for _ in range(count):
            np.asarray(self.function(self.x))
        return count

    def answers(self) -> Array:
        """What the network answers."""
        return np.asarray(self.function(self.x))


class Digits:
    """Images of digits: 784-128-10 for some epochs by `cr.fit`."""

    def __init__(self, workload: Workload, images: Array, labels: Array, epochs: int) -> None:
        self.workload, self.images, self.labels, self.epochs = workload, images, labels, epochs
        self.net = network(workload)

    def learn(self) -> None:
        """The whole training."""
        cr.fit(
            self.net, (self.images, self.labels), loss="cross_entropy", optimizer=adam(self.workload),
            epochs=self.epochs, batch_size=self.workload.batch, progress=False, seed=0,
        )  # fmt: skip

    def accuracy(self, images: Array, labels: Array) -> float:
        """The share of right answers."""
        return float((np.argmax(np.asarray(cr.predict(self.net, images)), 1) == labels).mean())
