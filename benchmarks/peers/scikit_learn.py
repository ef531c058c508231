"""scikit-learn: MLPClassifier and MLPRegressor. One call of `partial_fit` on all rows is an epoch of many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from peers import UnsuitedError
from workloads import BETA1, BETA2, EPSILON, Workload, cycled, data_of, first_weights


class Epochs:
    """Timed by whole epochs over the pool; its loss of a single step comes from `partial_fit` on that batch.

    Its Adam adds epsilon to a root of squares that is not yet corrected for having begun at 0.
    """

    def __init__(self, workload: Workload) -> None:
        if workload.normalised or workload.activation not in ("relu", "tanh"):
            raise UnsuitedError("its networks have no layer norm and no gelu")
        self.workload = workload
        self.inputs, targets = data_of(workload).batches()
        self.targets = targets.reshape(targets.shape[:2])
        self.all_inputs, self.all_targets = self.inputs.reshape(-1, workload.widths[0]), self.targets.reshape(-1)
        self.is_classifier = workload.loss == "cross_entropy"
        self.classes = {"classes": np.arange(workload.widths[-1])} if self.is_classifier else {}
        # It halves the mean of the squared errors.
        self.scale = 1.0 if self.is_classifier else 2.0
        self.reset()

    def reset(self) -> None:
        """The first weights and a new optimizer."""
        work = self.workload
        kind: Any = MLPClassifier if self.is_classifier else MLPRegressor
        self.net = kind(
            hidden_layer_sizes=work.widths[1:-1], activation=work.activation, solver="adam", alpha=0.0,
            batch_size=work.batch, learning_rate_init=work.rate, shuffle=False, beta_1=BETA1, beta_2=BETA2,
            epsilon=EPSILON,
        )  # fmt: skip
        self._learn(self.inputs[0], self.targets[0])
        pairs = first_weights(work)
        self.net.coefs_, self.net.intercepts_ = [weight for weight, _ in pairs], [bias for _, bias in pairs]
        del self.net._optimizer  # the next call makes one for these weights

    def _learn(self, x: Any, y: Any) -> None:
        self.net.partial_fit(x, y, **self.classes)

    def run(self, count: int) -> int:
        """Make at least `count` steps, whole rounds of the pool."""
        rounds = -(-count // self.workload.pool)
        for _ in range(rounds):
            self._learn(self.all_inputs, self.all_targets)
        return rounds * self.workload.pool

    def losses(self, steps: int) -> list[float]:
        """The loss of each step."""
        found = []
        for number in cycled(self.workload.pool, steps):
            self._learn(self.inputs[number], self.targets[number])
            found.append(self.scale * float(self.net.loss_))
        return found
