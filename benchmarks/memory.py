"""The most memory that a process needs for a workload, over what it has when its library is imported."""

from __future__ import annotations

from typing import Any

from crew import Worker
from peers import FUSED, OURS, PEERS
from training import Say
from workloads import Workload


def memory(workloads: list[Workload], threads: int, say: Say) -> list[dict[str, Any]]:
    """A row for each workload, from processes of their own: compiling and a few steps are in it, as is all data."""
    rows = []
    for workload in workloads:
        say(f"memory of {workload.name}")
        peers = {}
        for peer in (OURS, FUSED):
            with Worker(peer, threads) as worker:
                imported = worker.ask("hello")["import_bytes"]
                answer = worker.ask("prepare", workload=workload.as_data(), task=PEERS[peer].trains)
            peers[peer] = {"imported": imported, "more": answer["bytes"], "peak": answer["peak_bytes"]}
        rows.append({"workload": workload.name, "peers": peers})
    return rows
