"""Places: which element of a node belongs to a point of a loop's domain.

A place gives for each axis of a node an affine form in the indices of the domain. Views of a node (transposed,
broadcast, sliced, flipped, reshaped by axes of length 1) only change the place, so they cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.engine.graph import Node, Shape
from chainrule.engine.kernel import Access, contiguous
from chainrule.engine.op import Op
from chainrule.engine.record import record

Form = tuple[int, Shape]  # a constant, and a factor for each axis of the domain


@record(frozen=True, slots=True)
class Place:
    """For each axis of a node the index of the element: `constant + sum(factor * domain index)`.

    Attributes
    ----------
    rank
        How many axes the domain has.
    axes
        A form for each axis of the node.
    """

    rank: int
    axes: tuple[Form, ...]

    @staticmethod
    def identity(shape: Shape) -> Place:
        """Every element at its own point of a domain of that shape.

        The only index of an axis of length 1 is 0, so it has no factor: equal places are equal values.
        """
        rank = len(shape)
        long = [length != 1 for length in shape]
        axes = [(0, tuple(int(axis == own and long[own]) for axis in range(rank))) for own in range(rank)]
        return Place(rank, tuple(axes))

    @property
    def _zero(self) -> Form:
        return 0, (0,) * self.rank

    def access(self, array: Node) -> Access:
        """Where this element stands in an array without gaps that has the node's shape."""
        offset, strides = 0, [0] * self.rank
        for (constant, factors), step in zip(self.axes, contiguous(array.shape), strict=True):
            offset += constant * step
            strides = [stride + factor * step for stride, factor in zip(strides, factors, strict=True)]
        return Access(array, offset, tuple(strides))

    def stretched(self, inner: Shape, outer: Shape) -> Place:
        """The place in a node of shape `inner` that is broadcast to `outer`, whose place this is."""
        lead = len(outer) - len(inner)
        return Place(
            self.rank,
            tuple(
                self._zero if length == 1 else form
                for length, form in zip(inner, self.axes[lead : lead + len(inner)], strict=True)
            ),
        )

    def sliced(self, starts: Sequence[int], steps: Sequence[int]) -> Place:
        """The place before a slice was taken with `starts` and `steps`."""
        return Place(
            self.rank,
            tuple(
                (start + step * constant, tuple(step * factor for factor in factors))
                for (constant, factors), start, step in zip(self.axes, starts, steps, strict=True)
            ),
        )

    def through(self, view: Node) -> Place:
        """The place in the input of `view`, whose place this is."""
        source, settings = view.inputs[0], view.attributes
        match view.op:
            case Op.BROADCAST:
                return self.stretched(source.shape, view.shape)
            case Op.TRANSPOSE:
                order = settings["axes"]
                return Place(self.rank, tuple(self.axes[order.index(axis)] for axis in range(len(order))))
            case Op.SLICE:
                return self.sliced(settings["starts"], settings["steps"])
            case Op.FLIP:
                flipped = [axis in settings["axes"] for axis in range(len(view.shape))]
                ends = [length - 1 if turn else 0 for length, turn in zip(view.shape, flipped, strict=True)]
                return self.sliced(ends, [-1 if turn else 1 for turn in flipped])
            case _:
                partners = apart_by_ones(source.shape, view.shape)
                assert partners is not None, "other reshapes have an array without gaps"
                return Place(self.rank, tuple(self._zero if axis is None else self.axes[axis] for axis in partners))


def apart_by_ones(source: Shape, shape: Shape) -> tuple[int | None, ...] | None:
    """For two shapes that differ only by axes of length 1: for each axis of `source` its partner in `shape`.

    >>> apart_by_ones((2, 1, 3), (1, 2, 3)), apart_by_ones((2, 3), (3, 2))
    ((1, None, 2), None)
    """
    partners = [axis for axis, length in enumerate(shape) if length != 1]
    if [length for length in source if length != 1] != [shape[axis] for axis in partners]:
        return None
    found = iter(partners)
    return tuple(None if length == 1 else next(found) for length in source)
