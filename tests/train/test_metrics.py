"""Metrics against scikit-learn, with and without sample weights."""

import numpy as np
import pytest
from sklearn import metrics as sk

from chainrule.errors import ArgumentError, ShapeError
from chainrule.train.metrics import METRICS, Metric, get_metric

ROWS = 200


@pytest.fixture(params=[False, True], ids=["unweighted", "weighted"])
def weights(request: pytest.FixtureRequest, rng: np.random.Generator) -> np.ndarray | None:
    return rng.integers(0, 4, ROWS).astype(float) if request.param else None


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_metrics_of_several_classes_agree_with_scikit_learn(rng: np.random.Generator, weights) -> None:
    logits, y = rng.normal(size=(ROWS, 4)), rng.integers(0, 4, ROWS)
    chosen = logits.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(y, chosen, sample_weight=weights),
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen, sample_weight=weights),
        "f1": sk.f1_score(y, chosen, average="macro", sample_weight=weights),
        "log_loss": sk.log_loss(y, softmax(logits), sample_weight=weights),
    }
    for name, value in expected.items():
        assert METRICS[name].function(logits, y, weights) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1)])
def test_metrics_of_one_logit_agree_with_scikit_learn(rng: np.random.Generator, weights, shape) -> None:
    y = rng.integers(0, 2, ROWS)
    logits = np.round(rng.normal(size=ROWS) + y, 1)  # rounded, so that there are ties
    probability = 1 / (1 + np.exp(-logits))
    expected = {
        "accuracy": sk.accuracy_score(y, logits > 0, sample_weight=weights),
        "balanced_accuracy": sk.balanced_accuracy_score(y, logits > 0, sample_weight=weights),
        "f1": sk.f1_score(y, logits > 0, average="macro", sample_weight=weights),
        "auc": sk.roc_auc_score(y, logits, sample_weight=weights),
        "log_loss": sk.log_loss(y, probability, sample_weight=weights),
    }
    for name, value in expected.items():
        assert METRICS[name].function(logits.reshape(shape), y, weights) == pytest.approx(value, rel=1e-12), name


def test_auc_of_two_logits_is_that_of_their_difference(rng: np.random.Generator, weights) -> None:
    logits, y = rng.normal(size=(ROWS, 2)), rng.integers(0, 2, ROWS)
    expected = sk.roc_auc_score(y, logits[:, 1] - logits[:, 0], sample_weight=weights)
    assert METRICS["auc"].function(logits, y, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
def test_metrics_of_regression_agree_with_scikit_learn(rng: np.random.Generator, weights, columns) -> None:
    y = rng.normal(size=(ROWS, columns))
    guess = y + rng.normal(size=(ROWS, columns))
    squared = sk.mean_squared_error(y, guess, sample_weight=weights)
    expected = {
        "mse": squared,
        "rmse": np.sqrt(squared),
        "mae": sk.mean_absolute_error(y, guess, sample_weight=weights),
        "r2": sk.r2_score(y, guess, sample_weight=weights, multioutput="variance_weighted"),
    }
    for name, value in expected.items():
        assert METRICS[name].function(guess, y, weights) == pytest.approx(value, rel=1e-12), name


def test_a_column_of_targets_goes_with_a_row_of_answers(rng: np.random.Generator) -> None:
    y = rng.normal(size=ROWS)
    assert METRICS["mse"].function(y[:, None] + 1, y, None) == pytest.approx(1.0)


def test_classes_minus_one_and_one_are_two_classes() -> None:
    assert METRICS["accuracy"].function(np.array([2.0, -1.0, 3.0]), np.array([1, -1, -1]), None) == pytest.approx(2 / 3)


def test_figures_that_do_not_exist_are_nan() -> None:
    one_class = np.ones(3, int)
    assert np.isnan(METRICS["auc"].function(np.arange(3.0), one_class, None))
    assert np.isnan(METRICS["r2"].function(np.arange(3.0), one_class, None))
    assert np.isnan(METRICS["accuracy"].function(np.arange(3.0), one_class, np.zeros(3)))


def test_auc_of_three_classes_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"two classes.*\(4, 3\)"):
        METRICS["auc"].function(np.zeros((4, 3)), np.zeros(4, int), None)


def test_a_misspelt_metric_is_told_the_nearest() -> None:
    with pytest.raises(ArgumentError, match='did you mean "accuracy"'):
        get_metric("acuracy")


def test_functions_with_and_without_weights_are_metrics() -> None:
    def largest_error(predictions: np.ndarray, targets: np.ndarray) -> float:
        return float(np.abs(predictions - targets).max())

    metric = get_metric(largest_error)
    assert isinstance(metric, Metric)
    assert metric.name == "largest_error"
    assert metric.function(np.array([1.0, 5.0]), np.array([1.0, 2.0]), None) == 3.0
    assert get_metric(METRICS["mse"].function).function(np.ones(2), np.zeros(2), np.ones(2)) == 1.0
