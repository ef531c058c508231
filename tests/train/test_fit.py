"""fit on small real problems: against PyTorch, the same bits twice, and what it says when something does not fit."""

import os
import signal
import threading

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import chainrule as cr
from chainrule import nn
from chainrule.data.batches import Batches
from chainrule.errors import ArgumentError, ChainruleError, DataError, ShapeError, TrainingError
from chainrule.nn.optimizers import SGD, Adam
from chainrule.nn.schedules import Plateau
from chainrule.train.callbacks import Callback, EarlyStopping
from chainrule.train.fit import Trainer, evaluate, fit, predict
from train.samples import Data, bits, classifier, mended


@pytest.fixture(scope="module")
def diabetes() -> Data:
    X, y = load_diabetes(return_X_y=True)
    return (X / X.std(axis=0)).astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)


class Doing(Callback):
    """Calls a function after each step."""

    def __init__(self, action) -> None:
        self.action = action

    def on_batch_end(self, trainer: Trainer) -> None:
        self.action(trainer)


# --- Learning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "weighted"), [("adam", False), ("momentum", True)])
def test_epoch_losses_are_those_of_a_pytorch_loop(iris: Data, oracle, name: str, weighted: bool) -> None:
    X, y = iris
    weights = np.linspace(0.5, 2.0, len(X)).astype(np.float32)
    net = classifier()
    begin = [array.copy() for array in net.arrays().values()]

    def in_torch() -> dict[str, np.ndarray]:
        import torch

        w1, b1, w2, b2 = (torch.tensor(array, requires_grad=True) for array in begin)
        own = [w1, b1, w2, b2]
        rule = torch.optim.Adam(own, 0.01) if name == "adam" else torch.optim.SGD(own, 0.1, momentum=0.9)
        losses = []
        for epoch in range(5):
            total, mass = 0.0, 0.0
            for xb, yb, wb in Batches((X, y, weights), 32, True, 7).epoch(epoch):
                logits = torch.tanh(torch.tensor(xb) @ w1 + b1) @ w2 + b2
                each = torch.nn.functional.cross_entropy(logits, torch.tensor(yb), reduction="none")
                rows = torch.tensor(wb if weighted else np.ones_like(wb))
                loss = (each * rows).sum() / rows.sum()
                rule.zero_grad()
                loss.backward()
                rule.step()
                total, mass = total + loss.item() * rows.sum().item(), mass + rows.sum().item()
            losses.append(total / mass)
        return {"losses": np.array(losses)}

    expected = oracle(f"epoch losses, {name}", in_torch)["losses"]
    history = fit(
        net,
        (X, y),
        loss="cross_entropy",
        optimizer=Adam(0.01) if name == "adam" else SGD(0.1, momentum=0.9),
        epochs=5,
        seed=7,
        sample_weights=weights if weighted else None,
        progress=False,
    )
    np.testing.assert_allclose(history["loss"], expected, rtol=2e-5)


class Detached(nn.Module):
    """A first layer to which no gradient comes."""

    def __init__(self) -> None:
        self.first, self.last = nn.Dense(4, 6), nn.Dense(6, 3)

    def __call__(self, x):
        return self.last(cr.stop_gradient(cr.relu(self.first(x))))


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "eager"])
def test_a_layer_behind_stop_gradient_stays_as_with_detach_in_pytorch(iris: Data, oracle, compile: bool) -> None:
    X, y = iris
    cr.random.seed(0)
    net = Detached()
    begin = {name: array.copy() for name, array in net.arrays().items()}

    def in_torch() -> dict[str, np.ndarray]:
        import torch

        own = {name: torch.tensor(array, requires_grad=True) for name, array in begin.items()}
        rule = torch.optim.AdamW(own.values(), 0.01, weight_decay=0.1)
        for epoch in range(2):
            for xb, yb in Batches((X, y), 32, True, 0).epoch(epoch):
                hidden = torch.relu(torch.tensor(xb) @ own["first.weight"] + own["first.bias"]).detach()
                logits = hidden @ own["last.weight"] + own["last.bias"]
                rule.zero_grad()
                torch.nn.functional.cross_entropy(logits, torch.tensor(yb)).backward()
                rule.step()
        return {name: each.detach().numpy() for name, each in own.items() if name.endswith("weight")}

    expected = oracle(f"a detached layer, {compile}", in_torch)
    fit(net, (X, y), loss="cross_entropy", optimizer=cr.optim.AdamW(0.01, weight_decay=0.1), epochs=2, progress=False,
        compile=compile)  # fmt: skip
    np.testing.assert_array_equal(net.first.weight, begin["first.weight"])  # not even decayed
    np.testing.assert_array_equal(expected["first.weight"], begin["first.weight"])
    np.testing.assert_allclose(net.last.weight, expected["last.weight"], rtol=2e-5, atol=1e-7)


