"""Law: a file says in its name what it is about, and in its first sentence what it does."""

import ast

import pytest

from laws.sources import NAMES, PACKAGE, SOURCES, Source

SAY_NOTHING = {"utils", "util", "core", "base", "common", "helpers", "helper", "misc", "tools", "lib"}


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    for path in PACKAGE.rglob("*"):
        words = set(path.stem.lower().strip("_").split("_"))
        assert not words & SAY_NOTHING, f"{path.relative_to(PACKAGE)}: name it for its subject"


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_module_opens_with_what_it_does(source: Source) -> None:
    assert ast.get_docstring(source.tree), f"{source.name} has no docstring"
