"""What was set out to be reached, as least ratios to peers and shares of the machine's peak, with 2 threads."""

from __future__ import annotations

from dataclasses import dataclass

from workloads import WORKLOADS


@dataclass(frozen=True, slots=True)
class Goal:
    """The least ratios to PyTorch with fused Adam and to JAX's scan, and the share of the peak where there is one."""

    fused: float
    scan: float
    peak: float | None = None


GOALS = dict(
    zip(
        [workload.name for workload in WORKLOADS],
        [
            Goal(80, 2.5),
            Goal(4.5, 1.6, 0.7),
            Goal(1.9, 1.4, 0.8),
            Goal(1.5, 1.25, 0.75),
            Goal(5, 1.8, 0.6),
            Goal(40, 2.5),
        ],
        strict=True,
    )
)
FIRST_STEP_COLD, FIRST_STEP_WARM = 0.3, 0.03  # seconds, for the networks without normalisation
DIGITS_ACCURACY = 0.977
WATCHING = {"every=10": 0.03, "every=1": 0.1, "NaN": 0.01}  # at most so much longer