def test_iris_is_learned_and_measured(iris: Data) -> None:
    net = classifier()
    history = fit(
        net,
        iris,
        loss="cross_entropy",
        optimizer=Adam(0.02),
        epochs=30,
        validation=0.2,
        metrics=["accuracy"],
        progress=False,
    )
    last = history.epochs[-1]
    assert list(last) == [
        *("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy"),
        *("learning_rate", "steps", "seconds"),
    ]
    assert last["steps"] == 4  # 120 rows in batches of 32
    assert last["learning_rate"] == 0.02
    assert history.stopped == "epochs"
    assert evaluate(net, iris, "cross_entropy", ["accuracy"])["accuracy"] > 0.95


def test_targets_of_one_column_go_with_one_output(diabetes: Data) -> None:
    X, y = diabetes
    for targets in (y, y[:, None]):
        cr.random.seed(0)
        net = nn.Dense(10, 1)
        history = fit(net, (X, targets), loss="mse", optimizer=Adam(0.02), epochs=20, metrics=["r2"], progress=False)
        found = evaluate(net, (X, targets), "mse", ["r2"])
        assert found["r2"] > 0.4
        assert found["loss"] == pytest.approx(1 - found["r2"], rel=1e-4)  # the targets have a variance of 1
    assert history["r2"][-1] > history["r2"][0]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_has_the_bits_of_steps_by_hand_with_a_smaller_batch_at_the_end(iris: Data, threads: int) -> None:
    def learner() -> nn.Sequential:
        cr.random.seed(3)
        return nn.Sequential(nn.Dense(4, 70), nn.Dropout(0.2), nn.BatchNorm(70), nn.Dense(70, 3))

    before = cr.threads()
    cr.threads(threads)
    net = learner()
    history = fit(
        net, iris, loss="cross_entropy", optimizer=Adam(0.01), epochs=6, batch_size=32, seed=5, progress=False
    )
    cr.threads(before)
    same, optimizer = learner(), Adam(0.01)

    @cr.compile
    def step(x, labels):
        loss = cr.losses.cross_entropy(same(x), labels)
        optimizer.update(cr.backpropagate(loss))
        return loss

    batches = Batches(iris, 32, True, 5)
    for epoch in range(6):
        losses = [(step(*batch).item(), len(batch[0])) for batch in batches.epoch(epoch)]
        assert [count for _, count in losses] == [32, 32, 32, 32, 22]
        mean = sum(loss * count for loss, count in losses) / 150
        assert history["loss"][epoch] == pytest.approx(mean, rel=1e-12)
    assert bits(net) == bits(same)


