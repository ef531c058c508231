"""Matrix products as native code against NumPy: every layout, ragged sizes, threads in turn, guards around arrays."""

from __future__ import annotations

import ctypes
import mmap
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.engine.kernel import Contraction
from chainrule.engine.kernels import plan
from chainrule.engine.kernels.plan import Plan, Product
from chainrule.engine.native import assembly
from chainrule.engine.program import Program
from chainrule.engine.target import Target, _detected, host, named
from chainrule.engine.trace import trace
from engine.products import UNTOUCHED, Compiled, Guarded, compiled

THREADS = (1, 2, 3, 5)
LAYOUTS = ("rows", "columns", "rows with gaps", "columns with gaps", "backwards", "every other")


def on_this_machine(name: str) -> Target:
    """The code that another kind of processor would get (its vectors, tiles and masks), made for this machine."""
    here = _detected()
    return replace(named(name), triple=here.triple, cpu=here.cpu, features=here.features)


def with_tiny_caches(target: Target) -> Target:
    """Caches so small that products of a few dozen rows are cut as large ones are."""
    return replace(target, first_cache=1024, second_cache=2048)


TARGETS = {
    "host": host(),
    "avx512": on_this_machine("avx512"),
    "avx2": on_this_machine("avx2"),
    "sse2": named("sse2") if host().name != "neon" else on_this_machine("sse2"),
    "neon": on_this_machine("neon"),
}
TARGETS |= {f"{name}, tiny caches": with_tiny_caches(target) for name, target in TARGETS.items()}


def array(rng: np.random.Generator, shape: tuple[int, ...], layout: str, dtype: np.dtype) -> Guarded:
    """Small whole numbers, so that every sum is exact in every data type, in a layout."""
    *batch, rows, columns = shape
    down, across, span = {
        "rows": (columns, 1, rows * columns),
        "columns": (1, rows, rows * columns),
        "rows with gaps": (columns + 3, 1, rows * (columns + 3)),
        "columns with gaps": (1, rows + 5, (rows + 5) * columns),
        "backwards": (-columns, -1, rows * columns),
        "every other": (2 * columns, 2, 2 * rows * columns),
    }[layout]
    outer: list[int] = []
    for length in reversed(batch):
        outer.insert(0, span)
        span *= length
    made = Guarded(shape, (*outer, down, across), dtype)
    made.view[...] = rng.integers(-9, 10, shape)
    return made


def check(product: Compiled, *, kept: bool, finished: bool) -> None:
    """Every number of threads gives what NumPy gives, to the last bit, and touches nothing else."""
    expected = np.matmul(product.left.view.astype(np.float64), product.right.view.astype(np.float64))
    before = [each.buffer.copy() for each in (product.left, product.right)]
    for threads in THREADS:
        for written in (product.result, product.other):
            written.buffer[:] = UNTOUCHED
        product.run(threads)
        if kept:
            np.testing.assert_array_equal(product.result.view, expected)
        else:
            assert (product.result.buffer == UNTOUCHED).all()
        if finished:
            np.testing.assert_array_equal(product.other.view, expected + np.arange(expected.shape[-1]))
        for written in (product.result, product.other):
            assert (written.guards() == UNTOUCHED).all()
        for read, copy in zip((product.left, product.right), before, strict=True):
            np.testing.assert_array_equal(read.buffer, copy)


