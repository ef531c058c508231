"""Dropout: a layer that hides some of what passes it, in training only."""

from typing import Any

from chainrule.engine.functions import where
from chainrule.engine.random import Generator
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError
from chainrule.nn.arguments import fraction
from chainrule.nn.initializers import own_generator
from chainrule.nn.module import Module


class Dropout(Module):
    """In training each element becomes 0 with probability `p`, the others are scaled by 1 / (1 - p); else nothing.

    (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014.) The layer draws from its own generator, so
    adding or removing one moves no other layer's numbers; the generator is saved with the network.

    Parameters
    ----------
    p
        The probability of becoming 0, at least 0 and below 1.
    generator
        Where random numbers come from; default one of its own, seeded from `chainrule.random.default()`.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> layer = nn.Dropout(0.5)
    >>> sorted(set(layer(cr.ones((100,))).tolist()))
    [0.0, 2.0]
    >>> sorted(set(layer.eval()(cr.ones((100,))).tolist()))
    [1.0]
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        if not isinstance(generator, Generator | None):
            raise ArgumentError(f"Dropout: generator must be a random.Generator, but is {generator!r:.60}.")
        self.p = fraction(p, "Dropout: p")
        self.generator = own_generator() if generator is None else generator

    def __call__(self, x: Any) -> Tensor:
        values = asarray(x)
        if not self.training or self.p == 0:
            return values
        return where(self.generator.bernoulli(1 - self.p, values.shape), values * (1 / (1 - self.p)), 0.0)
