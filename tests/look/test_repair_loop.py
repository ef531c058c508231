"""The loop of a repair, on ways that are but a few numbers: what it tries when, and what it never tries again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import TrainingError
from chainrule.look.diagnosis.finding import Finding, Findings
from chainrule.look.remedies.judging import Judge
from chainrule.look.remedies.loop import Change, Course, ending, improve
from chainrule.nn.losses import get_loss

Array = np.ndarray[Any, Any]
Settings = dict[str, float]
Y = np.random.default_rng(0).normal(size=60).astype(np.float32)
NOISE = np.random.default_rng(1).normal(size=60).astype(np.float32)


@dataclass(frozen=True)
class Outcome:
    answers: Array | None
    failure: cr.ChainruleError | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class Numbers:
    """Ways are settings by name; `size` says how wrong a way answers (None: it fails). All advice is always given."""

    size: Callable[[Settings], float | None]
    advice: tuple[tuple[str, float], ...]

    def run(self, way: Settings, seed: int) -> Outcome:
        size = self.size(way)
        if size is None:
            return Outcome(None, TrainingError("the loss became inf"))
        return Outcome((Y + size * NOISE)[:, None])

    def findings(self, way: Settings, run: Outcome) -> Findings:
        return Findings([Finding("some-rule", "warning", "somewhere", "It is so.", {}, "change it", "before")])

    def options(self, way: Settings, finding: Finding) -> Iterator[Change[Settings]]:
        for name, value in self.advice:
            if way[name] != value:
                yield Change(way | {name: value}, f"{name} {value:g} in place of {way[name]:g}", f"{name}={value:g}")

    def settings(self, way: Settings) -> Settings:
        return way

    def judge(self, way: Settings) -> Judge:
        return Judge(get_loss("mse"), None, Y)


def repaired(subject: Numbers, way: Settings, attempts: int = 10) -> tuple[Course[Settings, Outcome], list[str], str]:
    """The course, what was tried in order, and why it ended."""
    course = improve(subject, way, attempts=attempts, seed=0)
    tried = [f"{trial.code}{' kept' if trial.kept else ''}" for trial in course.trials]
    return course, tried, ending(subject, course, attempts)


BOTH = (("scaled", 1.0), ("rate", 1.0), ("rate", 10.0))


def test_a_change_that_failed_beside_another_fault_is_tried_again_in_its_place() -> None:
    """Nothing can be trained at the rate 10, so that what scaling is worth shows only at the rate 1."""

    def size(way: Settings) -> float | None:
        return None if way["rate"] > 1 else 0.5 - 0.4 * way["scaled"]

    course, tried, end = repaired(Numbers(size, BOTH), {"scaled": 0.0, "rate": 10.0})
    assert tried == ["scaled=1", "rate=1 kept", "scaled=1 kept"]
    assert course.way == {"scaled": 1.0, "rate": 1.0}
    assert end == "no remedy"  # and the rate 10, which was left, is not gone back to


def test_a_change_that_did_not_help_is_tried_again_after_what_is_new() -> None:
    """The first change is right only together with the second."""

    def size(way: Settings) -> float:
        return (0.2 if way["first"] else 0.5) if way["second"] else 1.0 + way["first"]

    advice = (("first", 1.0), ("second", 1.0), ("third", 1.0))
    course, tried, end = repaired(Numbers(size, advice), {"first": 0.0, "second": 0.0, "third": 0.0})
    assert tried == ["first=1", "second=1 kept", "third=1", "first=1 kept", "third=1"]
    assert course.way == {"first": 1.0, "second": 1.0, "third": 0.0}
    assert end == "no remedy"


def test_what_never_helps_is_tried_once() -> None:
    course, tried, end = repaired(Numbers(lambda way: 1.0, BOTH), {"scaled": 0.0, "rate": 0.1})
    assert tried == ["scaled=1", "rate=1", "rate=10"]
    assert course.way == {"scaled": 0.0, "rate": 0.1}
    assert end == "no remedy"


@pytest.mark.parametrize("attempts", range(4))
def test_trials_are_no_more_than_asked_for(attempts: int) -> None:
    advice = tuple((name, 1.0) for name in "abcde")
    _, tried, end = repaired(Numbers(lambda way: 1.0, advice), dict.fromkeys("abcde", 0.0), attempts)
    assert (len(tried), end) == (attempts, "attempts")


def test_standardising_is_tried_again_when_the_rate_that_broke_it_is_gone() -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(400, 6)) * [1, 1000, 1, 1, 1e4, 1] + 5).astype(np.float32)
    cr.random.seed(0)
    layers = nn.Dense(6, 16), nn.Sigmoid(), nn.Dropout(0.1), nn.BatchNorm(16), nn.Dense(16, 2)
    fixed = cr.look.repair(
        nn.Sequential(*layers),
        (X, (X[:, 0] > 5).astype(int)),
        loss="cross_entropy",
        optimizer=cr.optim.SGD(10.0),
        epochs=3,
        attempts=3,
        progress=False,
        compile=False,
    )
    scaling, rate, again = fixed.trials
    assert (scaling.kept, rate.kept, again.kept) == (False, True, True), str(fixed)
    assert scaling.code == again.code == "net = nn.Sequential(nn.Standardize(6).fitted(X), *net.layers)"
    assert rate.change == "learning rate 1 in place of 10"
    assert fixed.after["accuracy"] > 0.95