sizes = st.one_of(st.integers(0, 70), st.sampled_from([1, 2, 8, 16, 17, 31, 64]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=sizes,
    depth=sizes,
    columns=sizes,
    batches=st.sampled_from([((), ()), ((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,)), ((2, 3), (2, 3)), ((0,), ())]),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    dtype=st.sampled_from(["float32", "float32", "float64", "int32", "int64"]),
    target=st.sampled_from(sorted(TARGETS)),
    use=st.sampled_from([(True, False), (True, True), (False, True)]),
    claimed=st.booleans(),
)
def test_any_product_equals_numpy(rows, depth, columns, batches, layouts, dtype, target, use, claimed) -> None:
    rng = np.random.default_rng(0)
    kept, finished = use
    left = array(rng, (*batches[0], rows, depth), layouts[0], np.dtype(dtype))
    right = array(rng, (*batches[1], depth, columns), layouts[1], np.dtype(dtype))
    product = compiled(left, right, TARGETS[target], kept=kept, finished=finished, claimed=claimed)
    check(product, kept=kept, finished=finished)


@pytest.mark.parametrize("use", [(True, True), (False, True)], ids=["kept", "not kept"])
@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")], ids="·".join)
@pytest.mark.parametrize("shape", [(45, 70, 150), (150, 45, 153), (70, 200, 149)], ids=str)
def test_a_product_that_leaves_the_caches_is_cut_and_still_equal(shape, layouts, use) -> None:
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (rows, depth), layouts[0], np.dtype(np.float32))
    right = array(rng, (depth, columns), layouts[1], np.dtype(np.float32))
    target = TARGETS["avx2, tiny caches"]
    product = compiled(left, right, target, kept=use[0], finished=use[1])
    assert Plan.of(Product.of(product.contraction), target).blocks
    check(product, kept=use[0], finished=use[1])


@pytest.mark.parametrize("use", [(True, True), (False, True)], ids=["kept", "not kept"])
@pytest.mark.parametrize("shape", [(260, 40, 150), (3, 130, 20, 70), (200, 30, 97)], ids=str)
@pytest.mark.parametrize("name", ["avx2", "sse2"])
def test_a_tall_product_goes_group_by_group_and_is_still_equal(name, shape, use) -> None:
    *batch, rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (*batch, rows, depth), "rows", np.dtype(np.float32))
    right = array(rng, (*batch, depth, columns), "rows", np.dtype(np.float32))
    target = replace(TARGETS[name], second_cache=4 * depth * columns * 4)
    product = compiled(left, right, target, kept=use[0], finished=use[1], claimed=rows != 200)
    made = Plan.of(Product.of(product.contraction), target)
    assert made.group
    assert not made.blocks
    assert not made.pack_left
    check(product, kept=use[0], finished=use[1])


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "shared out"])
@pytest.mark.parametrize("shape", [(251, 64, 520), (2, 240, 96, 640)], ids=str)
@pytest.mark.parametrize("name", ["host", "avx512", "avx2", "sse2"])
def test_a_panel_that_is_copied_beside_the_one_before_is_whole(name, shape, claimed) -> None:
    *batch, rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (*batch, rows, depth), "rows", np.dtype(np.float32))
    right = array(rng, (*batch, depth, columns), "rows", np.dtype(np.float32))
    target = replace(TARGETS[name], first_cache=2**12, second_cache=2**21)
    product = compiled(left, right, target, claimed=claimed)
    wanted = Product.of(product.contraction)
    made = Plan.of(wanted, target)
    assert any(made.pieces(wanted, strip) for strip in made.strips)
    check(product, kept=True, finished=False)


@pytest.mark.parametrize("waiting", [2**21, 2**16], ids=["all panels", "some panels"])
@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")], ids="·".join)
@pytest.mark.parametrize(
    ("name", "shape", "caches"),
    [
        ("avx512", (90, 768, 600), (2**14, 2**17)),
        ("avx2", (2, 90, 256, 330), (2**13, 2**16)),
        ("sse2", (50, 768, 130), (2**12, 2**16)),
    ],
)
def test_in_blocks_too_a_panel_is_copied_beside_the_one_before(
    name, shape, caches, layouts, waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    *batch, rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (*batch, rows, depth), layouts[0], np.dtype(np.float32))
    right = array(rng, (*batch, depth, columns), layouts[1], np.dtype(np.float32))
    target = replace(TARGETS[name], first_cache=caches[0], second_cache=caches[1])
    monkeypatch.setattr(plan, "_WAITING", waiting)
    product = compiled(left, right, target, finished=True)
    blocks = Plan.of(Product.of(product.contraction), target).blocks
    assert blocks is not None
    assert blocks.pieces
    assert blocks.depth < depth
    check(product, kept=True, finished=True)


