"""Law: what users import is named in one place, and everything named there explains itself."""

import ast
import importlib
import inspect
from collections.abc import Iterator

import pytest

import chainrule
from laws.sources import SOURCES

# The public names of the design. A name that is exported must explain itself; which exist is for its own tests to say.
PROMISED = {
    "chainrule": "asarray backpropagate grad value_and_grad vjp jvp jacobian hessian stop_gradient custom_gradient "
    "checkpoint check_gradients compile fit predict evaluate save load threads no_grad Tensor Parameter State "
    "NetworkClassifier NetworkRegressor",
    "chainrule.random": "seed uniform normal permutation",
    "chainrule.losses": "cross_entropy mean_squared_error",
    "chainrule.optim": "SGD Adam AdamW RMSprop Adagrad",
    "chainrule.nn": "Module Sequential Dense ReLU",
    "chainrule.look": "explain diagnose summary",
}


def resolved(path: str) -> object | None:
    """What the dotted path means to a user, or `None` where it does not exist."""
    found: object | None = chainrule
    for name in path.split(".")[1:]:
        found = getattr(found, name, None)
    return found


def public(path: str) -> Iterator[tuple[str, object]]:
    """The functions and classes of ours that a user finds under `path`."""
    place = resolved(path)
    for name in dir(place) if place else ():
        thing = getattr(place, name)
        ours = getattr(thing, "__module__", "").startswith("chainrule")
        if not name.startswith("_") and ours and (inspect.isclass(thing) or inspect.isfunction(thing)):
            yield f"{path}.{name}", thing


EXPORTED = dict(item for path in PROMISED for item in public(path))


@pytest.mark.parametrize("package", ["chainrule", "chainrule.nn", "chainrule.look"])
def test_a_package_only_names_what_others_define(package: str) -> None:
    source = next((source for source in SOURCES if source.name == package), None)
    if source is None:
        return  # not built yet: the folder has no file to look at
    for statement in source.tree.body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                ours = (statement.module or "").startswith("chainrule")
                assert alias.asname or package != "chainrule" or not ours, (
                    f"line {statement.lineno}: write `{alias.name} as {alias.name}`"
                )
        else:
            names = [getattr(target, "id", "") for target in getattr(statement, "targets", ())]
            named = isinstance(statement, ast.Assign) and set(names) <= {"__all__", "__version__"}
            # What is read only when it is used: named for type checkers, and found by the two functions of PEP 562.
            named |= isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
            named |= isinstance(statement, ast.FunctionDef) and statement.name in ("__getattr__", "__dir__")
            assert isinstance(statement, ast.Expr) or named, f"line {statement.lineno}: nothing is defined in {package}"


def test_what_is_read_when_first_used_is_there_and_listed() -> None:
    assert "look" in dir(chainrule)
    assert chainrule.look is importlib.import_module("chainrule.look")
    with pytest.raises(AttributeError, match="module 'chainrule' has no attribute 'nonsense'"):
        chainrule.nonsense  # noqa: B018


def test_the_public_names_that_exist_are_those_of_the_design() -> None:
    for path, names in PROMISED.items():
        place = resolved(path)
        for name in names.split():
            thing = getattr(place, name, None)
            assert thing is None or callable(thing), f"{path}.{name} is a {type(thing).__name__}: a module hides it?"


@pytest.mark.parametrize("path", EXPORTED)
def test_a_public_name_explains_itself(path: str) -> None:
    assert inspect.getdoc(EXPORTED[path]), f"{path} has no docstring"


@pytest.mark.parametrize("path", EXPORTED)
def test_a_public_name_can_be_found_where_it_says_it_is(path: str) -> None:
    thing = EXPORTED[path]
    module = importlib.import_module(thing.__module__)
    assert getattr(module, thing.__name__, None) is not None, f"{path} says it is {thing.__module__}.{thing.__name__}"
