"""Modules made of modules: one after another, around a shortcut, and a plain function as a layer."""

from collections.abc import Callable, Iterator
from typing import Any

from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn.activations import ACTIVATIONS, ActivationLayer
from chainrule.nn.dense import Dense, Flatten
from chainrule.nn.dropout import Dropout
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm, LayerNorm, RMSNorm

_LETS_THROUGH = (Flatten, Dropout, BatchNorm, LayerNorm, RMSNorm)  # between a Dense and its activation


class Sequential(Module):
    """Layers that are called one after another; they are named "0", "1" and so on.

    A `Dense` without `init` whose weight is as it was drawn is scaled to suit the activation layer that follows it,
    also behind normalisation, dropout or flattening, and also out of a nested Sequential.

    Parameters
    ----------
    *layers
        The modules, in the order of their calls.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Dense(4, 8), nn.ReLU(), nn.Dense(8, 3))
    >>> net(cr.ones((2, 4))).shape
    (2, 3)
    >>> [name for name, _ in net.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Module) -> None:
        for place, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise ArgumentError(
                    f"Sequential: layer {place} must be a module, but is {layer!r:.60}; wrap a function in nn.Lambda."
                )
            setattr(self, str(place), layer)
        self.suit_weights()

    @property
    def layers(self) -> tuple[Module, ...]:
        """The modules in the order of their calls."""
        return tuple(value for name, value in vars(self).items() if name.isdecimal())

    def suit_weights(self) -> None:
        """Scale weights that are as they were drawn by default to suit the activations that follow them."""
        last: Dense | None = None
        for layer in _in_order(self):
            if isinstance(layer, Dense):
                last = layer
            elif isinstance(layer, ActivationLayer) and last is not None:
                last.suit(ACTIVATIONS[layer.activation].init)
                last = None
            elif not isinstance(layer, _LETS_THROUGH):
                last = None

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, key: int | slice) -> Module:
        """The layer at this place; for a slice a Sequential of the same layers, sharing their parameters."""
        return Sequential(*self.layers[key]) if isinstance(key, slice) else self.layers[key]


def _in_order(layer: Module) -> Iterator[Module]:
    """The layers in the order of their calls, with those inside nested Sequentials in place, the first time."""
    stack, opened = [layer], set()
    while stack:
        top = stack.pop()
        if isinstance(top, Sequential) and top not in opened:  # shared ones within shared ones would grow without end
            opened.add(top)
            stack.extend(reversed(top.layers))
        else:
            yield top


class Residual(Module):
    """y = shortcut(x) + inner(x) (He, Zhang, Ren and Sun, 2016).

    Parameters
    ----------
    inner
        The module around which the shortcut goes.
    shortcut
        What `x` passes on the way around, where shapes must be changed; default nothing.

    Raises
    ------
    ShapeError
        On a call, if the two shapes differ.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> nn.Residual(nn.Dense(4, 4))(cr.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(self, inner: Module, shortcut: Module | None = None) -> None:
        if not isinstance(inner, Module) or not isinstance(shortcut, Module | None):
            raise ArgumentError(
                f"Residual: inner and shortcut must be modules, but are {inner!r:.60}, {shortcut!r:.60}."
            )
        self.inner = inner
        self.shortcut = shortcut

    def __call__(self, x: Any) -> Tensor:
        x = asarray(x)
        around: Tensor = x if self.shortcut is None else self.shortcut(x)
        through: Tensor = self.inner(x)
        if around.shape != through.shape:
            raise ShapeError(
                f"{self.label()} adds {around.shape} and {through.shape}; give it a shortcut that makes them equal."
            )
        return around + through


class Lambda(Module):
    """A function as a layer. It can be saved only if it is a function of chainrule, such as `cr.tanh`.

    Parameters
    ----------
    function
        Any function of one tensor.
    name
        How it is shown; default the function's name.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> nn.Lambda(cr.square)([3.0]).tolist()
    [9.0]
    """

    def __init__(self, function: Callable[[Any], Any], name: str | None = None) -> None:
        if not callable(function) or not isinstance(name, str | None):
            raise ArgumentError(f"Lambda needs a function and perhaps a name, but got {function!r:.60}, {name!r:.60}.")
        self.function = function
        self.name = name if name is not None else getattr(function, "__name__", type(function).__name__)

    def __call__(self, x: Any) -> Any:
        return self.function(x)