@pytest.mark.parametrize("shape", [(70, 33, 20), (700, 9, 40)], ids=str)
def test_what_lies_far_apart_is_asked_for_ahead(shape) -> None:
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (rows, depth), "columns", np.dtype(np.float32))
    right = array(rng, (depth, columns), "rows", np.dtype(np.float32))
    product = compiled(left, right, host())
    assert ("prefetch" in product.text) == (4 * rows >= 2048)
    check(product, kept=True, finished=False)


@pytest.mark.parametrize("use", [(True, True), (False, True), (True, False)], ids=["both", "not kept", "not finished"])
@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")], ids="·".join)
@pytest.mark.parametrize("shape", [(2, 131, 5, 64), (301, 9, 48), (405, 1, 50), (230, 40, 61), (75, 96, 330)], ids=str)
@pytest.mark.parametrize("name", ["host", "avx512", "sse2"])
def test_an_epilogue_along_the_rows_sees_every_element_once(name, shape, layouts, use) -> None:
    *batch, rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (*batch, rows, depth), layouts[0], np.dtype(np.float32))
    right = array(rng, (*batch, depth, columns), layouts[1], np.dtype(np.float32))
    target = replace(TARGETS[name], second_cache=2**16)
    product = compiled(left, right, target, kept=use[0], finished=use[1], beside=True, claimed=rows % 2 == 1)
    made = Plan.of(Product.of(product.contraction), target)
    assert made.blocks is not None
    assert made.blocks.wide
    in_turns = any(strip.count > made.blocks.panels for strip in made.strips)
    assert in_turns or columns < 300  # what does not stay near is used some panels at a time
    check(product, kept=use[0], finished=use[1])


@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")], ids="·".join)
@pytest.mark.parametrize("shape", [(90, 300, 150), (3, 45, 200, 70)], ids=str)
def test_a_thread_does_what_nobody_else_has_claimed(shape, layouts) -> None:
    *batch, rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (*batch, rows, depth), layouts[0], np.dtype(np.float32))
    right = array(rng, (*batch, depth, columns), layouts[1], np.dtype(np.float32))
    product = compiled(left, right, host(), claimed=True)
    product.run(3, order=[1])
    np.testing.assert_array_equal(product.result.view, np.matmul(left.view, right.view))
    product = compiled(left, right, host())
    product.run(3, order=[1])
    assert (product.result.view == UNTOUCHED).any()  # without claims the others' parts are theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(64, 784, 128), (33, 700, 17), (1, 300, 50), (50, 303, 1)], ids=str)
def test_rounding_is_within_the_bound_of_a_sum(shape, dtype) -> None:
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (rows, depth), "rows", np.dtype(dtype))
    right = array(rng, (depth, columns), "rows", np.dtype(dtype))
    left.view[...], right.view[...] = rng.standard_normal((rows, depth)), rng.standard_normal((depth, columns))
    product = compiled(left, right, host())
    product.run(1)
    exact = left.view.astype(np.longdouble) @ right.view.astype(np.longdouble)
    # Each of `depth` roundings is at most half an ulp of a partial sum, and those are at most the sum of magnitudes.
    bound = depth * np.finfo(dtype).eps / 2 * (np.abs(left.view) @ np.abs(right.view))
    assert (np.abs(product.result.view - exact) <= bound).all()


def test_a_large_product_has_the_bits_of_a_small_one() -> None:
    """Cut into blocks or not, kept or not: an element is one sum over ascending depth."""
    rng = np.random.default_rng(0)
    left = array(rng, (50, 150), "rows", np.dtype(np.float32))
    right = array(rng, (150, 140), "columns", np.dtype(np.float32))
    left.view[...], right.view[...] = rng.standard_normal((50, 150)), rng.standard_normal((150, 140))
    whole, cut = (compiled(left, right, TARGETS[name]) for name in ("avx2", "avx2, tiny caches"))
    whole.run(1)
    for threads in THREADS:
        cut.result.buffer[:] = UNTOUCHED
        cut.run(threads)
        assert cut.result.view.tobytes() == whole.result.view.tobytes()


