"""The switch on which executor the tests of the engine run: `pytest --executor compiled`."""

import pytest

from chainrule.engine import tensor
from engine import native_ops


@pytest.fixture(autouse=True)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The executor that eager work goes to, "numpy" or "compiled"."""
    name = str(request.config.getoption("--executor"))
    if name == "compiled":
        monkeypatch.setattr(tensor, "evaluate", native_ops.evaluate)
    return name
