"""Products compiled alone for a matrix unit, and where to look whether they are right."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from chainrule.engine import native
from chainrule.engine.kernels import unit
from chainrule.engine.kernels.plan import Product
from chainrule.engine.kernels.unit import Unit
from chainrule.engine.target import Target, _detected, named
from engine.products import UNTOUCHED, Compiled, Guarded, compiled


def always_on_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is used for products of any size, also where vectors would be faster; all code is made anew, and not
    kept, as another test may have it made in another way."""
    monkeypatch.setattr(unit, "_cycles", lambda left, right: 0)
    monkeypatch.setattr(native, "_engines", OrderedDict())
    monkeypatch.setattr(native, "_known", lambda key, target: None)
    monkeypatch.setattr(native, "keep", lambda key, content: None)


def on_this_machine() -> Target:
    """The kind with a matrix unit, made for this machine."""
    here = _detected()
    return replace(named("amx"), triple=here.triple, cpu=here.cpu, features=here.features)


TARGETS = {
    "amx": on_this_machine(),
    "small caches": replace(on_this_machine(), second_cache=65536),  # operands are kept in parts
}


def operand(rng: np.random.Generator, shape: Sequence[int], turned: bool) -> Guarded:
    """Normal numbers, row after row or (`turned`) column after column, with gaps."""
    *batch, rows, columns = shape
    strides = [1, rows + 3] if turned else [columns + 5, 1]
    span = (rows + 3) * columns if turned else (columns + 5) * rows
    for length in reversed(batch):
        strides, span = [span, *strides], span * length
    found = Guarded(shape, strides, np.dtype(np.float32))
    found.view[...] = rng.standard_normal(shape)
    return found


def product(
    shape: tuple[int, int, int],
    target: Target,
    *,
    batch: tuple[int, ...] = (),
    turned: tuple[bool, bool] = (False, False),
    seed: int = 0,
    **how: bool,
) -> Compiled:
    """A compiled product of (rows, depth, columns), which is known to run on the unit."""
    rng, (rows, depth, columns) = np.random.default_rng(seed), shape
    left = operand(rng, (*batch, rows, depth), turned[0])
    made = compiled(left, operand(rng, (*batch, depth, columns), turned[1]), target, **how)
    assert Unit.of(Product.of(made.contraction), target)
    return made


def run(made: Compiled, threads: int, *, kept: bool, finished: bool) -> list[np.ndarray]:
    """What was written: the product, and the product plus the bias; nothing else was touched."""
    for array in (made.result, made.other):
        array.view[...] = UNTOUCHED
    made.run(threads)
    for array in (made.left, made.right, made.result, made.other):
        assert (array.guards() == UNTOUCHED).all()
    return [array.view.copy() for array, there in ((made.result, kept), (made.other, finished)) if there]


def exact(made: Compiled) -> tuple[np.ndarray, np.ndarray]:
    """The product in float64, and that of the absolute values, of which rounding is a fraction."""
    left, right = (array.view.astype(np.float64) for array in (made.left, made.right))
    return left @ right, np.abs(left) @ np.abs(right)
