"""Compiled programs and their states: in place, yet never behind anybody's back; the same bits for any team."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.op import Op
from chainrule.engine.program import Program
from chainrule.engine.trace import trace


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    before = cr.threads()
    yield
    cr.threads(before)


def network(seed: int = 5) -> nn.Sequential:
    cr.random.seed(seed)
    return nn.Sequential(nn.Dense(40, 96), nn.Tanh(), nn.Dropout(0.3), nn.BatchNorm(96), nn.Dense(96, 7))


def step_of(net: nn.Module, optimizer: cr.optim.Optimizer) -> Callable:
    def step(x, y):
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    return step


def batches(count: int, size: int = 70) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)
    return [(rng.standard_normal((size, 40)).astype("f"), rng.integers(0, 7, size)) for _ in range(count)]


def trained(step: Callable, net: nn.Module, optimizer: cr.optim.Optimizer) -> dict[str, np.ndarray]:
    """Losses and all states after a few steps."""
    losses = np.array([step(x, y).item() for x, y in batches(4)])
    return {"losses": losses, **net.arrays(), **optimizer.arrays()}


# --- A whole training step ---


def test_a_compiled_training_step_agrees_with_an_eager_one() -> None:
    runs = []
    for compiled in (False, True):
        net, optimizer = network(), cr.optim.SGD(0.1, momentum=0.9)
        step = step_of(net, optimizer)
        runs.append(trained(cr.compile(step) if compiled else step, net, optimizer))
    for name, expected in runs[0].items():
        np.testing.assert_allclose(runs[1][name], expected, rtol=2e-4, atol=2e-5, err_msg=name)


def test_training_has_the_same_bits_for_any_number_of_threads() -> None:
    runs = []
    for count in (1, 2, 3, 5, 1):
        cr.threads(count)
        net, optimizer = network(), cr.optim.Adam(0.01)
        runs.append(trained(cr.compile(step_of(net, optimizer)), net, optimizer))
    for run in runs[1:]:
        for name, expected in runs[0].items():
            assert run[name].tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("layout", ["a @ b", "a.T @ b", "a @ b.T", "batched"])
def test_large_products_have_the_same_bits_for_any_number_of_threads(layout: str, rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal((3, 211, 211)).astype("f") for _ in range(2))
    f = {
        "a @ b": lambda a, b: cr.tanh(a[0] @ b[0]) + 1,
        "a.T @ b": lambda a, b: a[0].T @ b[0],
        "a @ b.T": lambda a, b: a[0] @ b[0].T,
        "batched": lambda a, b: cr.sum(a @ b, axis=0),
    }[layout]
    results = []
    for count in (1, 2, 3, 5):
        cr.threads(count)
        results.append(np.asarray(cr.compile(f)(a, b)).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), 2])
def test_large_reductions_have_the_same_bits_for_any_number_of_threads(axis: object, rng: np.random.Generator) -> None:
    x = rng.standard_normal((37, 61, 113)).astype("f")
    results = []
    for count in (1, 2, 3, 5):
        cr.threads(count)
        results.append(np.asarray(cr.compile(lambda x: cr.sum(cr.exp(x), axis=axis))(x)))
    assert len({result.tobytes() for result in results}) == 1
    np.testing.assert_allclose(results[0], np.exp(x.astype(np.float64)).sum(axis), rtol=1e-6)


# --- States ---


def scaled() -> tuple[cr.Parameter, Callable]:
    weight = cr.Parameter(np.ones(3, "f"), "weight")

    @cr.compile
    def double(x):
        weight.assign(weight * 2)
        return weight * x

    return weight, double


X = np.ones(3, "f")


def test_an_array_taken_from_a_parameter_keeps_its_value() -> None:
    weight, double = scaled()
    before = np.asarray(weight)
    tensor = weight + 0
    double(X)
    between = np.asarray(weight)
    double(X)
    assert before.tolist() == [1.0] * 3
    assert tensor.tolist() == [1.0] * 3
    assert between.tolist() == [2.0] * 3
    assert weight.tolist() == [4.0] * 3
    assert not between.flags.writeable


def test_a_state_that_nobody_reads_is_worked_on_in_place() -> None:
    weight, double = scaled()
    double(X)
    own = weight.look()
    double(X)
    double(X)
    assert weight.look() is own


def test_a_value_assigned_between_calls_is_seen_and_the_array_it_came_from_is_left_alone() -> None:
    weight, double = scaled()
    double(X)
    mine = np.full(3, 10, "f")
    weight.assign(mine)
    assert double(X).tolist() == [20.0] * 3
    assert mine.tolist() == [10.0] * 3
    mine[:] = 0
    assert double(X).tolist() == [40.0] * 3


def test_a_result_is_not_overwritten_by_the_next_call() -> None:
    _, double = scaled()
    first = double(X)
    array = np.asarray(first)
    double(X)
    assert array.tolist() == [2.0] * 3


@pytest.mark.parametrize("rows", [1, 500, 5000])
def test_arguments_and_results_of_any_size_belong_to_the_caller(rows: int, rng: np.random.Generator) -> None:
    f = cr.compile(lambda x, y: (x * y, cr.sum(x), x + y))
    x, y = (rng.standard_normal((rows, 8)).astype("f") for _ in range(2))
    first = f(x, y)
    kept = [np.asarray(part).copy() for part in first]
    x += 1  # what was handed over may change afterwards, and the next call sees it
    second = f(x, y)
    for before, part in zip(kept, first, strict=True):
        np.testing.assert_array_equal(before, part)
    np.testing.assert_array_equal(second[0], x * y)
    np.testing.assert_array_equal(f(first[0], second[2])[2], kept[0] + (x + y))
    for part in (*first, *second):
        assert not np.asarray(part).flags.writeable


def test_a_result_becomes_a_constant_where_somebody_computes_with_it() -> None:
    (result,) = cr.compile(lambda x: (x * 2,))(np.ones(3, "f"))
    assert isinstance(result, cr.Tensor)
    assert (result.shape, result.dtype, result.size, result.ndim) == ((3,), cr.float32, 3, 1)
    assert result.node is result.node
    assert result.node.op is Op.CONSTANT
    assert result.node.provenance.source.startswith("assert result.node is")
    w = cr.Parameter(np.ones(3, "f"))
    assert cr.backpropagate(cr.sum(w * result))[w].tolist() == [2.0, 2.0, 2.0]


def test_two_programs_take_turns_on_the_same_states() -> None:
    weight, double = scaled()

    @cr.compile
    def add(x):
        weight.assign(weight + x)

    for _ in range(2):
        double(X)
        add(X)
    assert weight.tolist() == [7.0] * 3
    assert cr.compile(lambda x: weight * x)(X).tolist() == [7.0] * 3


def test_two_states_can_be_swapped() -> None:
    a, b = cr.State(np.arange(40, dtype="f"), "a"), cr.State(np.arange(40, dtype="f") + 100, "b")

    @cr.compile
    def swap():
        old = a + 0
        a.assign(b)
        b.assign(old)

    for turn in range(1, 4):
        swap()
        assert (a[0].item(), b[0].item()) == ((100.0, 0.0) if turn % 2 else (0.0, 100.0))
    np.testing.assert_array_equal(a, np.arange(40) + 100)


def test_three_states_move_round() -> None:
    states = [cr.State(np.full(5, number, "f"), str(number)) for number in range(3)]

    @cr.compile
    def turn():
        values = [state + 0 for state in states]
        for state, value in zip(states, values[1:] + values[:1], strict=True):
            state.assign(value)
        return values[0]

    for _ in range(3):
        turn()
    assert [state[0].item() for state in states] == [0.0, 1.0, 2.0]


def test_a_state_that_takes_another_ones_value_does_not_share_its_array() -> None:
    a, b = cr.State(np.zeros(3, "f"), "a"), cr.State(np.ones(3, "f"), "b")
    b.assign(a)
    cr.compile(lambda: a.assign(a + 5))()
    assert b.tolist() == [0.0] * 3


def test_a_state_is_read_as_it_was_and_as_it_becomes() -> None:
    state = cr.State(np.arange(4, dtype="f"), "state")

    @cr.compile
    def f():
        before = state * 1
        state.assign(cr.flip(state))
        return before, state * 10, cr.sum(before * state)

    before, after, both = f()
    assert before.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert after.tolist() == [30.0, 20.0, 10.0, 0.0]
    assert both.item() == 4.0
    assert state.tolist() == [3.0, 2.0, 1.0, 0.0]


def test_a_state_given_as_an_argument_of_the_same_call_is_read_as_it_was() -> None:
    weight, double = scaled()
    assert double(np.asarray(weight)).tolist() == [2.0] * 3
    assert double(weight + 0).tolist() == [8.0] * 3


def test_a_copy_of_a_state_goes_its_own_way() -> None:
    parameter = cr.Parameter(np.ones(3, "f"), name="w", trainable=False)

    @cr.compile
    def step():
        parameter.assign(parameter + 1)
        return cr.sum(parameter)

    step()
    twin = copy.copy(parameter)
    step()
    assert np.asarray(twin).tolist() == [2, 2, 2]
    assert np.asarray(parameter).tolist() == [3, 3, 3]
    assert (type(twin), twin.name, twin.trainable) == (cr.Parameter, "w", False)


@pytest.mark.parametrize("steps", [200, 800])
def test_a_long_chain_of_numbers_is_one_kernel_and_compiles(steps: int) -> None:
    """As deep as Python would not call functions."""
    rows = np.linspace(0, 1, steps)
    found = cr.compile(lambda x: cr.scan(lambda h, row: (h * 0.9 + row, h), cr.asarray(0.0, dtype=cr.float64), x)[0])
    expected = 0.0
    for row in rows:
        expected = expected * 0.9 + row
    assert found(rows).item() == pytest.approx(expected, rel=1e-12)


def test_a_parameter_shared_by_two_layers_is_one() -> None:
    shared = nn.Dense(3, 3)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    optimizer = cr.optim.SGD(0.1)

    def loss(x):
        return cr.sum(net(x) ** 2)

    x = np.ones((2, 3), "f")
    expected = {p: np.asarray(p) - np.float32(0.1) * np.asarray(g) for p, g in cr.backpropagate(loss(x)).items()}
    cr.compile(lambda x: optimizer.update(cr.backpropagate(loss(x))))(x)
    for parameter, value in expected.items():
        np.testing.assert_allclose(parameter, value, rtol=1e-5, atol=1e-6)


def test_a_step_that_fails_between_calls_leaves_the_program_usable() -> None:
    weight, double = scaled()
    double(X)
    with pytest.raises(ValueError, match="mine"):
        raise ValueError("mine")
    with pytest.raises(cr.ShapeError):
        double.program(X)(np.ones(4, "f"))
    assert double(X).tolist() == [4.0] * 3
    assert weight.tolist() == [4.0] * 3


# --- Modes ---


def test_a_call_that_ends_while_it_looks_for_states_finds_them_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C, or where there is no memory for a copy of a value."""
    first, second = (cr.State(np.zeros(1000, "f"), name) for name in ("first", "second"))

    def step(x):
        first.assign(first + x)
        second.assign(second + 2 * x)
        return x

    program = Program(trace(step, np.zeros((), "f")))
    program(np.float32(1))
    kept = second.value
    lend = cr.State.lend

    def full(state: cr.State) -> np.ndarray:
        if state is second:
            raise MemoryError
        return lend(state)

    with monkeypatch.context() as context:
        context.setattr(cr.State, "lend", full)
        with pytest.raises(MemoryError):
            program(np.float32(1))
    program(np.float32(1))
    assert (first.value == 2).all()
    assert (second.value == 4).all()
    assert (kept == 2).all()


