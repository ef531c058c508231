"""The report of a run as a reader, a screen reader and a hostile column name meet it."""

import math
import re
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


# --- Form --------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """Reads a page as strictly as the standard allows: every element closed in its order, ids once, text gathered."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, blanks folded."""
        return " ".join("".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_outcome(word: str) -> Outcome:
    """A run in which everything that comes from outside is `word`."""
    classes = (word, f"{word}2", "plain")
    return replace(
        digits_outcome(),
        data=word,
        target=word,
        settings={word: (word, word)},
        columns=(Column(word, word, word, 1, word), Column("target", "target", "multiclass", 0, word)),
        notes=(word, word),
        network=word,
        verdict=word,
        network_score=Score(word, {"accuracy": 0.5, word: 0.25}),
        baselines=(Score(word, {"accuracy": 0.4}),),
        confusion=Confusion(classes, ((5, 1, 0), (2, 7, 0), (0, 0, 4))),
        importance=(Importance(word, 0.2, 0.01),),
        mistakes=((word, word, word, 0.9),),
        versions={word: word},
    )


EVERY = {
    **SAMPLES,
    **{f"hostile {n}": lambda word=word: hostile_outcome(word) for n, word in enumerate(HOSTILE)},
    "no epoch": lambda: replace(digits_outcome(), history=History([], "interrupted"), interrupted=True),
    "one epoch": lambda: replace(digits_outcome(), history=made_history(1, "accuracy", 0.1)),
    "broken down": lambda: replace(
        diabetes_outcome(),
        history=History([{"epoch": 1, "loss": math.nan, "learning_rate": 0.1, "steps": 1, "seconds": 0.1}], "failed"),
        network_score=Score("network", {"r2": math.nan, "rmse": math.inf, "mae": math.nan}),
        importance=(Importance("age", math.nan, math.nan),),
    ),
    "images": lambda: replace(digits_outcome(), kind="images", target="class", columns=(), importance=()),
    "interrupted": lambda: replace(digits_outcome(), interrupted=True),
    "nothing right": lambda: replace(
        digits_outcome(), confusion=Confusion(("a", "b"), ((0, 3), (4, 0))), network_score=Score("n", {"accuracy": 0})
    ),
    "one row": lambda: replace(
        diabetes_outcome(), residuals=Residuals((5.0,), (5.0,)), rows={"training": 1, "validation": 1, "test": 1}
    ),
}


@pytest.mark.parametrize("name", EVERY)
def test_the_page_is_well_formed(name: str) -> None:
    page = render(EVERY[name]())
    outline = Outline(page)
    identifiers = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers)), "an id occurs twice"
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(chart)  # charts are XML, which forgives nothing
    page.encode()


