"""Bands: kernels that go along the same rows are run block by block of rows, so that what one has made is still in the
first cache when the next one reads it, and no thread waits for another in between.

A softmax is such a band: the largest of each row, the exponentials, their sum, the quotients. Where all of it is near
anyway, there are a few blocks for threads to share, and moderate products may be in it: of a small network everything
from the first layer to the gradients of each block, so that the threads meet once. The function of a kernel
does the part of a thread; asked for part b of B, it does the b-th of B equal runs of its points. What it reads and
writes there has to be the b-th of B equal runs of the arrays, too (`is_local`), wherever another kernel of the band
writes the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from chainrule.engine.fuse import array_of
from chainrule.engine.graph import Node, Shape
from chainrule.engine.kernel import Access, Contraction, Kernel, Loop, Reduction, accesses, contiguous, nodes_made
from chainrule.engine.kernels.contraction import contraction_splits
from chainrule.engine.kernels.loops import loop_axes, loop_splits
from chainrule.engine.kernels.reductions import kept_axes, reduction_splits
from chainrule.engine.memory import ARENA, Home, Plan
from chainrule.engine.record import record
from chainrule.engine.target import Target
from chainrule.engine.work import CLAIMED, SMALL, cycles

_OWN_SHARE = 0.25  # of the second cache, for what a block touches that is there for threads to share
_MOST = 32  # kernels that they share, so that it does not take long to find them
_SHARE = 0.5  # of the first cache, or for long rows of the second, for what a block of rows touches
_LEAST = 16  # blocks, so that threads can share them out
_SMALLEST = 4096  # bytes that a block touches, so that it is worth its calls


@record(frozen=True, slots=True)
class Band:
    """Kernels that are run together.

    Attributes
    ----------
    members
        Their numbers; most bands are one kernel.
    blocks
        In how many blocks of rows they are run in turn; 0: it is one kernel.
    inside
        Places in the arena, and their bytes, of what nobody else needs: a block of each is enough.
    is_shared
        Whether the blocks are there for threads to share: one thread alone does all at once.
    """

    members: tuple[int, ...]
    blocks: int = 0
    inside: tuple[tuple[Home, int], ...] = ()
    is_shared: bool = False


@record(frozen=True, slots=True)
class _Touch:
    """What a kernel reads or writes: where it lives, how many bytes it has, and how it is gone through."""

    home: Home
    size: int
    access: Access
    domain: Shape
    writes: bool

    @classmethod
    def of(cls, plan: Plan, access: Access, domain: Shape, *, writes: bool) -> _Touch:
        """How an array is touched that lives where a plan says."""
        return cls(plan.homes[array_of(access.array)], _bytes(access.array), access, domain, writes)

    def is_local(self, blocks: int) -> bool:
        """Whether the b-th of equal runs of the domain touches the b-th of equal runs of the array and nothing else."""
        run, left, inner = self.access.array.size, blocks, 0
        axes = [pair for pair in zip(self.domain, self.access.strides, strict=True) if pair[0] > 1]
        for length, stride in axes:
            if left > 1:  # this axis, or the first of its points, goes from run to run
                parts = min(left, length)
                if left % parts or length % parts or run % parts or stride * length != run:
                    return False
                run, left, length = run // parts, left // parts, length // parts
            inner += (length - 1) * stride
        return self.access.offset == 0 and left == 1 and 0 <= inner < run and all(stride >= 0 for _, stride in axes)

    def meets(self, other: _Touch) -> bool:
        """Whether both touch the same bytes, and one writes them."""
        if not (self.writes or other.writes) or self.home.slot != other.home.slot:
            return False
        begin, end = self.home.offset, other.home.offset
        return begin < end + other.size and end < begin + self.size


def may_have_bands(kernels: Sequence[Kernel], target: Target) -> bool:
    """Whether there are kernels that read more than the first cache holds."""
    return any(
        sum(map(_bytes, {access.array for access in accesses(kernel)})) > target.first_cache
        for kernel in kernels
        if isinstance(kernel, Loop | Reduction)
    )


def bands(
    kernels: Sequence[Kernel], before: Sequence[set[int]], small: Sequence[bool], plan: Plan, target: Target
) -> list[Band]:
    """Bands in an order in which each kernel comes after those `before` it; most are of one kernel.

    What is `small`, and needs only what is small too, comes first, so that a band may need it that has begun by then.
    """
    finder, found, place = _Finder(kernels, plan, target), list[Band](), dict[int, int]()
    is_first = list[bool]()
    for number, earlier in enumerate(before):
        is_first.append(small[number] and all(is_first[other] for other in earlier))
    for number in sorted(range(len(kernels)), key=lambda number: not is_first[number]):
        last = max((place[other] for other in before[number]), default=-1)
        longer = finder.joined(found[last], number) if last >= 0 else None
        if longer:
            found[last] = longer
        else:
            found.append(Band((number,)))
        place[number] = last if longer else len(found) - 1
    found = [single for band in found for single in finder.worthwhile(band)]
    several = finder.needed_by_several(found)
    return [
        band if band.is_shared or not band.blocks else replace(band, inside=finder.inside(band, several))
        for band in found
    ]


class _Finder:
    """Tells whether kernels can be a band."""

    def __init__(self, kernels: Sequence[Kernel], plan: Plan, target: Target) -> None:
        self.kernels, self.plan, self.target = kernels, plan, target
        self._touched: dict[int, list[_Touch]] = {}
        self._met: dict[int, dict[int, _Touch]] = {}  # by the first kernel of a band: what several of it touch
        self._known: dict[tuple[int, int], bool] = {}  # whether kernels can be split

    def joined(self, band: Band, number: int) -> Band | None:
        """The band with one more kernel, or None where that cannot be run block by block with the others."""
        members = (*band.members, number)
        if not all(isinstance(self.kernels[member], Loop | Reduction | Contraction) for member in members):
            return None
        others, own = (touch for member in band.members for touch in self._touches(member)), self._touches(number)
        pairs = [(one, two) for one in others for two in own if one.meets(two)]
        if any((one.home, one.size) != (two.home, two.size) for one, two in pairs):
            return None
        met = self._met.setdefault(band.members[0], {})
        fresh = {id(touch): touch for pair in pairs for touch in pair}
        for blocks in () if band.is_shared else self._choices(members):
            splits = all(self._splits(member, blocks) for member in members)
            if splits and all(touch.is_local(blocks) for touch in (met | fresh).values()):
                met |= fresh
                return Band(members, blocks)
        blocks, unknown = self.target.parts, [number] if band.is_shared else members
        if self._can_share(members, blocks) and (band.is_shared or not band.blocks):
            splits = all(self._splits(member, blocks) for member in unknown)
            if splits and all(touch.is_local(blocks) for touch in fresh.values()):
                return Band(members, blocks, is_shared=True)
        return None

    def _can_share(self, members: tuple[int, ...], blocks: int) -> bool:
        """Whether so many blocks are small enough to stay in the second cache of their threads."""
        room = _OWN_SHARE * self.target.second_cache * blocks
        return blocks > 1 and len(members) <= _MOST and self._size(members) <= room

    def _size(self, members: tuple[int, ...]) -> int:
        """Bytes that kernels touch."""
        return sum({touch.home: touch.size for member in members for touch in self._touches(member)}.values())

    def worthwhile(self, band: Band) -> list[Band]:
        """The band, or its members one by one where they are too little work to be shared."""
        if not band.is_shared or sum(cycles(self.kernels[member], self.target) for member in band.members) >= SMALL:
            return [band]
        return [Band((member,)) for member in band.members]

    def _choices(self, members: tuple[int, ...]) -> list[int]:
        """In how many blocks kernels might be run, the best first: so few that a block stays in the first cache, or, of
        long rows, so many that it stays in the second."""
        if any(isinstance(self.kernels[member], Contraction) for member in members):
            return []
        size = self._size(members)
        rows = math.gcd(*(_rows(self.kernels[member]) for member in members))
        if not rows or size <= self.target.first_cache:
            return []
        found = sorted(n for n in _divisors(rows) if _LEAST <= n <= size // _SMALLEST)
        near = [n for n in found if size <= n * _SHARE * self.target.first_cache]
        far = [n for n in found if size <= n * _SHARE * self.target.second_cache and n not in near]
        return [*near, *reversed(far)]

    def _splits(self, number: int, blocks: int) -> bool:
        """Whether part b of so many blocks is the b-th of equal runs of a kernel's points."""
        if (number, blocks) not in self._known:
            self._known[number, blocks] = _can_split(self.kernels[number], blocks, self.target)
        return self._known[number, blocks]

    def _touches(self, number: int) -> list[_Touch]:
        if number not in self._touched:
            self._touched[number] = list(_touched(self.kernels[number], self.plan))
        return self._touched[number]

    def needed_by_several(self, found: Sequence[Band]) -> set[Node]:
        """The arrays that more than one band touches, or that are needed at the end."""
        seen: dict[Node, int] = {}
        several = {array_of(node) for node, _ in self.plan.copies}
        for number, band in enumerate(found):
            for touch in (touch for member in band.members for touch in _arrays(self.kernels[member])):
                if seen.setdefault(touch, number) != number:
                    several.add(touch)
        return several

    def inside(self, band: Band, several: set[Node]) -> tuple[tuple[Home, int], ...]:
        """What nobody needs but the kernels of a band: block after block can stand in one place of a thread's own."""
        made = {array_of(node) for member in band.members for node in nodes_made(self.kernels[member])}
        own: dict[Home, int] = {}
        needed = set()
        for touch in (touch for member in band.members for touch in self._touches(member)):
            own[touch.home], array = touch.size, array_of(touch.access.array)
            if array not in made or array in several or touch.home.slot != ARENA or not touch.is_local(band.blocks):
                needed.add(touch.home)
        return tuple([(home, size) for home, size in own.items() if home not in needed])