def test_freezing_and_unfreezing_compile_anew() -> None:
    weight, bias = cr.Parameter(np.ones(2, "f"), "weight"), cr.Parameter(np.ones(2, "f"), "bias")

    @cr.compile
    def step(x):
        gradients = cr.backpropagate(cr.sum(weight * x + bias))
        for parameter, gradient in gradients.items():
            parameter.assign(parameter - gradient)

    x = np.full(2, 3, "f")
    step(x)
    assert (weight.tolist(), bias.tolist()) == ([-2.0] * 2, [0.0] * 2)
    weight.trainable = False
    step(x)
    assert (weight.tolist(), bias.tolist()) == ([-2.0] * 2, [-1.0] * 2)
    weight.trainable = True
    step(x)
    assert (weight.tolist(), bias.tolist()) == ([-5.0] * 2, [-2.0] * 2)
    assert step.program(x) is step.program(x)


def test_train_and_eval_compile_anew_and_both_programs_are_kept() -> None:
    net = nn.Sequential(nn.Dropout(0.5))
    f = cr.compile(lambda x: net(x))
    x = np.ones(1000, "f")
    training = f.program(x)
    assert 300 < np.count_nonzero(f(x)) < 700
    net.eval()
    assert f(x).tolist() == x.tolist()
    evaluating = f.program(x)
    net.train()
    assert 300 < np.count_nonzero(f(x)) < 700
    assert f.program(x) is training
    net.eval()
    assert f.program(x) is evaluating


