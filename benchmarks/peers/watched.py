"""chainrule's `fit` on one network, whose epochs are made one at a time on demand: watched, or left unguarded."""

from __future__ import annotations

import threading
from typing import Any

import chainrule as cr
from chainrule.train import native
from peers.ours import adam, network
from workloads import Workload, data_of


class _Stops(cr.Callback):
    """Waits before every epoch until it is wanted."""

    each_batch = False

    def __init__(self) -> None:
        self.wanted, self.made = threading.Semaphore(0), threading.Semaphore(0)

    def on_epoch_begin(self, trainer: Any) -> None:
        """Tell that the epochs before are made, and wait."""
        self.made.release()
        self.wanted.acquire()


class Fit:
    """One long run of `cr.fit`, which compiles once; a call of `run` makes whole epochs of it.

    Parameters
    ----------
    workload
        The network and its data.
    every
        Which steps are watched; None watches none.
    blind
        Whether to leave out what looks for NaN and what keeps states for going back: no run does without, so the parts
        of the trainer that do it are replaced in this process.
    """

    def __init__(self, workload: Workload, every: int | None = None, blind: bool = False) -> None:
        self.workload, self.data = workload, data_of(workload)
        if blind:
            for owner, name in ((native._Kept, "before"), (native.NativeSteps, "_require_finite")):
                getattr(owner, name)  # it is an error if there is no such part any more
                setattr(owner, name, lambda *_arguments, **_options: True)  # all is well
        self.net, self.optimizer = network(workload), adam(workload)
        self.first = {name: array.copy() for name, array in self.net.arrays().items()}
        self.stops = _Stops()
        watchers = [] if every is None else [cr.look.Watch(every)]
        self.learner = threading.Thread(target=self._learn, args=([*watchers, self.stops],), daemon=True)
        self.learner.start()
        self._wait()

    def _learn(self, callbacks: list[cr.Callback]) -> None:
        cr.fit(
            self.net, (self.data.inputs, self.data.targets), loss=self.workload.loss, optimizer=self.optimizer,
            epochs=10**9, batch_size=self.workload.batch, callbacks=callbacks, progress=False,
        )  # fmt: skip

    def reset(self) -> None:
        """The first weights, and moments of zero."""
        self.net.load_arrays(self.first)
        self.optimizer.load_arrays({"step_count": 0}, self.net.parameters())

    def run(self, count: int) -> int:
        """Make as many epochs as have `count` steps."""
        epochs = -(-count // self.workload.pool)
        for _ in range(epochs):
            self.stops.wanted.release()
            self._wait()
        return epochs * self.workload.pool

    def _wait(self) -> None:
        while not self.stops.made.acquire(timeout=10):
            if not self.learner.is_alive():
                raise RuntimeError("the run that is measured has ended: see what it printed above")
