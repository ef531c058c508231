"""Law: a file stays under 500 lines and a function under 60, so that each can be read in one go."""

import ast

import pytest

from laws.sources import NAMES, SOURCES, Source

LONGEST_FILE = 500
LONGEST_FUNCTION = 60


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_file_is_short(source: Source) -> None:
    lines = len(source.text.splitlines())
    assert lines < LONGEST_FILE, f"{source.name} has {lines} lines: it has more than one subject"


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_functions_are_short(source: Source) -> None:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            opening = node.body[0] if ast.get_docstring(node) else None  # a long explanation is no long function
            lines = node.end_lineno - node.lineno + 1
            lines -= opening.end_lineno - opening.lineno + 1 if opening else 0
            assert lines < LONGEST_FUNCTION, f"{source.name}.{node.name} has {lines} lines"
