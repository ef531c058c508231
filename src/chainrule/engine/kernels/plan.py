"""What a matrix product is and how it will be computed, decided from shapes and strides before any code is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chainrule.engine.dtypes import DType
from chainrule.engine.graph import Shape
from chainrule.engine.kernel import SHALLOW, Access, Contraction, accesses, contiguous
from chainrule.engine.kernels.sums import LONGEST_TURN, turn_of
from chainrule.engine.kernels.tile import Heights, Model, Panel, Strip
from chainrule.engine.record import record
from chainrule.engine.target import Target

ALIGNMENT = 64  # bytes on which the parts of the scratch memory begin
KEPT = 64  # bytes before the scratch memory in which a thread keeps what it has found out about its core
_FEW_TILES = 4  # a panel that fewer tiles use is read where it lies
_LONG_SHARE = 0.1  # of the first cache: a panel that is no longer is read where it lies
_WHOLE_SHARE = 0.75  # likewise: a right operand that is no longer as a whole
_FEW_PANELS = 8  # rows of the left operand that fewer panels use are read where they lie
_GROUPS = 4  # of the rows of a product that is larger than its right operand
_GROUP_ROWS = 120  # rows of the left operand that are copied together at least
_DOTS = 8  # dot products that are computed together at least
_CHUNK = 512 * 1024  # bytes of the right operand that are copied together
_NEAR_SHARE = 0.75  # of the second cache, which a left operand may fill that is used as a whole
_RIGHT_SHARE = 0.5  # likewise, which a right operand may fill
_PIECES = 64  # in which a panel is copied beside the one before it
CLAIM = 16000  # cycles of work that a thread claims at a time: what others wait for at most, against what it costs
_FAR_SHARE = 0.7  # of the second cache, past which an optimizer's parameter and moments do not stay near
_BAND_SHARE = 0.03  # of the second cache, for the part of a product that waits for an epilogue along the rows
_WAITING = 2048 * 1024  # bytes of sums that wait for the next block of the depth
_PANELS_SHARE = 0.13  # of the second cache, for panels of the right operand that an epilogue along the rows waits for
_GROUP_SHARE = 0.4  # of the second cache, for the copy of rows of the left operand
_DEPTH_SHARE = 0.75  # of the first cache, for the part of a panel and of a tile's rows that are used together


@record(frozen=True, slots=True)
class Matrix:
    """An operand: element `offset + sum(batch index * batch stride) + row * down + column * across` of an array."""

    offset: int
    batch: Shape
    down: int
    across: int

    @classmethod
    def of(cls, access: Access, batch: Sequence[int], rows: int, columns: int) -> Matrix:
        """What an access says, with strides of axes of length 1 that suit best."""
        outer = tuple(0 if length == 1 else stride for length, stride in zip(batch, access.strides, strict=False))
        down, across = access.strides[len(batch) :]
        return cls(access.offset, outer, down if rows > 1 else columns, across if columns > 1 else 1)

    @property
    def transposed(self) -> Matrix:
        """The same elements with rows and columns exchanged."""
        return replace(self, down=self.across, across=self.down)

    def repeated(self, stride: int) -> Matrix:
        """One for each index of another batch axis."""
        return replace(self, batch=(*self.batch, stride))


@record(frozen=True, slots=True)
class Product:
    """A matrix product for each index of `batch`: (rows, depth) times (depth, columns).

    Where the result is one column it is `turned` into one row, so that vectors can run along it: the operands are
    exchanged. `beside` is how many bytes its epilogue reads of several arrays as large as the product. Where it
    `is_cut`, the last batch axis is of blocks of the rows of one product, which threads share.
    """

    dtype: DType
    batch: Shape
    rows: int
    columns: int
    depth: int
    left: Matrix
    right: Matrix
    turned: bool
    beside: int = 0
    is_cut: bool = False

    @classmethod
    def of(cls, contraction: Contraction) -> Product:
        """What a contraction asks for."""
        *batch, rows, columns = contraction.node.shape
        depth = contraction.node.inputs[0].shape[-1]
        left = Matrix.of(contraction.left, batch, rows, depth)
        right = Matrix.of(contraction.right, batch, depth, columns)
        dtype, outer = contraction.node.dtype, tuple(batch)
        if columns == 1 and rows > 1:
            return cls(dtype, outer, columns, rows, depth, right.transposed, left.transposed, True)
        return cls(dtype, outer, rows, columns, depth, left, right, False, _bytes_beside(contraction))

    def in_blocks(self, blocks: int) -> Product:
        """The same as a batch of as many products of equal blocks of the rows."""
        left, right = self.left, self.right
        if self.turned:  # its columns are the rows
            columns = self.columns // blocks
            left, right = left.repeated(0), right.repeated(columns * right.across)
            return replace(self, batch=(*self.batch, blocks), columns=columns, left=left, right=right, is_cut=True)
        rows = self.rows // blocks
        left, right = left.repeated(rows * left.down), right.repeated(0)
        return replace(self, batch=(*self.batch, blocks), rows=rows, left=left, right=right, is_cut=True)


def _bytes_beside(contraction: Contraction) -> int:
    """Bytes of arrays as large as the product that an epilogue reads: of an optimizer's parameter and moments."""
    own = contiguous(contraction.node.shape)
    read = {access.array for access in accesses(replace(contraction, kept=False)) if access.strides == own}
    whole = read - {contraction.left.array, contraction.right.array}
    return sum(array.size * array.dtype.itemsize for array in whole) if len(whole) > 1 else 0


