"""Products of vectors, matrices and tensors, all made of one contraction."""

import math
from collections.abc import Sequence
from typing import Any

from chainrule.engine.functions.axes import method, one_axis
from chainrule.engine.functions.creation import arange
from chainrule.engine.functions.reductions import sum as sum_over
from chainrule.engine.functions.shapes import broadcast_to, permute_dims, reshape, squeeze
from chainrule.engine.graph import broadcast_shapes
from chainrule.engine.op import Op
from chainrule.engine.tensor import Tensor, apply, operands
from chainrule.errors import ArgumentError, ShapeError

_DIGITS = "0123456789"  # stand for the axes that `...` covers in a formula


@method
def matmul(x1: Any, x2: Any, /) -> Tensor:
    """The matrix product: (..., n, k) @ (..., k, m) -> (..., n, m); a vector counts as a row or a column."""
    left, right = operands(x1, x2)
    if not left.ndim or not right.ndim:
        raise ShapeError(f"matmul: {left.shape} @ {right.shape}: scalars have no matrix product; use *.")
    a = reshape(left, (1, -1)) if left.ndim == 1 and left.size else left if left.ndim > 1 else reshape(left, (1, 0))
    b = right if right.ndim > 1 else reshape(right, (right.size, 1))
    product = apply(Op.MATMUL, a, b)
    gone = [axis for axis, vector in ((-2, left.ndim == 1), (-1, right.ndim == 1)) if vector]
    return squeeze(product, axis=tuple(gone)) if gone else product


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The sum of products along `axis`, which must be equally long in both; the other axes broadcast."""
    left, right = operands(x1, x2)
    if not left.ndim or not right.ndim:
        raise ShapeError(f"vecdot: {left.shape} and {right.shape}: scalars have no axis to sum along.")
    lengths = [tensor.shape[one_axis(axis, tensor.ndim, "vecdot")] for tensor in (left, right)]
    if lengths[0] != lengths[1]:
        raise ShapeError(f"vecdot: {left.shape} and {right.shape} differ along axis {axis}.")
    return sum_over(left * right, axis=axis, dtype=left.dtype)


def tensordot(x1: Any, x2: Any, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The sum of products over several axes: the last `axes` of `x1` with the first of `x2`, or those named."""
    left, right = operands(x1, x2)
    if isinstance(axes, int):
        if not 0 <= axes <= min(left.ndim, right.ndim):
            raise ArgumentError(f"tensordot: cannot contract {axes} axes of {left.shape} and {right.shape}.")
        first, second = list(range(left.ndim - axes, left.ndim)), list(range(axes))
    else:
        first = [one_axis(axis, left.ndim, "tensordot") for axis in axes[0]]
        second = [one_axis(axis, right.ndim, "tensordot") for axis in axes[1]]
    if [left.shape[axis] for axis in first] != [right.shape[axis] for axis in second]:
        raise ShapeError(f"tensordot: {left.shape} and {right.shape} differ along the axes {first} and {second}.")
    rows = [axis for axis in range(left.ndim) if axis not in first]
    columns = [axis for axis in range(right.ndim) if axis not in second]
    inner = math.prod(left.shape[axis] for axis in first)
    outer = tuple(left.shape[axis] for axis in rows), tuple(right.shape[axis] for axis in columns)
    a = reshape(permute_dims(left, [*rows, *first]), (math.prod(outer[0]), inner))
    b = reshape(permute_dims(right, [*second, *columns]), (inner, math.prod(outer[1])))
    return reshape(apply(Op.MATMUL, a, b), (*outer[0], *outer[1]))


def einsum(subscripts: str, /, *arrays: Any) -> Tensor:
    """Einstein's sum. Letters that are not in the result are summed; `...` stands for any axes, which broadcast.

    Works two operands at a time from the left; each pair is one batched matrix product.

    >>> einsum("...ij,jk->...ik", [[[1.0, 2.0]]], [[3.0], [4.0]]).tolist()
    [[[11.0]]]
    """
    text = subscripts.replace(" ", "")
    left_side, arrow, result = text.partition("->")
    terms = left_side.split(",")
    if len(terms) != len(arrays) or not arrays:
        raise ArgumentError(f"einsum: {subscripts!r} names {len(terms)} operands, but {len(arrays)} were given.")
    if not all(part.replace("...", "", 1).isalpha() or part in ("", "...") for part in (*terms, result)):
        raise ArgumentError(f"einsum: {subscripts!r} may hold letters, '...', commas and one '->' only.")
    if not arrow:
        letters = left_side.replace("...", "").replace(",", "")
        alone = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        result = "".join(["..." if "..." in left_side else "", *alone])
    tensors = operands(*arrays)
    terms, result, tensors = _without_dots(subscripts, terms, result, tensors)
    if len(set(result)) != len(result) or not set(result) <= set("".join(terms)):
        raise ArgumentError(f"einsum: the result of {subscripts!r} must name letters of the operands, each once.")
    lengths = _lengths(subscripts, terms, tensors)
    current, letters = _diagonal(tensors[0], terms[0])
    for position in range(1, len(tensors)):
        needed = set(result).union(*terms[position + 1 :])
        other, other_letters = _diagonal(tensors[position], terms[position])
        current, letters = _contract_pair(current, letters, other, other_letters, needed, lengths)
    current, letters = _summed(current, letters, set(result))
    return permute_dims(current, [letters.index(letter) for letter in result])