def _can_split(kernel: Kernel, blocks: int, target: Target) -> bool:
    match kernel:
        case Loop():
            return loop_splits(kernel, blocks, target)
        case Reduction():
            return reduction_splits(kernel, blocks)
        case Contraction():
            return cycles(kernel, target) < CLAIMED and contraction_splits(kernel, blocks, target)
    return False


def _rows(kernel: Kernel) -> int:
    """How many rows a kernel goes along one after the other; 0: it goes from point to point, in rows of any length."""
    if isinstance(kernel, Reduction):
        return kept_axes(kernel)[0].extent
    axes = loop_axes(kernel) if isinstance(kernel, Loop) else []
    return axes[0].extent if len(axes) > 1 else 0


def _divisors(number: int) -> set[int]:
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return {*small, *(number // n for n in small)}


def _arrays(kernel: Kernel) -> set[Node]:
    return {array_of(node) for node in (*nodes_made(kernel), *(access.array for access in accesses(kernel)))}


def _touched(kernel: Kernel, plan: Plan) -> Iterator[_Touch]:
    """What a loop, a reduction or a product touches."""
    if not isinstance(kernel, Loop | Reduction | Contraction):
        return
    reads = [*accesses(kernel)]
    if isinstance(kernel, Contraction):
        domain, reads = kernel.node.shape, reads[2:]
        over = (*domain, kernel.node.inputs[0].shape[-1])  # batch, rows, columns, depth
        for operand in _operands(kernel):
            yield _Touch.of(plan, operand, over, writes=False)
    else:
        domain = kernel.domain
    for access in reads:
        yield _Touch.of(plan, access, domain, writes=False)
    for store in () if isinstance(kernel, Reduction) else kernel.stores:
        yield _Touch.of(plan, store.access, domain, writes=True)
    if isinstance(kernel, Reduction) or (isinstance(kernel, Contraction) and kernel.kept):
        kept = domain[: len(domain) - kernel.reduced] if isinstance(kernel, Reduction) else domain
        yield _Touch.of(plan, Access(kernel.node, 0, contiguous(kept)), kept, writes=True)


def _operands(product: Contraction) -> tuple[Access, Access]:
    """How a product goes through its operands: over (batch, rows, columns, depth)."""
    (*batch, down, along), (*others, deep, across) = product.left.strides, product.right.strides
    return (
        replace(product.left, strides=(*batch, down, 0, along)),
        replace(product.right, strides=(*others, 0, across, deep)),
    )


def _bytes(node: Node) -> int:
    return node.size * node.dtype.itemsize
