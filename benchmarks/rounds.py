"""Measurements in turns: A B C, A B C, ... so that whatever slows the machine down for a while slows all of them."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, field
from typing import Any

from crew import Worker

CLOCKS = ("wall", "processor")


@dataclass(frozen=True, slots=True)
class Turns:
    """How often and how long each is measured, and by which clock.

    On a busy machine the processor's clock is the better one for a single thread: it stands still while others compute.
    """

    rounds: int
    seconds: float
    clock: str = "wall"


@dataclass(slots=True)
class Sample:
    """What was measured of one subject.

    Attributes
    ----------
    each
        Seconds of a step (or call), one figure a round.
    others
        Which share of all processor time other programs took meanwhile, one figure a round.
    """

    each: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Median, quartiles, and all figures."""
        low, high = quartiles(self.each)
        return {
            "median": statistics.median(self.each),
            "low": low,
            "high": high,
            "each": self.each,
            "others": statistics.median(self.others),
        }


def quartiles(figures: list[float]) -> tuple[float, float]:
    """Between which the middle half of the figures lies."""
    if len(figures) < 2:
        return figures[0], figures[0]
    low, _, high = statistics.quantiles(figures, n=4, method="inclusive")
    return low, high


def in_turns(workers: dict[str, Worker], turns: Turns) -> dict[str, Sample]:
    """Measure what the workers have prepared; the first round only warms up and learns how fast everybody is."""
    samples = {name: Sample() for name in workers}
    for number in range(turns.rounds + 1):
        for name, worker in workers.items():
            before = _busy()
            answer = worker.ask("measure", seconds=turns.seconds)
            all_time = _busy() - before
            if number:
                foreign = max(0.0, all_time - answer["processor"]) / (answer["wall"] * (os.cpu_count() or 1))
                samples[name].each.append(answer[turns.clock] / answer["steps"])
                samples[name].others.append(min(foreign, 1.0))  # the system counts in hundredths of a second
    return samples


def _busy() -> float:
    """Seconds that all processors together have worked since the machine started, including what a host took away."""
    with open("/proc/stat") as lines:
        user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, next(lines).split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
