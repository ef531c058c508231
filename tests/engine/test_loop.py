"""Many steps in one native call: the same bits as stepping by hand, from any array, ended by a flag."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.program import Program
from chainrule.engine.run import Run, Stop
from chainrule.engine.target import named, runnable
from chainrule.engine.trace import trace
from engine.guarded import loop_guarded

BATCH, FEATURES = 10, 6
RUNNABLE = runnable()


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    before = cr.threads()
    yield
    cr.threads(before)


def learner() -> tuple[nn.Module, cr.optim.Optimizer, object]:
    cr.random.seed(4)
    net = nn.Sequential(nn.Dense(FEATURES, 60), nn.ReLU(), nn.Dropout(0.2), nn.Dense(60, 3))
    optimizer = cr.optim.Adam(0.01)

    @cr.compile
    def step(x, y):
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss, cr.mean(x, axis=0)

    return net, optimizer, step


def data(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    return rng.standard_normal((rows, FEATURES)).astype("f"), rng.integers(0, 3, rows)


def order(steps: int, rows: int = 40) -> np.ndarray:
    return np.random.default_rng(7).integers(0, rows, (steps, BATCH))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_loop_has_the_bits_of_stepping_by_hand(threads: int) -> None:
    (x, y), rows = data(), order(25)
    net, optimizer, step = learner()
    results = [step(x[chosen], y[chosen]) for chosen in rows]
    expected = {**net.arrays(), **optimizer.arrays()}
    cr.threads(threads)
    net, optimizer, step = learner()
    losses, means = step.program(x[rows[0]], y[rows[0]]).loop([x, y], rows)
    assert losses.tobytes() == np.array([loss for loss, _ in results]).tobytes()
    np.testing.assert_array_equal(means, np.stack([mean for _, mean in results]))
    for name, array in {**net.arrays(), **optimizer.arrays()}.items():
        assert array.tobytes() == expected[name].tobytes(), name


def test_steps_and_loops_take_turns() -> None:
    (x, y), rows = data(), order(12)
    _, _, step = learner()
    expected = [step(x[chosen], y[chosen])[0].item() for chosen in rows]
    _, _, step = learner()
    program = step.program(x[rows[0]], y[rows[0]])
    found = [step(x[rows[0]], y[rows[0]])[0].item()]
    found += program.loop([x, y], rows[1:5])[0].tolist()
    found += [step(x[chosen], y[chosen])[0].item() for chosen in rows[5:7]]
    found += program.loop([x, y], rows[7:])[0].tolist()
    assert found == expected


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_variant_makes_some_of_the_steps_on_the_same_states(threads: int, every: int) -> None:
    cr.threads(threads)
    (x, y), rows = data(), order(25)
    at = np.arange(25) % every == 0
    programs, expected = pair()
    wanted = [programs[int(is_due)](x[chosen], y[chosen]) for chosen, is_due in zip(rows, at, strict=True)]
    after = expected()
    programs, found = pair()
    plain, looking = (program.program(x[rows[0]], y[rows[0]]) for program in programs)
    losses, means, norms = plain.loop([x, y], rows, variant=looking, at=at)
    np.testing.assert_array_equal(losses, [each[0].item() for each in wanted])
    np.testing.assert_array_equal(means, np.stack([each[1] for each in wanted]))
    np.testing.assert_array_equal(norms, [each[2].item() for each, is_due in zip(wanted, at, strict=True) if is_due])
    for name, array in found().items():
        assert array.tobytes() == after[name].tobytes(), name


def pair() -> tuple[list[cr.compile], Callable[[], dict[str, np.ndarray]]]:
    """A step and a variant of it that also gives the norm of a gradient, and counts its own steps in a state."""
    cr.random.seed(4)
    net = nn.Sequential(nn.Dense(FEATURES, 60), nn.ReLU(), nn.Dropout(0.2), nn.Dense(60, 3))
    optimizer, seen = cr.optim.Adam(0.01), cr.State(np.float32(1))

    def step(x, y):
        gradients = cr.backpropagate(cr.losses.cross_entropy(net(x), y) * seen)
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(gradients)
        return gradients, loss, cr.mean(x, axis=0)

    def looking(x, y):
        gradients, *results = step(x, y)
        seen.assign(seen * 1.25)  # which the plain step only reads
        return (*results, cr.sum(gradients[net[0].weight] ** 2))

    plain = cr.compile(lambda x, y: step(x, y)[1:])
    return [plain, cr.compile(looking)], lambda: {**net.arrays(), **optimizer.arrays(), "seen": np.asarray(seen)}


def test_a_variant_ends_with_the_loop() -> None:
    (x, y), rows = data(), order(5)
    (plain, looking), _ = pair()
    stop = Stop()
    stop.set()
    programs = [program.program(x[rows[0]], y[rows[0]]) for program in (plain, looking)]
    found = programs[0].loop([x, y], rows, stop=stop, variant=programs[1], at=np.ones(5, bool))
    assert [len(each) for each in found] == [0, 0, 0]


def test_what_is_no_variant_is_refused() -> None:
    (x, y), rows = data(), order(5)
    (plain, looking), _ = pair()
    step, other = (program.program(x[rows[0]], y[rows[0]]) for program in (plain, looking))
    with pytest.raises(cr.ArgumentError, match="a variant must be another program"):
        other.loop([x, y], rows, variant=step, at=np.zeros(5, bool))
    with pytest.raises(cr.ArgumentError, match="a variant must be another program"):
        step.loop([x, y], rows, variant=step, at=np.zeros(5, bool))
    with pytest.raises(cr.ArgumentError, match=r"for each of 5 steps .* bool of shape \(4,\)"):
        step.loop([x, y], rows, variant=other, at=np.zeros(4, bool))
    with pytest.raises(cr.ArgumentError, match=r"int64 of shape \(5,\)"):
        step.loop([x, y], rows, variant=other, at=np.zeros(5, int))
    with pytest.raises(cr.ArgumentError, match="and there is no variant"):
        step.loop([x, y], rows, at=np.ones(5, bool))


def copied(shape: tuple[int, ...] = (4, 5), dtype: str = "f") -> Program:
    return Program(trace(lambda x: x * 1, np.zeros(shape, dtype)))


@pytest.mark.parametrize("goal", ["float32", "float64"])
@pytest.mark.parametrize(
    "source",
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32", "float64"],
)
@pytest.mark.parametrize("width", [1, 5, 37])
def test_rows_of_any_numeric_type_become_floating(source: str, goal: str, width: int) -> None:
    rng = np.random.default_rng(8)
    kind = np.dtype(source)
    if kind.kind == "f":
        array = (rng.standard_normal((9, width)) * 100).astype(kind)
    else:
        limits = (0, 2) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        array = rng.integers(*limits, (9, width), dtype="int64" if kind.kind == "b" else kind).astype(kind)
    rows = rng.integers(0, 9, (3, 4))
    (found,) = copied((4, width), goal).loop([array], rows)
    np.testing.assert_array_equal(found, array[rows].astype(goal))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize(("width", "dtype"), [(256, "f"), (259, "f"), (784, "f"), (130, "d"), (1001, "d")])
def test_threads_gather_some_columns_each_of_long_rows(width: int, dtype: str, threads: int) -> None:
    rng = np.random.default_rng(8)
    array, weight = (rng.standard_normal(shape).astype(dtype) for shape in ((100, width), (width, 600)))
    cr.threads(threads)
    program = Program(trace(lambda x: (x * 1, x @ cr.asarray(weight)), array[:64]))
    assert not program.module.is_alone
    rows = rng.integers(0, 100, (3, 64))
    gathered, _ = program.loop([array], rows)
    np.testing.assert_array_equal(gathered, array[rows])


@pytest.mark.parametrize("kind", RUNNABLE)
@pytest.mark.parametrize("goal", ["float32", "float64"])
def test_every_number_of_half_precision_becomes_itself(goal: str, kind: str) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, 1024)
    program = Program(trace(lambda x: x * 1, np.zeros((64, 1024), goal)), named(kind))
    (found,) = program.loop([halves], np.arange(64).reshape(1, 64))
    expected = halves.astype(goal)
    np.testing.assert_array_equal(found[0], expected)
    assert (np.signbit(found[0]) == np.signbit(expected)).all()


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64"])
def test_rows_that_are_not_floating_keep_their_type(dtype: str) -> None:
    array = (np.arange(27).reshape(9, 3) % 2).astype(dtype)
    program = Program(trace(lambda x: cr.where(x == 1, x, x), np.zeros((2, 3), dtype)))
    (found,) = program.loop([array], np.array([[0, 8], [3, 3]]))
    np.testing.assert_array_equal(found, array[[[0, 8], [3, 3]]])


def test_rows_come_from_memory_maps_and_from_arrays_with_gaps(tmp_path: Path) -> None:
    numbers = np.random.default_rng(9).standard_normal((20, 5)).astype("f")
    stored = np.memmap(tmp_path / "numbers", "f", "w+", shape=(20, 5))
    stored[:] = numbers
    rows = np.arange(12).reshape(3, 4)
    for array in (stored, np.asfortranarray(numbers), np.repeat(numbers, 2, axis=0)[::2], numbers[::-1][::-1]):
        np.testing.assert_array_equal(copied().loop([array], rows)[0], numbers[rows])
    wide = np.repeat(numbers, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(copied().loop([wide], rows.astype("uint8"))[0], numbers[rows])
    np.testing.assert_array_equal(copied().loop([numbers], np.asfortranarray(rows))[0], numbers[rows])


def test_rows_of_more_axes_and_of_one() -> None:
    images = np.random.default_rng(10).integers(0, 256, (9, 3, 4, 2), dtype=np.uint8)
    rows = np.array([[8, 0], [1, 1]])
    np.testing.assert_array_equal(copied((2, 3, 4, 2)).loop([images], rows)[0], images[rows])
    single = np.arange(9, dtype="f")
    np.testing.assert_array_equal(copied((2,)).loop([single], rows)[0], single[rows])


def test_a_loop_of_no_steps_gives_nothing() -> None:
    (found,) = copied().loop([np.zeros((9, 5), "f")], np.zeros((0, 4), int))
    assert found.shape == (0, 4, 5)


def test_a_raised_flag_ends_a_loop_before_its_next_step() -> None:
    stop = Stop()
    stop.set()
    (found,) = copied().loop([np.zeros((9, 5), "f")], np.zeros((10, 4), int), stop=stop)
    assert len(found) == 0


def test_a_flag_raised_while_it_runs_ends_a_loop_and_everything_fits_together() -> None:
    count = cr.State(np.zeros((), np.int64), "count")

    def step(x):
        count.assign(count + 1)
        return count + 0, cr.sum(cr.exp(cr.log(x)))

    program = Program(trace(step, np.zeros((4, 500), "f")))
    stop = Stop()
    rows = np.zeros((1_000_000, 4), np.int64)  # some seconds, if nobody stops it

    def stop_soon() -> None:
        while not count.look():
            pass
        stop.set()

    watcher = threading.Thread(target=stop_soon)
    watcher.start()
    counts, sums = program.loop([np.ones((9, 500), "f")], rows, stop=stop)
    watcher.join()
    assert 0 < len(counts) < len(rows)
    assert len(sums) == len(counts) == count.item() == counts[-1]
    assert (sums == 2000).all()


@pytest.mark.parametrize(
    ("arrays", "rows", "error", "message"),
    [
        ([], np.zeros((1, 4), int), cr.ArgumentError, "takes 1 arguments, but data has 0"),
        ([np.zeros((9, 6), "f")], np.zeros((1, 4), int), cr.ShapeError, r"shape \(4, 5\) as argument 0.*\(9, 6\)"),
        ([np.zeros(9, "f")], np.zeros((1, 4), int), cr.ShapeError, r"array of shape \(9,\)"),
        ([np.float32(1)], np.zeros((1, 4), int), cr.ShapeError, r"array of shape \(\)"),
        ([np.zeros((9, 5), complex)], np.zeros((1, 4), int), cr.DTypeError, "complex128 cannot become float32"),
        ([np.zeros((9, 5), ">f4")], np.zeros((1, 4), int), cr.DTypeError, "float32 in another byte order"),
        ([np.zeros((9, 5), "f")], np.zeros((1, 3), int), cr.ShapeError, r"shape \(steps, 4\)"),
        ([np.zeros((9, 5), "f")], np.zeros(4, int), cr.ShapeError, r"shape \(steps, 4\)"),
        ([np.zeros((9, 5), "f")], np.zeros((1, 4)), cr.DTypeError, "must hold integers.*holds float64"),
        (
            [np.zeros((9, 5), "f")],
            np.array([[0, 1, 2, 9]]),
            cr.ArgumentError,
            "holds 0 to 9, but there are rows 0 to 8",
        ),
        ([np.zeros((9, 5), "f")], np.array([[0, -1, 2, 8]]), cr.ArgumentError, "holds -1 to 8"),
        ([np.zeros((0, 5), "f")], np.array([[0, 0, 0, 0]]), cr.ArgumentError, "rows 0 to -1"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(arrays, rows, error, message: str) -> None:
    with pytest.raises(error, match=message):
        copied().loop(arrays, rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": cr.compile(lambda x: x)}, "variant must be a program.*but is a Compiled"),
        ({"stop": threading.Event()}, "stop must be a chainrule.engine.run.Stop, but is a Event"),
    ],
)
def test_what_a_loop_cannot_use_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(cr.ArgumentError, match=message):
        copied().loop([np.zeros((9, 5), "f")], np.zeros((1, 4), int), **options)


def test_integers_are_not_made_of_anything_else() -> None:
    program = Program(trace(lambda x: x + 1, np.zeros((2, 3), np.int32)))
    with pytest.raises(cr.DTypeError, match="rows of int64 cannot become int32"):
        program.loop([np.zeros((5, 3), np.int64)], np.zeros((1, 2), int))


def test_arguments_of_different_batches_are_refused() -> None:
    program = Program(trace(lambda x, y: cr.sum(x) + cr.sum(y), np.zeros((2, 3), "f"), np.zeros((3, 3), "f")))
    with pytest.raises(cr.ShapeError, match="the same first axis"):
        program.loop([np.zeros((5, 3), "f")] * 2, np.zeros((1, 2), int))


def test_a_step_without_arguments_runs_as_often_as_there_are_rows() -> None:
    count = cr.State(np.zeros((), np.int64), "count")

    def step():
        count.assign(count + 1)
        return count * 2

    (found,) = Program(trace(step)).loop([], np.zeros((5, 0), int))
    assert found.tolist() == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("has_variant", [True, False])
def test_a_loop_ends_before_the_step_that_is_refused(threads: int, has_variant: bool) -> None:
    cr.threads(threads)
    (x, y), rows = data(), order(25)
    wrong = y.copy()
    wrong[rows[17, 3]] = 3
    first = next(step for step, chosen in enumerate(rows) if (wrong[chosen] == 3).any())
    assert 0 < first <= 17
    net, optimizer, step = learner()
    for chosen in rows[:first]:
        step(x[chosen], y[chosen])
    expected = {**net.arrays(), **optimizer.arrays()}

    net, optimizer, step = learner()
    program = step.program(x[:BATCH], y[:BATCH])
    variant, at = None, None
    if has_variant:
        variant, at = (
            Program(trace(lambda x, y: (*step(x, y), cr.max(x)), x[:BATCH], y[:BATCH])),
            np.arange(25) % 2 == 0,
        )
    with pytest.raises(cr.ArgumentError, match=r"test_loop.py:\d+: cross_entropy: the target 3 in row \d+ is not a"):
        program.loop([x, wrong], rows, variant=variant, at=at)
    for name, array in {**net.arrays(), **optimizer.arrays()}.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    program.loop([x, y], rows)  # nothing of it is left


@pytest.mark.parametrize("threads", [1, 2])
def test_of_a_loop_each_step_is_asked_for_what_it_looks_up_itself(threads: int) -> None:
    cr.threads(threads)
    x, index = np.random.default_rng(0).random((40, 6), "f"), np.zeros(40, np.int64)
    index[11] = 7
    count, rows = cr.State(np.zeros((), np.int64), "count"), np.arange(20).reshape(10, 2)

    def plain(x, i):
        count.assign(count + 1)
        return cr.sum(x), cr.sum(i)

    def lookup(x, i):
        return *plain(x, i), cr.sum(x[cr.arange(2), i])

    for step, variant, at, made in (
        (plain, lookup, np.ones(10, bool), 5),
        (plain, lookup, np.zeros(10, bool), 10),
        (plain, lookup, np.arange(10) == 5, 5),
        (plain, lookup, np.arange(10) != 5, 10),
    ):
        count.assign(np.zeros((), np.int64))
        programs = [Program(trace(each, x[:2], index[:2])) for each in (step, variant)]
        loop = partial(programs[0].loop, [x, index], rows, variant=programs[1], at=at)
        if made == 10:
            assert len(loop()[0]) == 10
        else:
            with pytest.raises(cr.ShapeError, match=r"index for axis 1: 7 at \(1,\) is out of range for length 6"):
                loop()
        assert count.item() == made

    step, *variants = [
        Program(trace(each, x[:2], index[:2])) for each in (plain, lambda x, i: (*plain(x, i), cr.max(x)), lookup)
    ]
    assert len(step.loop([x, index], rows, variant=variants[0], at=np.ones(10, bool))[0]) == 10
    with pytest.raises(cr.ShapeError, match="7 at"):  # although the loop with the other variant is there already
        step.loop([x, index], rows, variant=variants[1], at=np.ones(10, bool))

    def looking(x, i):
        found = x[cr.arange(2), i]
        return *plain(x, i), cr.sum(found)

    def without(x, i):
        return *plain(x, i), cr.max(x)

    programs = [Program(trace(each, x[:2], index[:2])) for each in (looking, without)]
    assert len(programs[0].loop([x, index], rows, variant=programs[1], at=np.arange(10) == 5)[0]) == 10
    with pytest.raises(cr.ShapeError, match="7 at"):
        programs[0].loop([x, index], rows, variant=programs[1], at=np.arange(10) == 4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_loop_ends_after_the_step_in_which_an_index_is_out_of_range(threads: int) -> None:
    cr.threads(threads)
    count, sums = cr.State(np.zeros((), np.int64), "count"), cr.State(np.zeros(4000, "f"), "sums")

    def step(i):
        sums.assign(sums + cr.take(np.ones(3, "f"), i + count))
        count.assign(count + 1)

        return cr.sum(sums)

    program = Program(trace(step, np.zeros(4000, np.int64)))
    with pytest.raises(cr.ArgumentError, match=r"test_loop.py:\d+: an index is out of bounds"):
        program.loop([np.zeros(9, int)], np.zeros((8, 4000), int))
    assert count.item() == 4
    count.assign(np.zeros((), np.int64))
    assert len(program.loop([np.zeros(9, int)], np.zeros((3, 4000), int))[0]) == 3


def test_rows_that_are_read_where_they_lie_are_gathered_where_a_guard_reads_them_too() -> None:
    """The lookup is asked for and not used, so that only the guard and a product read the argument."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((784, 128)).astype("f")
    x = rng.random((200, 784), "f")
    x[77, 0] = 5.0

    def step(x):
        cr.take(weight, cr.astype(x[:, 0], cr.int64) + 782, axis=0)
        return x @ weight

    program = Program(trace(step, x[:64]))
    rows = np.random.default_rng(1).permutation(200)[: 3 * 64].reshape(3, 64)
    where = int(np.argwhere(rows == 77)[0, 0]) if (rows == 77).any() else 3
    (found,) = program.loop([x], np.delete(rows, where, axis=0) if where < 3 else rows)
    for answer, chosen in zip(found, np.delete(rows, where, axis=0) if where < 3 else rows, strict=True):
        np.testing.assert_allclose(answer, x[chosen].astype(float) @ weight, rtol=1e-3, atol=1e-4)
    with pytest.raises(cr.ShapeError, match=r"take: 787 at \(13,\) is out of range for length 784"):
        program.loop([x], np.r_[:64, 64:128].reshape(2, 64))


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["float32", "uint8", "float16"])
@pytest.mark.parametrize("width", [1, 7, 64, 300])
def test_a_loop_and_its_variant_stay_inside_their_memory(width: int, kind: str, threads: int, at_end: bool) -> None:
    rng = np.random.default_rng(width)
    weight = cr.State(rng.standard_normal((width, 70)).astype("f"), "weight")
    first = weight.value.copy()

    def step(x, y):
        answer = cr.tanh(x @ weight)
        weight.assign(weight * 0.5 + cr.mean(answer))
        return cr.sum(answer), answer[:, 0] * y

    def looked(x, y):
        return *step(x, y), cr.max(x, axis=0), x @ weight

    data = [(rng.standard_normal((9, width)) * 4 + 9).astype(kind), np.arange(9)]
    rows, at = rng.integers(0, 9, (12, 5)), np.arange(12) % 3 == 1
    rows[0, 0], rows[1, 0] = 0, 8  # the borders
    plain, variant = (Program(trace(f, np.zeros((5, width), "f"), np.zeros(5, np.int64))) for f in (step, looked))
    before = cr.threads()
    try:
        cr.threads(threads)
        expected = plain.loop(data, rows, variant=variant, at=at)
        ended = weight.value.copy()
        weight.assign(first)
        found = loop_guarded(plain, data, rows, at_end=at_end, variant=variant, at=at)
    finally:
        cr.threads(before)
    assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]
    assert weight.value.tobytes() == ended.tobytes()


def test_a_loop_that_writes_beside_a_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program = copied()
    run, right = program.ready(), Run.table_of_results

    def wrong(self: Run) -> tuple[int, tuple[int, ...]]:
        first, sizes = right(self)
        return first, tuple(size + 4 for size in sizes)  # a result of each step begins behind its place

    monkeypatch.setattr(Run, "table_of_results", wrong)
    run.loops.clear()
    with pytest.raises(AssertionError, match="written beside an array"):
        loop_guarded(program, [np.zeros((9, 5), "f")], np.zeros((3, 4), int), at_end=False)
