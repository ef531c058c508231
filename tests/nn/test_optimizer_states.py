"""What an optimizer remembers: saved, taken back, traced, and refused where it does not fit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.trace import trace
from chainrule.nn.optimizers import SGD, Adam
from chainrule.nn.schedules import Plateau
from nn.small_problem import MAKES, loss_of, moved, parameters, problem


@pytest.mark.parametrize("name", MAKES)
def test_what_was_saved_and_taken_back_goes_on_with_the_same_bits(name: str) -> None:
    moving, optimizer = parameters("float32"), MAKES[name]()
    moved(moving, optimizer, 7)
    if isinstance(optimizer.learning_rate, Plateau):
        optimizer.learning_rate.observe(1.0)
        optimizer.learning_rate.observe(2.0)
    values, saved = [p.value for p in moving], optimizer.arrays()
    moved(moving, optimizer, 5)

    others = [cr.Parameter(value, p.name) for p, value in zip(moving, values, strict=True)]
    restored = MAKES[name]()
    restored.load_arrays(saved, others)
    moved(others, restored, 5)
    for one, other in zip(moving, others, strict=True):
        np.testing.assert_array_equal(one, other)
    assert restored.arrays().keys() == optimizer.arrays().keys()
    for key, array in optimizer.arrays().items():
        np.testing.assert_array_equal(restored.arrays()[key], array)


@pytest.mark.parametrize("name", MAKES)
def test_an_optimizer_goes_back_to_before_its_first_step(name: str) -> None:
    moving, optimizer = parameters(), MAKES[name]()
    values, saved = [p.value for p in moving], optimizer.arrays()
    places = []
    for _ in range(2):
        moved(moving, optimizer, 4)
        places.append([p.value for p in moving])
        for parameter, value in zip(moving, values, strict=True):
            parameter.assign(value)
        optimizer.load_arrays(saved, moving)
    for one, other in zip(*places, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("has_slots", [False, True], ids=["at the first step", "later"])
@pytest.mark.parametrize("name", MAKES)
def test_a_traced_update_gives_the_bits_of_the_eager_one(name: str, has_slots: bool) -> None:
    results = []
    for traced in (False, True):
        moving, optimizer = parameters("float32"), MAKES[name]()
        moved(moving, optimizer, 2 if has_slots else 0)

        def step(x, y, moving=moving, optimizer=optimizer):
            loss = loss_of(*moving, x, y)
            optimizer.update(cr.backpropagate(loss))
            return loss

        batch = problem("float32")["x"], problem("float32")["y"]
        run = trace(step, *batch) if traced else step
        for _ in range(6):
            run(*batch)
        results.append({p.name: p.value for p in moving} | optimizer.arrays())
    eager, other = results
    assert eager.keys() == other.keys()
    for key, array in eager.items():
        np.testing.assert_array_equal(other[key], array, err_msg=key)


def test_a_program_goes_on_from_what_its_optimizer_was_given_back() -> None:
    """The program holds the slots themselves, so loading must set them and not replace them."""
    moving, optimizer = parameters(), Adam(0.05)
    x, y = problem()["x"], problem()["y"]

    def step(x, y):
        loss = loss_of(*moving, x, y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    program = trace(step, x, y)
    saved, values = {"step_count": np.int64(0)}, [p.value for p in moving]
    program(x, y)
    first = [p.value for p in moving]
    for parameter, value in zip(moving, values, strict=True):
        parameter.assign(value)
    optimizer.load_arrays(saved, moving)
    program(x, y)
    for parameter, value in zip(moving, first, strict=True):
        np.testing.assert_array_equal(parameter, value)


@pytest.mark.parametrize("names", [("", ""), ("same", "same")])
def test_states_that_could_not_be_told_apart_are_not_saved(names: tuple[str, str]) -> None:
    moving = [cr.Parameter(p.value, name) for p, name in zip(parameters(), names, strict=True)]
    optimizer = Adam()
    moved(moving, optimizer, 1)
    with pytest.raises(cr.ArgumentError, match=f'two parameters are named "{names[0]}"'):
        optimizer.arrays()
    with pytest.raises(cr.ArgumentError, match=f'two parameters are named "{names[0]}"'):
        optimizer.load_arrays({f"{names[0]}.m": np.zeros(2)}, moving)


def test_the_slots_of_a_network_are_saved_by_path() -> None:
    net = nn.Sequential(nn.Dense(3, 2), nn.Dense(2, 1))
    optimizer = SGD(0.1, momentum=0.9)
    optimizer.update(cr.backpropagate(cr.sum(net(problem("float32")["x"]))))
    net.parameters()
    names = {f"{layer}.{name}.velocity" for layer in (0, 1) for name in ("weight", "bias")}
    assert optimizer.arrays().keys() == {"step_count"} | names


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (lambda arrays: arrays.pop("bias.v"), r"these differ: bias\.v"),
    "unknown": (lambda arrays: arrays.update({"other.m": np.zeros(1)}), r"these differ: other\.m"),
    "another shape": (lambda arrays: arrays.update({"bias.v": np.zeros(3)}), r'"bias\.v" has the shape \(2,\).*\(3,\)'),
    "words": (lambda arrays: arrays.update({"bias.v": np.array(["a", "b"])}), r'"bias\.v" is float64 .* str'),
    "a count with a fraction": (lambda arrays: arrays.update(step_count=np.array(1.5)), "step_count.* int64 .*float64"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_saved_state_that_does_not_fit_changes_nothing(damage: str) -> None:
    moving, optimizer = parameters(), Adam(0.1)
    moved(moving, optimizer, 3)
    before, spoil = optimizer.arrays(), DAMAGE[damage]
    arrays = {name: array + 1 for name, array in before.items()}
    spoil[0](arrays)
    with pytest.raises(cr.ChainruleError, match=spoil[1]):
        optimizer.load_arrays(arrays, moving)
    for name, array in optimizer.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_fresh_slots_take_no_memory_before_they_are_assigned() -> None:
    weight = cr.Parameter(np.ones((4, 3), "f"))
    optimizer = cr.optim.Adam(0.1)
    first, second = optimizer._fresh_slots(weight).values()
    assert np.shares_memory(first.look(), second.look())
    assert not first.look().flags.writeable
    first.assign(first + 1)
    np.testing.assert_array_equal(second, np.zeros((4, 3), "f"))
