"""Matrix products compiled alone: arrays with guard zones around them, any strides, threads in turn."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.engine.code import MEMORY, Code, literal
from chainrule.engine.graph import Node
from chainrule.engine.kernel import Access, Apply, Contraction, Load, Store
from chainrule.engine.kernels.contraction import SITES, scratch_bytes, write_contraction
from chainrule.engine.kernels.plan import KEPT
from chainrule.engine.kernels.shares import times
from chainrule.engine.kernels.tile import Finish
from chainrule.engine.kernels.walk import SIGNATURE
from chainrule.engine.native import Native
from chainrule.engine.op import Op
from chainrule.engine.provenance import Provenance
from chainrule.engine.target import Target

GUARD = 96  # elements before and after each array that nobody may touch
UNTOUCHED = 99  # what stands there, and in what was not yet written


class Guarded:
    """An array inside a larger buffer, with any strides, beginning at an address that is no multiple of a vector."""

    def __init__(self, shape: Sequence[int], strides: Sequence[int], dtype: np.dtype, off_by: int = 1) -> None:
        reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
        low, high = (sum(part(0, each) for each in reach) for part in (min, max))
        empty = 0 in shape
        self.buffer = np.full(2 * GUARD + off_by + (0 if empty else high - low + 1), UNTOUCHED, dtype)
        self.offset = 0 if empty else -low  # of element (0, 0, ...), from the array's start
        self.start = GUARD + off_by
        self.strides = tuple(strides)
        bytes_apart = [stride * dtype.itemsize for stride in strides]
        self.view = np.lib.stride_tricks.as_strided(self.buffer[self.start + self.offset :], shape, bytes_apart)

    @property
    def address(self) -> int:
        return self.buffer.ctypes.data + self.start * self.buffer.itemsize

    def access(self, node: Node) -> Access:
        return Access(node, self.offset, self.strides)

    def node(self) -> Node:
        return Node(Op.INPUT, (), {}, self.view.shape, self.buffer.dtype, Provenance("", "", 0))

    def guards(self) -> np.ndarray:
        """Every element of the buffer that is no element of the array."""
        inside = np.zeros(self.buffer.size, bool)
        places = np.lib.stride_tricks.as_strided(inside[self.start + self.offset :], self.view.shape, self.strides)
        places[...] = True
        return self.buffer[~inside]


@dataclass
class Compiled:
    """A product with its arrays, ready to run."""

    left: Guarded
    right: Guarded
    result: Guarded
    other: Guarded  # what `finish` writes
    bias: Guarded
    contraction: Contraction
    text: str
    native: Native | None
    scratch: int

    def run(self, threads: int, order: Sequence[int] | None = None) -> None:
        """The threads one after the other, in any order; the scratch memory holds nonsense before.

        Where parts are claimed, the first one finds everything still to be done, and the others nothing.
        """
        assert self.native is not None
        kinds = [*[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 7, ctypes.c_int64]
        function = ctypes.CFUNCTYPE(None, *kinds)(self.native.address("product"))
        arrays = (self.left, self.right, self.result, self.other, self.bias)
        claims = np.zeros((threads, 2 * SITES), np.int64)
        for thread in order or range(threads):
            memory = np.full(KEPT + self.scratch + 64 + 2 * GUARD * 8, UNTOUCHED, np.uint8)
            skip = -(memory.ctypes.data + GUARD * 8) % 64 + GUARD * 8 + KEPT
            addresses = [array.address for array in arrays]
            function(thread, threads, memory.ctypes.data + skip, *addresses, claims.ctypes.data, claims.strides[0])
            assert (claims[:, SITES:] == 0).all()
            assert (memory[: skip - KEPT] == UNTOUCHED).all(), "written before the scratch memory"
            assert (memory[skip - KEPT + 16 : skip] == UNTOUCHED).all(), "more than two words kept"
            assert (memory[skip + self.scratch :] == UNTOUCHED).all(), "written after the scratch memory"


def compiled(
    left: Guarded,
    right: Guarded,
    target: Target,
    *,
    kept: bool = True,
    finished: bool = False,
    beside: bool = False,
    claimed: bool = False,
    run: bool = True,
) -> Compiled:
    """The product of two arrays as a function; `finished`: with a bias added for another array; `beside`: planned as
    if that read two more arrays; `claimed`: threads claim their parts."""
    first, second = left.node(), right.node()
    batch = np.broadcast_shapes(left.view.shape[:-2], right.view.shape[:-2])
    shape = (*batch, left.view.shape[-2], right.view.shape[-1])
    product = Node(Op.MATMUL, (first, second), {}, shape, first.dtype, first.provenance)

    def access(node: Node, array: Guarded) -> Access:
        lead = (0,) * (len(shape) - len(node.shape))
        strides = [0 if length == 1 else s for length, s in zip(node.shape[:-2], array.strides[:-2], strict=True)]
        return Access(node, array.offset, (*lead, *strides, *array.strides[-2:]))

    plain = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    stores = ()
    if beside:
        more = [Node(Op.INPUT, (), {}, shape, first.dtype, first.provenance) for _ in range(2)]
        loads = tuple(Load(Access(node, 0, tuple(plain)), node.dtype) for node in more)
        total = Node(Op.ADD, tuple(more), {}, shape, first.dtype, first.provenance)
        stores = (Store(total, Access(total, 0, tuple(plain)), Apply(Op.ADD, loads, {}, total.dtype, total)),)
    contraction = Contraction(product, access(first, left), access(second, right), stores)
    result, other = (Guarded(shape, plain, first.dtype, off_by) for off_by in (3, 5))
    bias = Guarded(shape[-1:], (1,), first.dtype)
    bias.view[...] = np.arange(shape[-1])
    code = Code(
        "product",
        [
            *SIGNATURE,
            ("ptr", "scratch"),
            *(("ptr", f"a{number}") for number in range(5)),
            ("ptr", "claims"),
            ("i64", "apart"),
        ],
        fused=target.fused,
        masked=target.masked,
    )
    arrays = {first: "%a0", second: "%a1", product: "%a2"}
    finish = _with_bias(product) if finished else None
    write_contraction(code, contraction, arrays, target, finish, kept, claimed=claimed)
    text = "\n".join([*code.declarations, code.text()])
    scratch = scratch_bytes(contraction, target, kept, finished)
    return Compiled(left, right, result, other, bias, contraction, text, Native(text, target) if run else None, scratch)


def _with_bias(product: Node) -> Finish:
    """`%a3` += product + `%a4` - `UNTOUCHED`, one element at a time: to do so twice, as to do nothing, is seen."""
    kind = MEMORY[product.dtype]
    add, sub = ("fadd", "fsub") if product.dtype.kind == "f" else ("add", "sub")
    nothing = literal(UNTOUCHED, product.dtype)

    def finish(code: Code, tile) -> None:
        columns = times(code, tile.panels, tile.width)
        with code.loop("0", tile.rows) as row, code.loop("0", columns) as column:
            place = code.let(f"add i64 {code.let(f'mul i64 {row}, {tile.stride}')}, {column}")
            value = code.let(f"load {kind}, ptr {code.element(kind, tile.address, place)}")
            indices = [
                *tile.batch,
                code.let(f"add i64 {row}, {tile.row}"),
                code.let(f"add i64 {column}, {tile.column}"),
            ]
            bias = code.let(f"load {kind}, ptr {code.element(kind, '%a4', indices[-1])}")
            goal = "0"
            for index, length in zip(indices, product.shape, strict=True):
                goal = code.let(f"add i64 {code.let(f'mul i64 {goal}, {length}')}, {index}")
            total = code.let(f"{add} {kind} {value}, {bias}")
            there = code.element(kind, "%a3", goal)
            before = code.let(f"{sub} {kind} {code.let(f'load {kind}, ptr {there}')}, {nothing}")
            code.do(f"store {kind} {code.let(f'{add} {kind} {total}, {before}')}, ptr {there}")

    return finish
