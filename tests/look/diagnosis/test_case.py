"""What rules look at, against scikit-learn, NumPy and definitions."""

import math

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import chainrule as cr
from chainrule import nn
from chainrule.look.diagnosis.case import Case, chance_of
from chainrule.look.diagnosis.probes import by_lines, by_neighbours, neighbours, standardised
from chainrule.nn.losses import get_loss


def case_of(net: nn.Module, X: np.ndarray, y: np.ndarray, loss: str, **more: object) -> Case:
    given = {"validation": None, "histories": (), "optimizer": None, "batch_size": None, "feature_names": ()} | more
    return Case(net, (X, y), get_loss(loss), **given)


# --- Chance -------------------------------------------------------------------------------------------------------


def test_chance_of_classes_is_the_log_loss_of_their_shares(rng: np.random.Generator) -> None:
    y = rng.choice(4, 200, p=[0.1, 0.2, 0.3, 0.4])
    shares = np.bincount(y) / len(y)
    assert chance_of("cross_entropy", y, y) == pytest.approx(log_loss(y, np.tile(shares, (len(y), 1))))
    yes = (y == 0).astype(np.float32)
    assert chance_of("binary_cross_entropy", yes, None) == pytest.approx(log_loss(yes, np.full(len(y), yes.mean())))


@pytest.mark.parametrize(("loss", "strategy"), [("mean_squared_error", "mean"), ("mean_absolute_error", "median")])
def test_chance_of_numbers_is_the_loss_of_a_constant(loss: str, strategy: str, rng: np.random.Generator) -> None:
    y = rng.exponential(2.0, 300)
    guess = DummyRegressor(strategy=strategy).fit(y[:, None], y).predict(y[:, None])
    expected = get_loss(loss).function(cr.asarray(guess), cr.asarray(y)).item()
    assert chance_of(loss, y, None) == pytest.approx(expected)


def test_chance_of_counts_is_the_least_poisson_loss_of_a_constant(rng: np.random.Generator) -> None:
    y = rng.poisson(3.0, 300).astype(np.float64)
    least = min(float(np.mean(rate - y * np.log(rate))) for rate in np.linspace(0.5, 8, 4000))
    assert chance_of("poisson", y, None) == pytest.approx(least, abs=1e-5)


def test_chance_is_unknown_for_a_loss_of_the_users() -> None:
    assert math.isnan(chance_of("mine", np.ones(3), None))


# --- Probes -------------------------------------------------------------------------------------------------------


def test_neighbours_tell_classes_as_scikit_learn_leaving_one_out(rng: np.random.Generator) -> None:
    rows = standardised(rng.normal(size=(90, 4)))
    answers = (rows[:, 0] + 0.4 * rng.normal(size=90) > 0).astype(np.int64)
    judge = cross_val_predict(KNeighborsClassifier(5), rows, answers, cv=LeaveOneOut())
    assert by_neighbours(neighbours(rows), answers, 2).score == pytest.approx(float((judge == answers).mean()))


def test_neighbours_tell_numbers_as_scikit_learn_leaving_one_out(rng: np.random.Generator) -> None:
    rows = standardised(rng.normal(size=(90, 3)))
    answers = rows[:, 0] ** 2
    guess = cross_val_predict(KNeighborsRegressor(5), rows, answers, cv=LeaveOneOut())
    expected = 1 - ((guess - answers) ** 2).mean() / answers.var()
    assert by_neighbours(neighbours(rows), answers, 0).score == pytest.approx(expected)


def test_lines_leave_one_out_in_closed_form(rng: np.random.Generator) -> None:
    """Against ridge regression fitted anew without each row; the constant is one more, equally penalised column."""
    rows = standardised(rng.normal(size=(60, 5)))
    answers = rows @ rng.normal(size=5) + 0.5 + 0.3 * rng.normal(size=60)
    wide = np.column_stack([rows, np.ones(60)])
    penalty = 0.05 * np.trace(wide @ wide.T) / 60
    guess = cross_val_predict(Ridge(alpha=penalty, fit_intercept=False), wide, answers, cv=LeaveOneOut())
    expected = 1 - ((guess - answers) ** 2).mean() / answers.var()
    assert by_lines(rows, answers, 0).score == pytest.approx(expected)


def test_shuffled_answers_are_within_chance(rng: np.random.Generator) -> None:
    rows = standardised(rng.normal(size=(200, 6)))
    sigmas = [by_neighbours(neighbours(rows), rng.permutation(np.arange(200) % 4), 4).sigmas for _ in range(40)]
    assert abs(float(np.mean(sigmas))) < 0.5
    assert 0.6 < float(np.std(sigmas)) < 1.5