def test_random_numbers_move_on_from_call_to_call_and_begin_anew_with_the_seed() -> None:
    f = cr.compile(lambda: cr.random.normal((50,)))
    cr.random.seed(1)
    first, second = np.asarray(f()), np.asarray(f())
    assert not np.array_equal(first, second)
    cr.random.seed(1)
    np.testing.assert_array_equal(f(), first)
    cr.random.seed(1)
    np.testing.assert_allclose(cr.random.normal((50,)), first, rtol=2e-6)


# --- What it refuses ---


def test_a_program_refuses_what_it_was_not_made_for() -> None:
    program = Program(trace(lambda x, i: x[i], np.zeros((3, 2), "f"), np.array([0])))
    with pytest.raises(cr.ShapeError, match=r"argument 0 has the shape \(4, 2\)"):
        program(np.zeros((4, 2), "f"), np.array([0]))
    with pytest.raises(cr.DTypeError, match="argument 0 is float64"):
        program(np.zeros((3, 2)), np.array([0]))
    with pytest.raises(cr.ArgumentError, match="takes 2 arguments, but got 1"):
        program(np.zeros((3, 2), "f"))


@pytest.mark.parametrize("kind", [">f4", "f2", "f8", ">i8", "u1", "?"])
@pytest.mark.parametrize("rows", [3, 9000])
def test_arrays_of_any_numeric_type_count_as_the_tensors_that_they_become(kind: str, rows: int) -> None:
    f = cr.compile(lambda x: (x + 1, cr.astype(x, cr.float32)))
    x = np.arange(rows) % 120
    for _ in range(2):
        for array in (x.astype("f"), x.astype(kind)):
            more, narrow = f(array)
            assert more.dtype == (cr.asarray(array) + 1).dtype
            np.testing.assert_array_equal(more, (cr.asarray(array) + 1).value)
            np.testing.assert_array_equal(narrow, array.astype("f"))


