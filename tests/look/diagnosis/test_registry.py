"""Rules are declarations: named alike, sourced, ordered from causes to symptoms, and each has a page."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from chainrule.look.diagnosis.finding import PHASES, SEVERITIES, Finding
from chainrule.look.diagnosis.manual import manual
from chainrule.look.diagnosis.registry import Rule, ordered
from chainrule.look.diagnosis.rules import ALL
from look.faults.seeded import FAULTS

PAGE = Path(__file__).parents[3] / "docs" / "diagnosis.md"
NAMES = [rule.name for rule in ALL]


@pytest.mark.parametrize("rule", ALL, ids=NAMES)
def test_a_rule_says_what_why_when_and_from_where(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert rule.looks_for.endswith(".")
    assert rule.why.endswith(".")
    assert rule.phases
    assert set(rule.phases) <= set(PHASES)
    assert rule.thresholds
    for threshold in rule.thresholds:
        assert threshold.bounds
        assert (
            "ours" in threshold.source
            or "definition" in threshold.source
            or re.search(r"\d{4}|SageMaker", threshold.source)
        )
    assert set(rule.explains) <= set(NAMES)


def test_names_are_unique_and_no_rule_explains_itself_in_a_circle() -> None:
    assert len(set(NAMES)) == len(NAMES)
    tuple(TopologicalSorter({rule.name: rule.explains for rule in ALL}).static_order())


def test_every_rule_is_tested_with_a_network_that_has_the_fault() -> None:
    first = {fault.rules[0] for fault in FAULTS} | {rule for fault in FAULTS for rule in fault.rules}
    assert set(NAMES) == first


def finding(rule: str, severity: str) -> Finding:
    return Finding(rule, severity, "", "", {}, "", "before")


def test_the_gravest_come_first_and_a_cause_before_its_symptom() -> None:
    found = [
        finding("constant-columns", "hint"),
        finding("loss-not-finite", "error"),
        finding("dead-relu", "warning"),
        finding("inputs-not-scaled", "warning"),
        finding("output-width", "error"),
    ]
    result = ordered(found, ALL)
    assert [each.rule for each in result] == [
        "inputs-not-scaled", "output-width", "loss-not-finite", "dead-relu", "constant-columns",
    ]  # fmt: skip
    assert [each.because for each in result] == ["", "", "inputs-not-scaled", "inputs-not-scaled", ""]
    assert {each.severity for each in result} == set(SEVERITIES)


def test_the_page_holds_the_manual_and_every_rule() -> None:
    text = PAGE.read_text(encoding="utf-8")
    inside = text.partition("<!-- rules: begin -->")[2].partition("<!-- rules: end -->")[0]
    assert inside.strip() == manual().strip(), "run scripts/diagnosis_table.py"


def test_the_table_of_the_page_is_of_these_faults() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for fault in FAULTS:
        assert f"| {fault.name} | {' or '.join(fault.rules)} |" in text, "run scripts/diagnosis_table.py"
    share = re.search(r"first or second for (\d+) of (\d+)", text)
    assert share is not None
    assert int(share[1]) >= 0.95 * int(share[2])
    table = re.search(r"\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|\n", text.partition("| healthy networks")[2])
    assert table is not None
    assert int(table[1]) >= 40
    assert int(table[2]) == 0
    assert int(table[3]) <= 2
