"""What watching a run costs: the same training without a watcher and with one, in turns, in one process.

    python benchmarks/watch.py                    # processor time on one thread, which a busy machine moves least
    python benchmarks/watch.py --threads 2 --clock wall

The network is 256-512-512-10 at batch 128, trained by `fit`; each figure is over whole epochs, the first of each run
left out because it compiles. Goals: 3% at every=10, 10% at every=1; below them stands what looking out for NaN costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn

SIZES = (256, 512, 512, 10)
BATCH, STEPS = 128, 100
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}


class Clock(cr.Callback):
    """Seconds of the steps of each epoch."""

    each_batch = False

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.epochs = now, []
        self.began = 0.0

    def on_epoch_begin(self, trainer: Any) -> None:
        """The first step comes next."""
        self.began = self.now()

    def on_epoch_end(self, trainer: Any) -> None:
        """The last step is done."""
        self.epochs.append(self.now() - self.began)


def microseconds(every: int | None, epochs: int, now: Callable[[], float]) -> list[float]:
    """Of a step, for each epoch but the first."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(BATCH * STEPS, SIZES[0])).astype(np.float32)
    y = rng.integers(0, SIZES[-1], len(X))
    cr.random.seed(0)
    layers = [nn.Dense(SIZES[0], SIZES[1])]
    for before, after in pairwise(SIZES[1:]):
        layers += [nn.ReLU(), nn.Dense(before, after)]
    clock = Clock(now)
    watchers = [clock] if every is None else [cr.look.Watch(every), clock]
    cr.fit(
        nn.Sequential(*layers),
        (X, y),
        loss="cross_entropy",
        epochs=epochs + 1,
        batch_size=BATCH,
        callbacks=watchers,
        progress=False,
    )
    return [1e6 * seconds / STEPS for seconds in clock.epochs[1:]]


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6, help="in a round, for each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    given = parser.parse_args()
    cr.threads(given.threads)
    ways: dict[str, int | None] = {"not watched": None, "every=10": 10, "every=1": 1}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, every in ways.items():
            found[name] += microseconds(every, given.epochs, CLOCKS[given.clock])
    plain = float(np.percentile(found["not watched"], 10))
    print(f"{'-'.join(map(str, SIZES))}, batch {BATCH}, {given.threads} threads, {given.clock} time, lowest tenth")
    for name, times in found.items():
        low, high = np.percentile(times, [10, 90])
        print(f"{name:12} {low:8.0f} µs a step (to {high:.0f})  {low / plain - 1:+6.1%}")


if __name__ == "__main__":
    main()
