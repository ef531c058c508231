"""The plan of memory: arrays share places when they are not needed together, and states are written in place."""

import mmap
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine import budget
from chainrule.engine.budget import Memory, _free_in_groups, require_room
from chainrule.engine.memory import ALIGNMENT, ARENA
from chainrule.engine.program import Program
from chainrule.engine.room import aligned
from chainrule.engine.trace import trace
from engine.guarded import run_guarded

X = np.linspace(-1, 1, 64 * 64, dtype="f").reshape(64, 64)


def program(f, *arguments: np.ndarray) -> Program:
    made = Program(trace(f, *arguments))
    made.plan.verify(made.kernels)
    return made


def deep(x):
    for _ in range(10):
        x = cr.sum(cr.exp(x @ x) * 0.01, axis=0) + x
    return x


def test_a_deep_chain_takes_no_more_room_than_a_short_one() -> None:
    made = program(deep, X)
    assert made.memory.arena < 4 * X.nbytes
    assert made.memory.without_sharing > 8 * X.nbytes


def test_two_arrays_in_one_place_are_found_out() -> None:
    made = program(deep, X)
    nodes = [node for node, home in made.plan.homes.items() if home.slot == ARENA]
    for node in nodes:
        made.plan.homes[node] = made.plan.homes[nodes[0]]
    with pytest.raises(AssertionError, match="do not overlap"):
        made.plan.verify(made.kernels)


def test_arrays_of_another_shape_get_places_of_their_own_while_they_stay_in_the_cache() -> None:
    """Threads share arrays of one shape out alike, so a place does not go from the cache of one core to another's."""

    def wider_and_wider(x, *weights):
        for _ in range(3):
            for weight in weights:
                x = cr.exp(x @ weight)
        return x

    for length, shared in ((60, False), (600, True)):
        widths = [length, 2 * length, 3 * length, 4 * length, length]
        weights = [np.zeros(shape, "f") for shape in pairwise(widths)]
        made = program(wider_and_wider, np.zeros((length, length), "f"), *weights)
        found: dict[int, list[tuple[int, ...]]] = {}
        for node, home in made.plan.homes.items():
            if home.slot == ARENA:
                found.setdefault(home.offset, []).append(node.shape)
        assert any(len(each) > 1 for each in found.values())
        assert any(len(set(each)) > 1 for each in found.values()) == shared


def test_a_few_tiny_arrays_share_no_place_and_many_do() -> None:
    """So that a kernel need not wait for those that read what was there before; but the room stays bounded."""

    def products(x, weight):
        for _ in range(steps):
            x = cr.tanh(x @ weight)
        return x

    for steps, apart in ((6, True), (200, False)):
        made = program(products, np.zeros((16, 16), "f"), np.zeros((16, 16), "f"))
        offsets = [home.offset for home in made.plan.homes.values() if home.slot == ARENA]
        assert len(offsets) >= steps - 1
        assert (len(set(offsets)) == len(offsets)) == apart


def test_many_shapes_share_one_room() -> None:
    """A place for each would grow with the square of the steps."""

    def over_prefixes(x):
        h = x[0]
        for step in range(1, len(x)):
            h = cr.tanh(cr.cumulative_sum(cr.tanh(x[:step] * h), axis=0)[step - 1] / step + x[step])
        return h

    made = program(over_prefixes, np.ones((300, 64), "f"))
    assert made.memory.arena < 2**18  # a few of the longest, of 75 KiB


def test_arrays_begin_at_cache_lines() -> None:
    made = program(lambda x: deep(x[:63, :63]), X)
    assert all(home.offset % ALIGNMENT == 0 for home in made.plan.homes.values())


def test_an_optimizer_writes_everything_in_place() -> None:
    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(64, 32), nn.Tanh(), nn.Dense(32, 5))
    optimizer = cr.optim.Adam(0.01)

    def step(x, y):
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    assert program(step, X, np.zeros(64, np.int64)).plan.copies == ()


def test_states_that_are_swapped_upside_down_are_copied_in_the_end() -> None:
    a, b = cr.State(np.arange(4, dtype="f"), "a"), cr.State(np.arange(4, dtype="f") + 10, "b")

    def swap():
        old = a + 0
        a.assign(cr.flip(b))
        b.assign(cr.flip(old))
        return cr.asarray(0)

    made = program(swap)
    assert made.plan.copies
    made()
    assert (a.tolist(), b.tolist()) == ([13.0, 12.0, 11.0, 10.0], [3.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 31, 64, 70])