# --- One step -----------------------------------------------------------------------------------------------------


def test_gradients_and_loss_are_those_of_a_step(rng: np.random.Generator) -> None:
    net = nn.Sequential(nn.Dense(5, 8, activation="tanh"), nn.Dense(8, 3))
    X, y = rng.normal(size=(50, 5)).astype(np.float32), rng.integers(0, 3, 50)
    case = case_of(net, X, y, "cross_entropy")
    x, targets = case.batch
    loss = cr.losses.cross_entropy(net(x), targets)
    assert case.loss_value == pytest.approx(loss.item())
    for parameter, gradient in cr.backpropagate(loss).items():
        np.testing.assert_allclose(case.gradients[parameter], np.asarray(gradient), rtol=1e-6)


def test_the_noise_scale_is_that_of_the_single_gradients() -> None:
    """For a linear model: trace of the covariance of the rows' gradients by the squared norm of their mean.

    The rule estimates it from eight pieces of a batch, so that single estimates scatter; their mean must agree.
    """
    found, expected = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(256, 3))
        y = X @ np.array([2.0, -1.0, 0.5]) + 0.2 * rng.normal(size=256)
        net = nn.Sequential(nn.Dense(3, 1, init="zeros"))
        net[0].weight, net[0].bias = cr.Parameter(np.zeros((3, 1))), cr.Parameter(np.zeros(1))
        each = -2 * y[:, None] * np.column_stack([X, np.ones(256)])
        noise = float(each.var(axis=0, ddof=1).sum())
        expected.append(noise / (float(each.mean(axis=0) @ each.mean(axis=0)) - noise / 256))
        found.append(case_of(net, X, y, "mean_squared_error").noise_scale)
    assert float(np.mean(found)) == pytest.approx(float(np.mean(expected)), rel=0.2)


def test_a_refusing_loss_is_kept_as_failure(rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(30, 2)), rng.integers(0, 3, 30)
    case = case_of(nn.Dense(2, 1), X, y, "cross_entropy")
    assert isinstance(case.failure, cr.ShapeError)
    assert not case.gradients
    assert math.isnan(case.loss_value)


def test_rows_that_are_not_finite_stay_out_of_the_batch() -> None:
    X = np.ones((20, 2))
    X[4, 1] = np.nan
    case = case_of(nn.Dense(2, 1), X, np.ones(20), "mean_squared_error")
    assert len(case.batch[0]) == 19
    assert np.isfinite(case.guess).all()


def test_batch_size_is_read_from_the_history() -> None:
    history = cr.History([{"epoch": 1.0, "loss": 1.0, "steps": 5.0}])
    case = case_of(nn.Dense(2, 1), np.ones((40, 2)), np.ones(40), "mean_squared_error", histories=(history,))
    assert case.batch_size == 8


# --- Trials -------------------------------------------------------------------------------------------------------


def test_a_trial_makes_the_steps_that_the_optimizer_would_make(rng: np.random.Generator) -> None:
    """With all rows in every batch a trial is gradient descent, here written out in NumPy."""
    from chainrule.look.diagnosis.trials import STEPS

    X = rng.normal(size=(40, 3))
    y = X @ np.array([1.0, 2.0, 3.0])
    net = nn.Dense(3, 1, bias=False)
    net.weight = cr.Parameter(np.full((3, 1), 0.5))
    weight = np.full(3, 0.5)
    before = float(((X @ weight - y) ** 2).mean())
    for _ in range(STEPS):
        weight -= 0.05 * 2 * X.T @ (X @ weight - y) / len(y)
    case = case_of(net, X, y, "mean_squared_error", optimizer=cr.optim.SGD(1.0), batch_size=40)
    tried = case.trial(0.05)
    assert tried is not None
    assert (tried.rate, tried.before) == pytest.approx((0.05, before))
    assert tried.after == pytest.approx(float(((X @ weight - y) ** 2).mean()), rel=1e-9)
    np.testing.assert_array_equal(net.weight.value, np.full((3, 1), 0.5))


def test_a_trial_that_blows_up_ends_at_infinity(rng: np.random.Generator) -> None:
    X = rng.normal(size=(40, 3)).astype(np.float32)
    case = case_of(nn.Dense(3, 1), X, X[:, 0], "mean_squared_error", optimizer=cr.optim.SGD(1e12))
    tried = case.trial(None)
    assert tried is not None
    assert tried.after == math.inf
