"""Laws: what a stage hands on never changes, and what does change has one owner with a name."""

import ast
import importlib
from contextvars import ContextVar
from types import FunctionType

import numpy as np
import pytest

from laws.sources import NAMES, SOURCES, Source

# Objects of a whole process that change while a program runs, and why each may.
OWNERS = {
    "chainrule.engine.random._default": "the stream that chainrule.random draws from",
    "chainrule.engine.context.modes": "whether a network is in training",
    "chainrule.train.examination.door": "who examines finished runs: set once, when the package is imported",
    "chainrule.engine.context.places": "which arrays hold the values of states",
    "chainrule.train.steps._forward": "compiled networks, as long as they live",
    "chainrule.engine.room._rooms": "a large page of memory that is not full yet",
    "chainrule.engine.run._runs": "what programs hold, to be made anew in a forked child",
    "chainrule.engine.llvm.loading": "a lock: nobody begins to load LLVM while the process forks",
    "chainrule.engine.llvm._loaders": "the thread that loads LLVM",
    "chainrule.engine.forking.building": "a lock: one module is built at a time, and nobody forks meanwhile",
    "chainrule.engine.native._engines": "machine code that is loaded",
    "chainrule.engine.native._ahead": "threads that compile what will be asked for soon",
    "chainrule.engine.team._teams": "threads that wait for work",
    "chainrule.engine.team._alone": "the code that one thread runs, made once",
}
CONSTANT = (FunctionType, type, np.dtype, ContextVar, str, int, float, type(None))


@pytest.mark.parametrize("source", [s for s in SOURCES if s.folder == "engine"], ids=lambda source: source.name)
def test_values_between_stages_are_frozen(source: Source) -> None:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator.startswith(("dataclass", "record")):
                    assert "frozen=True" in decorator, f"{source.name}.{node.name} can be changed"


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_no_function_changes_a_global_name(source: Source) -> None:
    for node in ast.walk(source.tree):
        assert not isinstance(node, ast.Global), f"{source.name}, line {node.lineno}: give it an owner"


@pytest.mark.parametrize("source", [s for s in SOURCES if s.folder != "app"], ids=lambda source: source.name)
def test_what_changes_in_a_module_is_named_here(source: Source) -> None:
    module = importlib.import_module(source.name)
    for statement in source.tree.body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        for name in [target.id for target in targets if isinstance(target, ast.Name)]:
            is_table = name.strip("_").isupper() or name == "__all__"
            path = f"{source.name}.{name}"
            if not is_table and hasattr(module, name) and not isinstance(getattr(module, name), CONSTANT):
                is_alias = getattr(type(getattr(module, name)), "__module__", "") in (
                    "typing",
                    "types",
                    "collections.abc",
                )
                assert is_alias or path in OWNERS, (
                    f"{path} is a {type(getattr(module, name)).__name__} without an owner"
                )


def test_every_owner_is_still_there() -> None:
    for path in OWNERS:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"{path} is gone"
