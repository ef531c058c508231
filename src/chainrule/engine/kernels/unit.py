"""How a product is computed on a matrix unit: tile registers that multiply bfloat16 and add up float32.

Each operand is split into thirds (`thirds`), of which the unit forms six products: as exact as float32, and about twice
as fast as the vectors of the same processor. One operand is *streamed*, that with more lines, or the left one where an
optimizer's rows follow: each thread takes its share of it, two tiles of lines, a piece, at a time. The other one is
*resident*: each thread keeps its thirds in its second cache. The unit works by itself, so the vectors meanwhile split
the next piece, and finish the block before.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.engine.dtypes import float32
from chainrule.engine.kernels.plan import ALIGNMENT, Product, even
from chainrule.engine.kernels.registers import PRODUCTS
from chainrule.engine.kernels.thirds import ASIDE, SIDE, STEPS, THIRDS, TILE, Lines
from chainrule.engine.record import record
from chainrule.engine.target import Target

PIECE = 2 * SIDE  # lines that are streamed together
BLOCK = 21.0  # cycles for a product of two tiles, in a block of two by two

_LEAST_DEPTH = 32  # from which on all errors are less than those of sums by vectors (`test_unit`)
_MOST_STEPS = 16  # tiles along the depth that are taken together
_RESIDENT_SHARE = 0.5  # of the second cache, for the thirds of the resident operand
_FAR_RESIDENT_SHARE = 0.4  # likewise, where the epilogue reads much
_NEAR_SHARE = 0.7  # likewise, which an operand may have and still be near
_WAITING = 1024 * 1024  # bytes of sums that wait for the next part of the depth
_FAR_SHARE = 4.0  # of the second cache, past which what an epilogue reads is asked for ahead
_VECTORS = 0.8  # of what the processor could do, that products by vectors reach
_SINGLE = 2.0  # times as many cycles for a tile without a neighbour
_PACKED, _TURNED = 0.4, 0.7  # cycles to split a number, and where vectors have to be transposed for it
_ENDED = 1.0  # cycles to store a vector of sums
_CALL = 3000  # cycles to set the unit up and wake it, to find out what to do, and until the first product


@record(frozen=True, slots=True)
class Unit:
    """How a product is computed on a matrix unit.

    Attributes
    ----------
    left, right
        The operands.
    by_rows
        Whether the left operand is streamed.
    steps
        Tiles along the depth that are taken together.
    chunk
        Pieces of the resident operand that are kept together.
    group
        Pieces of the streamed operand after which the next part of the depth begins.
    far
        Whether the epilogue reads so much that it is asked for ahead.
    """

    left: Lines
    right: Lines
    by_rows: bool
    steps: int
    chunk: int
    group: int
    far: bool

    @classmethod
    def of(cls, product: Product, target: Target) -> Unit | None:
        """The plan for a product on a target; None where vectors do it as fast, or there is no such unit."""
        left, right = product.left, product.right
        if not target.matrix or product.dtype != float32 or product.depth < _LEAST_DEPTH or product.rows == 1:
            return None
        if 1 not in (left.down, left.across) or 1 not in (right.down, right.across):
            return None
        first = Lines(product.rows, product.depth, left.down, left.across, True)
        second = Lines(product.columns, product.depth, right.across, right.down, False)
        if _cycles(first, second) > product.rows * -(-product.columns // SIDE) * product.depth / 2 / _VECTORS:
            return None
        by_rows = product.beside > 0 or product.rows >= product.columns
        steps = even(first.steps, _MOST_STEPS)
        streamed, resident = (first, second) if by_rows else (second, first)
        near = _NEAR_SHARE * target.second_cache
        streamed, resident = (
            replace(lines, far=lines.count * lines.depth * product.dtype.itemsize > near)
            for lines in (streamed, resident)
        )
        first, second = (streamed, resident) if by_rows else (resident, streamed)
        far = product.beside > _FAR_SHARE * target.second_cache
        share = _FAR_RESIDENT_SHARE if far else _RESIDENT_SHARE
        chunk = even(resident.pieces, int(share * target.second_cache) // (steps * 2 * THIRDS * TILE))
        group = streamed.pieces
        if steps < first.steps:
            group = even(group, _WAITING // (chunk * PIECE * PIECE * 4))
        return cls(first, second, by_rows, steps, chunk, group, far)

    @property
    def streamed(self) -> Lines:
        """The operand of which each thread takes a share."""
        return self.left if self.by_rows else self.right

    @property
    def resident(self) -> Lines:
        """The operand that each thread keeps."""
        return self.right if self.by_rows else self.left

    @property
    def waits(self) -> bool:
        """Whether the depth is taken in several parts, between which sums wait."""
        return self.steps < self.left.steps

    def is_direct(self, *, kept: bool) -> bool:
        """Whether sums go to the array of the product at once."""
        return kept and self.left.count % SIDE == 0 == self.right.count % SIDE

    @property
    def is_whole(self) -> bool:
        """Whether all of the resident operand is kept together, so that it is split once."""
        return self.chunk == self.resident.pieces and not self.waits

    @property
    def met(self) -> tuple[int, int]:
        """Of the streamed and of the resident operand, how many pieces meet in sums that wait."""
        return self.group, self.chunk

    @property
    def across(self) -> int:
        """Elements from one row of the sums to the next; a few more than there are, so that the rows of a large part do
        not fall on the same lines of the caches."""
        if not self.waits:
            return PIECE
        columns = self.met[self.by_rows] * PIECE
        return columns + SIDE if columns > PIECE else columns

    @property
    def piece_bytes(self) -> int:
        """Bytes of the thirds of a piece."""
        return self.steps * 2 * THIRDS * TILE

    @property
    def sums_bytes(self) -> int:
        """Bytes of the sums that wait together, or of those of a block."""
        return (self.met[not self.by_rows] if self.waits else 1) * PIECE * self.across * 4

    def sizes(self, *, kept: bool) -> list[int]:
        """Bytes of the parts of the scratch memory: sums, twice if they are completed beside the next block; resident
        thirds; thirds of two streamed pieces; vectors that are transposed; and the settings of the unit."""
        return [
            0 if self.is_direct(kept=kept) else self.sums_bytes * (1 if self.waits else 2),
            self.chunk * self.piece_bytes,
            2 * self.piece_bytes,
            ASIDE,
            ALIGNMENT,
        ]


def _cycles(left: Lines, right: Lines) -> float:
    """About how many cycles one thread needs: fitted to 14 products from 32x64x32 to 80x512x512 and 48x784x512, so that
    of the unit and vectors the quicker one is chosen for each, or either where they need as long (128x64x128)."""
    pairs, rest = divmod(left.tiles, 2)
    other, half = divmod(right.tiles, 2)
    blocks = 4 * pairs * other + _SINGLE * (2 * (rest * other + half * pairs) + rest * half)
    packed = sum(
        lines.tiles * SIDE * lines.steps * STEPS * (_TURNED if lines.is_turned else _PACKED) for lines in (left, right)
    )
    products = blocks * left.steps * len(PRODUCTS) * BLOCK
    return products + packed + left.tiles * right.tiles * SIDE * _ENDED + _CALL
