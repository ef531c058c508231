"""The switch on which executor the tests of the engine run: `pytest --executor compiled`."""

import pytest

from chainrule.engine import reference, tensor
from engine import native_ops


@pytest.fixture(autouse=True)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The executor that eager work goes to, "numpy" or "compiled"."""
    name = str(request.config.getoption("--executor"))
    if name == "compiled":
        for module in (tensor, reference):
            monkeypatch.setattr(module, "evaluate", native_ops.evaluate)
    return name