def test_the_same_seed_gives_the_same_bits_and_another_one_others(iris: Data) -> None:
    def run(seed: int) -> tuple[bytes, list[float]]:
        cr.random.seed(1)
        net = nn.Sequential(nn.Dense(4, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Dense(8, 3))
        history = fit(net, iris, loss="cross_entropy", epochs=2, validation=0.1, seed=seed, progress=False)
        return bits(net), history["loss"]

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_memory_maps_tensors_and_lists_give_the_same_bits(iris: Data, tmp_path) -> None:
    X, y = iris
    np.save(tmp_path / "X.npy", X)
    found = set()
    for given in ((X, y), (np.load(tmp_path / "X.npy", mmap_mode="r"), y), (cr.asarray(X), cr.asarray(y))):
        cr.random.seed(0)
        net = classifier()
        fit(net, given, loss="cross_entropy", epochs=2, validation=0.2, progress=False)
        found.add(bits(net))
    assert len(found) == 1


def test_batches_of_ones_own_are_walked_once_an_epoch(iris: Data) -> None:
    X, y = iris
    net = classifier()
    history = fit(net, [(X[:75], y[:75]), (X[75:], y[75:])], loss="cross_entropy", epochs=3, progress=False)
    assert history["steps"] == [2, 2, 2]
    once = fit(net, ((X[i::2], y[i::2]) for i in range(2)), loss="cross_entropy", epochs=1, progress=False)
    assert once["steps"] == [2]


def test_rows_without_weight_teach_nothing(iris: Data) -> None:
    X, y = iris
    weights = np.zeros(len(X))
    weights[:75] = 1.0
    net = classifier()
    history = fit(
        net, (X, y, weights), loss="cross_entropy", batch_size=1, epochs=1, metrics=["accuracy"], progress=False
    )
    assert history["steps"] == [150]
    assert np.isfinite(history["loss"]).all()


def test_the_network_keeps_its_modes(iris: Data) -> None:
    net = nn.Sequential(nn.Dense(4, 8), nn.BatchNorm(8), nn.Dense(8, 3))
    modules = net.named_modules()
    modules["1"].eval()
    seen = []
    fit(
        net,
        iris,
        loss="cross_entropy",
        epochs=1,
        callbacks=[Doing(lambda trainer: seen.append(modules["1"].training))],
        progress=False,
    )
    assert set(seen) == {True}
    assert not modules["1"].training
    assert net.training
    before = bits(net)
    predict(net, iris[0])
    assert bits(net) == before  # batch norm would have moved in training mode


def test_predictions_do_not_remember_how_they_were_made(iris: Data) -> None:
    answers = predict(classifier(), iris[0], batch_size=7)
    assert answers.shape == (150, 3)
    assert isinstance(answers, np.ndarray)
    assert predict(classifier(), iris[0][:0]).shape == (0, 3)


def test_a_plateau_schedule_is_told_the_loss(iris: Data) -> None:
    schedule = Plateau(1e-9, patience=0, factor=0.5)  # so slow that the loss stands still
    history = fit(
        classifier(), iris, loss="cross_entropy", optimizer=SGD(schedule), epochs=4, validation=iris, progress=False
    )
    assert history["learning_rate"] == pytest.approx([1e-9, 1e-9, 5e-10, 2.5e-10])


# --- Stopping ----------------------------------------------------------------------------------------------------


def test_early_stopping_goes_back_to_the_best_epoch(iris: Data) -> None:
    X, y = iris
    wrong = (X, (y + 1) % 3)  # the better the network learns, the worse it gets on these
    net = classifier()
    history = fit(net, iris, loss="cross_entropy", validation=wrong, epochs=50, patience=3, progress=False)
    assert history.stopped == "early stopping"
    assert len(history) == history.best_epoch + 3
    assert evaluate(net, wrong, "cross_entropy")["loss"] == pytest.approx(min(history["validation_loss"]), rel=1e-6)


def test_early_stopping_knows_which_metrics_should_rise(iris: Data) -> None:
    watch = EarlyStopping(2, monitor="validation_accuracy")
    history = fit(
        classifier(),
        iris,
        loss="cross_entropy",
        optimizer=Adam(0.05),
        epochs=60,
        validation=0.3,
        metrics=["accuracy"],
        callbacks=[watch],
        progress=False,
    )
    reached = history["validation_accuracy"]
    assert watch.best_epoch == reached.index(max(reached)) + 1
    assert EarlyStopping(monitor="validation_mae").sign == 1.0


def test_ctrl_c_ends_the_run_after_the_step_under_way(iris: Data) -> None:
    def press(trainer: Trainer) -> None:
        if trainer.epoch == 2 and trainer.part.batches == 2:
            os.kill(os.getpid(), signal.SIGINT)

    net = classifier()
    before = signal.getsignal(signal.SIGINT)
    history = fit(net, iris, loss="cross_entropy", epochs=9, validation=0.2, callbacks=[Doing(press)], progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert history.stopped == "interrupted"
    assert [row["steps"] for row in history] == [4, 4, 2]
    assert np.isnan(history["validation_loss"][-1])
    assert history.best_epoch == 2
    assert np.isfinite(predict(net, iris[0])).all()


def test_ctrl_c_ends_a_run_between_two_native_calls_of_many_steps(iris: Data) -> None:
    net = classifier()
    begun = net[0].weight.value

    def press() -> None:
        while np.array_equal(net[0].weight.look(), begun):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    history = fit(net, iris, loss="cross_entropy", epochs=100_000, progress=False)  # minutes, if nobody ends it
    assert history.stopped == "interrupted"
    assert len(history) < 100_000
    assert np.isfinite(predict(net, iris[0])).all()


def test_ctrl_c_restores_the_best_parameters_under_early_stopping(iris: Data) -> None:
    X, y = iris
    wrong = (X, (y + 1) % 3)

    def press(trainer: Trainer) -> None:
        trainer.interrupted = trainer.epoch == 3

    net = classifier()
    history = fit(
        net, iris, loss="cross_entropy", validation=wrong, patience=9, callbacks=[Doing(press)], progress=False
    )
    assert history.stopped == "interrupted"
    best = history["validation_loss"][history.best_epoch - 1]
    assert evaluate(net, wrong, "cross_entropy")["loss"] == pytest.approx(best, rel=1e-6)


def test_a_loss_that_is_not_finite_is_named_and_nothing_is_spoilt(iris: Data) -> None:
    X, y = iris
    X = mended(X, (Batches((X,), 32, True, 0).order(0)[70], 0), 3e38)  # a row of the third step

    class Counting(nn.Module):
        def __init__(self) -> None:
            self.dense = nn.Dense(4, 3)
            self.calls = cr.State(0)

        def __call__(self, x):
            self.calls.assign(self.calls + 1)
            return self.dense(4.0 * x)

    net, after_step = Counting(), []
    action = Doing(lambda trainer: after_step.append(bits(net)))
    with pytest.raises(TrainingError, match=r"in epoch 1, step 3,.*smaller learning rate.*data"):
        fit(net, (X, y), loss="cross_entropy", epochs=3, callbacks=[action], progress=False)
    assert bits(net) == after_step[-1]
    assert int(net.calls) == len(after_step) == 2
    assert all(np.isfinite(array).all() for array in net.arrays().values())


def test_a_gradient_that_is_not_finite_is_named() -> None:
    net = nn.Dense(1, 1, init="zeros")

    def root(predictions, targets):
        return cr.mean(cr.sqrt(cr.abs(predictions)))  # finite at 0, but its slope is not

    with pytest.raises(TrainingError, match=r'the gradient of "weight" became infinite or NaN in epoch 1, step 1'):
        fit(net, (np.ones((4, 1)), np.zeros(4)), loss=root, epochs=1, progress=False)
    assert net.weight.tolist() == [[0.0]]


# --- What does not fit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X, y: {"data": (X, y[:-1])}, DataError, "X has 150 rows, but y has 149"),
        (lambda X, y: {"data": (mended(X, (7, 2), np.nan), y)}, DataError, "X holds nan in row 7, column 2"),
        (lambda X, y: {"data": (X.astype(float) * 1e300, y)}, DataError, r"X holds .*e\+299 in row 0, column 0"),
        (lambda X, y: {"data": (X, mended(y, (120,), 5))}, DataError, "y holds 5 in row 120 .*3 outputs.*0 to 2"),
        (lambda X, y: {"data": (X, y + 0.5)}, ChainruleError, "cross_entropy expects class numbers"),
        (lambda X, y: {"data": (X, np.array(["a"] * 150))}, DataError, "y must be an array of numbers.*Encode words"),
        (lambda X, y: {"data": (X[:0], y[:0])}, DataError, "X has no rows"),
        (lambda X, y: {"data": ([[1.0], [1.0, 2.0]], [0, 1])}, DataError, "X cannot become one array"),
        (lambda X, y: {"data": 7}, DataError, r"data must be \(X, y\)"),
        (lambda X, y: {"data": (X[:, :3], y)}, ShapeError, r"expects \(…, 4\) but got \((32|2), 3\)"),
        (lambda X, y: {"data": (X, y), "batch_size": 0}, ArgumentError, "batch_size must be a whole number from 1"),
        (lambda X, y: {"data": (X, y), "epochs": 0}, ArgumentError, "epochs must be a whole number from 1"),
        (lambda X, y: {"data": (X, y), "seed": -1}, ArgumentError, "seed must be a whole number from 0"),
        (lambda X, y: {"data": (X, y), "validation": 1.5}, ArgumentError, "between 0 and 1, but is 1.5"),
        (lambda X, y: {"data": (X, y), "validation": "half"}, ArgumentError, "validation must be a fraction"),
        (lambda X, y: {"data": (X, y), "validation": (X, y[:9])}, DataError, "X has 150 rows, but y has 9"),
        (lambda X, y: {"data": (X, y), "sample_weights": -np.ones(150)}, DataError, "weight in row 0 is -1.0"),
        (lambda X, y: {"data": (X, y), "sample_weights": np.zeros(150)}, DataError, "all weights are 0"),
        (lambda X, y: {"data": (X, y, y), "sample_weights": y}, ArgumentError, "give weights once"),
        (lambda X, y: {"data": (X, y), "patience": 0}, ArgumentError, "patience must be a whole number"),
        (lambda X, y: {"data": (X, y), "metrics": ["acuracy"]}, ArgumentError, 'did you mean "accuracy"'),
        (lambda X, y: {"data": (X, y), "loss": "mse"}, ShapeError, r"\((32|2), 3\) and \((32|2),\)"),
        (lambda X, y: {"data": (X, y), "loss": lambda p, t: p}, ShapeError, r"one number.*cr\.mean"),
        (lambda X, y: {"data": (X, y), "loss": lambda p, t: 1.0}, ArgumentError, "must return a tensor"),
        (lambda X, y: {"data": (X, y, y + 1), "loss": lambda p, t: p}, ArgumentError, "takes no weights"),
        (lambda X, y: {"data": (X, y), "callbacks": [print]}, ArgumentError, "must be Callback objects"),
        (lambda X, y: {"data": iter([(X, y)]), "epochs": 2}, DataError, "only once, but epochs is 2"),
        (lambda X, y: {"data": [(X, y)], "validation": 0.5}, ArgumentError, "needs arrays"),
        (lambda X, y: {"data": [(X,)]}, DataError, "batch 1 must be a tuple"),
        (lambda X, y: {"data": [(X, y[:-1])]}, DataError, "batch 1 has parts of different lengths"),
        (lambda X, y: {"data": iter([]), "epochs": 1}, DataError, "gave no batch"),
    ],
)
@pytest.mark.parametrize("compile", [True, False])
def test_what_does_not_fit_is_said_before_the_network_moves(iris: Data, change, error, message, compile: bool) -> None:
    net = classifier()
    before = bits(net)
    with pytest.raises(error, match=message):
        fit(net, **({"loss": "cross_entropy", "progress": False, "compile": compile} | change(*iris)))
    assert bits(net) == before


