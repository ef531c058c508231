"""One training step, and prediction: the four phases in the words of the guide.

Comes in: a network, a loss, an optimizer, one batch. Goes out: the loss, and the network a little better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol
from weakref import WeakKeyDictionary, ref

import numpy as np

from chainrule.engine.backprop import Gradients, backpropagate
from chainrule.engine.checks import checked_already
from chainrule.engine.compile import Compiled, compile
from chainrule.engine.context import no_grad
from chainrule.engine.dtypes import DType, float32
from chainrule.engine.functions import reshape
from chainrule.engine.state import Parameter
from chainrule.engine.tensor import Tensor, asarray
from chainrule.errors import NonFiniteError, TraceError
from chainrule.nn.module import Module
from chainrule.nn.optimizers import Optimizer

Array = np.ndarray[Any, Any]
_WORTH = 2**30  # multiply-adds, some 50 ms of work on NumPy
LossFunction = Callable[..., Tensor]


class Measurement(Protocol):
    """Looks into one step while it is made, eager or traced, and changes nothing of it."""

    def forward(self) -> AbstractContextManager[None]:
        """The forward pass is made in this block."""

    def before_update(self, gradients: Gradients, optimizer: Optimizer) -> None:
        """Backpropagation is done, and the parameters are as they were."""

    def after_update(self) -> Sequence[Tensor]:
        """The parameters have moved: returns all that was measured, in an order that is always the same."""


class Expectation(Protocol):
    """Refuses what network and loss return, where it does not fit; see `Trial`."""

    targets_are_right: bool  # all of them, for these answers

    def require_answers(self, answers: Any, count: int) -> None:
        """They are the answers to so many rows."""

    def require_loss(self, error: Any) -> None:
        """It is the loss of those."""


def train_step(
    net: Module,
    loss: LossFunction,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    measurement: Measurement | None = None,
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Guess, measure, send the error back, correct. Returns the guesses, the loss before the correction, and figures.

    Raises
    ------
    NonFiniteError
        If the loss, a gradient or a parameter is not finite; in the last case the parameters have moved by then.
    """
    guesses = _guesses(net, x, measurement)
    error = measured(loss, guesses, y, weights)
    _require_finite_loss(error)
    gradients = backpropagate(error)
    _require_finite_gradients(gradients)
    figures = _update(optimizer, gradients, measurement)
    _require_finite_states(gradients, optimizer)
    return guesses, error, figures


def compiled_step(
    net: Module,
    loss: LossFunction,
    optimizer: Optimizer,
    with_guesses: bool,
    measurement: Callable[[], Measurement] | None = None,
    expectation: Expectation | None = None,
) -> Compiled[Any]:
    """`train_step` as a native program of (x, y) or (x, y, weights), without looking for what is not finite.

    It returns the loss, the guesses where they are wanted, and what a measurement measures. What is expected is
    required while it is traced; where all targets were looked at then, no step looks at its own.
    """

    def step(x: Tensor, y: Tensor, weights: Tensor | None = None) -> tuple[Tensor, ...]:
        look = None if measurement is None else measurement()
        guesses = _guesses(net, x, look)
        if expectation:
            expectation.require_answers(guesses, len(x))
        with checked_already() if expectation and expectation.targets_are_right else nullcontext():
            error = measured(loss, guesses, y, weights)
        if expectation:
            expectation.require_loss(error)
        figures = _update(optimizer, backpropagate(error), look)
        return (error, guesses, *figures) if with_guesses else (error, *figures)

    return compile(step)


def _guesses(net: Module, x: Tensor, look: Measurement | None) -> Tensor:
    if look is None:
        return net(x)  # type: ignore[no-any-return]  # `fit` has seen that it gives a tensor
    with look.forward():
        return net(x)  # type: ignore[no-any-return]


def _update(optimizer: Optimizer, gradients: Gradients, look: Measurement | None) -> Sequence[Tensor]:
    if look is None:
        optimizer.update(gradients)
        return ()
    look.before_update(gradients, optimizer)
    optimizer.update(gradients)
    return look.after_update()


