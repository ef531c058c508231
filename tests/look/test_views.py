"""The views: text of 80 columns, pages without scripts, data for JSON, formulas in LaTeX; the tables behind them."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.derivatives import DERIVATIVES
from chainrule.engine.op import Op
from chainrule.look.explaining.formulas import FORMULAS
from chainrule.look.explaining.latex import words
from chainrule.look.explaining.recording import record
from chainrule.look.explaining.rules import ACTIVATION_RULES, LAYER_RULES, OP_RULES, Rule
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.losses import LOSSES
from chainrule.nn.optimizers import OPTIMIZERS
from look.random_networks import Gate, problem
from look.test_explain import half_squared_error, mazur

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page and complains about tags that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def asked(seed: int) -> tuple[cr.look.Explanation, Any, Any]:
    given = problem(seed)
    step = cr.look.explain(given.net, given.x, given.y, given.loss, "adam", check=seed % 3 == 0)
    name, gradient = next(iter(step.gradients.items()))
    index = tuple(int(i) for i in np.unravel_index(np.abs(gradient).argmax(), gradient.shape))
    return step, step.path(name, index), step.examples(name, index)


@pytest.mark.parametrize("seed", range(0, 36, 3))
def test_every_view_of_every_kind_of_layer_holds_to_its_form(seed: int) -> None:
    for view in asked(seed):
        lines = view.to_text().splitlines()
        assert max(map(len, lines)) <= 80
        page = Page(view.to_html())
        assert page.open == []
        assert "script" not in page.tags
        assert page.links == []
        assert "http" not in view.to_html()
        data = json.loads(json.dumps(view.to_dict(), allow_nan=False))
        assert data["schema"].startswith("chainrule.")
        assert data["version"] == 1
        assert view._repr_html_() in view.to_html()


def test_the_text_is_the_same_with_and_without_colour() -> None:
    from rich.console import Console

    step, tree, examples = asked(4)
    for view in (step, tree, examples):
        console = Console(width=80, record=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(view)
        console.file.close()
        shown = [line.rstrip() for line in console.export_text().splitlines()]
        assert shown == view.to_text().splitlines()


def test_names_of_the_users_are_text_and_nothing_else() -> None:
    def evil(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
        return cr.sum(guess)

    evil.__name__ = "<script>alert(1)</script>"
    net = nn.Sequential(nn.Dense(2, 2), nn.Lambda(cr.tanh, name="<b>&"))
    page = cr.look.explain(net, np.ones((1, 2)), np.ones((1, 2)), evil).to_html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_infinite_and_missing_numbers_are_shown_and_are_json() -> None:
    net = nn.Sequential(nn.Dense(1, 1, init="zeros"), nn.Lambda(cr.log))
    step = cr.look.explain(net, [[1.0]], [[1.0]], "mse")
    assert "−∞" in str(step)
    data = json.loads(json.dumps(step.to_dict(), allow_nan=False))
    assert data["loss"]["value"] == "Infinity"
    assert data["forward"][1]["produced"][0]["values"] == [["-Infinity"]]
    assert step.to_html()


def test_the_dictionary_holds_the_step() -> None:
    x, y = np.array([0.05, 0.10]), np.array([0.01, 0.99])
    data = cr.look.explain(mazur(), x, y, half_squared_error, cr.optim.SGD(0.5)).to_dict()
    assert [layer["label"] for layer in data["forward"]] == ["0", "0", "1", "1"]
    assert [layer["path"] for layer in data["backpropagation"]] == ["loss", "1", "1", "0", "0"]
    assert data["loss"]["value"] == pytest.approx(0.298371109, abs=5e-10)
    weight = next(p for p in data["update"]["parameters"] if p["name"] == "1.weight")
    assert weight["after"]["values"][0][0] == pytest.approx(0.35891648, abs=5e-9)
    assert data["backpropagation"][2]["gradients"][0]["values"][0][0] == pytest.approx(0.082167041, abs=5e-10)


def test_large_tensors_are_digests_alone() -> None:
    step = cr.look.explain(nn.Dense(50, 3), np.ones((1, 50)), [1], "cross_entropy")
    (layer,) = step.to_dict(largest=100)["forward"]
    weight = next(each for each in layer["parameters"] if each["name"] == "weight")
    assert weight["values"] is None
    assert (weight["shape"], sum(weight["histogram"])) == ([50, 3], 150)


def test_latex_holds_the_numbers_and_closes_what_it_opens() -> None:
    x, y = np.array([0.05, 0.10]), np.array([0.01, 0.99])
    text = cr.look.explain(mazur(), x, y, half_squared_error, cr.optim.SGD(0.5)).to_latex()
    for number in ("0.593 & 0.597", "0.275 + 0.0236", "0.741 & -0.217", r"4.39 \times 10^{-4}|0.000439"):
        assert re.search(number.replace("+", r"\+").replace(r"\times", r"\\times"), text), number
    assert text.count(r"\[") == text.count(r"\]")
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for name in ("bmatrix",):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    assert all(ord(letter) < 128 for letter in text), sorted({letter for letter in text if ord(letter) > 127})


def test_every_rule_can_be_written_in_latex() -> None:
    rules = [*ACTIVATION_RULES.values(), *LAYER_RULES.values()]
    texts = [text for rule in rules for text in (rule.forward, rule.backward)]
    texts += [formula.text for formula in FORMULAS.values()] + [text for text in OP_RULES.values() if text]
    texts += [kind.__doc__.strip().partition("\n")[0] for kind in OPTIMIZERS.values()]
    for text in texts:
        assert words(text).isascii(), text


def test_latex_of_a_large_network_is_refused() -> None:
    step = cr.look.explain(nn.Dense(50, 3), np.ones((90, 50)), np.ones(90, np.int64), "cross_entropy")
    refusal = r"the parameter weight has the shape \(50, 3\), 150 elements, .* 64 .* Fewer rows do not help"
    with pytest.raises(cr.ArgumentError, match=refusal):
        step.to_latex()


def test_latex_of_many_rows_says_how_many_fit() -> None:
    net, x, y = nn.Sequential(nn.Dense(3, 9)), np.ones((20, 3)), np.ones((20, 9))
    with pytest.raises(cr.ArgumentError, match=r"shape \(20, 9\), 180 elements, .* Explain at most 7 of the 20 rows"):
        cr.look.explain(net, x, y, "mse").to_latex()
    assert "bmatrix" in cr.look.explain(net, x[:7], y[:7], "mse").to_latex()


def test_operations_between_layers_are_layers_of_their_own_in_the_views() -> None:
    step = cr.look.explain(nn.Sequential(Gate(3)), np.ones((2, 3)), np.zeros((2, 3)), "mse")
    labels = [(layer.label, layer.aspect) for layer in step.layers[:-1]]
    assert ("0.left", "") in labels
    assert ("0.right", "activation") in labels
    assert ("0", "operations") in labels
    scale = next(own for layer in step.layers for own in layer.parameters if own.name == "0.scale")
    assert scale.gradient.shape == (3,)


def test_every_activation_and_every_op_with_a_derivative_is_put_in_words() -> None:
    assert ACTIVATION_RULES.keys() == ACTIVATIONS.keys()
    assert set(OP_RULES) == set(Op) - {Op.INPUT, Op.CONSTANT, Op.CONCAT, Op.CUSTOM} | {Op.CONCAT, Op.CUSTOM}
    x = cr.asarray(np.array([[0.3, 0.7], [0.2, 0.9]]))
    for op, rules in DERIVATIVES.items():
        if OP_RULES[op] is None and len(rules) == 1:
            assert rules[0](x, x, x) is None or op is Op.RANDOM_BITS


BENDS = {
    "relu": lambda z, a: (z > 0) * 1.0,
    "sigmoid": lambda z, a: a * (1 - a),
    "tanh": lambda z, a: 1 - a**2,
    "softplus": lambda z, a: 1 / (1 + np.exp(-z)),
    "silu": lambda z, a: 1 / (1 + np.exp(-z)) * (1 + z * (1 - 1 / (1 + np.exp(-z)))),
    "hard_tanh": lambda z, a: (np.abs(z) < 1) * 1.0,
    "hard_sigmoid": lambda z, a: (np.abs(z) < 3) / 6,
}


@pytest.mark.parametrize("name", BENDS)
def test_the_derivative_that_is_shown_is_the_one_that_is_said(name: str, rng: np.random.Generator) -> None:
    z = rng.standard_normal((3, 4)) * 2
    net = nn.Sequential(nn.Lambda(getattr(cr, name)), nn.Dense(4, 1))
    bend = cr.look.explain(net, z, np.ones((3, 1)), "mse").layers[0]
    assert isinstance(bend.rule, Rule)
    assert np.allclose(bend.local.value, BENDS[name](z, bend.produced[0].value), atol=1e-5)


def target_of(name: str, rng: np.random.Generator) -> np.ndarray:
    real = rng.standard_normal((5, 3)).astype(np.float32)
    if name in ("cross_entropy", "hinge"):
        return rng.integers(0, 3, 5)
    if name == "kl_divergence":
        return np.exp(real) / np.exp(real).sum(axis=1, keepdims=True)
    return {"binary_cross_entropy": (real > 0) * 1.0, "poisson": np.round(np.abs(real))}.get(name, real)


@pytest.mark.parametrize("name", LOSSES)
def test_the_terms_of_every_loss_add_up_to_it(name: str, rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(4, 3), *([nn.LogSoftmax()] if name == "kl_divergence" else []))
    step = cr.look.explain(net, rng.standard_normal((5, 4)), target_of(name, rng), name)
    values = [value for _, value in step.loss.terms]
    assert step.loss.count == len(values)
    assert np.mean(values) == pytest.approx(step.loss.value, rel=1e-5)
    assert FORMULAS.keys() == LOSSES.keys()


def test_a_loss_of_the_users_is_read_off_its_graph() -> None:
    def own(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
        return cr.mean(cr.exp(-guess) + guess / 4 - target * 2.0)

    net = nn.Dense(1, 1)
    net.weight.assign([[1.0]])
    loss = cr.look.explain(net, [[1.0], [2.0]], [[0.5], [0.25]], own).loss
    assert loss.formula == "sum(exp(−guess) + guess / 4 − target·2) / 2"
    assert loss.terms[0][0] == "exp(−1) + 1 / 4 − 0.5·2"
    assert np.mean([value for _, value in loss.terms]) == pytest.approx(loss.value, rel=1e-6)


def test_a_recording_in_float64_leaves_the_network_as_it_was_even_if_it_fails() -> None:
    def fails(guess: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
        raise RuntimeError("on purpose")

    net = nn.Dense(2, 2)
    with pytest.raises(RuntimeError, match="on purpose"):
        record(net, np.ones((1, 2)), np.ones((1, 2)), fails, wide=True)
    assert net.weight.dtype == np.float32
