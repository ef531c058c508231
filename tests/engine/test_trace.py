"""A traced function on the reference executor must do exactly what the eager function does."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.show import graph_text
from chainrule.engine.trace import trace
from chainrule.nn.losses import cross_entropy
from chainrule.nn.optimizers import Adam


def network() -> nn.Sequential:
    cr.random.seed(5)
    return nn.Sequential(nn.Dense(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.BatchNorm(8), nn.Dense(8, 3))


def test_a_whole_training_step_is_one_graph_with_the_bits_of_eager_work(rng) -> None:
    batches = [(rng.standard_normal((5, 6)).astype("f"), rng.integers(0, 3, 5)) for _ in range(4)]
    runs = []
    for traced in (False, True):
        net, optimizer = network(), Adam(0.01)

        def step(x, y, net=net, optimizer=optimizer):
            loss = cross_entropy(net(x), y)
            optimizer.update(cr.backpropagate(loss))
            return loss

        step(*batches[0])  # makes the optimizer's slots
        if traced:
            program = trace(step, *batches[0])
            program.graph.verify()
            losses = [float(program(*batch)[0]) for batch in batches[1:]]
        else:
            losses = [step(*batch).item() for batch in batches[1:]]
        runs.append((losses, net.arrays(), optimizer.arrays()))
    (eager_losses, eager_net, eager_slots), (losses, arrays, slots) = runs
    assert losses == eager_losses
    for name, array in eager_net.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    for name, array in eager_slots.items():
        np.testing.assert_array_equal(slots[name], array, err_msg=name)


def test_the_states_of_a_program_are_those_that_it_reads_and_assigns() -> None:
    count, scale = cr.State(np.float32(0), name="count"), cr.Parameter(np.float32(2), name="scale")

    def f(x):
        count.assign(count + 1)
        return x * scale + count

    program = trace(f, np.float32(3))
    assert [state.name for state in program.reads] == ["count", "scale"]
    assert [state.name for state in program.writes] == ["count"]
    assert [float(program(np.float32(3))[0]) for _ in range(2)] == [7.0, 8.0]
    assert count.item() == 2.0


def test_a_python_branch_on_a_symbol_names_the_line_and_what_to_write_instead() -> None:
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(cr.TraceError, match=r"test_trace.py:\d+.*cr.where"):
        trace(f, np.float32(1))


def test_a_program_refuses_arguments_of_another_shape() -> None:
    program = trace(lambda x: x * 2.0, np.zeros(3, "f"))
    with pytest.raises(cr.TraceError, match=r"traced for float32 \(3,\), but got float32 \(4,\)"):
        program(np.zeros(4, "f"))


def test_the_text_of_a_graph_names_arguments_parameters_and_gradients() -> None:
    w = cr.Parameter(np.ones((2, 1), "f"), name="w")

    def f(x):
        return cr.backpropagate(cr.sum(cr.tanh(x @ w)))[w]

    assert graph_text(trace(f, np.zeros((3, 2), "f")).graph).splitlines() == [
        "x    = input                      float32[3, 2]",
        "%1   = transpose(x, axes=(1, 0))  float32[2, 3]  # gradient of %5",
        "%2   = constant(1 everywhere)     float32[3, 1]",
        "%3   = constant(1)                float32[]      # gradient of %6",
        "w    = input                      float32[2, 1]",
        "%5   = matmul(x, w)               float32[3, 1]",
        "%6   = tanh(%5)                   float32[3, 1]",
        "%7   = mul(%6, %6)                float32[3, 1]  # gradient of %6",
        "%8   = sub(%3, %7)                float32[3, 1]  # gradient of %6",
        "%9   = mul(%2, %8)                float32[3, 1]  # gradient of %6",
        "%10  = matmul(%1, %9)             float32[2, 1]  # gradient of %5",
        "return %10",
    ]


def test_nodes_and_graphs_print_in_one_line_however_deep() -> None:
    x = cr.Parameter([1.0, 2.0])
    y = x
    for _ in range(2000):
        y = y * y
    assert "mul(mul, mul) float32[2] at test_trace.py:" in repr(y.node)
    assert repr(trace(lambda x: x * x, np.ones(2)).graph) == "<Graph: 1 inputs, 2 nodes, 1 outputs>"
