"""How a matrix product is cut into tiles whose sums stay in registers: the plan, chosen before any code is written.

A product of `rows` x `depth` by `depth` x `columns` becomes strips of columns; a strip becomes tiles of a few rows.
Each tile keeps its sums in registers over the whole depth, so that every element is summed in one fixed order. A small
model of the processor chooses tiles that waste little for the sizes at hand.
"""

from __future__ import annotations

from collections.abc import Callable

from chainrule.engine.code import Code
from chainrule.engine.record import record
from chainrule.engine.target import Target

_TILE_COST = 12.0  # cycles to begin and end a tile, beside those for each of its vectors
_STORE_COST = 1.5  # cycles to clear and to store a vector of sums
_BESIDE = 4  # registers that hold no sums at least: with fewer, LLVM begins to put sums on the stack
_LOAD = 0.01  # cycles of a load that hides behind multiply-adds: it tips the scales
_NEAR_SHARE = 0.75  # of the first cache, for the part of the right operand that a tile reads
_TALL = 256  # rows for which a panel is copied, so that it comes quickly from further away, too
_UNEQUAL = 0.05  # of the cycles, that a second strip costs: more copies, uneven shares
_LEFT_SETS = 4096  # bytes after which addresses fall on the same lines of the first cache again
_LEFT_WAYS = 6  # rows on the same lines that still fit beside what else a tile reads


@record(frozen=True, slots=True)
class Tile:
    """A finished part of a product that lies in memory: a tile, or a band of tiles.

    Attributes
    ----------
    batch
        The batch indices: names of i64 values, or numbers.
    row, column
        The first row and column: likewise.
    rows
        How many rows there are: likewise.
    panels, width
        How many panels of columns lie side by side (likewise), and the columns of each.
    address
        The pointer to the first element.
    stride
        Elements from one row of the tile to the next.
    """

    batch: tuple[str, ...]
    row: str
    column: str
    rows: str
    panels: str
    width: int
    address: str
    stride: int


Finish = Callable[[Code, Tile], None]  # writes what is to be done with a finished tile


@record(frozen=True, slots=True)
class Panel:
    """Columns whose sums are computed together, as vectors that start at `offsets`.

    Attributes
    ----------
    width
        How many columns.
    lanes
        How many each vector holds.
    offsets
        Where the vectors start. The last may overlap the one before, so that it ends with the panel; the sums in the
        overlap are the same bits twice.
    used
        How many lanes of the last vector are columns of the panel: fewer than `lanes` where the target has masks.

    Examples
    --------
    >>> Panel.of(13, 8, masked=False), Panel.of(13, 8, masked=True)
    (Panel(width=13, lanes=8, offsets=(0, 5), used=8), Panel(width=13, lanes=8, offsets=(0, 8), used=5))
    >>> Panel.of(3, 8, masked=False), Panel.of(3, 8, masked=True)
    (Panel(width=3, lanes=2, offsets=(0, 1), used=2), Panel(width=3, lanes=4, offsets=(0,), used=3))
    """

    width: int
    lanes: int
    offsets: tuple[int, ...]
    used: int

    @classmethod
    def of(cls, width: int, lanes: int, *, masked: bool) -> Panel:
        """The panel of that width on a target with vectors of so many lanes."""
        if masked:
            lanes = min(lanes, 1 << (width - 1).bit_length())
            starts = tuple(range(0, width, lanes))
            return cls(width, lanes, starts, width - starts[-1])
        lanes = min(lanes, 1 << (width.bit_length() - 1))
        starts = tuple(range(0, width - lanes, lanes))
        return cls(width, lanes, (*starts, width - lanes), lanes)

    @classmethod
    def along_depth(cls, width: int, lanes: int) -> Panel:
        """The panel for dot products: vectors that do not overlap, the last of which may be used in part."""
        starts = tuple(range(0, width, lanes))
        return cls(width, lanes, starts, width - starts[-1])

    def used_in(self, number: int) -> int:
        """How many lanes of a vector are columns of the panel."""
        return self.used if number == len(self.offsets) - 1 else self.lanes


