"""From a graph to kernels: which values are stored, and what is computed together on the way to them.

Elementwise ops and views (transpose, broadcast, slice, flip) become part of the kernels that use them; a value is
stored where it leaves the program, where a kernel needs it whole, and where computing it again costs more.
Neighbouring loops over the same domain become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chainrule.engine.graph import Graph, Node, Shape
from chainrule.engine.kernel import (
    SHALLOW,
    Access,
    Apply,
    Contraction,
    Expression,
    Gather,
    Kernel,
    Load,
    Loop,
    Number,
    Reduction,
    Running,
    Scatter,
    Sorting,
    Store,
    Words,
    accesses,
    parts,
)
from chainrule.engine.op import Op
from chainrule.engine.place import Place, apart_by_ones

VIEWS = {Op.TRANSPOSE, Op.BROADCAST, Op.SLICE, Op.FLIP, Op.RESHAPE}
REDUCTIONS = {Op.SUM, Op.PROD, Op.MAX, Op.MIN, Op.ARGMAX, Op.ARGMIN}
WHOLE = {Op.MATMUL, Op.CUMSUM, Op.ARGSORT, Op.SCATTER_ADD, Op.PAD, Op.CONCAT} | REDUCTIONS  # kernels of their own
LEAVES = {Op.INPUT, Op.CONSTANT}

_SIMPLE = 1  # what an op costs beside a load
_COST = dict.fromkeys(VIEWS, 0) | {Op.DIV: 4, Op.SQRT: 4, Op.TAKE: 4, Op.RANDOM_BITS: 30}
_COST |= dict.fromkeys([Op.EXP, Op.EXPM1, Op.LOG, Op.LOG1P, Op.TANH, Op.SIGMOID, Op.ERF, Op.POW, Op.SIN, Op.COS], 10)
_AGAIN = 3  # a value of several users that costs no more than this is computed again by each of them
_LIMIT = 64  # an expression that costs more is cut, so that no kernel grows without bound
_SMALL = 64  # elements of what is computed before everything else
_NEAR = 2**18  # bytes that an epilogue may read tile by tile: more is faster in a loop along the rows
_NARROW = 16  # columns of a product: in fewer, an optimizer's vectors would be used in part
_TALL = 64  # rows of a product that is deep enough to wait for parts of whole rows
_STORES = 16  # values that one loop stores at most

Known = dict[tuple[Node, Place], Expression]


def fuse(graph: Graph) -> tuple[Kernel, ...]:
    """The kernels that compute `graph`, whose outputs are `owned`, in an order in which they can run."""
    return _Fuser(graph).kernels()


def owned(graph: Graph) -> Graph:
    """The same graph with outputs that have an array each, of their own: copies of what would share one."""
    taken: set[Node] = set()
    outputs = []
    for node in graph.outputs:
        if array_of(node).op in LEAVES or array_of(node) in taken:
            node = replace(node, op=Op.STOP_GRADIENT, inputs=(node,), attributes={}, value=None, owner=None)
        taken.add(array_of(node))
        outputs.append(node)
    return Graph.of(outputs, graph.inputs)


def array_of(node: Node) -> Node:
    """The node in whose array a stored node lies: a reshaped one in that of its input."""
    while node.op is Op.RESHAPE:
        node = node.inputs[0]
    return node


def is_number(node: Node) -> bool:
    """Whether a node is a constant with one value everywhere, which needs no array."""
    if node.op is not Op.CONSTANT or node.value is None or not node.size:
        return False
    first = node.value.flat[0]
    same_sign = node.dtype.kind != "f" or bool((np.signbit(node.value) == np.signbit(first)).all())  # 0 has two
    return node.size == 1 or (same_sign and bool((node.value == first).all()))


class _Fuser:
    """The state of one run of `fuse`: the nodes that have an array, and the kernels made so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.arrays: set[Node] = {node for node in graph.nodes if node.op in LEAVES}
        self.made: list[Kernel] = []
        self.maker: dict[Node, int] = {}
        self.beside: dict[Node, set[Node]] = {}
        self.users: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            for source in node.inputs:
                self.users.setdefault(source, []).append(node)
        for node in graph.nodes:
            self._decide_needs(node)
        for node in graph.outputs:
            self._need_array(node)
        self._decide_costs()

    # --- What is stored ---

    def _decide_needs(self, node: Node) -> None:
        """Mark what must have an array because of what `node` is."""
        if node.op in WHOLE:
            self.arrays.add(node)
        if node.op is Op.RESHAPE and apart_by_ones(node.inputs[0].shape, node.shape) is None:
            self._need_array(node)
        if node.op in (Op.MATMUL, Op.ARGSORT):
            for source in node.inputs:
                self._need_strides(source)
        if node.op is Op.TAKE:
            self._need_strides(node.inputs[0])

    def _need_array(self, node: Node) -> None:
        """An array without gaps; a reshaped node has that of its input."""
        while node not in self.arrays:
            self.arrays.add(node)
            if node.op is not Op.RESHAPE:
                break
            node = node.inputs[0]

    def _need_strides(self, node: Node) -> None:
        """An array that can be read as `node` by strides."""
        while node.op in VIEWS and node not in self.arrays:
            node = node.inputs[0]
        self._need_array(node)

    def _decide_costs(self) -> None:
        """Store what several kernels use and is dear, and cut what grows too large."""
        uses = self._uses()
        cost: dict[Node, int] = {}
        for node in self.graph.nodes:
            cost[node] = 0 if is_number(node) else 1
            if node in self.arrays:
                continue
            cost[node] = _COST.get(node.op, _SIMPLE) + sum(cost[source] for source in set(node.inputs))
            dear = uses[node] > 1 and cost[node] > _AGAIN
            if node.op not in VIEWS and (dear or cost[node] > _LIMIT):
                self.arrays.add(node)
                cost[node] = 1

    def _uses(self) -> dict[Node, int]:
        """In how many expressions a node is used, views seen through: what is used once belongs to that use, unless it
        is repeated there."""
        found: dict[Node, set[Node]] = {node: set() for node in self.graph.nodes}
        for node in reversed(self.graph.nodes):
            is_part = node not in self.arrays and len(found[node]) == 1
            for source in node.inputs:
                if node.op in VIEWS:
                    found[source] |= found[node] if node.size <= source.size else {*self.users.get(node, ())}
                else:
                    found[source] |= found[node] if is_part and node.size == source.size else {node}
        return {node: len(uses) for node, uses in found.items()}

    # --- Kernels ---

    def kernels(self) -> tuple[Kernel, ...]:
        for node in _small_first(self.graph.nodes):
            if node in self.arrays and node.op not in LEAVES and node.op is not Op.RESHAPE:
                self._make(node)
        wanted = {array_of(node) for node in self.graph.outputs}
        wanted |= {access.array for kernel in self.made for access in _from_outside(kernel)}
        return tuple(
            replace(kernel, kept=kernel.node in wanted) if isinstance(kernel, Contraction) else kernel
            for kernel in self.made
        )

    def _make(self, node: Node) -> None:
        match node.op:
            case Op.MATMUL:
                self._append(self._contraction(node))
            case Op.SCATTER_ADD:
                self._append(self._scatter(node))
            case Op.CUMSUM:
                domain, place = _axis_last(node)
                value = self._expression(node.inputs[0], place, {})
                self._append(Running(domain, node, place.access(node), value))
            case Op.ARGSORT:
                domain, place = _axis_last(node)
                self._append(Sorting(domain, node, self._access(node.inputs[0], place), place.access(node)))
            case Op.PAD:
                self._pad(node)
            case Op.CONCAT:
                self._concat(node)
            case op if op in REDUCTIONS:
                self._append(self._reduction(node))
            case _:
                self._pointwise(node)

    def _append(self, kernel: Kernel) -> None:
        array = kernel.stores[0].access.array if isinstance(kernel, Loop) else kernel.node
        self.maker[array] = len(self.made)
        self.made.append(kernel)

    def _pointwise(self, node: Node) -> None:
        """One more value for a loop over the same domain or for the epilogue of a product; else a loop of its own."""
        here = Place.identity(node.shape)
        own = Store(node, here.access(node), self._value(node, here, {}))
        reads = list(accesses(Loop(node.shape, (own,))))
        made_last = max((self.maker.get(read.array, 0) for read in reads), default=0)
        for number in range(len(self.made) - 1, made_last - 1, -1):
            host = self.made[number]
            if not isinstance(host, Loop | Contraction) or len(host.stores) >= _STORES:
                continue
            if (host.domain if isinstance(host, Loop) else host.node.shape) != node.shape:
                continue
            if isinstance(host, Contraction) and self._reads_far(host.node, reads):
                continue
            whole = {store.node: store.value for store in host.stores if store.access == here.access(store.node)}
            there = {*whole, host.node} if isinstance(host, Contraction) else {*whole}
            if len(whole) == len(host.stores) and all(
                self.maker.get(read.array, -1) < number
                or (read.array in there and self.maker[read.array] == number and read == here.access(read.array))
                for read in reads
            ):
                known: Known = {(other, here): value for other, value in whole.items()}
                store = Store(node, here.access(node), self._value(node, here, known))
                if any(part.access.array in whole for part in parts(store.value) if isinstance(part, Load | Gather)):
                    continue  # it would read what the same loop is about to write
                if any(part.access.array in there for part in parts(store.value) if isinstance(part, Gather)):
                    continue  # an index is looked up in a whole array, of which a tile is a part
                self.made[number] = replace(host, stores=(*host.stores, store))
                self.maker[node] = number
                return
        self._append(Loop(node.shape, (own,)))

    def _reads_far(self, product: Node, reads: Sequence[Access]) -> bool:
        """Whether an epilogue would read a large array beside others that all together belong into a loop of their own.

        A tile is narrow: an optimizer that goes over its parameter and moments along the rows is much quicker.
        """
        inputs = self._inputs_beside(product)
        *_, rows, columns = product.shape
        is_near = sum(map(_bytes, inputs)) <= _NEAR or (rows >= _TALL and product.inputs[0].shape[-1] <= SHALLOW)
        if len(inputs) < 2 or (columns >= _NARROW and is_near):
            return False
        return any(read.array in inputs for read in reads)

    def _inputs_beside(self, product: Node) -> set[Node]:
        """The inputs of the program, as large as a product, that are met pointwise by what is computed from it."""
        users = (user for user in self.users.get(product, ()) if _is_pointwise(user, product.shape))
        return set[Node]().union(*(self._inputs_met(user) for user in users))

    def _inputs_met(self, node: Node) -> set[Node]:
        """Those that a node meets, which are the same for all nodes between them: these are gone through once."""
        if node not in self.beside:
            found: set[Node] = set()
            waiting = [node]
            while waiting:
                here = waiting.pop()
                if here.op is Op.INPUT:
                    found.add(here)
                elif here not in self.beside:
                    self.beside[here] = found
                    around = (*here.inputs, *self.users.get(here, ()))
                    waiting += [other for other in around if _is_pointwise(other, node.shape)]
        return self.beside[node]

    def _reduction(self, node: Node) -> Reduction:
        source = node.inputs[0]
        axes = node.attributes["axes"] if "axes" in node.attributes else (node.attributes["axis"],)
        kept = [axis for axis in range(len(source.shape)) if axis not in axes]
        domain, place = _ordered(source.shape, (*kept, *axes))
        return Reduction(domain, len(axes), node, self._expression(source, place, {}))

    def _contraction(self, node: Node) -> Contraction:
        left, right = node.inputs
        batch = node.shape[:-2]

        def operand(source: Node) -> Access:
            here, own = Place.identity((*batch, *source.shape[-2:])), source.shape[:-2]
            around = here.stretched(own, batch)
            return self._access(source, Place(here.rank, (*around.axes, *here.axes[-2:])))

        return Contraction(node, operand(left), operand(right))

    def _scatter(self, node: Node) -> Scatter:
        updates, indices = node.inputs
        here = Place.identity(updates.shape)
        axis, rank = node.attributes["axis"], len(indices.shape)
        index = self._expression(indices, Place(here.rank, here.axes[axis : axis + rank]), {})
        return Scatter(updates.shape, node, index, self._expression(updates, here, {}))

    def _pad(self, node: Node) -> None:
        """The padding everywhere, then what is inside."""
        source, settings = node.inputs[0], node.attributes
        everywhere = Place.identity(node.shape).access(node)
        self._append(Loop(node.shape, (Store(node, everywhere, Number(settings["value"], node.dtype)),)))
        steps = [gap + 1 for gap in settings["interior"]]
        ranges = []
        for length, low, step, end in zip(source.shape, settings["low"], steps, node.shape, strict=True):
            first = max(0, -(low // step))
            ranges.append(range(first, max(first, min(length, -(-(end - low) // step)))))
        domain = tuple(map(len, ranges))
        inside = Place.identity(domain)
        place = inside.sliced([each.start for each in ranges], [1] * len(ranges))
        goal = inside.sliced(
            [low + each.start * step for low, each, step in zip(settings["low"], ranges, steps, strict=True)], steps
        )
        self._append(Loop(domain, (Store(node, goal.access(node), self._expression(source, place, {})),)))

    def _concat(self, node: Node) -> None:
        start = 0
        for source in node.inputs:
            here = Place.identity(source.shape)
            starts = [start if axis == node.attributes["axis"] else 0 for axis in range(len(source.shape))]
            goal = here.sliced(starts, [1] * len(starts))
            self._append(Loop(source.shape, (Store(node, goal.access(node), self._expression(source, here, {})),)))
            start += source.shape[node.attributes["axis"]]

    # --- Expressions ---

    def _expression(self, node: Node, place: Place, known: Known) -> Expression:
        """The value of `node` at `place`: loaded if it has an array, else computed on the spot."""
        found = known.get((node, place))
        if found is None:
            if is_number(node):
                assert node.value is not None
                found = Number(node.value.flat[0].item(), node.dtype)
            elif node.op is Op.RESHAPE and apart_by_ones(node.inputs[0].shape, node.shape) is not None:
                found = self._expression(node.inputs[0], place.through(node), known)
            elif node in self.arrays:
                found = Load(self._access(node, place), node.dtype)
            else:
                found = self._value(node, place, known)
            known[(node, place)] = found
        return found

    def _value(self, node: Node, place: Place, known: Known) -> Expression:
        """The value of `node` at `place`, computed from its inputs even if it has an array."""
        if node.op in VIEWS:
            return self._expression(node.inputs[0], place.through(node), known)
        if node.op is Op.RANDOM_BITS:
            nowhere = Place(place.rank, ())
            key, counter = (self._expression(source, nowhere, known) for source in node.inputs)
            word = place.access(node)
            return Words(key, counter, word.offset, word.strides, node.dtype)
        if node.op is Op.TAKE:
            return self._gather(node, place, known)
        inputs = tuple(
            self._expression(source, place.stretched(source.shape, node.shape), known) for source in node.inputs
        )
        return Apply(node.op, inputs, node.attributes, node.dtype, node)

    def _gather(self, node: Node, place: Place, known: Known) -> Expression:
        base, indices = node.inputs
        axis, rank = node.attributes["axis"], len(indices.shape)
        index = self._expression(indices, Place(place.rank, place.axes[axis : axis + rank]), known)

        def at(number: int) -> Access:
            fixed = (number, (0,) * place.rank)
            return self._access(base, Place(place.rank, (*place.axes[:axis], fixed, *place.axes[axis + rank :])))

        return Gather(at(0), index, at(1).offset - at(0).offset, base.shape[axis], node.dtype, node)

    def _access(self, node: Node, place: Place) -> Access:
        """Where the element of `node` at `place` stands, for a node that can be read by strides."""
        while node not in self.arrays:
            node, place = node.inputs[0], place.through(node)
        return replace(place.access(node), array=array_of(node))


def _bytes(node: Node) -> int:
    return node.size * node.dtype.itemsize


def _small_first(nodes: Sequence[Node]) -> list[Node]:
    """The same nodes, first those that hold few numbers and need no kernel of another kind than loops.

    What an epilogue needs beside its product, such as the rate of this step, is then at hand when it runs.
    """
    small: set[Node] = set()
    for node in nodes:
        if node.size <= _SMALL and node.op not in WHOLE and all(source in small for source in node.inputs):
            small.add(node)
    return [*(node for node in nodes if node in small), *(node for node in nodes if node not in small)]


def _from_outside(kernel: Kernel) -> list[Access]:
    """What a kernel reads, but for the product that its own epilogue takes from where it was formed."""
    return [a for a in accesses(kernel) if not isinstance(kernel, Contraction) or a.array is not kernel.node]


def _ordered(shape: Shape, order: Sequence[int]) -> tuple[Shape, Place]:
    """The domain whose axes are those of `shape` in another order, and the place of an element in it."""
    domain = tuple(shape[axis] for axis in order)
    axes = Place.identity(domain).axes
    return domain, Place(len(shape), tuple(axes[order.index(axis)] for axis in range(len(shape))))


def _axis_last(node: Node) -> tuple[Shape, Place]:
    axis, rank = node.attributes["axis"], len(node.shape)
    return _ordered(node.shape, [*(each for each in range(rank) if each != axis), axis])


def _is_pointwise(node: Node, shape: Shape) -> bool:
    return node.op not in WHOLE and node.shape == shape
