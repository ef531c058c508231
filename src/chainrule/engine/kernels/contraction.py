"""Matrix products as native code: tiles whose sums stay in registers over the whole depth, shared out among threads.

Comes in: a contraction, whose shapes and strides are all known, and a plan of tiles (`tile`). Goes out: code made for
exactly that product. Vectors run along the columns; each number of the left operand is spread over a vector. Operands
are read where they lie when that is friendly to the caches, and else copied first (`packing`). Every element is the
sum over ascending depth, whatever tile it is in and whichever thread computes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from chainrule.engine.code import Code, Kind
from chainrule.engine.dtypes import DType
from chainrule.engine.graph import Node, Shape
from chainrule.engine.kernel import Access, Contraction, contiguous
from chainrule.engine.kernels.packing import kind_of, load, moved, pack_left, pack_right, store
from chainrule.engine.kernels.shares import Share, larger, plus, smaller, times, unravelled
from chainrule.engine.kernels.tile import Finish, Model, Panel, Strip, Tile
from chainrule.engine.kernels.vector import spread
from chainrule.engine.target import Target

_ALIGNMENT = 64  # bytes on which the parts of the scratch memory begin
_STRAIGHT = 200  # multiply-adds of a tile that are written without a loop
_TURN = 48  # multiply-adds in one turn of a loop over the depth
_FEW_TILES = 4  # a panel that fewer tiles use is read where it lies
_FEW_PANELS = 8  # rows of the left operand that fewer panels use are read where they lie
_BLOCK_ROWS = 120  # rows of the left operand that are copied together at least


@dataclass(frozen=True, slots=True)
class Matrix:
    """An operand: element `offset + sum(batch index * batch stride) + row * down + column * across` of an array."""

    offset: int
    batch: Shape
    down: int
    across: int

    @property
    def transposed(self) -> Matrix:
        """The same elements with rows and columns exchanged."""
        return replace(self, down=self.across, across=self.down)


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product for each index of `batch`: (rows, depth) times (depth, columns).

    Where the result is one column it is `turned` into one row, so that vectors can run along it: the operands are
    exchanged.
    """

    dtype: DType
    batch: Shape
    rows: int
    columns: int
    depth: int
    left: Matrix
    right: Matrix
    turned: bool

    @classmethod
    def of(cls, contraction: Contraction) -> Product:
        """What a contraction asks for, with the strides of axes of length 1 out of the way."""
        *batch, rows, columns = contraction.node.shape
        depth = _depth(contraction)
        left = _matrix(contraction.left, batch, rows, depth)
        right = _matrix(contraction.right, batch, depth, columns)
        dtype, outer = contraction.node.dtype, tuple(batch)
        if columns == 1 and rows > 1:
            return cls(dtype, outer, columns, rows, depth, right.transposed, left.transposed, True)
        return cls(dtype, outer, rows, columns, depth, left, right, False)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a product is computed: its strips, and which operands are copied before they are used.

    `block` is how many tiles of the left operand are copied at a time; 0: it is read where it lies.
    """

    strips: tuple[Strip, ...]
    pack_right: bool
    block: int

    @classmethod
    def of(cls, product: Product, target: Target) -> Plan:
        """The plan for a product on a target."""
        model = Model(target, product.dtype.itemsize, product.left.down)
        strips = model.strips(product.rows, product.depth, product.columns)
        widest = max(strips, key=lambda strip: strip.count)
        return cls(strips, _packs_right(product, widest, target), _block(product, widest, target))


def _depth(contraction: Contraction) -> int:
    return int(contraction.node.inputs[0].shape[-1])


def _matrix(access: Access, batch: Sequence[int], rows: int, columns: int) -> Matrix:
    outer = tuple(0 if length == 1 else stride for length, stride in zip(batch, access.strides, strict=False))
    down, across = access.strides[len(batch) :]
    return Matrix(access.offset, outer, down if rows > 1 else columns, across if columns > 1 else 1)


def _packs_right(product: Product, strip: Strip, target: Target) -> bool:
    """Whether panels of the right operand are copied: where no vector can be read, and where many tiles read far
    apart lines."""
    if product.right.across != 1:
        return product.depth > 0 and strip.panel.width > 1
    panel_bytes = product.depth * strip.panel.width * product.dtype.itemsize
    beside = product.right.down == strip.panel.width
    return not beside and strip.heights.tiles >= _FEW_TILES and panel_bytes > target.first_cache // 4


def _block(product: Product, strip: Strip, target: Target) -> int:
    """How many tiles of the left operand are copied at a time."""
    if product.left.down != 1 or product.left.across == 1 or strip.count < _FEW_PANELS:
        return 0
    row_bytes = product.depth * product.dtype.itemsize
    rows = max(_BLOCK_ROWS, target.second_cache // 2 // max(1, row_bytes))
    tiles = strip.heights.tiles
    blocks = -(-tiles // max(1, rows // strip.heights.rows))
    return -(-tiles // blocks)


def scratch_bytes(contraction: Contraction, target: Target, kept: bool, finish: bool) -> int:
    """Bytes of scratch memory that each thread needs."""
    product = Product.of(contraction)
    if not contraction.node.size:
        return 0
    return _Scratch.of(product, Plan.of(product, target), kept or not finish).size


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Where the parts of a thread's scratch memory begin, in bytes: the tile, the left block, the right panel."""

    left: int
    right: int
    size: int
    stride: int  # elements from one row of the tile to the next

    @classmethod
    def of(cls, product: Product, plan: Plan, kept: bool) -> _Scratch:
        item = product.dtype.itemsize
        stride = max(len(strip.panel.offsets) * strip.panel.lanes for strip in plan.strips)
        most = max(strip.heights.rows for strip in plan.strips)
        tile = 0 if kept else _rounded(most * stride * item)
        left = _rounded(plan.block * most * product.depth * item)
        right = _rounded(product.depth * stride * item) if plan.pack_right else 0
        return cls(tile, tile + left, tile + left + right, stride)


