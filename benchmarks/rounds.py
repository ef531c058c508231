"""Measurements in turns: A B C, A B C, ... so that whatever slows the machine down for a while slows all of them."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from crew import Worker

CLOCKS = ("wall", "processor")
REST = 0.25  # seconds before each measurement: threads of a library that has just worked look for more work for a while


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
        Which share of its cores' time other programs took meanwhile, one figure a round.
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
            # The system counts in hundredths of a second: a single round says little, and may even be negative.
            "others": min(1.0, max(0.0, statistics.fmean(self.others))),
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
            time.sleep(REST)
            answer = worker.ask("measure", seconds=turns.seconds)
            if number:
                samples[name].each.append(answer[turns.clock] / answer["steps"])
                samples[name].others.append(answer["foreign"] / (answer["wall"] * len(worker.cores)))
    return samples