@record(frozen=True, slots=True)
class Blocks:
    """How a large product is cut so that what is used again and again is near.

    Attributes
    ----------
    depth
        Steps along the depth that are taken together (whole turns of a loop): a panel's part stays in the first cache.
    tiles
        Tiles of rows whose part of the left operand is copied together, and stays in the second cache.
    panels
        Panels whose part of the right operand is copied together.
    band
        Tiles of rows after which the panels begin anew (a multiple makes `tiles` if `wide`). The sums of a band times
        `panels` wait in the scratch memory between blocks of the depth; they are the same bits as sums that never left
        their registers.
    pieces
        In how many pieces tiles copy the next panel while they are computed; 0: `panels` are copied together.
    wide
        Whether the epilogue waits until some panels of a band are there, so that it runs along the rows. Then threads
        share the rows, the depth is one block, all panels are copied at once, and `panels` are used together.
    """

    depth: int
    tiles: int
    panels: int
    band: int
    pieces: int = 0
    wide: bool = False


@record(frozen=True, slots=True)
class Plan:
    """How a product is computed.

    Attributes
    ----------
    strips
        The cut of the columns, and of the rows for each.
    pack_right, pack_left
        Which operands are copied before they are used.
    group
        How many tiles of a panel are computed before the next panel; 0: all.
    blocks
        The cut of a large product; None: every tile is computed at once.
    lanes
        How many elements a full vector holds.
    dots
        Whether vectors run along the depth (`dots`) instead of the columns.
    """

    strips: tuple[Strip, ...]
    pack_right: bool
    pack_left: bool
    group: int
    blocks: Blocks | None
    lanes: int
    dots: bool = False

    @classmethod
    def of(cls, product: Product, target: Target) -> Plan:
        """The plan for a product on a target."""
        model = Model(target, product.dtype.itemsize, product.left.down)
        if _is_dots(product):
            return cls(_dot_strips(product, model.lanes), False, False, 0, None, model.lanes, dots=True)
        # Threads share out strip after strip: a second one is copied twice. Its few rows are quicker for an optimizer.
        wide = _is_wide(product, target)
        strips = model.strips(product.rows, product.depth, product.columns, equal=wide or not product.beside, near=wide)
        widest = max(strips, key=lambda strip: strip.count)
        blocks = _blocks(product, widest, target)
        if blocks:
            return cls(strips, True, True, 0, blocks, model.lanes)
        pack_left = product.left.across != 1 and product.depth > 1 and widest.count >= _FEW_PANELS
        group = _group(product, widest, target, pack_left)
        return cls(strips, _packs_right(product, widest, target), pack_left, group, None, model.lanes)

    def packs_left(self, strip: Strip) -> bool:
        """Whether a strip's rows of the left operand are copied: a few panels cannot earn that back."""
        return self.pack_left and strip.count >= _FEW_PANELS

    def tiles_together(self, strip: Strip) -> int:
        """How many tiles of a strip are computed before the next panel."""
        return min(self.group or strip.heights.tiles, strip.heights.tiles)

    def pieces(self, product: Product, strip: Strip) -> int:
        """How many tiles of a panel copy a piece of the next one each; 0: panels are copied at once."""
        if not self.pack_right or self.blocks or product.right.across != 1 or strip.count < _FEW_PANELS // 2:
            return 0
        return _pieces(product.right, strip, product.depth, self.tiles_together(strip))

    def tiles_in_claim(self, product: Product, strip: Strip) -> int:
        """How many tiles of a strip a thread claims at a time."""
        cycles = strip.heights.rows * len(strip.panel.offsets) * product.depth / 2
        return max(1, int(CLAIM / max(1.0, cycles)))


