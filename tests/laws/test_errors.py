"""Law: every error of ours has its place in one tree, can be caught by its root, and is raised with a sentence."""

import ast
import inspect

import pytest

import chainrule as cr
from chainrule import errors
from laws.sources import NAMES, SOURCES, Source

OURS = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
BUILT_IN = {"ValueError", "TypeError", "RuntimeError", "Exception", "KeyError", "IndexError", "AssertionError"}
# Functions that another library calls for us, and whose errors their caller turns into ours.
CALLED_BACK = {"chainrule.data.tables._refuse_constant"}


@pytest.mark.parametrize("name", OURS)
def test_an_error_is_in_the_tree_and_public(name: str) -> None:
    assert issubclass(OURS[name], cr.ChainruleError)
    assert name in errors.__doc__
    assert getattr(cr, name) is OURS[name]
    assert OURS[name].__doc__


@pytest.mark.parametrize("name", OURS)
def test_the_tree_tells_what_else_an_error_is(name: str) -> None:
    (row,) = [line for line in errors.__doc__.splitlines() if line.strip(" ├└─").startswith(name)]
    for other in (ValueError, TypeError):
        assert (f"also a {other.__name__}" in row) == issubclass(OURS[name], other)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_no_built_in_error_is_raised_on_purpose(source: Source) -> None:
    functions = [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef)]
    excused = {node for f in functions if f"{source.name}.{f.name}" in CALLED_BACK for node in ast.walk(f)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Raise) and node.exc is not None and node not in excused:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            assert ast.unparse(raised) not in BUILT_IN, f"{source.name}, line {node.lineno}: raise an error of ours"
