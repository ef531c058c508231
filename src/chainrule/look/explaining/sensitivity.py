"""How the loss reacts to the input: the gradient for every feature or pixel, and for images a picture of it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.look.explaining.palette import BLUE, ORANGE

Array = np.ndarray[Any, Any]
_PAPER = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The gradient of the loss for the input.

    Attributes
    ----------
    input, gradient
        The batch and its gradient, both of its shape. Where the gradient is positive, more of this feature makes the
        loss larger; where it is negative, smaller.
    """

    input: Array
    gradient: Array

    def strongest(self, count: int = 5, row: int | None = None) -> list[tuple[tuple[int, ...], float]]:
        """The elements to which the loss reacts most, of all rows or of one, with their gradients; NaN first."""
        values = self.gradient if row is None else self.gradient[self._row(row)]
        sizes = np.nan_to_num(np.abs(values), nan=np.inf)
        order = np.argsort(-sizes.reshape(-1), kind="stable")[: max(0, count)]
        places = [tuple(int(i) for i in np.unravel_index(flat, values.shape)) for flat in order]
        return [(place if row is None else (row, *place), float(values[place])) for place in places]

    def image(self, row: int = 0, shape: tuple[int, int] | None = None) -> Array:
        """The gradient of one example as an image (height, width); colour channels are added up.

        Parameters
        ----------
        row
            Which example.
        shape
            Height and width, for examples that are rows of pixels; default as the example is.

        Raises
        ------
        ArgumentError
            If there is no such row, or the example is no image.
        """
        pixels = self.gradient[self._row(row)]
        if shape is not None:
            if int(np.prod(shape)) != pixels.size:
                raise ArgumentError(f"shape {shape} does not hold the {pixels.size} elements of an example.")
            return np.asarray(pixels.reshape(shape))
        if pixels.ndim == 3 and pixels.shape[-1] <= 4:
            return np.asarray(pixels.sum(axis=-1))
        if pixels.ndim != 2:
            raise ArgumentError(
                f"an example has the shape {pixels.shape}, which is no image; name its height and width with shape=."
            )
        return np.asarray(pixels)

    def picture(self, row: int = 0, shape: tuple[int, int] | None = None, scale: int = 8) -> bytes:
        """`image` as a PNG file: orange where more of a pixel makes the loss larger, blue where it makes it smaller."""
        from PIL import Image

        values = self.image(row, shape)
        colours = coloured(values)
        picture = Image.fromarray(np.kron(colours, np.ones((scale, scale, 1), np.uint8)))
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        return stream.getvalue()

    def picture_link(self, row: int = 0, shape: tuple[int, int] | None = None) -> str:
        """The PNG as a data link for an HTML page."""
        return "data:image/png;base64," + base64.b64encode(self.picture(row, shape)).decode("ascii")

    @property
    def is_image(self) -> bool:
        """Whether an example has height and width by itself."""
        rank = self.gradient.ndim - 1
        return (rank == 2 and min(self.gradient.shape[1:]) > 1) or (rank == 3 and self.gradient.shape[-1] <= 4)

    def _row(self, row: int) -> int:
        if not -len(self.gradient) <= row < len(self.gradient):
            raise ArgumentError(f"there is no example {row}: the batch has {len(self.gradient)}, counted from 0.")
        return row

    def __repr__(self) -> str:
        least, most = float(self.gradient.min(initial=0)), float(self.gradient.max(initial=0))
        return f"Sensitivity(shape={self.gradient.shape}, from {least:.3g} to {most:.3g})"

    def _repr_html_(self) -> str:
        if not self.is_image:
            return f"<pre>{self!r}</pre>"
        return (
            f'<figure><img alt="sensitivity of example 0" src="{self.picture_link()}">'
            "<figcaption>orange: more of this pixel makes the loss larger; blue: smaller</figcaption></figure>"
        )


def coloured(values: Array) -> Array:
    """Numbers as colours (height, width, 3): white at 0, orange at the largest, blue at the smallest."""
    most = float(np.max(np.abs(values), initial=0)) or 1.0
    share = np.nan_to_num(values / most)[..., None]
    warm, cold, paper = (np.array(colour, np.float64) for colour in (ORANGE, BLUE, _PAPER))
    mixed = np.where(share > 0, paper + (warm - paper) * share, paper - (cold - paper) * share)
    return np.round(mixed).astype(np.uint8)
