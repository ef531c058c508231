"""Ask `diagnose` about every seeded fault and every healthy network, and write docs/diagnosis.md with the outcome.

Run from the root: python scripts/diagnosis_table.py [--check]; with --check the page is not written.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chainrule.look.diagnosis.manual import manual  # noqa: E402
from look.faults import healthy, seeded  # noqa: E402  # the path must be there first

PAGE = ROOT / "docs" / "diagnosis.md"
BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"
TABLE, TABLE_END = "<!-- table: begin -->", "<!-- table: end -->"


def faults_table() -> tuple[list[str], int, int]:
    """One line a fault, and how many seeded networks had the right rule first or second."""
    lines = ["| fault | rule | sets | found first or second |", "| --- | --- | --- | ---: |"]
    found_all, asked_all = 0, 0
    for fault in seeded.FAULTS:
        cases = [case for case in seeded.cases() if case.fault is fault]
        found = 0
        for case in cases:
            rules = case.asked().diagnose().rules[:2]
            hit = bool(set(rules) & set(fault.rules))
            found += hit
            if not hit:
                print(f"missed: {case.id}: {rules}")
        lines.append(
            f"| {fault.name} | {' or '.join(fault.rules)} | {', '.join(fault.sets)} | {found} of {len(cases)} |"
        )
        found_all, asked_all = found_all + found, asked_all + len(cases)
    return lines, found_all, asked_all


def healthy_table() -> list[str]:
    """How many of the healthy networks got an error, a warning or a hint."""
    counts: Counter[str] = Counter()
    cases = healthy.cases()
    for case in cases:
        findings = case.asked().diagnose()
        for severity in ("error", "warning", "hint"):
            counts[severity] += bool(findings.of(severity))
        if findings.of("error") or findings.of("warning"):
            print(f"false alarm: {case.id}: {findings.rules}")
    lines = ["| healthy networks | with an error | with a warning | with a hint |", "| ---: | ---: | ---: | ---: |"]
    return [*lines, f"| {len(cases)} | {counts['error']} | {counts['warning']} | {counts['hint']} |"]


def replaced(text: str, begin: str, end: str, inside: str) -> str:
    """`text` with something else between two marks."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{inside}\n\n{end}{after}"


def main() -> None:
    """Make the table and the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="only ask, and print the table")
    lines, found, asked = faults_table()
    share = f"The right rule stands first or second for {found} of {asked} faulty networks ({found / asked:.1%})."
    table = "\n".join([share, "", *lines, "", *healthy_table()])
    if arguments.parse_args().check:
        print(table)
        return
    text = PAGE.read_text(encoding="utf-8")
    text = replaced(text, BEGIN, END, manual().rstrip())
    PAGE.write_text(replaced(text, TABLE, TABLE_END, table), encoding="utf-8")
    print(share)


if __name__ == "__main__":
    main()
