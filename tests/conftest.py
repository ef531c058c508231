"""Fixtures and options of the whole test suite."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

import chainrule as cr
from oracle import LIVE, Oracle, recorded_versions, versions

settings.register_profile("no wall-clock time", deadline=None)
settings.load_profile("no wall-clock time")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write texts that tests compare with anew")
    parser.addoption("--record-oracles", action="store_true", help="write the live results of PyTorch and JAX")
    parser.addoption(
        "--executor",
        choices=["numpy", "compiled"],
        default="numpy",
        help="what eager work of the engine's tests runs on",
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("CHAINRULE_CACHE", "off")  # while tests are collected: see `own_cache`
    if config.getoption("--record-oracles"):
        if not LIVE:
            raise pytest.UsageError("--record-oracles needs PyTorch and JAX: run `make oracles` first")
        if config.getoption("numprocesses", None) or config.getoption("keyword") or "::" in " ".join(config.args):
            raise pytest.UsageError("--record-oracles rewrites whole files: give it no -n, no -k, no single test")


def pytest_report_header() -> str:
    return f"oracles: live {versions()}" if LIVE else f"oracles: recorded results from {recorded_versions()}"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Object code is kept in a folder of this run, which its processes share; the user's is neither read nor filled."""
    run = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_CACHE", str((run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "cache"))
        yield


@pytest.fixture(scope="module")
def oracle(request: pytest.FixtureRequest) -> Iterator[Oracle]:
    """`oracle(name, compute)`: what PyTorch or JAX say, live or recorded."""
    found = Oracle(request.path)
    yield found
    if request.config.getoption("--record-oracles"):
        found.record()


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def fresh_random_stream() -> None:
    """Every test begins the default stream anew, so that tests do not depend on each other's order."""
    cr.random.seed(0)
