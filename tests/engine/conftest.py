"""The switch on which executor the tests of the engine run: `pytest --executor compiled tests/engine`."""

from pathlib import Path

import pytest

from chainrule.engine import reference, tensor
from engine import native_ops

# Tests of the compiler itself, which run on machine code in any case.
_COMPILED_ANYWAY = "cache compile compile_cases compile_random contraction emit fuse loop mathematics memory program "
_COMPILED_ANYWAY += "simplify team unit unit_plan"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what the switch does not change."""
    ignored = config.getoption("--executor") == "compiled" and collection_path.name.startswith("test_")
    return True if ignored and collection_path.stem.removeprefix("test_") in _COMPILED_ANYWAY.split() else None


@pytest.fixture(autouse=True)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The executor that eager work goes to, "numpy" or "compiled"."""
    name = str(request.config.getoption("--executor"))
    if name == "compiled":
        for module in (tensor, reference):
            monkeypatch.setattr(module, "evaluate", native_ops.evaluate)
    return name
