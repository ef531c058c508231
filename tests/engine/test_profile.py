"""`program.profile`: what each kernel of a step does, in which layer and phase, and what its speed is compared with."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.dtypes import float32, float64
from chainrule.engine.profile import PHASES, Profile, peak_flops
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
