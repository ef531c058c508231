"""Deep products in parts: which ones, with the numbers of the whole product and the same bits for any team."""

from collections.abc import Iterator

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import reference
from chainrule.engine.graph import Graph
from chainrule.engine.op import Op
from chainrule.engine.program import Program
from chainrule.engine.simplify import simplify
from chainrule.engine.split import split
from chainrule.engine.target import host
from chainrule.engine.trace import trace
from engine.guarded import run_guarded


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    before = cr.threads()
    yield
    cr.threads(before)


def parts(graph: Graph) -> list[tuple[int, ...]]:
    """The shapes of all products."""
    return [node.shape for node in graph.nodes if node.op is Op.MATMUL]


def forward(rows: tuple[int, ...], depth: int, columns: int) -> tuple[Graph, Graph, list[np.ndarray]]:
    """The graph of x @ w where w is changed, before and after, and what goes in."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype("f") for shape in ((*rows, depth), (depth, columns))]
    whole = simplify(trace(lambda x, w: x @ w, *arrays).graph)
    return whole, split(whole, {whole.inputs[1]}), arrays


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "expected"),
    [
        ((64,), 784, 128, (4, 64, 128)),
        ((128,), 512, 512, (4, 128, 512)),
        ((128,), 256, 512, (2, 128, 512)),
        ((5, 8), 768, 40, (4, 5, 8, 40)),
        ((10,), 783, 64, (3, 10, 64)),
        ((64,), 257, 128, (64, 128)),  # a prime number of rows
        ((512,), 784, 128, (512, 128)),  # as many sums as the weight has numbers
        ((8,), 96, 16, (8, 16)),  # a weight that is carried quickly
        ((8,), 2048, 1024, (8, 1024)),  # one that stays in no core's cache
    ],
)
def test_the_depth_is_cut_where_the_sums_are_fewer_than_the_weight(
    rows: tuple[int, ...], depth: int, columns: int, expected: tuple[int, ...]
) -> None:
    whole, cut, arrays = forward(rows, depth, columns)
    cut.verify()
    assert parts(cut) == [expected]
    (found,) = reference.run(cut, dict(zip(cut.inputs, arrays, strict=True)))
    exact = arrays[0].astype("d") @ arrays[1].astype("d")
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)
    assert parts(whole) == [exact.shape]


def test_a_weight_that_does_not_change_is_left_whole() -> None:
    whole, _, _ = forward((128,), 784, 128)
    assert parts(split(whole, set())) == [(128, 128)]


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "expected"),
    [
        ((1,), 256, 512, (4, 1, 512)),
        ((1, 1), 512, 512, (4, 1, 1, 512)),
        ((1,), 784, 128, (1, 128)),  # a weight that one thread reads best
        ((1,), 2048, 1024, (1, 1024)),  # one that stays in no core's cache
        ((2,), 512, 512, (2, 512)),
        ((32,), 784, 128, (32, 128)),
        ((33,), 784, 128, (4, 33, 128)),
        ((64,), 784, 128, (4, 64, 128)),
        ((65,), 784, 128, (65, 128)),
    ],
)
def test_a_row_or_some_dozens_by_a_weight_that_does_not_change_are_cut_where_threads_share_the_weight(
    rows: tuple[int, ...], depth: int, columns: int, expected: tuple[int, ...]
) -> None:
    whole, _, arrays = forward(rows, depth, columns)
    cut = split(whole, set())
    cut.verify()
    assert parts(cut) == [expected]
    (found,) = reference.run(cut, dict(zip(cut.inputs, arrays, strict=True)))
    np.testing.assert_allclose(found, arrays[0].astype("d") @ arrays[1].astype("d"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_answer_for_one_row_has_the_same_bits_for_any_team(dtype: str) -> None:
    rng = np.random.default_rng(4)
    weights = [(rng.standard_normal(shape) / 20).astype(dtype) for shape in ((256, 512), (512, 512), (512, 10))]
    x = rng.standard_normal((1, 256)).astype(dtype)
    first, second, last = map(cr.Parameter, weights)

    def answer(threads: int) -> np.ndarray:
        cr.threads(threads)
        predicted = cr.compile(lambda x: cr.tanh(cr.tanh(x @ first) @ second) @ last)
        program = predicted.program(x)
        assert [shape[0] for shape in parts(program.graph)] == [host().parts, host().parts, 1]
        run = program.ready()
        run.paced = False  # the whole team, whatever is quicker
        return np.asarray(predicted(x))

    one, *others = [answer(threads) for threads in (1, 2, 3, 5)]
    exact = np.tanh(np.tanh(x.astype("d") @ weights[0]) @ weights[1]) @ weights[2]
    np.testing.assert_allclose(one, exact, rtol=1e-4, atol=1e-5)
    assert all(other.tobytes() == one.tobytes() for other in others)


@pytest.mark.parametrize(
    ("rows", "left", "right", "expected"),
    [
        (256, 64, 64, (4, 64, 64)),
        (256, 13, 64, (4, 13, 64)),
        (64, 128, 10, (2, 128, 10)),  # of 32 rows each
        (64, 784, 128, (784, 128)),  # the sums are more
        (62, 128, 10, (128, 10)),  # of fewer rows each
        (64, 10, 10, (10, 10)),  # few bytes
    ],
)
def test_a_sum_over_rows_is_cut_where_the_sums_are_fewer_than_what_is_read(
    rows: int, left: int, right: int, expected: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((rows, columns)) for columns in (left, right)]
    graph = split(simplify(trace(lambda x, y: x.T @ y, *arrays).graph), set())
    graph.verify()
    assert parts(graph) == [expected]
    (found,) = reference.run(graph, dict(zip(graph.inputs, arrays, strict=True)))
    np.testing.assert_allclose(found, arrays[0].T @ arrays[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((256, 64), 0, [(4, 1, 64)]),
        ((249, 64), 0, [(3, 1, 64)]),
        ((251, 64), 0, []),  # a prime number of rows
        ((64, 32), 0, [(2, 1, 32)]),
        ((64, 31), 0, []),  # few bytes
        ((256, 65), 0, []),  # long rows, that are read in pieces
        ((2000, 64), 0, []),  # many rows, of which each adds a rounding
        ((64, 256), 1, []),  # each row has a sum of its own
    ],
)
def test_a_sum_of_rows_that_are_multiplied_too_is_cut_into_sums_of_some_rows(
    shape: tuple[int, int], axis: int, expected: list[tuple[int, ...]]
) -> None:
    """As the gradients of a bias and of an input are made of one array."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape), rng.standard_normal((shape[1], 3))
    traced = trace(lambda x, w: (cr.sum(x, axis=axis), x @ w), x, w)
    graph = split(simplify(traced.graph), set())
    graph.verify()
    assert parts(graph) == [*expected, (shape[0], 3)]
    found, _ = reference.run(graph, dict(zip(graph.inputs, [x, w], strict=True)))
    np.testing.assert_allclose(found, x.sum(axis), rtol=1e-12, atol=1e-12)
    results = [run_guarded(Program(traced), [x, w], threads=threads, at_end=True)[0] for threads in (1, 2, 3)]
    np.testing.assert_allclose(results[0], x.sum(axis), rtol=1e-12, atol=1e-12)
    assert len({each.tobytes() for each in results}) == 1


