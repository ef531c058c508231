"""The executor of `--executor compiled` itself."""

import numpy as np
import pytest

from chainrule.engine.op import Op
from engine import native_ops


def test_so_many_programs_are_kept_and_the_one_used_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_ops, "_programs", {})
    monkeypatch.setattr(native_ops, "_KEPT", 3)
    for length in (1, 2, 3, 1, 4):
        found = native_ops.evaluate(Op.NEG, [np.ones(length, "f")], {})
        np.testing.assert_array_equal(found, -np.ones(length))
    lengths = [shape[0] for (_, ((shape, _),), _) in native_ops._programs]
    assert lengths == [3, 1, 4]
