"""Who takes part. Each module here trains or predicts by one library; it is imported in a process of its own only.

A *subject* is what a process measures. It has `run(count)`, which does at least `count` steps or predictions, waits
until they are finished and says how many they were, and `reset()`, which begins again with the first weights. One that
trains has `losses(steps)`, the loss of each of the first steps before its update; one that predicts has `answers()`.
Constructors raise `UnsuitedError` where a library cannot do the work.
"""

from __future__ import annotations

from dataclasses import dataclass


class UnsuitedError(Exception):
    """This library cannot do this work; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of the table: the module in this folder and its class that trains, and that predicts."""

    module: str
    trains: str = ""
    predicts: str = ""
    package: str = ""  # whose version is told
    quick: bool = False  # whether it takes part in the quick run


OURS, OURS_BY_STEP = "chainrule loop", "chainrule step"
FUSED, SCAN, BY_HAND = "PyTorch fused", "JAX scan", "NumPy by hand"
PEERS = {
    OURS: Peer("ours", "ManySteps", "Prediction", "chainrule", quick=True),
    OURS_BY_STEP: Peer("ours", "EachStep", "", "chainrule", quick=True),
    FUSED: Peer("pytorch", "Eager", "Prediction", "torch", quick=True),
    "PyTorch compile": Peer("pytorch", "Compiled", "CompiledPrediction", "torch"),
    "JAX jit": Peer("jax_xla", "EachStep", "Prediction", "jax", quick=True),
    SCAN: Peer("jax_xla", "ManySteps", "", "jax", quick=True),
    "tinygrad": Peer("tiny_grad", "Jitted", "", "tinygrad"),
    "scikit-learn": Peer("scikit_learn", "Epochs", "", "scikit-learn"),
    BY_HAND: Peer("numpy_by_hand", "ByHand", "", "numpy", quick=True),
    "onnxruntime": Peer("onnx_runtime", "", "Prediction", "onnxruntime"),
}
