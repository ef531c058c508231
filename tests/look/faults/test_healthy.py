"""Nothing is said of healthy networks, and nothing of them is changed.

All of them, not every second, are asked about in scripts/diagnosis_table.py.
"""

import numpy as np
import pytest

import chainrule as cr
from look.faults.healthy import Healthy, cases

CHOSEN = cases()[::2]


def test_there_are_enough_healthy_networks() -> None:
    assert len(cases()) >= 40


@pytest.mark.parametrize("healthy", CHOSEN, ids=lambda healthy: healthy.id)
def test_a_healthy_network_gets_no_error_and_no_warning(healthy: Healthy) -> None:
    findings = healthy.asked().diagnose()
    assert not findings.of("error"), str(findings)
    assert not findings.of("warning"), str(findings)


@pytest.mark.parametrize("healthy", CHOSEN[:12], ids=lambda healthy: healthy.id)
def test_diagnosis_leaves_everything_as_it_was(healthy: Healthy) -> None:
    asked = healthy.asked()
    optimizer = asked.more.get("optimizer")
    before = {name: value.copy() for name, value in asked.net.arrays().items()}
    modes = [module.training for module in asked.net.named_modules().values()]
    drawn = cr.random.default().counter.item()
    steps = None if not isinstance(optimizer, cr.optim.Adam) else (optimizer.step_count.item(), len(optimizer._slots))
    inputs = [part.copy() for part in asked.data]
    asked.diagnose()
    after = asked.net.arrays()
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    assert [module.training for module in asked.net.named_modules().values()] == modes
    assert cr.random.default().counter.item() == drawn
    if steps is not None:
        assert (optimizer.step_count.item(), len(optimizer._slots)) == steps
    for part, copy in zip(asked.data, inputs, strict=True):
        np.testing.assert_array_equal(part, copy)
