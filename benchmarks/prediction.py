"""Forward only: the time of a prediction for one row, some rows and many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from agreement import DisagreementError, expected_answers
from crew import hired
from peers import PEERS
from rounds import Turns, in_turns
from training import Say, threads_in_words
from workloads import Workload

BATCHES = (1, 64, 4096)
TOLERANCE = 1e-5  # of the largest answer: some hundred roundings of float32, which sums of 784 numbers can need


def prediction(
    workloads: list[Workload], peers: list[str], threads: list[int], turns: Turns, say: Say
) -> list[dict[str, Any]]:
    """A row for each workload, batch and number of threads."""
    rows = []
    for count in threads:
        with hired([peer for peer in peers if PEERS[peer].predicts], count) as workers:
            for workload in workloads:
                for batch in BATCHES:
                    say(f"{workload.widths}, batch {batch}, {threads_in_words(count)}")
                    work = replace(workload, batch=batch, pool=1)
                    expected = expected_answers(work)
                    for peer, worker in workers.items():
                        worker.ask("prepare", workload=work.as_data(), task=PEERS[peer].predicts)
                        _check(peer, work, worker.ask("answers")["answers"], expected)
                    samples = in_turns(workers, turns)
                    rows.append({
                        "network": "-".join(map(str, work.widths)),
                        "batch": batch,
                        "threads": count,
                        "operations": work.forward_operations,
                        "peers": {peer: sample.as_data() for peer, sample in samples.items()},
                    })  # fmt: skip
    return rows


def _check(peer: str, workload: Workload, answers: Any, expected: Any) -> None:
    off = float(np.abs(np.array(answers) - expected).max() / np.abs(expected).max())
    if not off <= TOLERANCE:
        raise DisagreementError(
            f"{workload.widths}: {peer} answers something else, by {off:.1e}; allowed is {TOLERANCE}."
        )