def _is_dots(product: Product) -> bool:
    """Whether the product is one row whose operands both lie without gaps along the depth, and nowhere else."""
    right = product.right
    return product.rows == 1 and product.depth >= 4 and product.left.across == right.down == 1 != right.across


def _dot_strips(product: Product, lanes: int) -> tuple[Strip, ...]:
    """Panels of as many columns as fill the registers with independent sums."""
    lanes = min(lanes, 1 << (product.depth.bit_length() - 1))
    width = max(_DOTS, lanes)
    count, rest = divmod(product.columns, width)
    pieces = [(0, count, width), (count * width, 1, rest)]
    return tuple(
        Strip(column, number, Panel.along_depth(wide, lanes), Heights(1, 1, 0))
        for column, number, wide in pieces
        if number and wide
    )


def _packs_right(product: Product, strip: Strip, target: Target) -> bool:
    """Whether panels of the right operand are copied: where no vector can be read, and where many tiles read far
    apart lines."""
    if product.right.across != 1:
        return product.depth > 0 and strip.panel.width > 1
    panel_bytes, whole = (
        product.depth * width * product.dtype.itemsize for width in (strip.panel.width, product.columns)
    )
    beside = product.right.down == strip.panel.width
    is_near = panel_bytes <= _DEPTH_SHARE * target.first_cache  # twice as many tiles must earn the copy back then
    few = max(_FEW_TILES, (1 + is_near) * strip.heights.rows)  # a tall tile hides where its lines come from
    is_long = panel_bytes >= _LONG_SHARE * target.first_cache and whole > _WHOLE_SHARE * target.first_cache
    return not beside and strip.heights.tiles >= few and is_long


