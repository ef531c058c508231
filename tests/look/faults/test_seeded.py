"""Each seeded fault is found by the right rule, first or second.

One network a fault; the whole matrix is asked about in scripts/diagnosis_table.py.
"""

import pytest

from look.faults import seeded
from look.faults.seeded import FAULTS, Case, Fault, cases

# One network a fault: the second architecture in the first set for even places, the first in the second set for odd.
CHOSEN = [
    Case(fault, fault.sets[place % 2], fault.builds[1 - place % 2]) for place, fault in enumerate(FAULTS)
]  # fmt: skip


def test_there_are_enough_faults_each_in_two_sets_and_two_architectures() -> None:
    assert len(FAULTS) >= 40
    assert len(cases()) >= 160
    for fault in FAULTS:
        assert len(set(fault.sets)) == 2, fault.name
        assert len(set(fault.builds)) == 2, fault.name


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.id)
def test_the_right_rule_stands_first_or_second(case: Case) -> None:
    findings = case.asked().diagnose()
    assert set(findings.rules[:2]) & set(case.fault.rules), str(findings)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
def test_the_rules_named_by_a_fault_exist(fault: Fault) -> None:
    assert set(fault.rules) <= {rule.name for rule in seeded.ALL}
