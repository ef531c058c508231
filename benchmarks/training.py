"""The main table: a training step of each workload by everybody, with one and with two threads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from agreement import STEPS, Agreement, DisagreementError
from chainrule.engine.target import host
from crew import Worker, hired
from peers import PEERS
from rounds import Turns, in_turns
from workloads import Workload

Say = Callable[[str], None]
PEAK, MEMORY = "peak", "memory"
_CACHES = "/sys/devices/system/cpu/cpu0/cache"


def training(
    workloads: list[Workload], peers: list[str], threads: list[int], turns: Turns, say: Say
) -> list[dict[str, Any]]:
    """A row for each workload and number of threads; one on which not all agree says so and has no figures."""
    rows: list[dict[str, Any]] = []
    agreements: dict[str, Agreement] = {}
    for count in threads:
        with hired([peer for peer in peers if PEERS[peer].trains], count) as workers:
            for workload in workloads:
                say(f"{workload.name}, {threads_in_words(count)}")
                try:
                    if workload.name not in agreements:
                        agreements[workload.name] = Agreement(workload)
                    rows.append(_row(workload, count, workers, agreements[workload.name], turns, say))
                except DisagreementError as error:
                    say(f"  {error}")
                    rows.append({"workload": workload.name, "threads": count, "refused": str(error)})
    return rows


def _row(
    workload: Workload, threads: int, workers: dict[str, Worker], agreement: Agreement, turns: Turns,
    say: Say,
) -> dict[str, Any]:  # fmt: skip
    skipped: dict[str, str] = {}
    off, first = {}, {}
    ready: dict[str, Worker] = {}
    for peer, worker in workers.items():
        say(f"  {peer}")
        answer = worker.ask("prepare", workload=workload.as_data(), task=PEERS[peer].trains)
        if "unsuited" not in answer:
            first[peer] = answer["seconds_to_make"] + answer["seconds_to_first"]
            answer = worker.ask("losses", steps=STEPS)
        if "unsuited" in answer:
            skipped[peer] = answer["unsuited"]
            continue
        off[peer] = agreement.check(peer, answer["losses"])
        ready[peer] = worker
    with ExitStack() as stack:
        limits = _limits(stack, workload, threads)
        say(f"  {turns.rounds} rounds")
        samples = in_turns({**ready, **{name: worker for name, (worker, _) in limits.items()}}, turns)
    peers = {peer: {**samples[peer].as_data(), "off": off[peer], "to_first_step": first[peer]} for peer in ready}
    # A limit is what was reached at best: a slower round tells of other programs, not of the machine.
    rates = {name: work / min(samples[name].each) for name, (_, work) in limits.items()}
    return {
        "workload": workload.name,
        "threads": threads,
        "operations": workload.step_operations,
        "state_bytes": workload.state_bytes,
        "parameters": workload.parameters,
        "peers": peers,
        "skipped": skipped,
        "has_unit": workload.dtype == "float32" and host().matrix,
        "limits": rates,
        "limit_samples": {name: samples[name].as_data() for name in limits},
    }


def _limits(stack: ExitStack, workload: Workload, threads: int) -> dict[str, tuple[Worker, float]]:
    """Processes that measure what the machine can do at most, with the operations or bytes of a call."""
    tasks = {PEAK: "Peak64" if workload.dtype == "float64" else "Peak32"}
    if workload.state_bytes > last_cache():
        tasks[MEMORY] = "Triad"
    limits = {}
    for name, task in tasks.items():
        worker = stack.enter_context(Worker("machine", threads))
        answer = worker.ask("prepare", workload=workload.as_data(), task=task)
        limits[name] = worker, answer["operations"]
    return limits


def last_cache() -> int:
    """Bytes of the largest cache; 8 MB where nobody says."""
    sizes = [int(file.read_text().strip().removesuffix("K")) << 10 for file in Path(_CACHES).glob("index*/size")]
    return max(sizes, default=8 << 20)


def threads_in_words(count: int) -> str:
    """'1 thread', '2 threads'."""
    return f"{count} thread{'s' if count > 1 else ''}"
