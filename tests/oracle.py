"""Results of PyTorch and JAX to compare with: computed live where they are installed, else read from `recorded/`.

The recorded files are made by `pytest --record-oracles` with the versions that `requirements-oracles.lock` names.
"""

import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent
RECORDED = TESTS / "recorded"
LIVE = all(importlib.util.find_spec(name) for name in ("torch", "jax"))
Results = dict[str, np.ndarray]


def versions() -> str:
    """The versions that live results come from."""
    return f"torch {version('torch').partition('+')[0]}, jax {version('jax')}"


def read(path: Path) -> Results:
    """The arrays of one recorded file, with the `versions` that made them."""
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


class Oracle:
    """The results for the tests of one module."""

    def __init__(self, module: Path) -> None:
        self.path = RECORDED / module.relative_to(TESTS).with_suffix(".npz")
        self.fresh: Results = {}
        self.stored: Results = {} if LIVE or not self.path.exists() else read(self.path)

    def __call__(self, name: str, compute: Callable[[], Results]) -> Results:
        if LIVE:
            results = {key: np.asarray(value) for key, value in compute().items()}
            assert results, f"the oracle case {name} computes nothing"
            assert not any(key.startswith(f"{name}/") for key in self.fresh), f"two oracle cases are named {name}"
            self.fresh |= {f"{name}/{key}": value for key, value in results.items()}
            return results
        prefix = f"{name}/"
        results = {key.removeprefix(prefix): self.stored[key] for key in self.stored if key.startswith(prefix)}
        assert results, f"no recorded result for {name}: run `make oracles`, then pytest --record-oracles"
        return results

    def record(self) -> None:
        """Write what was computed live."""
        if self.fresh:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(self.path, versions=np.array(versions()), **self.fresh)


def recorded_versions() -> str:
    """The versions that the recorded results come from."""
    found = {str(read(path)["versions"]) for path in RECORDED.rglob("*.npz")}
    return " and ".join(sorted(found)) or "nothing: `make oracles` installs PyTorch and JAX"
