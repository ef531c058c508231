"""A command line that runs inside the test: what it printed, and its status."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from chainrule.app.cli.main import run


class Ran(NamedTuple):
    """The status of a command and what it wrote."""

    status: int
    out: str
    err: str


Chainrule = Callable[..., Ran]


@pytest.fixture
def chainrule(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chainrule:
    """`chainrule("train", "iris")` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        status = run([str(each) for each in arguments])
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def iris_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs on iris."""
    folder = tmp_path_factory.mktemp("run") / "iris"
    assert run(["train", "iris", "--epochs", "3", "--quiet", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 small grey images: bright left halves, and bright right halves."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(5)
    root = tmp_path_factory.mktemp("images") / "shapes"
    for name, bright in (("left", slice(0, 4)), ("right", slice(4, 8))):
        (root / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 90, (8, 8))
            pixels[:, bright] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root
