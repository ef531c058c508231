"""Random programs, compiled, against the reference executor; with guarded memory and several numbers of threads."""

import pytest

from chainrule.engine.graph import RULES
from chainrule.engine.op import Op
from engine.fuzzing import search
from engine.graphs import LONGEST, ops_of

PARTS, PROGRAMS = 6, 50  # `make fuzz` goes through many more


@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_compiled_agree_with_the_reference(part: int) -> None:
    search(PROGRAMS, part)


def test_random_programs_are_of_all_primitives_and_lengths_with_shared_nodes_and_several_outputs() -> None:
    """The same programs as above, only made."""
    ops: set[Op] = set()
    lengths: set[int] = set()
    shared = several = 0

    def note(case, _target) -> None:
        nonlocal shared, several
        ops.update(ops_of(case))
        lengths.update(length for node in case.traced.graph.nodes for length in node.shape)
        sources = [source for node in case.traced.graph.nodes for source in node.inputs]
        shared += len(set(sources)) < len(sources)
        several += len(case.expected) > 1

    for part in range(PARTS):
        search(PROGRAMS, part, look=note)
    assert ops == set(RULES) - {Op.INPUT, Op.CONSTANT}
    assert len(lengths & {*range(LONGEST + 1)}) > 0.9 * LONGEST
    assert min(shared, several) > PARTS * PROGRAMS // 3
