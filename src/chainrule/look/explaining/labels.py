"""Labels: what inputs, answers and examples are called by those who made the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Labels:
    """Names for the columns of x, for the columns of the guesses, and for the rows; none where nothing is known.

    Examples
    --------
    >>> labels = Labels(inputs=("age", "income"), examples=("line 7",))
    >>> labels.input((0, 1)), labels.input((0, 2)), labels.example(0), labels.example(1)
    ('"income"', '', 'line 7', 'example 1')
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    def require(self, x: Sequence[int], guess: Sequence[int]) -> None:
        """Whether there is one name for each column of x and of the guesses, and for each row, by their shapes.

        Raises
        ------
        ArgumentError
            If there are more or fewer names than that: they would stand beside the wrong numbers.
        """
        named = (("inputs", self.inputs, "x", x), ("outputs", self.outputs, "the guesses", guess))
        for argument, names, what, shape in named:
            columns = 1 if len(shape) < 2 else shape[1]
            if names and (len(names) != columns or len(shape) > 2):
                width = f"{columns} column{'s' if columns != 1 else ''}" if len(shape) < 3 else f"{len(shape)} axes"
                raise ArgumentError(
                    f"labels: {argument} holds {_names(names)}, but the shape of {what} is {tuple(shape)}: {width}. "
                    "Give one name for each column, in their order, or none."
                )
        rows = x[0] if x else 1
        if self.examples and len(self.examples) != rows:
            raise ArgumentError(
                f"labels: examples holds {_names(self.examples)}, but x has {rows} row{'s' if rows != 1 else ''}; give "
                "one name for each row, or none."
            )

    def input(self, index: tuple[int, ...]) -> str:
        """The name of an element of x in quotation marks; `""` where it has none."""
        return _quoted(self.inputs, index)

    def output(self, index: tuple[int, ...]) -> str:
        """The same of an element of the guesses."""
        return _quoted(self.outputs, index)

    def example(self, row: int) -> str:
        """How a row is called."""
        return self.examples[row] if row < len(self.examples) else f"example {row}"


def _names(names: Sequence[str]) -> str:
    return f"{len(names)} name{'s' if len(names) != 1 else ''}"


def _quoted(names: tuple[str, ...], index: tuple[int, ...]) -> str:
    known = len(index) == 2 and 0 <= index[1] < len(names)
    return f'"{names[index[1]]}"' if known else ""
