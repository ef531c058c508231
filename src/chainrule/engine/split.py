"""Deep products of a weight as several products of some of its rows each, whose sums are added up afterwards.

A program that trains reads a weight forward and changes it in the same step. Each thread changes rows of its own; if
the product x @ weight were shared out by columns, every step would carry half of the weight from one core to another,
and more, because a core fetches ahead what lies beside. So the depth is cut into a few parts, whatever the number of
threads, and each thread forms the sums over the rows that it owns.

A product of a single row takes as long as its weight takes to read, so that is cut as well, also where it does not
change: rows without gaps fill all places of a core's cache evenly, while half of the columns would crowd in half of
them, and push out each other and what the caller needs. With some dozens of rows that still outweighs the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.engine.fuse import VIEWS
from chainrule.engine.graph import Graph, Node, infer
from chainrule.engine.op import Op

_LEAST = 64  # rows of a weight in a part
_FEWEST = 32  # rows of what a gradient sums over in a part
_LITTLE = 2**14  # bytes of them from which they are summed by the threads that made them
_READ = 2**19  # bytes of a weight from which threads share the reading of it
_DOZENS = range(33, 65)  # rows by a weight that does not change for which it was measured to pay on two threads
_SHORT = 512  # bytes of a row, whose sums stay in registers all at once
_ROWS = 1024  # that are added up one after the other: of more, sums of a few have fewer roundings
_NEAR, _FAR = 2**16, 2**22  # bytes of a weight: a smaller one is carried quickly, a larger one stays in no core's cache


def split(graph: Graph, changed: Collection[Node], most: int = 4) -> Graph:
    """The graph with deep products by what is `changed`, which are inputs, cut into so many parts at most, and with
    single rows by any large input."""
    replaced: dict[Node, Node] = {}
    multiplied = {_seen_through(source) for node in graph.nodes if node.op is Op.MATMUL for source in node.inputs}
    for node in graph.nodes:
        inputs = tuple([replaced[source] for source in node.inputs])
        fresh = node if inputs == node.inputs else replace(node, inputs=inputs)
        if node.op is Op.MATMUL and node.dtype.kind == "f":
            if (node.inputs[1] in changed or _is_read_once(node)) and (parts := _parts(node, most)) > 1:
                fresh = _in_parts(fresh, parts)
            elif _is_of_rows(node) and (parts := _parts_of_rows(node, most)) > 1:
                fresh = _rows_in_parts(fresh, parts)
        elif node.op is Op.SUM and node.inputs[0] in multiplied and (parts := _parts_of_sum(node, most)) > 1:
            fresh = _sum_in_parts(fresh, parts)
        replaced[node] = fresh
    return Graph.of([replaced[node] for node in graph.outputs], graph.inputs)


def _parts(product: Node, most: int) -> int:
    """How many parts are worth it: their sums have to be fewer than the numbers of the weight."""
    left, weight = product.inputs
    depth, columns = weight.shape[-2:]
    rows = product.size // max(1, columns)
    size = weight.size * weight.dtype.itemsize
    if len(weight.shape) != 2 or left.op in VIEWS or not _NEAR <= size <= _FAR:
        return 1
    return _largest(depth, most, lambda n: n * max(rows, _LEAST) <= depth)


def _is_read_once(product: Node) -> bool:
    """Whether it is one row, or some dozens, by a weight that is large enough for threads to share it."""
    weight = product.inputs[1]
    rows = product.size // max(1, product.shape[-1])
    is_large = rows in _DOZENS or (rows == 1 and weight.size * weight.dtype.itemsize >= _READ)
    return is_large and weight.op is Op.INPUT


def _is_of_rows(product: Node) -> bool:
    """Whether it sums over the rows of two matrices that lie row after row, as the gradient of a weight does."""
    left, right = product.inputs
    is_turned = left.op is Op.TRANSPOSE and left.attributes["axes"] == (1, 0)
    return is_turned and left.inputs[0].op not in VIEWS and right.op not in VIEWS and len(right.shape) == 2


def _parts_of_rows(product: Node, most: int) -> int:
    """How many parts of the rows are worth it: their sums have to be fewer than the numbers that are read."""
    (rows, columns), depth = product.shape, product.inputs[1].shape[0]
    read = depth * (rows + columns)
    if read * product.dtype.itemsize < _LITTLE:
        return 1
    return _largest(depth, most, lambda n: n * _FEWEST <= depth and 2 * n * product.size <= read)


def _seen_through(node: Node) -> Node:
    """What a view is of: it has an array where it is multiplied."""
    while node.op in VIEWS:
        node = node.inputs[0]
    return node


def _parts_of_sum(total: Node, most: int) -> int:
    """How many parts are worth it for a sum over the rows of a matrix, such as the gradient of a bias."""
    source = total.inputs[0]
    is_of_rows = len(source.shape) == 2 and total.attributes["axes"] == (0,) and source.dtype.kind == "f"
    if not is_of_rows or source.op in VIEWS or source.size * source.dtype.itemsize < _LITTLE:
        return 1
    if source.shape[1] * source.dtype.itemsize > _SHORT or source.shape[0] > _ROWS:
        return 1
    return _largest(source.shape[0], most, lambda n: n * _FEWEST <= source.shape[0])


def _largest(depth: int, most: int, fits: Callable[[int], bool]) -> int:
    """The largest number of equal parts of the depth that fits."""
    return max((n for n in range(1, most + 1) if depth % n == 0 and fits(n)), default=1)


def _made(like: Node, op: Op, *inputs: Node, **attributes: Any) -> Node:
    """A node in the place of another."""
    shape, dtype = infer(op, inputs, attributes)
    return replace(like, op=op, inputs=inputs, attributes=attributes, shape=shape, dtype=dtype)


def _in_parts(product: Node, parts: int) -> Node:
    """The product as a sum over parts of the depth."""
    left, weight = product.inputs
    *around, rows, columns = product.shape
    depth, rank = weight.shape[0] // parts, len(product.shape)
    cut = _made(product, Op.RESHAPE, left, shape=(*around, rows, parts, depth))
    first = _made(product, Op.TRANSPOSE, cut, axes=(rank - 1, *range(rank - 1), rank))
    second = _made(product, Op.RESHAPE, weight, shape=(parts, *[1] * len(around), depth, columns))
    return _sum(product, _made(product, Op.MATMUL, first, second))


def _rows_in_parts(product: Node, parts: int) -> Node:
    """The product as a sum over parts of the rows of its operands."""
    left, right = product.inputs
    depth = right.shape[0] // parts
    cut = _made(product, Op.RESHAPE, left.inputs[0], shape=(parts, depth, product.shape[0]))
    first = _made(product, Op.TRANSPOSE, cut, axes=(0, 2, 1))
    second = _made(product, Op.RESHAPE, right, shape=(parts, depth, product.shape[1]))
    return _sum(product, _made(product, Op.MATMUL, first, second))


def _sum_in_parts(total: Node, parts: int) -> Node:
    """The sum over rows as a sum of sums over parts of them: products, because threads share those out by parts."""
    source = total.inputs[0]
    depth = source.shape[0] // parts
    ones = np.broadcast_to(np.ones((), source.dtype), (1, depth))
    left = replace(source, op=Op.CONSTANT, inputs=(), attributes={}, value=ones, shape=ones.shape, owner=None)
    right = _made(total, Op.RESHAPE, source, shape=(parts, depth, source.shape[1]))
    return _sum(total, _made(total, Op.MATMUL, left, right))


def _sum(product: Node, parts: Node) -> Node:
    """The sum along the first axis, added up in order, which can become part of what is computed from it."""
    total = None
    for part in range(parts.shape[0]):
        starts, stops = (part, *[0] * (len(parts.shape) - 1)), (part + 1, *parts.shape[1:])
        one = _made(product, Op.SLICE, parts, starts=starts, stops=stops, steps=(1,) * len(parts.shape))
        one = _made(product, Op.RESHAPE, one, shape=product.shape)
        total = one if total is None else _made(product, Op.ADD, total, one)
    assert total is not None, "there is a part at least"
    return total
