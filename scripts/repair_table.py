"""Mend every fault of tests/look/faults/repairable.py, and write the table of docs/repair.md with the outcome.

Run from the root: python scripts/repair_table.py [--check]; with --check the page is not written.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chainrule.look.remedies.table import REMEDIES  # noqa: E402
from chainrule.look.remedies.views import value_text  # noqa: E402
from look.faults.repairable import FAULTS  # noqa: E402  # the path must be there first

PAGE = ROOT / "docs" / "repair.md"
MARKS = {name: (f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in ("table", "remedies")}


def faults_table() -> str:
    """One line a fault: what was changed, and the metric before, after, and of the same task without the fault."""
    lines = [
        "| fault | set | metric | with the fault | repaired | without the fault | what was changed |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for fault in FAULTS:
        fixed, best = fault.faulty().repair(), fault.best()
        name = list(fixed.after)[-1]
        figures = " | ".join(value_text(each[name]) for each in (fixed.before, fixed.after, best))
        changes = "; ".join(trial.change for trial in fixed.kept) or "nothing"
        lines.append(f"| {fault.name} | {fault.set} | {name} | {figures.replace('none', 'fails')} | {changes} |")
        print(lines[-1])
    return "\n".join(lines)


def remedies_table() -> str:
    """One line a rule: its remedies, the first tried first."""
    lines = ["| rule | what is tried |", "| --- | --- |"]
    for rule, remedies in REMEDIES.items():
        tried = " ".join(f"{number}. {_about(remedy)}" for number, remedy in enumerate(remedies, 1))
        lines.append(f"| [{rule}](diagnosis.md#{rule}) | {tried} |")
    return "\n".join(lines)


def _about(remedy: object) -> str:
    """The first paragraph of a remedy's docstring, with the numbers in place of their names."""
    about = " ".join((remedy.__doc__ or "").split("\n\n")[0].split())
    module = sys.modules[remedy.__module__]
    for name in [name for name in vars(module) if name.isupper() and not name.startswith("_")]:
        about = about.replace(f"`{name}`", f"{getattr(module, name)}")
    return about


def main() -> None:
    """Make the tables and the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="only mend, and print the table")
    only_check = arguments.parse_args().check
    tables = {"table": faults_table(), "remedies": remedies_table()}
    if only_check:
        return
    text = PAGE.read_text(encoding="utf-8")
    for name, (begin, end) in MARKS.items():
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{tables[name]}\n\n{end}{after}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
