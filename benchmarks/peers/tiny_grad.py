"""tinygrad: the whole step under TinyJit, compiled by the clang inside the package ziglang where there is no other."""

from __future__ import annotations

from typing import Any

import numpy as np
from tinygrad import Tensor, TinyJit, dtypes
from tinygrad.helpers import Context
from tinygrad.nn.optim import Adam

from peers import UnsuitedError
from workloads import BETA1, BETA2, EPSILON, Workload, cycled, data_of, first_weights


class Jitted:
    """One call of the jitted step a batch, on tensors made beforehand."""

    def __init__(self, workload: Workload) -> None:
        if workload.dtype != "float32":
            raise UnsuitedError("its Adam keeps moments in float32")
        self.workload = workload
        inputs, targets = data_of(workload).batches()
        kind = dtypes.int32 if workload.loss == "cross_entropy" else dtypes.float32
        self.batches = [
            (Tensor(x).realize(), Tensor(np.asarray(y), dtype=kind).realize())
            for x, y in zip(inputs, targets, strict=True)
        ]
        self.pairs = [(Tensor(weight).realize(), Tensor(bias).realize()) for weight, bias in first_weights(workload)]
        flat = [parameter.is_param_(True) for pair in self.pairs for parameter in pair]
        self.optimizer = Adam(flat, lr=workload.rate, b1=BETA1, b2=BETA2, eps=EPSILON)
        self.step = TinyJit(self._step)

    def reset(self) -> None:
        """The first weights, and moments of zero."""
        for pair, arrays in zip(self.pairs, first_weights(self.workload), strict=True):
            for parameter, array in zip(pair, arrays, strict=True):
                parameter.assign(Tensor(array)).realize()
        for moment in (*self.optimizer.m, *self.optimizer.v):
            moment.assign(Tensor.zeros(*moment.shape)).realize()
        for power in (self.optimizer.b1_t, self.optimizer.b2_t):
            power.assign(Tensor.ones(1)).realize()

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        answers = self._forward(x)
        if self.workload.loss == "cross_entropy":
            loss = answers.sparse_categorical_crossentropy(y)
        else:
            loss = (answers - y).square().mean()
        loss.backward()
        return loss.realize(*self.optimizer.schedule_step())

    def _forward(self, x: Tensor) -> Tensor:
        owners = iter(self.pairs)
        for kind, _, _ in self.workload.layers:
            if kind == "dense":
                weight, bias = next(owners)
                x = x @ weight + bias
            elif kind == "norm":
                weight, bias = next(owners)
                x = x.layernorm(eps=1e-5) * weight + bias
            else:
                x = x * 0.5 * (1 + (x * 0.5**0.5).erf()) if kind == "gelu" else getattr(x, kind)()
        return x

    def run(self, count: int) -> int:
        """Make `count` steps."""
        loss: Any = None
        with Context(TRAINING=1):
            for number in cycled(self.workload.pool, count):
                loss = self.step(*self.batches[number])
        loss.item()
        return count

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        with Context(TRAINING=1):
            return [self.step(*self.batches[number]).item() for number in cycled(self.workload.pool, steps)]
