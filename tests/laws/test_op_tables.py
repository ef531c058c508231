"""Law: every stage knows every primitive op, so that an op cannot be half added."""

import inspect

import pytest

from chainrule.engine.derivatives import DERIVATIVES
from chainrule.engine.graph import RULES
from chainrule.engine.instructions import INSTRUCTIONS
from chainrule.engine.op import Op
from chainrule.engine.reference import KERNELS

PRIMITIVES = set(Op) - {Op.INPUT, Op.CONSTANT}
# Their number of inputs is not fixed, so `derivative` has a line for each of them instead of the table.
OPEN_ENDED = {Op.CONCAT, Op.CUSTOM}


def test_every_primitive_has_a_rule_for_shape_and_data_type() -> None:
    assert set(RULES) == PRIMITIVES


def test_every_primitive_has_a_kernel_on_numpy() -> None:
    assert set(KERNELS) == PRIMITIVES


def test_every_primitive_has_a_derivative() -> None:
    assert set(DERIVATIVES) == PRIMITIVES - OPEN_ENDED


def test_every_elementwise_primitive_has_an_instruction() -> None:
    ops = list(Op)
    elementwise = set(ops[ops.index(Op.NEG) : ops.index(Op.STOP_GRADIENT) + 1])
    assert set(INSTRUCTIONS) == elementwise


def test_the_names_of_ops_are_unique() -> None:
    assert len({op.value for op in Op}) == len(Op.__members__)


@pytest.mark.parametrize("op", DERIVATIVES, ids=lambda op: op.value)
def test_there_is_one_derivative_for_each_input(op: Op) -> None:
    for rule in DERIVATIVES[op]:
        positional = [
            parameter
            for parameter in list(inspect.signature(rule).parameters.values())[2:]  # after upstream and output
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        attributes = {"axes", "axis", "shape", "dtype", "size", "starts", "stops", "steps"}
        attributes |= {"low", "high", "interior", "value", "again"}
        inputs = [parameter for parameter in positional if parameter.name not in attributes]
        assert len(inputs) == len(DERIVATIVES[op])
