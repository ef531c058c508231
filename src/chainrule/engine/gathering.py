"""What a native loop and those who run it agree on: the words that it reads, and what it can gather batches from."""

from typing import Any

import numpy as np

from chainrule.engine.dtypes import DType

LOOP = "loop"  # the name of the function
STEP_AT, STEPS, ROWS, STOP, HALT, DONE, VARIANT_AT, VARIANT_JOB = range(8)  # words of a loop: see `loop.py`
TURNS, PLACES, APART, WRONG = range(8, 12)
GUARDS, FIRST = 12, 18  # of the step, and of its variant: address, job, and where it counts; without one 0
JOB, ROWS_AT, SOON_AT, SITES = 9, 6, 7, 8  # words of a job, and what some of them are: see `emit.py`
Results = tuple[int, tuple[int, ...]]  # the slot of the first result in a program's table, and the bytes of each

# NumPy's name of a type -> how it stands in memory, and whether it is a signed or unsigned integer, a float,
# or a half, whose bits are converted by the loop, because not every processor has an instruction for it.
SOURCES = {
    "bool": ("i8", "u"),
    "uint8": ("i8", "u"),
    "int8": ("i8", "s"),
    "uint16": ("i16", "u"),
    "int16": ("i16", "s"),
    "uint32": ("i32", "u"),
    "int32": ("i32", "s"),
    "int64": ("i64", "s"),
    "float16": ("i16", "h"),
    "float32": ("float", "f"),
    "float64": ("double", "f"),
}


def can_gather(source: np.dtype[Any], goal: DType) -> bool:
    """Whether rows of a type can become rows of another on the way into a batch."""
    if source == goal:
        return True
    return source.isnative and source.name in SOURCES and goal.kind == "f"