def _rounded(number: int) -> int:
    return -(-number // _ALIGNMENT) * _ALIGNMENT


def write_contraction(
    code: Code, contraction: Contraction, arrays: dict[Node, str], target: Target, finish: Finish | None, kept: bool
) -> None:
    """Write a thread's share of a product, and what `finish` writes for each tile once it is in memory.

    The function has parameters `%thread` and `%threads` (i64) and `%scratch` (aligned to 64 bytes, `scratch_bytes`
    long, used by this thread alone). The product goes to its array if it is `kept`, else only to `finish`.
    """
    if not contraction.node.size:
        return
    product = Product.of(contraction)
    plan = Plan.of(product, target)
    names = [arrays[access.array] for access in (contraction.left, contraction.right)]
    if product.turned:
        names.reverse()
    result = arrays[contraction.node] if kept else None
    writer = _Writer(code, product, plan, _Scratch.of(product, plan, kept), (names[0], names[1]), result, finish)
    for strip in plan.strips:
        writer.strip(strip)


@dataclass(frozen=True, slots=True)
class _Left:
    """Where a tile's rows of the left operand begin, and their strides (row, depth)."""

    start: str
    down: int
    across: int


@dataclass(frozen=True, slots=True)
class _Right:
    """Where a panel of the right operand begins, where its vectors lie in a row of it, and the stride of the depth."""

    start: str
    down: int
    places: tuple[int, ...]
    used: tuple[int, ...]


class _Writer:
    """Writes the loops and tiles of one product into the text of a function."""

    def __init__(
        self,
        code: Code,
        product: Product,
        plan: Plan,
        scratch: _Scratch,
        operands: tuple[str, str],
        result: str | None,
        finish: Finish | None,
    ) -> None:
        self.code, self.product, self.plan, self.scratch = code, product, plan, scratch
        self.left, self.right = operands
        self.result, self.finish = result, finish
        self.single = Kind(product.dtype)

    # --- Loops ---

    def strip(self, strip: Strip) -> None:
        """A thread's share of a strip: batches, blocks of rows, panels, tiles; panels outside where all batches
        share them."""
        batches, tiles = math.prod(self.product.batch), strip.heights.tiles
        block = self.plan.block if strip.count > 1 else 0
        blocks = -(-tiles // block) if block else 1
        shared = self.plan.pack_right and not block and not any(self.product.right.batch)
        sizes = [strip.count, batches] if shared else [batches, blocks, strip.count]
        with ExitStack() as stack:
            share = Share(self.code, [*sizes, block or tiles])
            stack.enter_context(share.any())
            indices: list[str] = []
            for level in range(len(sizes)):
                indices.append(stack.enter_context(share.level(level)))
                if level == 1 and block:
                    self._pack_block(strip, indices[0], indices[1])
                if level == (0 if shared else 2) and self.plan.pack_right:
                    self._pack_panel(strip, "0" if shared else indices[0], indices[level])
            number, batch = indices if shared else (indices[2], indices[0])
            first = times(self.code, indices[1], block) if block else "0"
            self._tiles(strip, batch, number, share.bounds, first, bool(block))

    def _tiles(self, strip: Strip, batch: str, number: str, bounds: tuple[str, str], first: str, packed: bool) -> None:
        """The tiles `bounds` (counted from tile `first` on) of a panel."""
        code, heights = self.code, strip.heights
        start, stop = (plus(code, bound, first) for bound in bounds)
        if packed:
            stop = smaller(code, stop, str(heights.tiles))
        column = plus(code, times(code, number, strip.panel.width), str(strip.column))
        for rows, low, high in ((heights.rows, 0, heights.tall), (heights.rows - 1, heights.tall, heights.tiles)):
            if low == high:
                continue
            begin = start if low == 0 else larger(code, start, str(low))
            end = stop if high == heights.tiles else smaller(code, stop, str(high))
            with code.loop(begin, end) as tile:
                row = times(code, tile, rows)
                row = plus(code, row, str(low))  # the tall tiles above have one row more each
                left = self._left_of(strip, batch, tile, row, first, rows, packed)
                self._tile(strip.panel, rows, batch, row, column, left, self._right_of(strip.panel, batch, column))

    # --- Operands ---

    def _base(self, name: str, matrix: Matrix, batch: str) -> str:
        """The address of a matrix's first element for a batch."""
        place = str(matrix.offset)
        for index, stride in zip(unravelled(self.code, batch, self.product.batch), matrix.batch, strict=True):
            if stride:
                place = plus(self.code, place, times(self.code, index, stride))
        return self.code.element(self.single.type, name, place)

    def _pack_block(self, strip: Strip, batch: str, number: str) -> None:
        code, product, heights = self.code, self.product, strip.heights
        base = self._base(self.left, product.left, batch)
        first = times(code, number, self.plan.block)
        last = smaller(code, plus(code, first, str(self.plan.block)), str(heights.tiles))
        for rows, low, high in ((heights.rows, 0, heights.tall), (heights.rows - 1, heights.tall, heights.tiles)):
            if low == high:
                continue
            begin = first if low == 0 else larger(code, first, str(low))
            end = last if high == heights.tiles else smaller(code, last, str(high))
            with code.loop(begin, end) as tile:
                row = plus(code, times(code, tile, rows), str(low))
                source = code.element(self.single.type, base, row)
                goal = self._packed_left(strip, tile, first)
                pack_left(code, product.dtype, rows, product.depth, source, product.left.across, goal)

    def _packed_left(self, strip: Strip, tile: str, first: str) -> str:
        """Where the copy of a tile's rows is."""
        code = self.code
        place = code.element("i8", "%scratch", str(self.scratch.left))
        within = tile if first == "0" else code.let(f"sub nsw i64 {tile}, {first}")
        return code.element(self.single.type, place, times(code, within, strip.heights.rows * self.product.depth))

    def _left_of(self, strip: Strip, batch: str, tile: str, row: str, first: str, rows: int, packed: bool) -> _Left:
        if packed:
            return _Left(self._packed_left(strip, tile, first), 1, rows)
        matrix = self.product.left
        base = self._base(self.left, matrix, batch)
        start = self.code.element(self.single.type, base, times(self.code, row, matrix.down))
        return _Left(start, matrix.down, matrix.across)

    def _pack_panel(self, strip: Strip, batch: str, number: str) -> None:
        code, matrix, panel = self.code, self.product.right, strip.panel
        column = plus(code, times(code, number, panel.width), str(strip.column))
        base = self._base(self.right, matrix, batch)
        source = code.element(self.single.type, base, times(code, column, matrix.across))
        goal = code.element("i8", "%scratch", str(self.scratch.right))
        strides = (matrix.down, matrix.across)
        pack_right(code, self.product.dtype, panel, self.product.depth, source, strides, goal)

    def _right_of(self, panel: Panel, batch: str, column: str) -> _Right:
        code, count = self.code, len(panel.offsets)
        if self.plan.pack_right:
            places = tuple(number * panel.lanes for number in range(count))
            start = code.element("i8", "%scratch", str(self.scratch.right))
            return _Right(start, count * panel.lanes, places, (panel.lanes,) * count)
        matrix = self.product.right
        base = self._base(self.right, matrix, batch)
        start = code.element(self.single.type, base, times(code, column, matrix.across))
        used = tuple(panel.used_in(number) for number in range(count))
        return _Right(start, matrix.down, panel.offsets, used)

    # --- Tiles ---

    def _tile(self, panel: Panel, rows: int, batch: str, row: str, column: str, left: _Left, right: _Right) -> None:
        """The sums of a tile, stored, and finished."""
        code, kind = self.code, kind_of(self.product.dtype, panel.lanes)
        sums = self._sums(kind, rows, left, right)
        columns = self.product.columns
        stride = self.scratch.stride if self.result is None else columns
        if self.result is None:
            address = "%scratch"
        else:
            whole = Matrix(0, contiguous((*self.product.batch, self.product.rows, columns))[:-2], columns, 1)
            place = plus(code, times(code, row, columns), column)
            address = code.element(self.single.type, self._base(self.result, whole, batch), place)
        for line in range(rows):
            for number, offset in enumerate(panel.offsets):
                where = moved(code, kind, address, line * stride + offset)
                used = panel.used_in(number) if self.result is not None else None
                store(code, kind, sums[line * len(panel.offsets) + number], where, used)
        if self.finish is None:
            return
        indices = tuple(unravelled(code, batch, self.product.batch))
        if self.product.turned:
            self.finish(code, Tile(indices, column, "0", panel.width, 1, address, 1))
        else:
            self.finish(code, Tile(indices, row, column, rows, panel.width, address, stride))

    def _sums(self, kind: Kind, rows: int, left: _Left, right: _Right) -> list[str]:
        """The sums of a tile over the whole depth, row by row."""
        code, depth = self.code, self.product.depth
        count = rows * len(right.places)
        sums = [kind.constant(0) if not kind.lanes else "zeroinitializer"] * count
        turn = max(1, _TURN // count)
        if depth * count <= _STRAIGHT or depth < 2 * turn:
            for step in range(depth):
                sums = self._step(kind, rows, left, right, step, sums)
            return sums
        turns = depth // turn
        with _turns(code, turns, kind, sums, (left.start, right.start)) as (carried, (here, there), following, moves):
            near, beside = replace(left, start=here), replace(right, start=there)
            values = carried
            for step in range(turn):
                values = self._step(kind, rows, near, beside, step, values, following if step == turn - 1 else None)
            for name, base, stride in zip(moves, (here, there), (left.across, right.down), strict=True):
                code.do(f"{name} = getelementptr {self.single.type}, ptr {base}, i64 {turn * stride}")
        near, beside = replace(left, start=moves[0]), replace(right, start=moves[1])
        for step in range(depth % turn):
            following = self._step(kind, rows, near, beside, step, following)
        return following

    def _step(
        self,
        kind: Kind,
        rows: int,
        left: _Left,
        right: _Right,
        step: int,
        sums: list[str],
        names: list[str] | None = None,
    ) -> list[str]:
        """One more product added to each sum; the results get `names` if there are any."""
        code, single = self.code, self.single
        vectors = [
            load(code, kind, moved(code, kind, right.start, step * right.down + place), used)
            for place, used in zip(right.places, right.used, strict=True)
        ]
        result: list[str] = []
        for row in range(rows):
            number = load(code, single, moved(code, single, left.start, row * left.down + step * left.across))
            factor = spread(code, kind, number) if kind.lanes else number
            for vector in vectors:
                place = len(result)
                name = names[place] if names else "%" + code.fresh()
                _multiply_add(code, kind, name, factor, vector, sums[place])
                result.append(name)
        return result


def _multiply_add(code: Code, kind: Kind, name: str, a: str, b: str, c: str) -> None:
    """`name` = a * b + c, rounded once where the processor has an instruction for that."""
    if kind.dtype.kind == "i":
        code.do(f"{name} = add {kind.type} {code.let(f'mul {kind.type} {a}, {b}')}, {c}")
    elif code.fused:
        suffix = (f"v{kind.lanes}" if kind.lanes else "") + f"f{8 * kind.dtype.itemsize}"
        code.declare(f"declare {kind.type} @llvm.fma.{suffix}({kind.type}, {kind.type}, {kind.type})")
        code.do(f"{name} = call {kind.type} @llvm.fma.{suffix}({kind.type} {a}, {kind.type} {b}, {kind.type} {c})")
    else:
        code.do(f"{name} = fadd {kind.type} {code.let(f'fmul {kind.type} {a}, {b}')}, {c}")


@contextmanager
def _turns(
    code: Code, count: int, kind: Kind, sums: Sequence[str], pointers: Sequence[str]
) -> Iterator[tuple[list[str], list[str], list[str], list[str]]]:
    """A loop of `count` (at least one) turns that carries sums and pointers in registers.

    Gives the carried sums and pointers, and the names that the body must give to the next ones.
    """
    number = code.fresh("")
    before, body = f"before{number}", f"turn{number}"
    carried, following = (["%" + code.fresh(hint) for _ in sums] for hint in ("sum", "next"))
    places, moves = (["%" + code.fresh(hint) for _ in pointers] for hint in ("place", "move"))
    counter, next_counter = f"%left{number}", f"%fewer{number}"
    code.label(before)
    code.label(body)
    code.do(f"{counter} = phi i64 [ {count}, %{before} ], [ {next_counter}, %{body} ]")
    for kind_name, names, starts, nexts in (
        (kind.type, carried, sums, following),
        ("ptr", places, pointers, moves),
    ):
        for name, start, after in zip(names, starts, nexts, strict=True):
            code.do(f"{name} = phi {kind_name} [ {start}, %{before} ], [ {after}, %{body} ]")
    yield carried, places, following, moves
    code.do(f"{next_counter} = add nsw i64 {counter}, -1")
    more = code.let(f"icmp ne i64 {next_counter}, 0")
    code.do(f"br i1 {more}, label %{body}, label %after{number}")
    code.label(f"after{number}")
