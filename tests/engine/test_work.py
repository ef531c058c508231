"""Which kernels threads share: those with much work, and those whose operand lies in the caches of them all."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.program import Program
from chainrule.engine.target import named
from chainrule.engine.trace import trace


def alone(f, *arrays: np.ndarray) -> list[bool]:
    """For each kernel whether one thread does it."""
    return [call.turn.alone for call in Program(trace(f, *arrays), named("avx512")).module.calls]


@pytest.mark.parametrize(("rows", "expected"), [(512, False), (100, True)])
def test_rows_that_threads_have_made_are_read_by_those_threads(rows: int, expected: bool) -> None:
    """The second product is little work; but the first leaves its rows with the threads that made them."""
    x, w, v = np.zeros((rows, 512)), np.zeros((512, 64)), np.zeros((64, 1))
    first, second = alone(lambda x, w, v: cr.tanh(x @ w) @ v, x, w, v)
    assert not first
    assert second is expected
    assert alone(lambda h, v: h @ v, np.zeros((rows, 64)), v) == [True]  # here nobody has made them


def test_columns_of_what_threads_have_made_by_rows_are_one_threads_work() -> None:
    """Each thread would need what all the others have made."""
    x, w = np.zeros((100, 512), "f"), np.zeros((512, 200), "f")
    first, second = alone(lambda x, w: cr.max(x @ w, axis=0), x, w)
    assert not first
    assert second