def test_a_training_step_stays_inside_its_memory(size: int, threads: int, at_end: bool) -> None:
    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(37, size), nn.GELU(), nn.Dropout(0.3), nn.BatchNorm(size), nn.Dense(size, 5))
    optimizer = cr.optim.Adam(0.01)

    def step(x, y):
        loss = cr.losses.cross_entropy(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    rng = np.random.default_rng(1)
    batch = rng.standard_normal((size + 3, 37)).astype("f"), rng.integers(0, 5, size + 3)
    made = program(step, *batch)
    guarded = run_guarded(made, batch, threads=threads, at_end=at_end)
    own = [*made(*batch), *(state.look() for state in made.traced.writes)]
    for found, expected in zip(guarded, own, strict=True):
        assert found.tobytes() == expected.tobytes()


def test_a_program_that_cannot_fit_is_refused_before_it_starts_and_says_why() -> None:
    made = Program(
        trace(lambda x: cr.sum(cr.exp(cr.expand_dims(x, axis=1) - x) @ cr.ones((3, 3))), np.zeros((3, 3), "f"))
    )
    assert made.memory.peak > 0
    huge = Program(trace(lambda x: cr.sum(cr.cumulative_sum(cr.broadcast_to(x, (2**42,)))), np.zeros(1, "f")))
    with pytest.raises(cr.ChainruleError, match=r"needs .* of memory.*cumsum"):
        huge(np.zeros(1, "f"))


def test_results_that_cannot_fit_are_refused_and_named() -> None:
    huge = Program(trace(lambda x: (cr.sum(x), cr.broadcast_to(x, (2**42,))), np.zeros(1, "f")))
    with pytest.raises(
        cr.ResourceError, match=r"needs 1.64e\+04 GiB of memory.*1.64e\+04 GiB float32\[4398046511104\] by broadcast"
    ):
        huge(np.zeros(1, "f"))


def test_scratch_counts_for_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(
        states=0, arguments=0, results=10, constants=0, arena=20, without_sharing=20, scratch=30, largest=()
    )
    monkeypatch.setattr(budget, "_free", lambda: 120)
    require_room(120, 0, lambda: memory)
    with pytest.raises(cr.ResourceError, match="needs 150 B of memory"):
        require_room(150, 0, lambda: memory)


def test_first_copies_of_assigned_states_count_until_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assigned, read = cr.State(np.zeros(1000, "f"), "assigned"), cr.State(np.zeros(5000, "f"), "read")

    def step(x):
        assigned.assign(assigned + x)
        return cr.sum(read)

    made, again = (Program(trace(step, np.float32(1))) for _ in range(2))
    monkeypatch.setattr(budget, "_free", lambda: 3900)
    with pytest.raises(cr.ResourceError, match=r"states, 3.91 KiB of it for copies of states, but only 3.81 KiB are"):
        made(np.float32(1))
    monkeypatch.setattr(budget, "_free", lambda: 6000)
    made(np.float32(1))
    monkeypatch.setattr(budget, "_free", lambda: 3900)
    again(np.float32(1))
    assert assigned.tolist() == [2.0] * 1000


@pytest.mark.parametrize("of_variant", [False, True])
def test_results_of_all_steps_of_a_loop_must_fit(of_variant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((9, 5), "f")
    small, large = (Program(trace(f, x[:4])) for f in (cr.sum, lambda x: (cr.sum(x), cr.zeros((100, 100)) + x[0, 0])))
    rows = np.zeros((1000, 4), np.int64)
    small.ready(), large.ready()
    monkeypatch.setattr(budget, "_free", lambda: 2**24)

    def run(steps: int) -> list[np.ndarray]:
        if of_variant:
            return small.loop([x], rows, variant=large, at=np.arange(1000) < steps)
        return large.loop([x], rows[:steps])

    assert run(400)[1].shape == (400, 100, 100)
    with pytest.raises(cr.ResourceError, match=r"results of \d+ steps need 38.\d MiB.* only 16 MiB .*fewer steps"):
        run(1000)


def test_the_limits_of_control_groups_count(tmp_path: Path) -> None:
    """Files as the Linux kernel's documentation of both versions of control groups describes them."""
    own = tmp_path / "own"
    own.write_text("5:cpu:/inner\n4:memory:/outer/inner\n0::/outer/inner\n")
    files = {
        "outer/memory.max": "1000",
        "outer/memory.current": "900",
        "outer/memory.stat": "anon 700\nactive_file 50\ninactive_file 150\n",
        "outer/inner/memory.max": "max",
        "outer/inner/memory.current": "500",
        "memory/outer/inner/memory.limit_in_bytes": "800",
        "memory/outer/inner/memory.usage_in_bytes": "600",
        "memory/outer/inner/memory.stat": "inactive_file 1\ntotal_active_file 20\ntotal_inactive_file 30\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(_free_in_groups(own, tmp_path)) == [250, 300]
    assert _free_in_groups(tmp_path / "none", tmp_path) == []


def test_a_state_that_needs_a_copy_does_not_cost_the_others_theirs() -> None:
    """Where the old value of one state is met after the new one, the rest are written in place all the same."""
    rng = np.random.default_rng(0)
    v, w = (cr.Parameter(rng.standard_normal((50, 50)).astype("f"), name) for name in "vw")
    e = cr.State(rng.standard_normal((30, 30)).astype("f"), "e")

    def step(x):
        gradients = cr.backpropagate(cr.mean((x @ w @ v) ** 2))
        v.assign(v - 0.1 * gradients[v])
        w.assign(w - 0.1 * gradients[w])
        old = e * 1
        new = old / 2
        e.assign(new @ new.mT)
        return cr.sum(e @ old)

    made = program(step, rng.standard_normal((8, 50)).astype("f"))
    assert [node.shape for node, _ in made.plan.copies] == [(30, 30)]


@pytest.mark.parametrize("size", [2**21 - 8, 2**21, 5 * 2**20 + 24])
def test_an_array_in_large_pages_is_an_array_like_any_other(size: int) -> None:
    value = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    copy = aligned(value)
    np.testing.assert_array_equal(copy, value)
    assert copy.flags.c_contiguous
    assert copy.flags.writeable
    assert copy.ctypes.data % (2**21 if size >= 2**21 and hasattr(mmap, "MADV_HUGEPAGE") else 64) == 0
    other = aligned(value)
    other[:] = 0
    np.testing.assert_array_equal(copy, value)


def test_arrays_of_middle_size_share_large_pages() -> None:
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 256, size, np.uint8) for size in (2**18, 2**19 + 8, 2**20, 2**18 + 1, 2**21 - 1)]
    copies = [aligned(value) for value in values]
    places = sorted((copy.ctypes.data, copy.ctypes.data + copy.nbytes) for copy in copies)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(places))
    assert all(begin % 64 == 0 for begin, _ in places)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        assert all(begin // 2**21 == (end - 1) // 2**21 for begin, end in places)
        assert len({begin // 2**21 for begin, _ in places}) < len(places)
    for number, copy in enumerate(copies):
        copy[:] = number
    assert [set(np.unique(copy)) for copy in copies] == [{number} for number in range(len(copies))]


@pytest.mark.parametrize("size", [2**16, 2**17, 2**20])
@pytest.mark.parametrize("place", [None, 0, -1])
@pytest.mark.parametrize("other", [-0.0, 1.0, np.nan])
def test_zeros_that_are_not_written_are_zeros(size: int, place: int | None, other: float) -> None:
    value = np.zeros(size, "f")
    if place is not None:
        value[place] = other
    for made in (aligned(value), aligned(value[::2]), aligned(value.reshape(2, -1).T)):
        wanted = {size: value, size // 2: value[::2]}[made.size]
        wanted = wanted.reshape(2, -1).T if made.ndim == 2 else wanted
        assert made.shape == wanted.shape
        assert made.tobytes() == wanted.tobytes()
        made[:] = 2  # it belongs to nobody else
    assert aligned(value).tobytes() == value.tobytes()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell how much memory is touched")
def test_zeros_are_not_touched() -> None:
    def touched() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    zeros, ones = np.zeros(2**24, "f"), np.ones(2**24, "f")
    before = touched()
    first = aligned(zeros)
    between = touched()
    second = aligned(ones)
    assert between - before < zeros.nbytes // 4 < touched() - between
    assert not first.any()
    assert second.all()


def test_arrays_that_threads_make_at_once_lie_apart() -> None:
    def some() -> list[np.ndarray]:
        return [aligned(np.zeros(2**18, np.uint8)) for _ in range(40)]

    with ThreadPoolExecutor(4) as threads:
        copies = [copy for each in [threads.submit(some) for _ in range(4)] for copy in each.result()]
    starts = sorted(copy.ctypes.data for copy in copies)
    assert all(end - begin >= 2**18 for begin, end in pairwise(starts))


def test_a_state_shares_a_tensor_and_copies_an_array() -> None:
    array = np.ones((512, 256), "f")
    copied, shared = cr.Parameter(array), cr.Parameter(cr.asarray(array, copy=False))
    predicted = [cr.compile(lambda x, w=w: x @ w) for w in (copied, shared)]
    x = np.ones((1, 512), "f")
    before = [float(np.asarray(f(x))[0, 0]) for f in predicted]
    array[:] = 2
    after = [float(np.asarray(f(x))[0, 0]) for f in predicted]
    assert (before, after) == ([512, 512], [512, 1024])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_an_array_in_large_pages_belongs_to_its_process() -> None:
    """In pages that processes share, a child that trains on would change its parent's network."""
    code = (
        "import os, numpy as np\nfrom chainrule.engine.room import aligned\n"
        "array = aligned(np.ones(2**20))\nchild = os.fork()\n"
        "if not child:\n    array[:] = 2\n    os._exit(0)\n"
        "os.waitpid(child, 0)\nprint(array.min(), array.max())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "1.0"]