def _without_dots(
    subscripts: str, terms: list[str], result: str, tensors: list[Tensor]
) -> tuple[list[str], str, list[Tensor]]:
    """`...` written as digits, the last axis that it covers being 0; what they cover stretched to one shape."""
    covered: list[tuple[int, ...]] = []
    for term, tensor in zip(terms, tensors, strict=True):
        count = tensor.ndim - len(term.replace("...", ""))
        if "..." in term and count >= 0:
            start = term.index("...")
            covered.append(tensor.shape[start : start + count])
    shape = broadcast_shapes(f"einsum {subscripts!r}", *covered)
    if len(shape) > len(_DIGITS):
        raise ArgumentError(f"einsum: '...' in {subscripts!r} covers {len(shape)} axes; it may cover {len(_DIGITS)}.")
    stretched, named = [], []
    for term, tensor in zip(terms, tensors, strict=True):
        count = max(0, tensor.ndim - len(term.replace("...", ""))) if "..." in term else 0
        start = term.find("...")
        wide = (*tensor.shape[:start], *shape[len(shape) - count :], *tensor.shape[start + count :])
        stretched.append(broadcast_to(tensor, wide) if count else tensor)
        named.append(term.replace("...", _DIGITS[:count][::-1]))
    return named, result.replace("...", _DIGITS[: len(shape)][::-1]), stretched


def _summed(x: Tensor, letters: str, needed: set[str]) -> tuple[Tensor, str]:
    """`x` summed over the letters that nobody needs."""
    axes = tuple(axis for axis, letter in enumerate(letters) if letter not in needed)
    rest = "".join(letter for letter in letters if letter in needed)
    return (apply(Op.SUM, x, axes=axes) if axes else x), rest


def _lengths(subscripts: str, terms: list[str], tensors: list[Tensor]) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for term, tensor in zip(terms, tensors, strict=True):
        if len(term) != tensor.ndim:
            raise ShapeError(f"einsum: {term!r} in {subscripts!r} does not fit the shape {tensor.shape}.")
        for letter, length in zip(term, tensor.shape, strict=True):
            if lengths.setdefault(letter, length) != length:
                raise ShapeError(f"einsum: {letter!r} in {subscripts!r} is {lengths[letter]} and {length} long.")
    return lengths


def _diagonal(x: Tensor, letters: str) -> tuple[Tensor, str]:
    """A letter that stands twice in one operand takes its diagonal."""
    for letter in sorted(set(letters)):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            length = x.shape[first]
            rest = [axis for axis in range(x.ndim) if axis not in (first, second)]
            square = permute_dims(x, [first, second, *rest])
            flat = reshape(square, (length * length, *square.shape[2:]))
            diagonal = arange(0, length * length, length + 1)
            x = apply(Op.TAKE, flat, diagonal, axis=0)
            letters = letter + "".join(letters[axis] for axis in rest)
    return x, letters


def _contract_pair(
    a: Tensor, a_letters: str, b: Tensor, b_letters: str, needed: set[str], lengths: dict[str, int]
) -> tuple[Tensor, str]:
    """One batched matrix product of two operands, over the letters that nobody needs afterwards."""
    a, a_letters = _summed(a, a_letters, needed | set(b_letters))
    b, b_letters = _summed(b, b_letters, needed | set(a_letters))
    shared = [letter for letter in a_letters if letter in b_letters]
    batch = [letter for letter in shared if letter in needed]
    inner = [letter for letter in shared if letter not in needed]
    rows = [letter for letter in a_letters if letter not in shared]
    columns = [letter for letter in b_letters if letter not in shared]

    def arranged(x: Tensor, letters: str, *groups: list[str]) -> Tensor:
        order = [letters.index(letter) for group in groups for letter in group]
        return reshape(permute_dims(x, order), [math.prod(lengths[letter] for letter in group) for group in groups])

    product = apply(
        Op.MATMUL, arranged(a, a_letters, batch, rows, inner), arranged(b, b_letters, batch, inner, columns)
    )
    letters = [*batch, *rows, *columns]
    return reshape(product, [lengths[letter] for letter in letters]), "".join(letters)
