"""What must hold of arguments: the compiled function and the reference refuse what eager code refuses, in its words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.op import Op
from chainrule.engine.program import Program
from chainrule.engine.run import Run
from chainrule.engine.trace import trace

X = np.arange(12, dtype="f").reshape(3, 4)
LOOKUPS: dict[str, tuple[Callable, int]] = {  # with the length of the axis in which they look something up
    "index for axis 0": (lambda x, i: x[i], 3),
    "index for axis 1": (lambda x, i: x[:, i], 4),
    "take": (lambda x, i: cr.take(x, i, axis=1), 4),
    "take_along_axis": (lambda x, i: cr.take_along_axis(x, i[None], axis=1), 4),
    "scatter_add": (lambda x, i: cr.scatter_add(x, i, cr.ones((2, 4))), 3),
    "one_hot": (lambda x, i: cr.one_hot(i, 4), 4),
}
AROUND: dict[str, Callable] = {
    "alone": lambda f: f,
    "of a part": lambda f: lambda x, i: f(x, cr.flip(cr.concat([i, i]), axis=0)[-2:][::-1]),
    "of floats": lambda f: lambda x, i: f(x, cr.astype(cr.astype(i, cr.float64) * 1.0, cr.int64)),
    "in a checkpoint": lambda f: lambda x, i: cr.checkpoint(lambda y: f(y, i))(x),
    "in a gradient": lambda f: lambda x, i: cr.grad(lambda y: cr.sum(f(y, i)) + cr.sum(y))(x),
}


@pytest.mark.parametrize("what", LOOKUPS)
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("too_far", [0, 2**40, -1])
def test_all_refuse_an_index_in_the_same_words(what: str, around: str, too_far: int) -> None:
    lookup, length = LOOKUPS[what]
    f = AROUND[around](lookup)
    right = np.array([1, 2])
    wrong = np.array([0, length + too_far if too_far >= 0 else -length - 1])
    moved = cr.State(np.zeros((), np.int64), "moved")

    def step(x, i):
        moved.assign(moved + 1)
        return f(x, i)

    compiled, traced = cr.compile(step), trace(step, X, right)
    expected = np.asarray(f(cr.asarray(X), cr.asarray(right)))
    np.testing.assert_array_equal(np.asarray(compiled(X, right)), expected)
    np.testing.assert_array_equal(traced(X, right)[0], expected)
    message = rf"{what}: {wrong[1]} at \((0, )?1,?\) is out of range for length {length}\.$"
    with pytest.raises(cr.ShapeError, match="^" + message):
        f(cr.asarray(X), cr.asarray(wrong))
    for call in (compiled, traced):
        with pytest.raises(cr.ShapeError, match=r"^test_checks.py:\d+: " + message):
            call(X, wrong)
    assert moved.item() == 2


def test_the_first_check_in_the_order_of_the_function_is_the_one_that_is_told() -> None:
    f = cr.compile(lambda x, i, j: x[i] + x[j])
    with pytest.raises(cr.ShapeError, match="7 at"):
        f(X, np.array([0, 7]), np.array([8, 0]))
    with pytest.raises(cr.ShapeError, match="8 at"):
        f(X, np.array([0, 2]), np.array([8, 0]))


def test_large_arguments_are_looked_at_where_they_lie() -> None:
    f, index = cr.compile(lambda x, i: cr.sum(x[i])), np.arange(30000) % 3
    assert f(X, index).item() == 660000
    index[29999] = 3
    with pytest.raises(cr.ShapeError, match=r"3 at \(29999,\) is out of range"):
        f(X, index)
    with pytest.raises(cr.ShapeError, match=r"3 at \(14999,\) is out of range"):
        f(X, index[1::2])
    assert f(X, index[:-1]).item() == 660000 - 38


def test_a_guard_repeats_nothing_that_costs_much_and_reads_no_state() -> None:
    state = cr.State(np.zeros(3, np.int64), "state")
    for f in (
        lambda x: cr.take(X, cr.argmax(x @ X, axis=1), axis=0),
        lambda x: cr.take(X, cr.astype(cr.sum(x, axis=0), cr.int64), axis=0),
        lambda x: cr.take(X, state + cr.astype(x[0], cr.int64), axis=0),
        lambda x: cr.take(X, state, axis=0),
        lambda x: cr.take(X, cr.astype(cr.sin(x[0]), cr.int64), axis=0),
        lambda x: cr.losses.binary_cross_entropy(x, cr.exp(x)),
        lambda x: cr.losses.binary_cross_entropy(cr.zeros((500, 3, 3)), cr.broadcast_to(x, (500, 3, 3))),
    ):
        traced = trace(f, np.zeros((3, 3), "f"))
        assert traced.guard is None
        assert traced.checks == ()
    looked_up = trace(lambda x: cr.take(X, cr.astype(x[0], cr.int64), axis=0) @ X.T, np.zeros((3, 3), "f"))
    assert looked_up.guard is not None
    assert {node.op for node in looked_up.guard.graph.nodes}.isdisjoint({Op.MATMUL, Op.TAKE})
    assert looked_up.guard.graph.outputs[0].shape == ()


def test_a_profile_looks_at_arguments_too() -> None:
    program = cr.compile(lambda x, i: x[i]).program(X, np.array([0, 1]))
    with pytest.raises(cr.ShapeError, match="3 at"):
        program.profile(X, np.array([0, 3]))
    program.profile(X, np.array([0, 2]))
    assert program(X, np.array([2, 0]))[0].tolist() == X[[2, 0]].tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_refused_for_rounding_alone_is_not_refused(dtype: str) -> None:
    """The sums of these rows are about as far from 1 as they may be; the guard adds in another order than NumPy."""
    rows = np.random.default_rng(0).random((2000, 7))
    rows = (rows / rows.sum(axis=1, keepdims=True) * 1.01).astype(dtype)
    accepted, refused = [], []
    for row in rows:
        try:
            cr.losses.cross_entropy(np.zeros((1, 7)), row[None])
        except cr.ArgumentError:
            refused.append(row)
        else:
            accepted.append(row)
    assert 100 < len(accepted) < 1900
    count = cr.State(np.zeros((), np.int64), "count")

    def step(targets):
        count.assign(count + 1)
        return cr.losses.cross_entropy(cr.zeros((1, 7)), targets)

    given = np.array(accepted)
    compiled = cr.compile(step)
    found = [compiled(row[None]).item() for row in given]
    (losses,) = compiled.program(given[:1]).loop([given], np.arange(len(given))[:, None])
    np.testing.assert_array_equal(losses, np.array(found, losses.dtype))
    assert count.item() == 2 * len(given)
    for row in refused[:100]:
        with pytest.raises(cr.ArgumentError, match=r"sum to 1\.01, not to 1"):
            compiled(row[None])
    assert count.item() == 2 * len(given)


def test_a_number_that_is_none_is_no_index() -> None:
    """NumPy makes the least integer of it, machine code 0."""
    table = cr.nn.EmbeddedColumns([10, 4], [3, 2])
    codes, compiled = np.array([[0.5, 2.0, 1.0], [0.5, np.nan, 1.0]]), cr.compile(table)
    np.testing.assert_allclose(np.asarray(compiled(codes[:1])), np.asarray(table(codes[:1])), rtol=1e-6)
    for call in (table, compiled):
        with pytest.raises(cr.ShapeError, match="rows 0 to 9, but the code in row 1 is NaN"):
            call(codes)
    hidden = cr.compile(lambda x: cr.take(X, cr.astype(cr.where(x == x, x, 0.0), cr.int64), axis=0))
    assert hidden(np.array([np.nan, 1.0])).tolist() == X[[0, 1]].tolist()


@pytest.mark.parametrize(
    "target", [lambda y: y / 255, lambda y: cr.broadcast_to(y[:, None] / 255, (2, 30)), lambda y: y // 255, cr.abs]
)
def test_targets_that_are_made_by_plain_arithmetic_are_looked_at(target: Callable) -> None:
    f = cr.compile(lambda y: cr.losses.binary_cross_entropy(0 * target(y), target(y)))
    f(np.array([0, 1], "f"))
    with pytest.raises(cr.ArgumentError, match=r"target .* in row 1"):
        f(np.array([0, 510], "f"))


def test_of_many_targets_and_weights_all_are_looked_at() -> None:
    columns, wrong = np.ones((4, 100), "f"), np.ones((4, 100), "f")
    wrong[2, 90] = -7
    targets = cr.compile(lambda y: sum(cr.losses.binary_cross_entropy(0 * y[:, t], y[:, t]) for t in range(100)))
    weights = cr.compile(
        lambda y: sum(cr.losses.mean_squared_error(y[:, t], y[:, t], weights=y[:, t]) for t in range(100))
    )
    for f, message in ((targets, "target -7.0 in row 2"), (weights, "weight -7.0 in row 2")):
        f(columns)
        with pytest.raises(cr.ArgumentError, match=message):
            f(wrong)


def test_what_has_many_lookups_looks_at_some_of_them_before_and_at_the_others_when_they_are_used() -> None:
    many = trace(lambda i: cr.stack([cr.take(X, i[:, t], axis=0) for t in range(100)]), np.zeros((2, 100), int))
    assert 0 < len(many.checks) < 100
    program = Program(many)
    for place in (0, 99):
        index = np.zeros((2, 100), int)
        index[1, place] = 3
        with pytest.raises(cr.ChainruleError, match=r"out of range for length 3|out of bounds for axis 0 of length 3"):
            program(index)
        index[1, place] = 2
        program(index)


@pytest.mark.parametrize("execute", [lambda traced: traced, Program])
def test_an_index_that_is_computed_is_told_by_all(execute: Callable) -> None:
    step = execute(trace(lambda x: cr.take(x[0], cr.argsort(x[1]) + 2), X))
    with pytest.raises(cr.ArgumentError, match=r"test_checks.py:\d+: an index is out of bounds for axis 0 of length 4"):
        step(X)


def test_a_call_that_was_interrupted_before_it_was_looked_at_says_nothing_of_the_next_one() -> None:
    program = Program(trace(lambda x: cr.take(x[0], cr.astype(cr.sum(x, axis=0), cr.int64)), X))
    loop = Program(trace(lambda x: cr.take(x[0], cr.astype(cr.sum(x, axis=0), cr.int64)), X)).loop
    rows = np.arange(6).reshape(2, 3)
    run = program.ready()
    good, check = np.zeros((3, 4), "f"), Run.check

    def interrupted(run: Run) -> None:
        raise KeyboardInterrupt

    Run.check = interrupted
    try:
        with pytest.raises(KeyboardInterrupt):
            program(X)
        with pytest.raises(KeyboardInterrupt):
            loop([np.concatenate([X, X])], rows)
    finally:
        Run.check = check
    assert run.status.any()
    program(good)
    assert len(loop([np.concatenate([good, good])], rows)[0]) == 2
    with pytest.raises(cr.ArgumentError, match="out of bounds"):
        program(X)


def test_an_axis_may_be_longer_than_an_index_of_its_type_can_be() -> None:
    f = cr.compile(lambda x, i: cr.take(cr.broadcast_to(x, (2**33,)), i))
    assert f(np.float32(1), np.array([5, -7], np.int32)).tolist() == [1.0, 1.0]


def test_a_symbol_of_another_trace_is_refused() -> None:
    kept = []
    cr.compile(lambda x: kept.append(x) or x * 2)(X)
    with pytest.raises(cr.TraceError, match=r"kept from another trace \(x at test_checks.py:\d+\).*an argument"):
        cr.compile(lambda y: y + kept[0])(X)