def test_an_array_that_is_no_tensor_is_refused() -> None:
    f = cr.compile(lambda x: x + 1)
    f(np.ones(3, "f"))
    with pytest.raises(cr.DTypeError, match="complex64 cannot become a tensor"):
        f(np.ones(3, "c8"))


@pytest.mark.parametrize("index", [3, -4, 10**12])
def test_an_index_out_of_range_names_the_line(index: int) -> None:
    def f(x, i):
        return cr.take(x, i, axis=0)

    program = cr.compile(f)
    x = np.arange(6, dtype="f").reshape(3, 2)
    with pytest.raises(
        cr.ShapeError, match=rf"test_program.py:\d+: take: {index} at \(1,\) is out of range for length 3"
    ):
        program(x, np.array([0, index]))
    assert program(x, np.array([-1, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: x[i],
        lambda x, i: x[:, i],
        lambda x, i: x[i, i],
        lambda x, i: cr.take(x, i, axis=1),
        lambda x, i: cr.take_along_axis(x, cr.expand_dims(i, axis=0), axis=1),
        lambda x, i: cr.scatter_add(x, i, cr.ones((2, 3)), axis=0),
    ],
)
@pytest.mark.parametrize("index", [3, -4])
def test_no_index_out_of_range_reaches_a_neighbour(f: Callable, index: int) -> None:
    x, shift = np.arange(9, dtype="f").reshape(3, 3), cr.State(np.zeros(2, np.int64), "shift")
    known, computed = cr.compile(f), cr.compile(lambda x, i: f(x, i + shift))
    for each in (known, computed):
        each(x, np.array([2, -3]))
    with pytest.raises(cr.ShapeError, match=r"test_program.py:\d+: .*is out of range for length 3"):
        known(x, np.array([0, index]))
    with pytest.raises(cr.ArgumentError, match=r"test_program.py:\d+: an index is out of bounds"):
        computed(x, np.array([0, index]))


@pytest.mark.parametrize("index", [4, -5])
def test_an_index_out_of_range_of_a_scatter_is_told_and_writes_nowhere(index: int) -> None:
    f = cr.compile(lambda u, i: cr.scatter_add(np.zeros(4, "f"), i, u))
    with pytest.raises(cr.ShapeError, match=rf"scatter_add: {index} at \(1,\) is out of range for length 4"):
        f(np.ones(2, "f"), np.array([0, index]))
    assert f(np.ones(2, "f"), np.array([0, -1])).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_arguments_may_lie_anyhow_in_memory(rng: np.random.Generator) -> None:
    wide = rng.standard_normal((8, 6)).astype("f")
    for x in (wide.T, wide[::2, ::3], wide[::-1], np.broadcast_to(wide[0], (3, 6)), wide[:, 1:].T):
        np.testing.assert_array_equal(cr.compile(lambda x: x * 2)(x), x * 2)
    unaligned = np.frombuffer(b"\0" + wide.tobytes(), np.uint8)[1:].view("f").reshape(wide.shape)
    assert not unaligned.flags.aligned
    np.testing.assert_array_equal(cr.compile(lambda x: x * 2)(unaligned), wide * 2)


def test_of_two_wrong_indices_the_first_is_named() -> None:
    table, other = np.zeros((4, 3), "f"), np.zeros((6, 3), "f")

    def f(i, j):
        return cr.take(cr.asarray(table), i, axis=0), cr.take(cr.asarray(other), j, axis=0) * 2

    wrong, shift = np.array([9], np.int64), cr.State(np.zeros(1, np.int64), "shift")
    with pytest.raises(cr.ShapeError, match=r"9 at .* for length 4"):
        cr.compile(f)(wrong, wrong)
    with pytest.raises(cr.ArgumentError, match="axis 0 of length 4"):
        cr.compile(lambda i, j: f(i + shift, j + shift))(wrong, wrong)


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts cannot be sent on this system")
def test_ctrl_c_waits_until_llvm_has_done() -> None:
    """Within llvmlite it could come while memory is given back, which would then be given back twice."""
    script = """
import os, signal
import numpy as np
import chainrule as cr
from chainrule.engine import native
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
optimised, done = native._optimised, []
def interrupted(text, machine):
    os.kill(os.getpid(), signal.SIGINT)
    module = optimised(text, machine)
    done.append(True)
    return module
native._optimised = interrupted
f = cr.compile(lambda x: x + 1)
try:
    f(np.ones(3))
except KeyboardInterrupt:
    print("interrupted", done)
native._optimised = optimised
print(f(np.ones(3)).tolist(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    variables = {**os.environ, "CHAINRULE_CACHE": "off"}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=variables)
    assert ended.stdout == "interrupted [True]\n[2.0, 2.0, 2.0] True\n", ended.stderr[-2000:]
