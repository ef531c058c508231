"""All rules, from causes to symptoms: what stands earlier comes first among findings of equal severity."""

from chainrule.look.diagnosis import curves, flow, inputs, labels, start, wiring
from chainrule.look.diagnosis.registry import Rule

FAMILIES: dict[str, tuple[Rule, ...]] = {
    "Inputs": inputs.RULES,
    "Targets": labels.RULES,
    "Wiring": wiring.RULES,
    "Start": start.RULES,
    "Flow": flow.RULES,
    "Run": curves.RULES,
}
ALL: tuple[Rule, ...] = tuple(rule for rules in FAMILIES.values() for rule in rules)
