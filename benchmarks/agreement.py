"""Do all compute the same? Losses are held to NumPy in float64; without agreement there is no table.

The tolerance must let rounding pass and nothing else. Rounding was seen to move the losses of 50 steps by up to 2e-5
(float32) or 1e-15 (float64) of the first loss; on other processors it may be more, as Adam divides by the size of a
gradient, so that where it is near nothing a last bit can turn an update around. A learning rate that is wrong by one in
a hundred moves them by 1e-3 and more. Between the two lies the tolerance, and `Agreement` makes sure of it: such a rate
must be felt.
"""

from __future__ import annotations

import numpy as np

from peers.numpy_by_hand import ByHand, forward
from workloads import Array, Workload, data_of

STEPS = 50
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
# Two have an Adam of another kind. tinygrad takes the powers of beta in float32, so that 1 - 0.999 has five digits;
# scikit-learn adds epsilon to a root of squares that is not yet corrected, which is felt where gradients are small.
LOOSER = {"tinygrad": 5e-4, "scikit-learn": 2e-3}
WRONG_RATE = 1.01


class DisagreementError(Exception):
    """Somebody computes something else; the message says who and how far off."""


class Agreement:
    """What the losses of a workload are, and who has them."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.expected = np.array(ByHand(workload, "float64").losses(STEPS))
        wrong = ByHand(workload, "float64", rate=WRONG_RATE * workload.rate).losses(STEPS)
        self.felt = self.distance(wrong)
        if self.felt < 2 * TOLERANCES[workload.dtype]:
            raise DisagreementError(
                f"{workload.name}: a wrong learning rate moves the losses by {self.felt:.1e} only, so the tolerance of "
                f"{TOLERANCES[workload.dtype]:.0e} would not tell right from wrong."
            )

    def distance(self, losses: list[float]) -> float:
        """The largest difference of a loss, relative to the first loss."""
        difference = np.abs(np.array(losses) - self.expected)
        return float(difference.max() / self.expected[0]) if np.isfinite(difference).all() else float("inf")

    def check(self, peer: str, losses: list[float]) -> float:
        """How far off the losses are; raises `DisagreementError` where that is too far."""
        found, allowed = self.distance(losses), LOOSER.get(peer, TOLERANCES[self.workload.dtype])
        if len(losses) != STEPS or not found <= allowed:
            raise DisagreementError(
                f"{self.workload.name}: the losses of {peer} are up to {found:.1e} off those of NumPy in float64; "
                f"allowed are {allowed:.0e}. No table is printed of things that are not the same."
            )
        return found


def expected_answers(workload: Workload) -> Array:
    """What the network predicts for its first batch, in float64."""
    hand = ByHand(workload, "float64")
    return forward(workload, hand.parameters, data_of(workload).inputs[: workload.batch].astype(np.float64))[0]