@pytest.mark.parametrize("compile", [True, False])
def test_nobody_is_told_of_a_run_that_does_not_fit(iris: Data, compile: bool) -> None:
    told = []

    class Listener(Callback):
        def on_train_begin(self, trainer: Trainer) -> None:
            told.append("begin")

    with pytest.raises(ShapeError):
        fit(classifier(), (iris[0][:, :3], iris[1]), loss="cross_entropy", callbacks=[Listener()], compile=compile)
    with pytest.raises(ArgumentError, match="Tuple must return a tensor made by chainrule, but returned a tuple"):
        fit(Tuple(nn.Dense(4, 3)), iris, loss="cross_entropy", callbacks=[Listener()], compile=True)
    assert told == []


class Tuple(nn.Sequential):
    """Answers with more than a tensor."""

    def __call__(self, x: cr.Tensor) -> tuple[cr.Tensor, int]:
        return super().__call__(x), 0


def test_a_compiled_run_asks_the_network_once_for_each_size_of_batch(iris: Data) -> None:
    asked = []

    class Counting(nn.Sequential):
        def __call__(self, x: cr.Tensor) -> cr.Tensor:
            asked.append((len(x), self.training))
            return super().__call__(x)

    fit(Counting(nn.Dense(4, 3)), iris, loss="cross_entropy", epochs=3, batch_size=40, progress=False)
    assert asked == [(40, True), (30, True)]


def test_a_network_without_parameters_cannot_learn(iris: Data) -> None:
    with pytest.raises(ArgumentError, match="Tanh has no parameters"):
        fit(nn.Tanh(), iris, loss="mse")