def test_a_sum_of_what_need_not_be_stored_is_left_whole() -> None:
    x = np.ones((1000, 64))
    graph = split(simplify(trace(lambda x: cr.sum(x * 2 + 1, axis=0), x).graph), set())
    assert parts(graph) == []
    assert Program(trace(lambda x: cr.sum(x * 2 + 1, axis=0), x)).plan.arena == 0


@pytest.mark.parametrize(("most", "expected"), [(1, []), (2, [2]), (3, [2]), (4, [4])])
def test_a_depth_is_cut_into_so_many_parts_at_most(most: int, expected: list[int]) -> None:
    x, w = np.ones((64, 784), "f"), np.ones((784, 128), "f")
    graph = simplify(trace(lambda x, w: x @ w, x, w).graph)
    found = parts(split(graph, {graph.inputs[1]}, most))
    assert [shape[0] for shape in found if len(shape) == 3] == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_in_parts_follows_numpy_and_has_the_same_bits_for_any_team(dtype: str) -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.standard_normal(shape) / 20 for shape in ((784, 64), (64, 10)))
    images, labels = rng.standard_normal((300, 784)), rng.standard_normal((300, 10))
    rows = rng.integers(0, 300, (6, 48))

    def trained(threads: int) -> list[np.ndarray]:
        cr.threads(threads)
        w, v = cr.Parameter(first.astype(dtype)), cr.Parameter(second.astype(dtype))
        optimizer = cr.optim.SGD(0.1)

        @cr.compile
        def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
            loss = cr.mean((cr.tanh(x @ w) @ v - y) ** 2)
            optimizer.update(cr.backpropagate(loss))
            return loss

        data = [images.astype(dtype), labels.astype(dtype)]
        program = step.program(*[array[:48] for array in data])
        assert (host().parts, 48, 64) in parts(program.graph)
        (losses,) = program.loop(data, rows)
        return [losses, np.array(w), np.array(v)]

    w, v, losses = first, second, []
    for chosen in rows:  # by hand, in double precision
        x, y = images[chosen], labels[chosen]
        h = np.tanh(x @ w)
        error = h @ v - y
        losses.append((error**2).mean())
        at_output = 2 * error / error.size
        at_hidden = (at_output @ v.T) * (1 - h**2)
        w, v = w - 0.1 * x.T @ at_hidden, v - 0.1 * h.T @ at_output
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    one, *others = [trained(threads) for threads in (1, 2, 3, 5)]
    for found, expected in zip(one, (losses, w, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    for other in others:
        for found, expected in zip(other, one, strict=True):
            assert found.tobytes() == expected.tobytes()
