"""`program.profile`: what each kernel of a step does, in which layer and phase, and what its speed is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.dtypes import float32, float64
from chainrule.engine.kernel import nodes_made
from chainrule.engine.op import Op
from chainrule.engine.peaks import peak_bytes, peak_flops
from chainrule.engine.profile import PHASES, Profile
from chainrule.engine.program import Program
from chainrule.engine.target import host
from chainrule.engine.trace import trace

ROWS, INPUTS, HIDDEN, OUTPUTS = 32, 20, 48, 3


@pytest.fixture(scope="module")
def profile() -> Profile:
    """Of a training step of 20-48-3 in single precision, whose learning rate is a number in double precision."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Dense(INPUTS, HIDDEN), nn.Tanh(), nn.Dense(HIDDEN, OUTPUTS))
    optimizer = cr.optim.Adam(1e-3)

    def step(x, y):
        loss = cr.losses.mean_squared_error(net(x), y)
        optimizer.update(cr.backpropagate(loss))
        return loss

    x, y = rng.standard_normal((ROWS, INPUTS)).astype("f"), rng.standard_normal((ROWS, OUTPUTS)).astype("f")
    return Program(trace(step, x, y)).profile(x, y)


def test_the_products_of_a_step_have_the_operations_of_three_products_a_layer_but_for_the_first(profile) -> None:
    """Forward, gradient of the weight, gradient of the input, which the first layer does not need."""
    products = [each for each in profile.kernels if each.function.startswith("contraction")]
    expected = 2 * ROWS * (2 * INPUTS * HIDDEN + 3 * HIDDEN * OUTPUTS)
    assert len(products) == 5
    beside = 20 * (INPUTS * HIDDEN + HIDDEN * OUTPUTS + ROWS * (2 * HIDDEN + OUTPUTS))  # of epilogues, at most
    assert expected <= sum(each.flops for each in products) <= expected + beside


def test_every_kernel_has_its_layer_and_phase(profile) -> None:
    found = {(each.module, each.phase) for each in profile.kernels}
    assert {("0", "forward"), ("2", "forward"), ("2", "backpropagation"), ("0", "backpropagation")} <= found
    assert {phase for _, phase in found} <= set(PHASES)
    by_layer = profile.by_layer()
    assert sum(sum(row.values()) for row in by_layer.values()) == pytest.approx(profile.seconds)


def test_what_is_made_of_the_answer_is_of_the_loss_and_so_is_its_gradient() -> None:
    rng = np.random.default_rng(1)
    first, norm = nn.Sequential(nn.Dense(INPUTS, HIDDEN)), nn.Sequential(nn.BatchNorm(HIDDEN), nn.Tanh())
    last = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Dense(HIDDEN, OUTPUTS))

    def step(x, y):
        middle = norm(first(x)) * 2.0  # of no layer, but a layer goes on with it
        loss = cr.losses.cross_entropy(last(middle), y)
        gradients = cr.backpropagate(loss)
        for parameter, gradient in gradients.items():
            parameter.assign(parameter - 0.1 * gradient)
        return loss

    x, y = rng.standard_normal((ROWS, INPUTS)).astype("f"), rng.integers(0, OUTPUTS, ROWS)
    made = Program(trace(step, x, y)).profile(x, y)
    forward = [each.module for each in made.kernels if each.phase == "forward"]
    assert "loss" in forward
    behind = [each for each in made.kernels if each.module == "loss"]
    assert {each.phase for each in behind} == {"forward", "backpropagation"}
    assert all(each.module for each in made.kernels), "every kernel is of a layer or of the loss"
    assert not any(each.function.startswith("contraction") for each in behind)
    for layer in ("0", "2"):
        assert made.by_layer()[layer]["update"] + made.by_layer()[layer]["backpropagation"] > 0


def test_what_only_an_update_needs_is_of_the_update(profile) -> None:
    """Adam's bias corrections are made of its count of steps alone."""
    counts = [each for each in profile.kernels if any(node.op in (Op.POW, Op.CAST) for node in nodes_made(each.kernel))]
    assert counts
    assert {each.phase for each in counts} == {"update"}


def test_a_kernel_is_limited_by_that_of_which_it_uses_the_larger_share(profile) -> None:
    for each in profile.kernels:
        assert each.of_bandwidth == pytest.approx(each.bytes / each.seconds / profile.bandwidth)
        assert each.limit == ("FLOP/s" if each.of_peak >= each.of_bandwidth else "bytes/s")
    copying = Program(trace(lambda a: a + 1, np.zeros(10_000, "f"))).profile(np.zeros(10_000, "f"))
    assert [each.limit for each in copying.kernels] == ["bytes/s"]
    product = Program(trace(lambda a: a @ a.T, np.zeros((256, 256), "f"))).profile(np.zeros((256, 256), "f"))
    assert [each.limit for each in product.kernels] == ["FLOP/s"]


def test_bytes_a_second_are_measured_for_arrays_of_the_size_at_hand() -> None:
    small, large = (peak_bytes(host(), 1, size) for size in (2**14, 2**27))
    assert peak_bytes(host(), 1, 2**14 - 100) == small
    assert 1e8 < large < small < 1e13
    assert 1e8 < peak_bytes(host(), 3, 100) < 1e13


def test_a_kernel_moves_at_least_what_it_reads_and_writes_once(profile) -> None:
    first = next(each for each in profile.kernels if each.function.startswith("contraction"))
    assert first.bytes >= 4 * (ROWS * INPUTS + INPUTS * HIDDEN + ROWS * HIDDEN)


def test_the_peak_is_that_of_the_type_that_is_computed_in(profile) -> None:
    assert profile.peak == peak_flops(host(), float32) * profile.threads
    x = np.ones((40, 30))
    double = Program(trace(lambda a: a @ a.T, x)).profile(x)
    assert double.peak == peak_flops(host(), float64) * double.threads


def test_the_text_names_every_kernel_and_the_whole(profile) -> None:
    lines = str(profile).splitlines()
    assert len(
        [line for line in lines if line.split()[:1] and line.split()[0] in {k.function for k in profile.kernels}]
    ) == len(profile.kernels)
    assert lines[-1].startswith("step ")
    assert f"{profile.threads} threads" in lines[-1]
    assert max(map(len, lines)) <= 80
    slow = replace(profile, kernels=tuple(replace(k, seconds=1000 * k.seconds) for k in profile.kernels))
    assert max(map(len, str(slow).splitlines())) <= 80  # a busy machine makes no line longer
    assert all(line.endswith(("FLOP/s", "bytes/s")) for line in lines[1 : 1 + len(profile.kernels)])