@record(frozen=True, slots=True)
class Heights:
    """Rows cut into `tall` tiles of `rows` rows, and after them `short` tiles of one row less.

    >>> Heights.of(13, 6), Heights.of(4, 6)
    (Heights(rows=5, tall=1, short=2), Heights(rows=4, tall=1, short=0))
    """

    rows: int
    tall: int
    short: int

    @classmethod
    def of(cls, rows: int, most: int) -> Heights:
        """The most even cut into tiles of at most so many rows."""
        tiles = -(-rows // most)
        high = -(-rows // tiles)
        short = tiles * high - rows
        return cls(high, tiles - short, short)

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        return self.tall + self.short


@record(frozen=True, slots=True)
class Strip:
    """`count` equal panels side by side from a column on, and how their rows are cut."""

    column: int
    count: int
    panel: Panel
    heights: Heights


@record(frozen=True, slots=True)
class Model:
    """What decides about tiles: the target, the size of an element, and the stride of the left operand's rows."""

    target: Target
    itemsize: int
    row_stride: int

    @property
    def lanes(self) -> int:
        """Lanes of a full vector."""
        return self.target.lanes(self.itemsize)

    def strips(
        self, rows: int, depth: int, columns: int, *, equal: bool = False, near: bool = False
    ) -> tuple[Strip, ...]:
        """The cheapest cut of a product; `equal`: into panels of one width where there is such a cut; `near`: such that
        a panel stays in the first cache."""
        most = self.target.registers // 2
        if near:
            fit = int(_NEAR_SHARE * self.target.first_cache) // (depth * self.target.vector_bytes)
            most = min(most, max(1, fit) + 1)
        choices = [self._cut(rows, depth, columns, vectors) for vectors in range(1, most)]
        return min(choices, key=lambda choice: choice[0] * (1 + _UNEQUAL * (equal and len(choice[1]) > 1)))[1]

    def _cut(self, rows: int, depth: int, columns: int, vectors: int) -> tuple[float, tuple[Strip, ...]]:
        """Panels of so many vectors and what is left, with the cycles that they take."""
        width = vectors * self.lanes
        count, rest = divmod(columns, width)
        if count and 0 < rest < self.lanes and not self.target.masked and self._most_rows(vectors + 1):
            count, rest = count - 1, rest + width  # one wide last panel is better than a sliver
        pieces = [(0, count, width), (count * width, 1, rest)]
        strips, total = [], 0.0
        for column, number, wide in pieces:
            if number and wide:
                panel = Panel.of(wide, self.lanes, masked=self.target.masked)
                cycles, heights = self._heights(rows, depth, len(panel.offsets))
                strips.append(Strip(column, number, panel, heights))
                total += number * cycles
        return total, tuple(strips)

    def _heights(self, rows: int, depth: int, vectors: int) -> tuple[float, Heights]:
        """The cheapest cut of the rows for a panel of so many vectors."""
        cuts = {Heights.of(rows, most) for most in range(1, max(1, self._most_rows(vectors)) + 1)}
        costed = [(self._cycles(cut, depth, vectors), cut) for cut in cuts]
        return min(costed, key=lambda pair: (pair[0], -pair[1].rows))

    def _most_rows(self, vectors: int) -> int:
        """How many rows of sums fit the registers, beside a vector of the right operand and a number of the left."""
        beside = vectors + (1 if self.target.fused else 3)
        rows = (self.target.registers - max(beside, _BESIDE)) // vectors
        apart = _LEFT_SETS // _largest_power(self.row_stride * self.itemsize, _LEFT_SETS)
        return min(rows, _LEFT_WAYS * apart)

    def _cycles(self, cut: Heights, depth: int, vectors: int) -> float:
        is_far = depth * vectors * self.target.vector_bytes > _NEAR_SHARE * self.target.first_cache
        is_tall = cut.rows * cut.tall + (cut.rows - 1) * cut.short >= _TALL
        wide = (1.5 if is_tall else 3) if is_far else 1  # narrow panels stay in the first cache for longer

        def tile(rows: int) -> float:
            sums, loads = rows * vectors, rows + vectors
            each = max(sums / self.target.products, loads / self.target.loads, self.target.latency)
            return depth * (each + _LOAD * (rows + wide * vectors)) + _TILE_COST + _STORE_COST * sums

        return cut.tall * tile(cut.rows) + cut.short * tile(cut.rows - 1)


def _largest_power(number: int, most: int) -> int:
    """The largest power of two that divides a number, up to `most`."""
    return min(number & -number, most) if number else 1
