"""PyTorch: eager with fused Adam, and with the network and its loss through torch.compile."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from torch import nn

from peers import UnsuitedError
from workloads import BETA1, BETA2, EPSILON, Array, Workload, cycled, data_of, first_weights

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
KINDS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
LOSSES = {"cross_entropy": nn.functional.cross_entropy, "mean_squared_error": nn.functional.mse_loss}


def network(workload: Workload) -> nn.Sequential:
    """The workload's network with its first weights."""
    dtype = getattr(torch, workload.dtype)
    layers: list[nn.Module] = []
    owners = iter(first_weights(workload))
    for kind, inputs, outputs in workload.layers:
        if kind in KINDS:
            layers.append(KINDS[kind]())
            continue
        layer = nn.Linear(inputs, outputs, dtype=dtype) if kind == "dense" else nn.LayerNorm(inputs, dtype=dtype)
        weight, bias = map(torch.from_numpy, next(owners))
        with torch.no_grad():
            layer.weight.copy_(weight.T if kind == "dense" else weight)
            layer.bias.copy_(bias)
        layers.append(layer)
    return nn.Sequential(*layers)


def adam(net: nn.Module, workload: Workload) -> torch.optim.Adam:
    """The optimizer that all have, in its fused form."""
    return torch.optim.Adam(net.parameters(), lr=workload.rate, betas=(BETA1, BETA2), eps=EPSILON, fused=True)


class Eager:
    """The usual loop, on tensors made beforehand."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        inputs, targets = data_of(workload).batches()
        self.batches = list(zip(torch.from_numpy(inputs), torch.from_numpy(targets), strict=True))
        self.net = network(workload)
        self.loss_of = self._loss_of()
        self.reset()

    def _loss_of(self) -> Any:
        net, loss = self.net, LOSSES[self.workload.loss]
        return lambda x, y: loss(net(x), y)

    def reset(self) -> None:
        """The first weights and a new optimizer."""
        self.net.load_state_dict(network(self.workload).state_dict())
        self.optimizer = adam(self.net, self.workload)

    def step(self, number: int) -> torch.Tensor:
        """One step on one batch."""
        self.optimizer.zero_grad()
        loss = self.loss_of(*self.batches[number])
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self, count: int) -> int:
        """Make `count` steps."""
        for number in cycled(self.workload.pool, count):
            self.step(number)
        return count

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        return [self.step(number).item() for number in cycled(self.workload.pool, steps)]


def _require_compiler() -> None:
    if not shutil.which("g++") and not shutil.which("clang++"):
        raise UnsuitedError("torch.compile needs a C++ compiler, and there is none")
    torch.compiler.reset()


class Compiled(Eager):
    """Forward, loss and backward through torch.compile; the optimizer is the fused one."""

    def _loss_of(self) -> Any:
        _require_compiler()
        return torch.compile(super()._loss_of(), dynamic=False)


class Prediction:
    """The network in inference mode."""

    def __init__(self, workload: Workload) -> None:
        self.net = network(workload).eval()
        self.x = torch.from_numpy(data_of(workload).inputs[: workload.batch])

    def reset(self) -> None:
        """Nothing changes."""

    def run(self, count: int) -> int:
        """Predict `count` times."""
        with torch.inference_mode():
            for _ in range(count):
                self.net(self.x)
        return count

    def answers(self) -> Array:
        """What the network answers."""
        with torch.inference_mode():
            return self.net(self.x).numpy()


class CompiledPrediction(Prediction):
    """The same through torch.compile."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        _require_compiler()
        self.net = torch.compile(self.net, dynamic=False)


class Digits:
    """Images of digits: 784-128-10 for some epochs by a plain loop over shuffled rows, without a DataLoader."""

    def __init__(self, workload: Workload, images: Array, labels: Array, epochs: int) -> None:
        self.workload, self.epochs = workload, epochs
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)
        self.net = network(workload)

    def learn(self) -> None:
        """The whole training."""
        torch.manual_seed(0)
        optimizer, batch = adam(self.net, self.workload), self.workload.batch
        for _ in range(self.epochs):
            order = torch.randperm(len(self.images))
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.net(self.images[rows]), self.labels[rows])
                loss.backward()
                optimizer.step()

    def accuracy(self, images: Array, labels: Array) -> float:
        """The share of right answers."""
        with torch.inference_mode():
            answers = self.net(torch.from_numpy(images)).argmax(1)
        return float((answers == torch.from_numpy(labels)).float().mean())
