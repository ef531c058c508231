"""Law: imports go one way, there are no cycles, and no import hides in a function but for a heavy library."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from laws.sources import NAMES, SOURCES, Source

LAYERS = ["errors", "engine", "nn", "data", "train", "look", "interop", "app"]
# What may be imported inside the function that needs it: everything that would make `import chainrule` slow or fail.
# Two parts of ours: what runs programs hangs on `chainrule.engine.program`, which only compiling needs, and the whole
# compiler on `chainrule.engine.stages`, which is not needed where the recipe of a program is kept.
HEAVY = {
    "chainrule.engine.program",
    "chainrule.engine.stages",
    "polars",
    "sklearn",
    "PIL",
    "rich",
    "matplotlib",
    "typer",
    "safetensors",
    "llvmlite",
    "torch",
    "jax",
}


def statements(tree: ast.AST, *, for_types: bool) -> Iterator[ast.AST]:
    """Every node under `tree`, without what only a type checker reads unless `for_types` asks for it."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if for_types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from statements(node, for_types=for_types)


def imported(tree: ast.AST, *, for_types: bool = True) -> Iterator[str]:
    """The dotted names that the import statements under `tree` name, modules and their attributes alike."""
    for node in statements(tree, for_types=for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not used here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_of_ours(source: Source, *, for_types: bool = True) -> set[str]:
    """The modules of the package that `source` imports: for each import the longest name that is a module."""
    found = set()
    for name in imported(source.tree, for_types=for_types):
        while name.startswith("chainrule") and name not in NAMES:
            name = name.rpartition(".")[0]
        if name in NAMES:
            found.add(name)
    return found - {source.name}


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_folder_imports_only_from_those_before_it(source: Source) -> None:
    if source.folder == "":
        return  # the package itself names everything
    assert source.folder in LAYERS, f"{source.folder} has no place in the order of the folders"
    place = LAYERS.index(source.folder)
    for name in modules_of_ours(source):
        assert name != "chainrule", f"{source.name} imports the whole package: name the module instead"
        assert LAYERS.index(name.split(".")[1]) <= place, f"{source.name} must not import {name}"


def test_modules_import_each_other_without_cycles() -> None:
    # A package imports its own modules to export them; they may not import it back. A name for a type is no import.
    graph = {source.name: modules_of_ours(source, for_types=False) for source in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_functions_import_only_heavy_libraries(source: Source) -> None:
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            light = {name for name in imported(function) if not {name.split(".")[0], name.rpartition(".")[0]} & HEAVY}
            assert not light, f"{source.name}.{function.name} imports {light}: move it to the top of the file"
