"""The report of a run as a reader, a screen reader and a hostile column name meet it."""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule.app.jobs.outcome import Column, Confusion, Importance, Outcome, Residuals, Score
from chainrule.app.report.html import render
from chainrule.app.report.style import DARK, LIGHT
from chainrule.train.history import History

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "]]></svg><svg onload=alert(1)>",
    "</title></style></pre><iframe src=//evil.example>",
    "&lt;b&gt; & &#60;",
    "x" * 100_000,
    "🦖👩‍👩‍👧 données",
    "שלום \u202e drawkcab",
    "a\x00b\x1f\ud800\ufffe",
    "line one\nline two\r\n\ttab",
    "",
]


def made_history(epochs: int, metric: str, floor: float) -> History:
    """A run as they go: training improves throughout, validation turns after two thirds."""
    rows = []
    for epoch in range(1, epochs + 1):
        share = epoch / epochs
        loss = 2.3 * math.exp(-5 * share) + 0.02
        validation = loss + floor + 0.3 * max(0.0, share - 0.66)
        rows.append(
            {
                "epoch": epoch,
                "loss": loss,
                metric: 1 - 0.35 * loss,
                "validation_loss": validation,
                f"validation_{metric}": 1 - 0.35 * validation,
                "learning_rate": 0.001 * (1 + math.cos(math.pi * share)) / 2,
                "steps": 18,
                "seconds": 0.031 + 0.002 * math.sin(epoch),
            }
        )
    return History(rows, "early stopping")


def digits_outcome() -> Outcome:
    """Ten classes, 360 held-out rows of which 352 are right."""
    counts = np.diag([36, 35, 35, 36, 36, 36, 36, 35, 32, 35])
    for true, guess in ((1, 8), (3, 5), (5, 9), (8, 1), (8, 1), (8, 2), (9, 3), (7, 4)):
        counts[true, guess] += 1
    columns = [Column("digit", "target", "multiclass", 0, "10 classes")]
    columns += [Column(f"pixel_{n}", "numeric", "1 input", 0, f"(x - {n / 7:.4g}) / 4.2, median 3") for n in range(64)]
    return Outcome(
        data="digits",
        kind="table",
        task="multiclass",
        target="digit",
        rows={"training": 1149, "validation": 288, "test": 360},
        network="layer  kind            parameters    memory\n0      Dense(64, 128)       8,320  32.5 KiB\n"
        "1      ReLU()                   0       0 B\n2      Dense(128, 10)       1,290  5.04 KiB\n"
        "total  Sequential           9,610  37.5 KiB",
        parameters=9610,
        settings={
            "--hidden": ("128", "for 64 inputs and 1,149 rows"),
            "--epochs": ("60", "you"),
            "--optimizer": ("adam", "the default"),
            "--seed": ("0", "the default"),
        },
        columns=tuple(columns),
        notes=("The task is multiclass: digit has 10 different values.", "pixel_0 is constant and was left out."),
        history=made_history(60, "accuracy", 0.08),
        main="accuracy",
        network_score=Score("network", {"accuracy": 352 / 360, "balanced_accuracy": 0.9771, "log_loss": 0.0817}),
        baselines=(
            Score("logistic regression", {"accuracy": 0.9639, "balanced_accuracy": 0.9637, "log_loss": 0.1342}),
            Score("most frequent class", {"accuracy": 0.1028, "balanced_accuracy": 0.1, "log_loss": 2.3026}),
        ),
        verdict="The network beats logistic regression by 1.39 percentage points of accuracy.",
        confusion=Confusion(tuple("0123456789"), tuple(tuple(int(n) for n in row) for row in counts)),
        importance=tuple(Importance(f"pixel_{n}", 0.08 / (1 + n) - 0.002, 0.004 / (1 + n / 5)) for n in range(64)),
        mistakes=(("1,245", "8", "1", 0.9931), ("37", "3", "5", 0.871)),
        seconds=1.873,
        versions={"chainrule": "0.1.0", "numpy": "2.3.4", "python": "3.11.2"},
    )


def diabetes_outcome() -> Outcome:
    """A regression: 89 held-out rows with errors of some 50."""
    rng = np.random.default_rng(3)
    targets = rng.uniform(40, 320, 89)
    guesses = 152 + 0.55 * (targets - 152) + rng.normal(0, 42, 89)
    names = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    columns = [Column("progression", "target", "regression", 0, "25 to 346")]
    columns += [Column(name, "numeric", "1 input", 3 * (name == "bp"), "(x - 0.1) / 0.05") for name in names]
    drops = (0.171, 0.158, 0.0712, 0.0398, 0.0211, 0.0103, 0.0041, 0.0, -0.0017, -0.0052)
    return replace(
        digits_outcome(),
        data="diabetes",
        task="regression",
        target="progression",
        rows={"training": 282, "validation": 71, "test": 89},
        columns=tuple(columns),
        history=made_history(45, "r2", 0.3),
        main="r2",
        network_score=Score("network", {"r2": 0.4873, "rmse": 53.71, "mae": 43.94}),
        baselines=(
            Score("ridge regression", {"r2": 0.4912, "rmse": 53.5, "mae": 44.1}),
            Score("mean", {"r2": -0.0123, "rmse": 75.4, "mae": 64.2}),
        ),
        verdict="The network does not beat ridge regression (R² 0.487 against 0.491).",
        confusion=None,
        residuals=Residuals(tuple(targets.tolist()), tuple(guesses.tolist())),
        importance=tuple(
            Importance(name, drop, 0.02)
            for name, drop in zip(("bmi", "s5", *names[3:], "age", "sex"), drops, strict=False)
        ),
        mistakes=(("17", "310", "141", -169.2),),
    )


SAMPLES = {"digits": digits_outcome, "diabetes": diabetes_outcome}
