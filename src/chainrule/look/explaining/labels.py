"""Labels: what inputs, answers and examples are called by those who made the data."""

from __future__ import annotations

from dataclasses import dataclass


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

    def input(self, index: tuple[int, ...]) -> str:
        """The name of an element of x in quotation marks; `""` where it has none."""
        return _quoted(self.inputs, index)

    def output(self, index: tuple[int, ...]) -> str:
        """The same of an element of the guesses."""
        return _quoted(self.outputs, index)

    def example(self, row: int) -> str:
        """How a row is called."""
        return self.examples[row] if row < len(self.examples) else f"example {row}"


def _quoted(names: tuple[str, ...], index: tuple[int, ...]) -> str:
    known = len(index) == 2 and 0 <= index[1] < len(names)
    return f'"{names[index[1]]}"' if known else ""