def _group(product: Product, strip: Strip, target: Target, pack_left: bool) -> int:
    """How many tiles make a group, so that their rows fit half of the second cache; 0: all.

    Of a product that is larger than its right operand, such as the gradient of a weight, each thread has rows of its
    own, where it meets what else belongs to them: the weight itself and the moments of an optimizer.
    """
    tiles, row = strip.heights.tiles, max(1, product.depth * product.dtype.itemsize)
    most = tiles
    if pack_left or (strip.count > 1 and product.rows * row > _NEAR_SHARE * target.second_cache):
        most = max(_GROUP_ROWS, target.second_cache // 2 // row) // strip.heights.rows
    if not product.is_cut and strip.count > 1 and product.rows > product.depth and tiles >= _GROUPS * _FEW_TILES:
        most = min(most, -(-tiles // _GROUPS))
    return even(tiles, most) if most < tiles else 0


def _blocks(product: Product, strip: Strip, target: Target) -> Blocks | None:
    """The cut of a product of which no operand stays in the second cache; None for the others."""
    rows, width, item = strip.heights.rows, strip.panel.width, product.dtype.itemsize
    if _is_wide(product, target):
        depth = -(-product.depth // LONGEST_TURN) * LONGEST_TURN
        panels = even(strip.count, int(_PANELS_SHARE * target.second_cache) // (depth * width * item))
        band = max(1, int(_BAND_SHARE * target.second_cache) // (rows * panels * width * item))
        tiles = max(band, int(_GROUP_SHARE / 2 * target.second_cache) // (depth * rows * item))
        return Blocks(depth, tiles // band * band, panels, band, wide=True)
    left, right = (product.depth * beside * item for beside in (product.rows, product.columns))
    is_near = left <= _NEAR_SHARE * target.second_cache
    is_near |= product.left.across == 1 and right <= _RIGHT_SHARE * target.second_cache  # rows come group by group
    if is_near or strip.heights.tiles < _FEW_TILES or strip.count < _FEW_PANELS:
        return None
    deep = max(1, int(_DEPTH_SHARE * target.first_cache) // ((width + rows) * item))
    deep = max(deep, product.depth if product.depth <= 1.25 * deep else 0)
    depth = even(-(-product.depth // LONGEST_TURN), max(1, deep // LONGEST_TURN)) * LONGEST_TURN
    tiles = even(strip.heights.tiles, int(_GROUP_SHARE * target.second_cache) // (depth * rows * item))
    if beside := _blocks_beside(product, strip, deep, tiles):
        return beside
    panels = max(1, min(strip.count, _CHUNK // (depth * width * item)))
    band = strip.heights.tiles
    if depth < product.depth:
        band = even(band, _WAITING // (panels * rows * width * item))
    return Blocks(depth, min(tiles, band), panels, band)


def _blocks_beside(product: Product, strip: Strip, deep: int, tiles: int) -> Blocks | None:
    """The cut in which tiles copy the next panel, where all rows together stay in the second cache."""
    all_tiles, item = strip.heights.tiles, product.dtype.itemsize
    depth = max((n for n in range(LONGEST_TURN, deep + 1, LONGEST_TURN) if product.depth % n == 0), default=0)
    if tiles < all_tiles or 2 * depth < deep or depth == product.depth:
        return None
    pieces = _pieces(product.right, strip, depth, all_tiles)
    panels = even(strip.count, _WAITING // (all_tiles * strip.heights.rows * strip.panel.width * item))
    return Blocks(depth, all_tiles, panels, all_tiles, pieces) if pieces and panels > 1 else None


def _pieces(right: Matrix, strip: Strip, depth: int, tiles: int) -> int:
    """In how many pieces a panel is copied beside as many tiles at most; 0: not at all.

    Of rows one is copied every so many steps, so the number divides the depth, and is whole turns of a loop. Else a
    piece is some squares along the depth, of which a line is asked for every so many steps.
    """
    panel, heights = strip.panel, strip.heights
    turn = turn_of(heights.rows - (heights.short > 0), len(panel.offsets))
    choices = range(_FEW_TILES, min(_PIECES, tiles) + 1)
    if right.across == 1:
        return max((n for n in choices if depth % n == 0 == n % turn), default=0)
    squares, rest = divmod(depth, panel.lanes)
    is_whole = panel.width == panel.lanes * len(panel.offsets) and not rest
    if right.down != 1 or not is_whole or panel.lanes == 1 or not squares or squares % turn:
        return 0
    total = squares * len(panel.offsets)
    return max((n for n in choices if total % n == 0 == squares % (total // n)), default=0)


def _is_wide(product: Product, target: Target) -> bool:
    """Whether the epilogue reads so much that it must run along the rows, and the depth is short enough for that."""
    is_far = product.beside > _FAR_SHARE * target.second_cache
    return is_far and 0 < product.depth <= SHALLOW


def even(count: int, most: int) -> int:
    """The size of equal parts of a count, each at most so large."""
    parts = -(-count // max(1, most))
    return -(-count // parts)


@record(frozen=True, slots=True)
class Scratch:
    """Where the parts of a thread's scratch memory begin, in bytes.

    First the finished tile or band (where the product is not kept), then the copies of left and right, then sums under
    way. `stride` is how many elements a row of sums takes, `across` a row of what is finished; `gap` elements keep the
    copies of neighbouring panels and the rows of a band from falling on the same lines of the caches.
    """

    left: int
    right: int
    sums: int
    size: int
    stride: int
    across: int
    gap: int

    @classmethod
    def of(cls, product: Product, plan: Plan, kept: bool) -> Scratch:
        """The layout for a product that goes to an array (`kept`) or not."""
        item, blocks = product.dtype.itemsize, plan.blocks
        stride = max(len(strip.panel.offsets) * strip.panel.lanes for strip in plan.strips)
        most = max(strip.heights.rows for strip in plan.strips)
        together = max(plan.tiles_together(strip) * strip.heights.rows for strip in plan.strips)
        left = together * product.depth if plan.pack_left else 0
        places = 2 if any(plan.pieces(product, strip) for strip in plan.strips) else 1
        right = places * product.depth * stride if plan.pack_right else 0
        gap, sums, across, finished = ALIGNMENT // item, 0, stride, most
        if blocks and blocks.wide:
            across, finished = blocks.panels * stride + gap, blocks.band * most
        if blocks:
            left = blocks.tiles * most * blocks.depth
            copied = 2 if blocks.pieces else blocks.panels
            if blocks.wide:
                copied = max(strip.count for strip in plan.strips)
            right = copied * (blocks.depth * stride + gap)
            sums = blocks.panels * blocks.band * most * stride if blocks.depth < product.depth else 0
        ends = [0]
        for size in (0 if kept else finished * across, left, right, sums):
            ends.append(ends[-1] + -(-size * item // ALIGNMENT) * ALIGNMENT)
        return cls(ends[1], ends[2], ends[3], ends[4], stride, across, gap)