@pytest.mark.parametrize("name", EVERY)
def test_the_page_runs_nothing_and_loads_nothing(name: str) -> None:
    outline = Outline(render(EVERY[name]()))
    tags = {tag for tag, _ in outline.elements}
    assert not tags & {"script", "img", "iframe", "link", "object", "embed", "form", "input", "base", "foreignobject"}
    for _, attributes in outline.elements:
        assert not any(attribute.startswith("on") for attribute in attributes)
        assert not {"src", "srcset", "action", "formaction", "data", "ping"} & set(attributes)
        for attribute in ("href", "xlink:href"):
            assert (attributes.get(attribute) or "#").startswith("#")
    (policy,) = [each for each in outline.named("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policy["content"] or "")
    (style,) = re.findall(r"<style>(.*?)</style>", render(EVERY[name]()), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("word", [word for word in HOSTILE if word.strip() and len(word) < 100])
def test_hostile_names_come_out_as_text(word: str) -> None:
    outline = Outline(render(hostile_outcome(word)))
    printable = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe]", "\ufffd", word)
    assert " ".join(printable.split()) in outline.text


@pytest.mark.parametrize("name", EVERY)
def test_the_page_stays_under_a_megabyte(name: str) -> None:
    assert len(render(EVERY[name]()).encode()) < 1_000_000


def test_a_huge_run_stays_under_a_megabyte() -> None:
    classes = tuple(f"class number {n} with a rather long name" for n in range(300))
    rng = np.random.default_rng(0)
    points = tuple(rng.normal(size=50_000).tolist())
    huge = replace(
        digits_outcome(),
        columns=tuple(Column(f"column {n}", "numeric", "1 input", n, "(x - 1) / 2") for n in range(5000)),
        notes=tuple(f"note {n} " + "x" * 5000 for n in range(3000)),
        history=made_history(20_000, "accuracy", 0.1),
        confusion=Confusion(classes, tuple(tuple(int(n) for n in row) for row in rng.integers(0, 9, (300, 300)))),
        residuals=Residuals(points, points),
        importance=tuple(Importance(f"column {n}", 1 / (n + 1), 0.1) for n in range(5000)),
        mistakes=tuple((str(n), "a", "b", 0.5) for n in range(10_000)),
        network="layer " * 100 + "\n" + "another line\n" * 20_000,
        settings={f"--flag-{n}": ("v" * 1000, "r" * 1000) for n in range(50)},
    )
    page = render(huge)
    assert len(page.encode()) < 1_000_000
    Outline(page)


# --- Words and figures -------------------------------------------------------------------------------------------


def test_the_opening_says_what_was_learned_and_how_well() -> None:
    words = Outline(render(digits_outcome())).text
    assert "A neural network learned to predict digit from 64 columns of digits." in words
    assert "On 360 rows that it had never seen, it got 352 right (97.8%)." in words
    assert "The network beats logistic regression by 1.39 percentage points of accuracy." in words


def test_a_regression_is_told_in_its_own_unit() -> None:
    words = Outline(render(diabetes_outcome())).text
    assert "it explains 48.7% of the differences in progression, off by 43.9 on average." in words


def test_an_interrupted_run_says_which_network_is_kept() -> None:
    outcome = EVERY["interrupted"]()
    words = Outline(render(outcome)).text
    assert (
        f"interrupted in epoch 60. What is kept, and measured here, is the best network until then, that of epoch "
        f"{outcome.history.best_epoch}." in words
    )
    assert "learned nothing yet" in Outline(render(EVERY["no epoch"]())).text


def test_every_cell_of_the_confusion_is_there() -> None:
    tables = re.findall(r"<svg.*?</svg>|<table.*?</table>", render(digits_outcome()), re.DOTALL)
    numbers = [re.findall(r">(\d+)<", part) for part in tables]
    diagonal = ["36", "35", "35", "36", "36", "36", "36", "35", "32", "35"]
    assert any(all(found.count(n) >= diagonal.count(n) for n in diagonal) for found in numbers)


def test_who_made_each_choice_is_named() -> None:
    (found,) = re.findall(r"<table(?:(?!<table).)*?--epochs.*?</table>", render(digits_outcome()), re.DOTALL)
    rows = [re.sub(r"<[^>]*>", " ", row).split() for row in found.split("</tr>")]
    assert ["--epochs", "60", "you"] in rows
    assert ["--hidden", "128", "for", "64", "inputs", "and", "1,149", "rows"] in rows


def test_charts_have_words_for_those_who_do_not_see_them() -> None:
    for make in SAMPLES.values():
        outline = Outline(render(make()))
        charts = outline.named("svg")
        assert len(charts) >= 4
        assert all(chart.get("role") == "img" and chart.get("aria-labelledby") for chart in charts)


def contrast(first: str, second: str) -> float:
    """The contrast of two colours (WCAG 2.2, 1.4.3)."""

    def brightness(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((brightness(first), brightness(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_words_can_be_read_in_both_themes(theme: dict[str, str]) -> None:
    for ink in ("ink", "muted", "forward", "error", "still"):
        assert contrast(theme[ink], theme["paper"]) >= 4.5, ink
    for ink in ("ink", "muted"):
        assert contrast(theme[ink], theme["card"]) >= 4.5, ink


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
