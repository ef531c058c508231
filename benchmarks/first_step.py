"""How long until the first step is finished: from the call of `cr.fit`, and from JAX's first call of its jitted step.

Every figure is from a fresh process. `cr.fit` gets exactly one batch and one epoch, so that its time is that of the
first step and of everything around it; once with an empty cache of object code, and again with what that left there.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from typing import Any

from crew import Worker
from peers import FUSED
from training import Say
from workloads import Workload

COLD, WARM, JAX = "fit, cold cache", "fit, warm cache", "JAX jit"


def first_step(workloads: list[Workload], threads: int, rounds: int, say: Say) -> list[dict[str, Any]]:
    """A row for each workload."""
    rows = []
    for workload in workloads:
        say(f"first step of {workload.name}")
        work = replace(workload, pool=1)
        figures: dict[str, list[float]] = {COLD: [], WARM: [], JAX: [], FUSED: []}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as cache:
                figures[COLD].append(_first("ours", "Fit", work, threads, CHAINRULE_CACHE=cache))
                figures[WARM].append(_first("ours", "Fit", work, threads, CHAINRULE_CACHE=cache))
            figures[JAX].append(_first("jax_xla", "EachStep", work, threads))
            figures[FUSED].append(_first("pytorch", "Eager", work, threads))
        medians = {name: statistics.median(each) for name, each in figures.items()}
        rows.append({"workload": workload.name, "seconds": medians, "each": figures})
    return rows


def _first(module: str, task: str, workload: Workload, threads: int, **variables: str) -> float:
    """Seconds of the first call."""
    with Worker(module, threads, **variables) as worker:
        return float(worker.ask("prepare", workload=workload.as_data(), task=task)["seconds_to_first"])