@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")], ids="·".join)
@pytest.mark.parametrize(
    "shape", [(5, 7, 3), (13, 9, 21), (64, 37, 10), (7, 64, 1), (1, 20, 19), (30, 33, 130)], ids=str
)
@pytest.mark.parametrize("target", ["host", "avx512", "host, tiny caches"])
def test_nothing_is_read_beyond_the_end(shape, layouts, target) -> None:
    """Each operand ends where a page that nobody may read begins."""
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (rows, depth), layouts[0], np.dtype(np.float32))
    right = array(rng, (depth, columns), layouts[1], np.dtype(np.float32))
    product = compiled(left, right, TARGETS[target])
    fenced = [Fenced(each) for each in (left, right)]
    product.left, product.right = fenced  # type: ignore[assignment]
    product.run(1)
    np.testing.assert_array_equal(product.result.view, left.view @ right.view)


class Fenced:
    """A copy of an array without guard zones, right before a page that may not be touched."""

    def __init__(self, original: Guarded) -> None:
        size = original.view.size * original.view.itemsize
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, pages + mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        assert protect(ctypes.c_void_p(start + pages), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        self.address = start + pages - size
        ctypes.memmove(self.address, original.address, size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")], ids="·".join)
def test_code_for_arm_is_emitted(layouts, dtype) -> None:
    rng = np.random.default_rng(0)
    left = array(rng, (30, 70), layouts[0], np.dtype(dtype))
    right = array(rng, (70, 50), layouts[1], np.dtype(dtype))
    text = assembly(compiled(left, right, named("neon"), run=False).text, named("neon"))
    assert ("fmla" if np.dtype(dtype).kind == "f" else "mla") in text


@pytest.mark.parametrize("name", ["avx512", "avx2"])
@pytest.mark.parametrize("shape", [(64, 784, 128), (128, 256, 512), (64, 128, 10)], ids=str)
def test_the_sums_of_a_tile_stay_in_registers(name, shape) -> None:
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    left = array(rng, (rows, depth), "rows", np.dtype(np.float32))
    right = array(rng, (depth, columns), "rows", np.dtype(np.float32))
    text = assembly(compiled(left, right, named(name), run=False).text, named(name))
    register = "zmm" if name == "avx512" else "ymm"
    vectors = [line for line in text.splitlines() if register in line]
    assert any("vfmadd" in line for line in vectors)
    assert not [line for line in vectors if "rsp" in line or ("rbp)" in line and "Spill" in line)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(64, 48), (300, 256)], ids=["small", "along the rows"])
def test_the_sums_stay_in_registers_beside_an_optimizer(shape, dtype) -> None:
    """What the update needs, such as its rate, is not carried through the loops that form the gradient."""
    rows, columns = shape
    rng = np.random.default_rng(0)
    w = cr.Parameter(rng.standard_normal(shape).astype(dtype), "w")
    optimizer = cr.optim.Adam(1e-3)

    def step(x, y):
        loss = cr.mean((x @ w - y) ** 2)
        optimizer.update(cr.backpropagate(loss))
        return loss

    x, y = rng.standard_normal((40, rows)).astype(dtype), rng.standard_normal((40, columns)).astype(dtype)
    program = Program(trace(step, x, y), named("avx2"))
    assert any(isinstance(kernel, Contraction) and len(kernel.stores) == 3 for kernel in program.kernels)
    functions = assembly(program.module.text, named("avx2")).split(".Lfunc_end")
    loops = [text for text in functions if re.search(r"^contraction_\d+:", text, re.MULTILINE)]
    assert len(loops) == 2
    assert not [line for text in loops for line in text.splitlines() if "ymm" in line and "rsp" in line]