def measured(loss: LossFunction, guesses: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
    """The loss of guesses; `weights` are only handed over where there are some."""
    targets = fitting(y, guesses)
    return loss(guesses, targets) if weights is None else loss(guesses, targets, weights=weights)


def fitting(y: Tensor, guesses: Tensor) -> Tensor:
    """Targets in the shape of the guesses, where only axes of length 1 differ.

    (rows,) goes with (rows, 1) and the other way round; class numbers (rows, 1) for logits (rows, classes) become
    (rows,). Everything else stays as it is, for the loss to judge.
    """
    if y.shape == guesses.shape:
        return y
    if guesses.shape == (*y.shape, 1) or y.shape == (*guesses.shape, 1):
        return reshape(y, guesses.shape)
    is_column_of_classes = y.dtype.kind in "ib" and y.ndim == 2 and y.shape[1] == 1 and guesses.ndim == 2
    return reshape(y, (len(y),)) if is_column_of_classes else y


def _require_finite_loss(error: Tensor) -> None:
    values = np.asarray(error)
    if not np.isfinite(values).all():
        raise NonFiniteError(f"the loss became {values if values.ndim else values.item()}")


def _require_finite_gradients(gradients: Gradients) -> None:
    for parameter, gradient in gradients.items():
        if not np.isfinite(np.asarray(gradient)).all():
            raise NonFiniteError(f'the gradient of "{parameter.name}" became infinite or NaN')


def _require_finite_states(moved: Iterable[Parameter], optimizer: Optimizer) -> None:
    """What the update wrote: a moment that is infinite would hold its parameter still for ever, unseen."""
    values = {parameter.name: parameter.value for parameter in moved}
    values |= {name: array for name, array in optimizer.arrays().items() if not name.startswith("schedule.")}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise NonFiniteError(f'"{name}" became infinite or NaN')


def net_dtype(net: Module) -> DType:
    """The floating type in which a network works: that of its first parameter."""
    return next((parameter.dtype for _, parameter in net.named_parameters()), float32)


def as_input(array: Any, dtype: DType) -> Tensor:
    """A batch as a tensor: floating arrays in the network's own type, integers and booleans as they are."""
    return asarray(_in_type(array, dtype))


def _in_type(array: Any, dtype: DType) -> Array:
    found: Array = np.asarray(array)
    return found.astype(dtype, copy=False) if found.dtype.kind == "f" else found


@contextmanager
def modes_kept(net: Module) -> Iterator[None]:
    """Whatever happens inside, every module is afterwards in the mode (training or not) that it was in."""
    modes = [(module, module.training) for module in net.named_modules().values()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def answers_to(net: Module, batches: Iterable[Any], *, native: bool = False) -> Iterator[Array]:
    """What the network answers to each batch of inputs, in evaluation mode and without memory of the way.

    `native` makes machine code of the network first, for batches of each shape, where it can be compiled.
    """
    dtype = net_dtype(net)
    for x in batches:
        with modes_kept(net), no_grad():
            net.eval()
            answers = _native_answers(net, _in_type(x, dtype)) if native else None
            if answers is None:
                answers = np.asarray(net(as_input(x, dtype)))
        yield answers


_forward: WeakKeyDictionary[Module, Compiled[Any]] = WeakKeyDictionary()


def _native_answers(net: Module, batch: Array) -> Array | None:
    """The answers of the compiled network; None where it cannot be compiled."""
    if net not in _forward:
        reference = ref(net)  # the dictionary must not keep the network alive
        _forward[net] = compile(lambda x: reference()(x))  # type: ignore[misc]  # it lives: we were called with it
    try:
        return np.asarray(_forward[net](batch))
    except TraceError:
        return None


def is_worth_compiling(net: Module, rows: int) -> bool:
    """Whether answers to so many rows are so much work that machine code pays at its first use."""
    return rows * sum(parameter.size for parameter in net.parameters()) >= _WORTH
