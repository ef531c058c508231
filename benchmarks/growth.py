"""How cost grows with width, batch and depth: curves of time and memory, and a look for cliffs.

A cliff is where a slightly larger network costs far more for each operation: between neighbours of a curve the time of
an operation must not grow by more than `CLIFF`. (It falls where the fixed cost of a step is shared out.) The width's
curve has the network of PyTorch's issue 144633, 10-w-w-10, with close neighbours around w = 46, where PyTorch begins to
use threads.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from crew import hired
from peers import FUSED, OURS, PEERS
from rounds import Turns, in_turns
from training import Say
from workloads import Workload

CLIFF = 3.0
WIDTHS = (8, 16, 24, 32, 40, 44, 45, 46, 47, 48, 52, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
BATCHES = tuple(2**power for power in range(14))
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
_ROWS = 1 << 14  # rows of data at most


def curves() -> dict[str, list[tuple[int, Workload]]]:
    """The workloads along each curve."""
    return {
        "width": [(width, _workload((10, width, width, 10), 64)) for width in WIDTHS],
        "batch": [(batch, _workload((784, 128, 10), batch)) for batch in BATCHES],
        "depth": [(depth, _workload((*[64] * (depth + 1), 10), 64)) for depth in DEPTHS],
    }


def _workload(widths: tuple[int, ...], batch: int) -> Workload:
    pool = max(2, min(64, _ROWS // batch))
    return Workload("-".join(map(str, widths)), widths, "relu", "cross_entropy", batch, pool)


def growth(only: list[str], threads: int, turns: Turns, say: Say) -> dict[str, list[dict[str, Any]]]:
    """The points of each curve: time of a step, memory and the time to the first step, of PyTorch and of us."""
    found: dict[str, list[dict[str, Any]]] = {}
    with hired([OURS, FUSED], threads) as workers:
        for peer, worker in workers.items():  # so that what a library loads at its first work is not in the first point
            worker.ask("prepare", workload=_workload((4, 4, 4), 4).as_data(), task=PEERS[peer].trains)
        for axis, points in curves().items():
            if only and axis not in only:
                continue
            say(f"growth with {axis}")
            found[axis] = []
            for value, workload in points:
                say(f"  {axis} {value}")
                prepared = {
                    peer: worker.ask("prepare", workload=workload.as_data(), task=PEERS[peer].trains)
                    for peer, worker in workers.items()
                }
                samples = in_turns(workers, turns)
                found[axis].append({
                    "value": value,
                    "operations": workload.step_operations,
                    "peers": {
                        peer: {
                            **samples[peer].as_data(),
                            "bytes": prepared[peer]["bytes"],
                            "to_first_step": prepared[peer]["seconds_to_make"] + prepared[peer]["seconds_to_first"],
                        }
                        for peer in workers
                    },
                })  # fmt: skip
    return found


def cliffs(points: list[dict[str, Any]], peer: str) -> list[str]:
    """Where the cost of an operation jumps, in words."""
    found = []
    for before, after in pairwise(points):
        costs = [point["peers"][peer]["median"] / point["operations"] for point in (before, after)]
        if costs[1] > CLIFF * costs[0]:
            found.append(
                f"{before['value']} to {after['value']}: {costs[1] / costs[0]:.1f} times the cost of an operation"
            )
    return found
