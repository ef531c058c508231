"""Random programs, compiled, against the reference executor; with guarded memory and several numbers of threads."""

import pytest

from engine.fuzzing import search

PARTS, PROGRAMS = 6, 50  # `make fuzz` goes through many more


@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_compiled_agree_with_the_reference(part: int) -> None:
    search(PROGRAMS, part)
