"""Layers inside a traced program: the same numbers as eagerly, step after step, with every state moved along."""

import copy

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.engine.trace import trace


def every_layer() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(6, 4),
        nn.Flatten(),
        nn.Standardize(8),
        nn.Dense(8, 6),
        nn.BatchNorm(6),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.Residual(nn.Sequential(nn.LayerNorm(6), nn.Dense(6, 6, activation="relu"))),
        nn.RMSNorm(6),
        nn.Lambda(cr.sin),
        nn.Dense(6, 3),
        nn.LogSoftmax(),
    )


def step(net: nn.Module, x: cr.Tensor) -> cr.Tensor:
    """One step of gradient descent, written as anyone would write it."""
    loss = cr.mean(net(x) ** 2)
    gradients = cr.backpropagate(loss)
    with cr.no_grad():
        for parameter, gradient in gradients.items():
            parameter.assign(parameter - 0.1 * gradient)
    return loss


def test_a_traced_training_step_moves_parameters_statistics_and_generators_as_the_eager_one_does() -> None:
    traced = every_layer()
    eager = copy.deepcopy(traced)
    batches = np.random.default_rng(0).integers(0, 6, (4, 5, 2))
    program = trace(lambda x: step(traced, x), batches[0])
    for batch in batches:
        (loss,) = program(batch)
        np.testing.assert_array_equal(loss, step(eager, cr.asarray(batch)))
    for name, array in eager.arrays().items():
        np.testing.assert_array_equal(traced.arrays()[name], array, err_msg=name)


def test_a_traced_answer_in_eval_reads_states_and_assigns_none() -> None:
    net = every_layer().eval()
    x = np.array([[0, 5], [3, 3]])
    program = trace(net, x)
    assert program.writes == ()
    np.testing.assert_array_equal(program(x)[0], net(x))


def test_nodes_of_a_traced_network_carry_the_paths_of_the_layers_that_made_them() -> None:
    net = every_layer()
    program = trace(net, np.array([[0, 5], [3, 3]]))
    made = {node.provenance.module for node in program.graph.nodes}
    assert {"0", "2", "3", "4", "7.inner.0", "7.inner.1", "11"} <= made <= set(net.named_modules())
