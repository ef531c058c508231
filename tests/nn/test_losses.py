"""Losses: values and gradients against PyTorch and scikit-learn, weights, extreme logits, and wrong targets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

import chainrule as cr
from chainrule.engine.trace import trace
from chainrule.nn.losses import LOSSES, get_loss

ROWS, CLASSES = 7, 4
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25])


def data(seed: int = 0) -> dict[str, np.ndarray]:
    """Predictions and targets of every kind, in float64."""
    rng = np.random.default_rng(seed)
    shares = rng.random((ROWS, CLASSES)) * (rng.random((ROWS, CLASSES)) > 0.3) + 0.01 * np.eye(ROWS, CLASSES)
    logits = 2 * rng.standard_normal((ROWS, CLASSES))
    return {
        "scores": logits,
        "numbers": logits + 1.5 * rng.standard_normal((ROWS, CLASSES)),
        "chances": rng.random((ROWS, CLASSES)).round(2),
        "counts": rng.poisson(3.0, (ROWS, CLASSES)).astype(float),
        "shares": shares / shares.sum(axis=1, keepdims=True),
        "labels": rng.integers(0, CLASSES, ROWS),
    }


@dataclass(frozen=True)
class Case:
    """One of our losses and the same in PyTorch, which gets `reduction` "none" and gives an element or row each."""

    name: str
    target: str
    torch: Callable[..., Any]
    settings: dict[str, Any] = field(default_factory=dict)
    id: str = ""


CASES = [
    Case("mean_squared_error", "numbers", lambda f, x, y: f.mse_loss(x, y, reduction="none")),
    Case("mean_absolute_error", "numbers", lambda f, x, y: f.l1_loss(x, y, reduction="none")),
    Case("huber", "numbers", lambda f, x, y: f.huber_loss(x, y, reduction="none")),
    Case(
        "huber",
        "numbers",
        lambda f, x, y: f.huber_loss(x, y, reduction="none", delta=0.3),
        {"delta": 0.3},
        "huber with a delta",
    ),
    Case("poisson", "counts", lambda f, x, y: f.poisson_nll_loss(x, y, log_input=True, reduction="none")),
    Case(
        "binary_cross_entropy",
        "chances",
        lambda f, x, y: f.binary_cross_entropy_with_logits(x, y, reduction="none"),
    ),
    Case("cross_entropy", "labels", lambda f, x, y: f.cross_entropy(x, y, reduction="none")),
    Case("cross_entropy", "shares", lambda f, x, y: f.cross_entropy(x, y, reduction="none"), {}, "shares"),
    Case(
        "cross_entropy",
        "labels",
        lambda f, x, y: f.cross_entropy(x, y, reduction="none", label_smoothing=0.2),
        {"label_smoothing": 0.2},
        "smoothed labels",
    ),
    Case(
        "cross_entropy",
        "shares",
        lambda f, x, y: f.cross_entropy(x, y, reduction="none", label_smoothing=0.2),
        {"label_smoothing": 0.2},
        "smoothed shares",
    ),
    Case("kl_divergence", "shares", lambda f, x, y: f.kl_div(x, y, reduction="none").sum(1)),
    Case("hinge", "labels", lambda f, x, y: f.multi_margin_loss(x, y, reduction="none")),
    Case(
        "hinge",
        "labels",
        lambda f, x, y: f.multi_margin_loss(x, y, reduction="none", margin=2.5),
        {"margin": 2.5},
        "hinge with a margin",
    ),
]
REDUCTIONS = ("none", "sum", "mean")


def close(dtype: str) -> dict[str, float]:
    return {"rtol": 3e-6, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}


def typed(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def reduced(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def value_and_gradient(
    loss: Callable[..., cr.Tensor], scores: np.ndarray, *rest: Any, **settings: Any
) -> tuple[np.ndarray, np.ndarray]:
    """A loss, and the gradient of its weighed sum with respect to the scores, as arrays."""
    tensor = cr.asarray(scores)
    value = loss(tensor, *rest, **settings)
    weights = np.arange(1, value.size + 1, dtype=scores.dtype).reshape(value.shape)
    (gradient,) = cr.backpropagate(cr.sum(value * weights), wrt=[tensor])
    return value.value, gradient.value


def torch_value_and_gradient(compute: Callable[..., Any], scores: np.ndarray, *rest: np.ndarray) -> Any:
    import torch

    tensor = torch.tensor(scores, requires_grad=True)
    value = compute(torch.nn.functional, tensor, *map(torch.tensor, rest))
    weights = torch.arange(1, value.numel() + 1, dtype=value.dtype).reshape(value.shape)
    (gradient,) = torch.autograd.grad((value * weights).sum(), tensor)
    return {"value": value.detach().numpy(), "gradient": gradient.numpy()}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id or f"{case.name} of {case.target}")
def test_value_and_gradient_agree_with_pytorch(case: Case, dtype: str, reduction: str, oracle) -> None:
    scores, target = (typed(data()[name], dtype) for name in ("scores", case.target))
    expected = oracle(
        f"{case.name} {case.target} {case.id} {dtype} {reduction}",
        lambda: torch_value_and_gradient(lambda f, x, y: reduced(case.torch(f, x, y), reduction), scores, target),
    )
    loss = LOSSES[case.name].function
    value, gradient = value_and_gradient(loss, scores, target, reduction=reduction, **case.settings)
    assert value.dtype == gradient.dtype == np.dtype(dtype)
    np.testing.assert_allclose(value, expected["value"], **close(dtype))
    np.testing.assert_allclose(gradient, expected["gradient"], **close(dtype))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["labels", "shares"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_weights_agree_with_pytorch(smoothing: float, target: str, dtype: str, reduction: str, oracle) -> None:
    scores, truth = typed(data()["scores"], dtype), typed(data()[target], dtype)
    weights = CLASS_WEIGHTS.astype(dtype)

    def compute(f: Any, x: Any, y: Any, w: Any) -> Any:
        return f.cross_entropy(x, y, weight=w, label_smoothing=smoothing, reduction=reduction)

    expected = oracle(
        f"class weights {smoothing} {target} {dtype} {reduction}",
        lambda: torch_value_and_gradient(compute, scores, truth, weights),
    )
    settings = {"class_weights": weights, "label_smoothing": smoothing, "reduction": reduction}
    value, gradient = value_and_gradient(cr.losses.cross_entropy, scores, truth, **settings)
    np.testing.assert_allclose(value, expected["value"], **close(dtype))
    np.testing.assert_allclose(gradient, expected["gradient"], **close(dtype))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id or f"{case.name} of {case.target}")
def test_gradients_agree_with_numeric_differences_to_second_order(case: Case) -> None:
    loss, target = LOSSES[case.name].function, data()[case.target]
    weights = np.linspace(0.2, 2.0, ROWS)
    cr.check_gradients(lambda scores: loss(scores, target, weights=weights, **case.settings), data()["scores"])


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1)])
def test_the_hinge_of_two_classes_agrees_with_scikit_learn(labels: tuple[int, int], rng) -> None:
    scores, truth = 2 * rng.standard_normal(30), rng.choice(labels, 30)
    expected = sklearn.metrics.hinge_loss(truth, scores, labels=labels)
    assert cr.losses.hinge(scores, truth).item() == pytest.approx(expected, rel=1e-12)
    assert cr.losses.hinge(scores[:, None], truth[:, None]).item() == pytest.approx(expected, rel=1e-12)
    cr.check_gradients(lambda guesses: cr.losses.hinge(guesses, truth), scores)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id or f"{case.name} of {case.target}")
def test_a_row_of_weight_two_counts_like_two_rows(case: Case) -> None:
    """So the weighted mean is the sum of weight · loss over the sum of the weights."""
    loss, scores, target = LOSSES[case.name].function, data()["scores"], data()[case.target]
    times = np.array([1, 2, 0, 3, 1, 0, 2])
    for reduction in ("mean", "sum"):
        weighed = loss(scores, target, weights=times, reduction=reduction, **case.settings)
        repeated = loss(np.repeat(scores, times, 0), np.repeat(target, times, 0), reduction=reduction, **case.settings)
        assert weighed.item() == pytest.approx(repeated.item(), rel=1e-12)


def test_row_weights_and_class_weights_both_count_in_the_mean() -> None:
    scores, labels, times = data()["scores"], data()["labels"], np.array([1, 2, 0, 3, 1, 0, 2])
    settings = {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.1}
    weighed = cr.losses.cross_entropy(scores, labels, weights=times, **settings)
    repeated = cr.losses.cross_entropy(np.repeat(scores, times, 0), np.repeat(labels, times), **settings)
    assert weighed.item() == pytest.approx(repeated.item(), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_where_every_weight_is_zero_the_mean_and_its_gradient_are_zero(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    loss, target = LOSSES[name].function, data()[case.target]
    value, gradient = value_and_gradient(loss, data()["scores"], target, weights=np.zeros(ROWS))
    assert value.item() == 0.0
    assert not gradient.any()


def test_where_only_classes_of_weight_zero_occur_the_mean_is_zero() -> None:
    settings = {"class_weights": [0.0, 1.0]}
    value, gradient = value_and_gradient(cr.losses.cross_entropy, np.ones((3, 2)), [0, 0, 0], **settings)
    assert value.item() == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("weights", [None, np.zeros(0)], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", LOSSES)
def test_without_rows_the_mean_and_the_sum_are_zero(name: str, weights: np.ndarray | None) -> None:
    case = next(case for case in CASES if case.name == name)
    loss, scores, target = LOSSES[name].function, data()["scores"][:0], data()[case.target][:0]
    for reduction in ("mean", "sum"):
        value, gradient = value_and_gradient(loss, scores, target, weights=weights, reduction=reduction)
        assert value.item() == 0.0
        assert gradient.shape == (0, CLASSES)
    assert loss(scores, target, weights=weights, reduction="none").size == 0


# --- Extreme and nearly certain guesses --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_cross_entropy_is_right_for_logits_of_ten_thousand(dtype: str) -> None:
    logits = np.array([1e4, 1e4, 1e4, -1e4, -1e4, -1e4, 0.0], dtype)
    truth = np.array([0, 0.25, 1, 0, 0.25, 1, 0], dtype)
    loss = cr.losses.binary_cross_entropy
    value, _ = value_and_gradient(loss, logits, truth, reduction="none")
    np.testing.assert_allclose(value, [1e4, 7500, 0, 0, 2500, 1e4, np.log(2)], rtol=1e-6)
    _, gradient = value_and_gradient(loss, logits, truth, reduction="sum")
    np.testing.assert_array_equal(gradient, [1, 0.75, 0, 0, -0.25, -1, 0.5])


@pytest.mark.parametrize("target", ["labels", "shares"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_is_right_for_logits_of_ten_thousand(dtype: str, target: str) -> None:
    logits = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [1e4, 1e4, -1e4], [1e4, 1e4 - 1, -1e4]], dtype)
    labels = np.array([0, 1, 1, 0])
    truth = labels if target == "labels" else np.eye(3, dtype=dtype)[labels]
    value, _ = value_and_gradient(cr.losses.cross_entropy, logits, truth, reduction="none")
    np.testing.assert_allclose(value, [0, 2e4, np.log(2), np.log1p(np.exp(-1))], rtol=1e-6)
    _, gradient = value_and_gradient(cr.losses.cross_entropy, logits, truth, reduction="sum")
    second = 1 / (1 + np.e)
    expected = [[0, 0, 0], [1, -1, 0], [0.5, -0.5, 0], [-second, second, 0]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["huber", "mean_absolute_error", "hinge", "cross_entropy", "binary_cross_entropy"])
def test_values_and_gradients_stay_finite_for_guesses_of_ten_thousand(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    scores = np.where(data()["scores"] > 0, 1e4, -1e4).astype("f")
    value, gradient = value_and_gradient(LOSSES[name].function, scores, typed(data()[case.target], "float32"))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(("logit", "truth"), [(30.0, 1.0), (-30.0, 0.0)])
def test_a_nearly_certain_guess_keeps_its_small_loss_and_gradient_in_float32(logit: float, truth: float) -> None:
    """exp(-30) is far below what is left of 30 - 30 in float32."""
    scores = np.array([logit], np.float32)
    value, gradient = value_and_gradient(cr.losses.binary_cross_entropy, scores, np.array([truth], np.float32))
    assert value.item() == pytest.approx(np.exp(-30), rel=1e-5)
    assert gradient.item() == pytest.approx(-np.sign(logit) * np.exp(-30), rel=1e-5)


def test_a_class_without_probability_adds_nothing_to_kl_whatever_was_predicted() -> None:
    guess = np.array([[0.0, -np.inf], [np.log(0.5), np.log(0.5)]])
    value, gradient = value_and_gradient(cr.losses.kl_divergence, guess, np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert value.item() == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(gradient, [[-0.5, 0], [-0.25, -0.25]])


# --- Targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bool, np.int32, np.int64, np.uint8, np.float32, np.float64])
def test_two_classes_may_be_numbers_or_booleans(kind: type) -> None:
    scores, truth = np.array([0.3, -1.0, 2.0]), np.array([1, 0, 0])
    for loss in (cr.losses.binary_cross_entropy, cr.losses.hinge):
        assert loss(scores, truth.astype(kind)).item() == loss(scores, truth.astype(float)).item()


@pytest.mark.parametrize("kind", [bool, np.int32, np.int64, np.uint8])
def test_class_numbers_may_have_any_integer_type(kind: type) -> None:
    scores, truth = data()["scores"], np.array([1, 0, 0, 1, 1, 0, 1])
    for loss in (cr.losses.cross_entropy, cr.losses.hinge):
        assert loss(scores, truth.astype(kind)).item() == loss(scores, truth).item()


def test_soft_targets_have_a_gradient_too() -> None:
    scores, chances, shares = data()["scores"], data()["chances"] * 0.9 + 0.05, data()["shares"]
    cr.check_gradients(lambda z, t: cr.losses.binary_cross_entropy(z, t), scores, chances, order=1)
    teacher = np.log(shares + 0.1)
    cr.check_gradients(lambda z, t: cr.losses.cross_entropy(z, cr.softmax(t)), scores, teacher, order=1)
    cr.check_gradients(lambda z, t: cr.losses.kl_divergence(z, cr.softmax(t)), scores, teacher, order=1)


SCORES = np.zeros((3, 4))
WRONG = {
    "a label too large": ("cross_entropy", SCORES, [0, 4, 1], {}, r"target 4 in row 1 .*from 0 to 3"),
    "a negative label": ("cross_entropy", SCORES, [0, 1, -1], {}, r"target -1 in row 2 .*from 0 to 3"),
    "a hinge label too large": ("hinge", SCORES, [9, 0, 1], {}, r"target 9 in row 0 .*from 0 to 3"),
    "float labels": ("cross_entropy", SCORES, [0.0, 1.0, 2.0], {}, r"float32 of shape \(3,\).*astype\(int\)"),
    "integer one-hot rows": ("cross_entropy", SCORES, np.eye(3, 4, dtype=int), {}, r"argmax\(axis=1\).*floats"),
    "too few labels": ("cross_entropy", SCORES, [0, 1], {}, r"shape \(3,\), but got \(2,\)"),
    "logits without classes": ("cross_entropy", np.zeros(3), [0, 1, 1], {}, r"\(rows, classes\).*but got \(3,\)"),
    "one logit a row": ("cross_entropy", np.zeros((3, 1)), [0, 1, 1], {}, "binary_cross_entropy"),
    "a row that is no distribution": (
        "cross_entropy",
        np.zeros((2, 3)),
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]],
        {},
        "row 1 of the targets sum to 2, not to 1",
    ),
    "a negative share": ("kl_divergence", np.zeros((1, 2)), [[-0.5, 1.5]], {}, "-0.5 in row 0, column 0"),
    "kl without classes": ("kl_divergence", np.zeros(3), np.zeros(3), {}, r"shapes \(rows, classes\)"),
    "a chance above 1": ("binary_cross_entropy", np.zeros(3), [0, 1, 2], {}, r"2\.0 in row 2 .*0 and 1"),
    "a missing chance": ("binary_cross_entropy", np.zeros((2, 1)), [[0.0], [np.nan]], {}, "target nan in row 1 is"),
    "half a class": ("hinge", np.zeros(3), [0.0, 0.5, 1.0], {}, r"target 0\.5 in row 1 is not a class"),
    "a negative count": ("poisson", np.zeros((2, 3)), [[1, 2, 3], [1, 2, -3]], {}, r"-3\.0 in row 1, column 2"),
    "shapes that broadcast": ("mse", np.zeros((3, 1)), np.zeros(3), {}, r"equal shapes.*\(3, 1\) and \(3,\).*Reshape"),
    "other shapes": ("mae", np.zeros((3, 1)), np.zeros(4), {}, r"equal shapes, but got \(3, 1\) and \(4,\)"),
    "weights of another length": (
        "mse",
        np.zeros(3),
        np.ones(3),
        {"weights": [1, 2]},
        r"shape \(3,\), but have \(2,\)",
    ),
    "a negative weight": ("mse", np.zeros(3), np.ones(3), {"weights": [1, 2, -1]}, r"weight -1\.0 in row 2"),
    "a missing weight": ("mse", np.zeros(2), np.ones(2), {"weights": [1, np.nan]}, "weight nan in row 1"),
    "too few class weights": ("ce", SCORES, [0, 1, 2], {"class_weights": [1.0]}, r"shape \(4,\), but have \(1,\)"),
    "a negative class weight": ("ce", SCORES, [0, 1, 2], {"class_weights": [1, 1, -2, 1]}, r"-2\.0 in class 2"),
    "a smoothing of 1": ("ce", SCORES, [0, 1, 2], {"label_smoothing": 1.0}, "label_smoothing must be .*below 1"),
    "a delta of 0": ("huber", np.zeros(3), np.ones(3), {"delta": 0}, "huber: delta must be above 0"),
    "a margin of words": (
        "hinge",
        np.zeros(3),
        np.ones(3),
        {"margin": "wide"},
        "hinge: margin must be a finite",
    ),
    "an unknown reduction": ("mse", np.zeros(3), np.ones(3), {"reduction": "max"}, '"mean", "sum" or "none".*\'max\''),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_error_names_the_place_and_what_was_expected(what: str) -> None:
    name, scores, target, settings, message = WRONG[what]
    with pytest.raises(cr.ChainruleError, match=message):
        get_loss(name).function(scores, target, **settings)


IN_THE_NUMBERS = [
    "a label too large", "a negative label", "a hinge label too large", "a row that is no distribution",
    "a negative share", "a chance above 1", "a missing chance", "half a class", "a negative count",
    "a negative weight", "a missing weight",
]  # fmt: skip


@pytest.mark.parametrize("what", IN_THE_NUMBERS)
def test_a_compiled_step_refuses_the_same_and_has_changed_nothing(what: str) -> None:
    name, scores, target, settings, message = WRONG[what]
    moved = cr.State(np.zeros(()), "moved")

    def step(scores, target, **settings):
        moved.assign(moved + 1)
        return get_loss(name).function(scores + moved, target, **settings)

    arrays = {key: np.asarray(value, float) for key, value in settings.items()}
    with pytest.raises(cr.ChainruleError, match=rf"test_losses.py:\d+: .*{message}"):
        cr.compile(step)(scores, np.asarray(target), **arrays)
    assert moved.item() == 0
    with pytest.raises(cr.ChainruleError, match=message):
        step(scores, target, **settings)


def test_a_traced_loss_with_weights_gives_the_bits_of_the_eager_one() -> None:
    labels, scores, weights = data()["labels"], data()["scores"].astype("f"), np.linspace(0, 1, ROWS, dtype="f")
    chances = data()["chances"].astype("f")

    def losses(scores, labels, chances, weights):
        return (
            cr.losses.cross_entropy(scores, labels, weights=weights, label_smoothing=0.1),
            cr.losses.binary_cross_entropy(scores, chances, weights=weights),
            cr.losses.hinge(scores, labels, weights=weights),
        )

    given = (scores, labels, chances, weights)
    for traced, eager in zip(trace(losses, *given)(*given), losses(*given), strict=True):
        np.testing.assert_array_equal(traced, eager)


# --- Names -------------------------------------------------------------------------------------------------------


def test_a_loss_is_found_by_name_alias_and_function() -> None:
    for loss in LOSSES.values():
        for name in (loss.name, loss.name.upper(), loss.name.replace("_", "-"), *loss.aliases):
            assert get_loss(name) is loss
        assert get_loss(loss.function) is loss


def test_a_function_of_yours_is_a_loss_under_its_own_name() -> None:
    def quartic(predictions, targets):
        return cr.mean((predictions - targets) ** 4)

    found = get_loss(quartic)
    assert (found.name, found.function, found.kind) == ("quartic", quartic, "any")


@pytest.mark.parametrize(
    ("name", "nearest"), [("cros_entropy", "cross_entropy"), ("mean_square_error", "mean_squared_error")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(cr.ArgumentError, match=f'no loss "{name}"; did you mean "{nearest}"'):
        get_loss(name)


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(cr.ArgumentError, match=r'no loss "zzz"\. Known: mean_squared_error, .*hinge'):
        get_loss("zzz")


@pytest.mark.parametrize("loss", [cr.losses.cross_entropy, cr.losses.hinge])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_compiled_losses_refuse_what_is_no_class_too(loss: Callable[..., cr.Tensor], dtype: str) -> None:
    scores, step = np.random.default_rng(0).standard_normal((4, 3), np.float32), cr.compile(loss)
    right = np.array([2, 1, 0, 2], dtype)
    np.testing.assert_allclose(step(scores, right).item(), loss(scores, right).item(), rtol=1e-6)
    for wrong in (3, np.array(-1).astype(dtype)):
        labels = right.copy()
        labels[1] = wrong
        for call in (loss, step):
            with pytest.raises(cr.ArgumentError, match=r"target .* in row 1 is not a class number from 0 to 2"):
                call(scores, labels)


def test_a_compiled_embedding_refuses_what_is_no_row_too() -> None:
    table = cr.nn.Embedding(5, 2)
    step = cr.compile(table)
    assert step(np.array([0, 4])).shape == (2, 2)
    for wrong in (5, -1):
        for call in (table, step):
            with pytest.raises(cr.ShapeError, match=rf"rows 0 to 4, but the index at \(1,\) is {wrong}"):
                call(np.array([0, wrong]))
