"""What looking at a run costs: `cr.fit` as it is, watched, and without looking out for NaN, in turns."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import Any

from crew import Worker
from rounds import Turns, in_turns
from training import Say, threads_in_words
from workloads import WORKLOADS

WORKLOAD = WORKLOADS[2]  # 256-512-512-10
PLAIN, BLIND = "fit", "without looking for NaN"
WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "every=10": {"every": 10},
    "every=1": {"every": 1},
    BLIND: {"blind": True},
}


def watching(threads: list[int], turns: Turns, say: Say) -> list[dict[str, Any]]:
    """A row for each number of threads: seconds of a step each way."""
    rows = []
    for count in threads:
        say(f"watching {WORKLOAD.name}, {threads_in_words(count)}")
        with ExitStack() as stack:
            workers = {}
            for name, options in WAYS.items():
                workers[name] = stack.enter_context(Worker("watched", count))
                workers[name].ask("prepare", workload=WORKLOAD.as_data(), task="Fit", **options)
            samples = in_turns(workers, turns)
        rows.append({
            "workload": WORKLOAD.name,
            "threads": count,
            "peers": {name: sample.as_data() for name, sample in samples.items()},
            "more": {
                "every=10": more(samples["every=10"].each, samples[PLAIN].each),
                "every=1": more(samples["every=1"].each, samples[PLAIN].each),
                "NaN": more(samples[PLAIN].each, samples[BLIND].each),
            },
        })  # fmt: skip
    return rows


def more(those: list[float], these: list[float]) -> float:
    """By which share those take longer: the median over the rounds, each of which compares neighbours."""
    return statistics.median(a / b for a, b in zip(those, these, strict=True)) - 1
