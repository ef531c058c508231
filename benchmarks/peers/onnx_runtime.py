"""onnxruntime: the forward pass as an ONNX graph on its processor provider."""

from __future__ import annotations

import os

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from workloads import Array, Workload, data_of, first_weights

KINDS = {"relu": "Relu", "tanh": "Tanh"}


def model(workload: Workload) -> bytes:
    """The network as an ONNX file."""
    nodes, weights, name = [], [], "x"
    owners = iter(first_weights(workload))
    for number, (kind, _, _) in enumerate(workload.layers):
        inputs, name = [name], f"y{number}"
        if kind == "dense":
            for letter, array in zip("wb", next(owners), strict=True):
                weights.append(numpy_helper.from_array(array, f"{letter}{number}"))
                inputs.append(f"{letter}{number}")
        nodes.append(helper.make_node("Gemm" if kind == "dense" else KINDS[kind], inputs, [name]))
    rows = workload.batch
    graph = helper.make_graph(
        nodes, "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, workload.widths[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, workload.widths[-1]])],
        weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


class Prediction:
    """A session with arrays going in and coming out."""

    def __init__(self, workload: Workload) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model(workload), options, providers=["CPUExecutionProvider"])
        self.x = {"x": data_of(workload).inputs[: workload.batch]}

    def reset(self) -> None:
        """Nothing changes."""

    def run(self, count: int) -> int:
        """Predict `count` times."""
        for _ in range(count):
            self.session.run(None, self.x)
        return count

    def answers(self) -> Array:
        """What the network answers."""
        return self.session.run(None, self.x)[0]
