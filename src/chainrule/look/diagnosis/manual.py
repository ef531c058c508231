"""The manual: a page for every rule, made from its declaration."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.look.diagnosis.registry import SHARE, Rule
from chainrule.look.diagnosis.rules import ALL, FAMILIES

_WHEN = {
    ("before",): "of data and network, before a run and after it",
    ("before", "during"): "before a run, and again once there is a history",
    ("during",): "of the history of a run",
    ("after",): "of the history of a run, about how it ended",
}


def manual() -> str:
    """All rules as Markdown, by family, in the order from causes to symptoms."""
    parts = [_moments()]
    for family, rules in FAMILIES.items():
        parts.append(f"## {family}\n")
        parts += [page(rule) for rule in rules]
    return "\n".join(parts)


def _moments() -> str:
    """Which rules are asked when."""
    lines = ["## When each is asked", "", "| rule | without a history | with one | at the end of `fit` |"]
    lines += ["| --- | --- | --- | --- |"]
    for rule in ALL:
        before = "yes" if "before" in rule.phases else "no"
        later = "no" if rule.fresh else {"after": "how it ended"}.get(rule.phases[0], "yes")
        passing = "no" if rule.fresh else f"after {round(rule.cost / SHARE):,} examples" if rule.cost else "yes"
        lines.append(f"| [{rule.name}](#{rule.name}) | {before} | {later} | {passing} |")
    return "\n".join(lines) + "\n"


def page(rule: Rule) -> str:
    """One rule as Markdown."""
    return "\n".join(_lines(rule)) + "\n"


def _lines(rule: Rule) -> Iterator[str]:
    yield from (f"### {rule.name}", "", f"{rule.looks_for} {rule.why}", "")
    yield f"Asked {'of a network that was not trained yet' if rule.fresh else _WHEN[rule.phases]}."
    if rule.cost:
        runs = f"{round(rule.cost / SHARE):,}"
        yield f"At the end of `fit` asked of runs that learned from {runs} examples and more."
    if rule.thresholds:
        yield from ("", "| threshold | of what | source |", "| ---: | --- | --- |")
        yield from (f"| {each.value:g} | {each.bounds} | {each.source} |" for each in rule.thresholds)
    causes = [other.name for other in ALL if rule.name in other.explains]
    if rule.explains:
        yield from ("", f"Explains: {_links(rule.explains)}.")
    if causes:
        yield from ("", f"May come from: {_links(causes)}.")


def _links(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"[{name}](#{name})" for name in names)
