"""Functions of functions: gradients, products with Jacobians, whole Jacobians and Hessians, custom gradients.

All stand on `backprop.walk`. Forward mode (`jvp`) differentiates the vector-Jacobian product by its own upstream
gradient, so it needs no second page of calculus.
"""

from __future__ import annotations  # or the name np.random would load that part of NumPy on import

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.engine.backprop import backpropagate, walk
from chainrule.engine.checks import Check
from chainrule.engine.context import StateReader, no_grad, remembering, trace_scope, trace_under_way
from chainrule.engine.dtypes import is_floating
from chainrule.engine.functions import full_like, reshape, stack, stop_gradient, zeros, zeros_like
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.graph import Node, toposort
from chainrule.engine.op import Op
from chainrule.engine.state import State
from chainrule.engine.tensor import Tensor, apply, asarray, leaf
from chainrule.errors import ArgumentError, GradientError, ShapeError

Function = Callable[..., Any]


def _variable(x: Any, **again: bool) -> Tensor:
    """A tensor of the same value that is a beginning of its own, so that only paths through it are followed.

    Inside another differentiation the value must stay connected, so the beginning is an op on it.
    """
    tensor = asarray(x)
    if tensor.node.tracked or tensor.node.value is None:
        node = apply(Op.RESHAPE, tensor, shape=tensor.shape, **again).node
        return Tensor(replace(node, tracked=is_floating(tensor.dtype)))
    return Tensor(leaf(tensor.value, tracked=is_floating(tensor.dtype)))


def _given(arg: Any) -> Any:
    """An argument for which no gradient is asked: arrays become tensors, anything else stays as it is."""
    return asarray(arg) if isinstance(arg, np.ndarray) else arg


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that returns `(f(*args), gradient)`.

    Parameters
    ----------
    f
        Returns a scalar tensor (with `has_aux`: that and anything else).
    argnums
        Which positional argument the gradient is for; several give a tuple of gradients.
    has_aux
        The result is then `((value, aux), gradient)`.
    """
    several = not isinstance(argnums, int)
    numbers = tuple(argnums) if not isinstance(argnums, int) else (argnums,)

    def function(*args: Any, **keywords: Any) -> Any:
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise ArgumentError(f"grad: argnums names argument {number}, but {len(args)} were given.")
        with remembering():
            chosen = {number % len(args): _variable(args[number % len(args)]) for number in numbers}
            result = f(*(chosen.get(i, _given(arg)) for i, arg in enumerate(args)), **keywords)
        loss = result[0] if has_aux else result
        gradients = backpropagate(loss, wrt=[chosen[number % len(args)] for number in numbers])
        return result, (tuple(gradients) if several else gradients[0])

    return function


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of the scalar function `f` for the argument `argnums`.

    >>> import chainrule as cr
    >>> cr.grad(lambda x: x**3)(cr.asarray(2.0)).item()
    12.0
    """
    both = value_and_grad(f, argnums, has_aux)

    def function(*args: Any, **keywords: Any) -> Any:
        result, gradient = both(*args, **keywords)
        return (gradient, result[1]) if has_aux else gradient

    return function


def vjp(f: Function, *args: Any) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """`f(*args)`, and the function that takes an upstream gradient of its shape back to every argument."""
    with remembering():
        variables = [_variable(arg) for arg in args]
        output = _tensor_result(f(*variables), "vjp")
    nodes = toposort([output.node])

    def back(upstream: Any) -> tuple[Tensor, ...]:
        g = asarray(upstream, dtype=output.dtype)
        if g.shape != output.shape:
            raise ShapeError(f"vjp: the upstream gradient has the shape {g.shape}, the output {output.shape}.")
        found = walk(nodes, output, [v.node for v in variables], g)
        return tuple(found[v.node] if v.node in found else zeros_like(v) for v in variables)

    return output, back


def jvp(f: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """`f(*args)`, and how it changes when the arguments move along `tangents`."""
    if len(args) != len(tangents):
        raise ArgumentError(f"jvp: {len(args)} arguments but {len(tangents)} tangents.")
    output, back = vjp(f, *args)
    with remembering():  # the vector-Jacobian product is differentiated by its own upstream gradient
        upstream = _variable(full_like(output, 1))
        pulled = back(upstream)
    moved = [asarray(t, dtype=p.dtype) for t, p in zip(tangents, pulled, strict=True)]
    for tangent, arg in zip(moved, pulled, strict=True):
        if tangent.shape != arg.shape:
            raise ShapeError(f"jvp: a tangent has the shape {tangent.shape}, its argument {arg.shape}.")
    with remembering():
        products = [sum_over(p * t) for p, t in zip(pulled, moved, strict=True) if is_floating(p.dtype)]
        total = sum(products, start=asarray(0.0, dtype=output.dtype))
    return output, backpropagate(total, wrt=[upstream])[0]


def jacobian(f: Function, argnums: int = 0) -> Function:
    """A function that returns the derivative of every output by every input: output shape + input shape."""

    def function(*args: Any) -> Tensor:
        if not -len(args) <= argnums < len(args):
            raise ArgumentError(f"jacobian: argnums names argument {argnums}, but {len(args)} were given.")
        number = argnums % len(args)
        with remembering():
            variable = _variable(args[number])
            others = [variable if i == number else _given(arg) for i, arg in enumerate(args)]
            output = _tensor_result(f(*others), "jacobian")
        nodes = toposort([output.node])
        rows = []
        for index in range(output.size):
            unit = np.zeros(output.size, output.dtype)
            unit[index] = 1
            found = walk(nodes, output, [variable.node], asarray(unit.reshape(output.shape)))
            rows.append(found.get(variable.node, zeros_like(variable)))
        if not rows:
            return zeros((*output.shape, *variable.shape), dtype=variable.dtype)
        return reshape(stack(rows), (*output.shape, *variable.shape))

    return function


def hessian(f: Function, argnums: int = 0) -> Function:
    """A function that returns the second derivatives of the scalar function `f`: input shape twice."""
    return jacobian(grad(f, argnums), argnums)


def custom_gradient(f: Function) -> Function:
    """Give a function a gradient of your own.

    `f(*args)` returns `(value, backward)`, where `backward(upstream)` returns the gradient for each argument (a tensor
    for one, a tuple for several, `None` where none flows).

    >>> import chainrule as cr
    >>> @cr.custom_gradient
    ... def clipped(x):
    ...     return x, lambda upstream: cr.clip(upstream, -1.0, 1.0)
    >>> cr.grad(lambda x: 10.0 * clipped(x))(cr.asarray(2.0)).item()
    1.0
    """

    def function(*args: Any) -> Tensor:
        tensors = [asarray(arg, copy=True) for arg in args]
        value, backward = f(*tensors)
        return _with_gradient(_tensor_result(value, "custom_gradient"), tensors, backward)

    return function


def checkpoint(f: Function) -> Function:
    """`f` without its intermediate values being kept: backpropagation computes them again when it needs them.

    This saves memory, eager and compiled, for the time of one more forward pass through `f`.

    Parameters
    ----------
    f
        Takes and returns tensors, for example a layer. It may read parameters and draw random numbers: the second
        computation sees every state as the first one did, and assigns none.

    Raises
    ------
    GradientError
        If `f` uses a tensor from outside that a gradient may flow to, and that is neither argument nor parameter.

    Examples
    --------
    >>> import chainrule as cr
    >>> block = cr.checkpoint(lambda x: cr.tanh(cr.tanh(x)))
    >>> bool(cr.grad(block)(0.5) == cr.grad(lambda x: cr.tanh(cr.tanh(x)))(0.5))
    True
    """

    def function(*args: Any) -> Tensor:
        tensors = [asarray(arg, copy=True) for arg in args]
        first = _FirstRun(trace_under_way.get())
        with trace_scope(first):
            value = _tensor_result(f(*(stop_gradient(tensor) for tensor in tensors)), "checkpoint")
        if value.node.tracked:
            raise GradientError(
                f"checkpoint: the function ({value.node.provenance}) uses a tensor from outside that a gradient may "
                "flow to; pass it as an argument."
            )
        learned = [state for state, node in first.seen.items() if node.tracked]
        sources = [*tensors, *(Tensor(first.seen[state]) for state in learned)]

        def gradients(*given: Tensor) -> list[Tensor]:
            with remembering():
                variables = [_variable(source, again=True) for source in given[:-1]]
                moved = [variable.node for variable in variables[len(tensors) :]]
                with trace_scope(_SecondRun(first.seen | dict(zip(learned, moved, strict=True)))):
                    output = f(*variables[: len(tensors)])
            found = walk(toposort([output.node]), output, [variable.node for variable in variables], given[-1])
            return [found.get(variable.node, zeros_like(variable)) for variable in variables]

        def backward(upstream: Tensor) -> list[Tensor]:
            given = [*sources, upstream]
            with no_grad():  # or the gradients would keep what `f` computed: they too are computed again when needed
                values = gradients(*map(stop_gradient, given))

            def second(i: int) -> Callable[[Tensor], tuple[Tensor, ...]]:
                return lambda above: vjp(lambda *g: gradients(*g)[i], *given)[1](above)

            return [_with_gradient(found, given, second(i)) for i, found in enumerate(values)]

        return _with_gradient(value, sources, backward)

    return function


class _FirstRun:
    """Hands states through, notes what each was when it was first read, and keeps gradients from flowing to them."""

    def __init__(self, outer: StateReader | None) -> None:
        self.outer = outer
        self.seen: dict[State, Node] = {}
        self.assigned: set[State] = set()

    def read(self, state: State) -> Node:
        with trace_scope(self.outer):
            node = state.node
        if state not in self.assigned:
            self.seen.setdefault(state, node)
        return stop_gradient(Tensor(node)).node

    def write(self, state: State, value: Tensor) -> None:
        self.read(state)
        self.assigned.add(state)
        with trace_scope(self.outer):
            state.assign(value)

    def check(self, check: Check) -> None:
        if self.outer is not None:
            self.outer.check(check)


class _SecondRun:
    """Answers with what the first run read, and forgets what is assigned."""

    def __init__(self, states: dict[State, Node]) -> None:
        self.states = states

    def read(self, state: State) -> Node:
        if state not in self.states:
            raise GradientError(f'checkpoint: the function read "{state.name}" only when it was computed again.')
        return self.states[state]

    def write(self, state: State, value: Tensor) -> None:
        self.states[state] = value.node

    def check(self, check: Check) -> None:
        """The first run has looked at it."""


def _with_gradient(value: Tensor, sources: Sequence[Tensor], backward: Callable[[Tensor], Any]) -> Tensor:
    """`value` as a node whose inputs are `sources` and whose gradient is `backward`."""

    latest: list[tuple[Tensor, Sequence[Any]]] = []  # what `backward` said last, as it is asked once for each source

    def pull(g: Tensor, position: int, _inputs: tuple[Tensor, ...]) -> Tensor | None:
        if position == 0:
            return None
        if not latest or latest[0][0] is not g:
            latest[:] = [(g, _gradients_for(backward(g), sources))]
        given = latest[0][1][position - 1]
        if position == len(sources):
            latest.clear()
        return None if given is None else asarray(given)

    return apply(Op.CUSTOM, stop_gradient(value), *sources, backward=pull)


def _gradients_for(returned: Any, sources: Sequence[Tensor]) -> Sequence[Any]:
    """What a backward function returned, checked: one gradient, or `None`, for each source."""
    parts = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
    if len(parts) != len(sources):
        raise GradientError(f"the backward function returned {len(parts)} gradients for {len(sources)} arguments.")
    for number, (part, source) in enumerate(zip(parts, sources, strict=True)):
        if part is not None and asarray(part).shape != source.shape:
            raise ShapeError(
                f"the backward function returned a gradient of shape {asarray(part).shape} for argument {number} "
                f"of shape {source.shape}."
            )
    return parts


def _tensor_result(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{name}: the function must return one tensor, but returned {type(value).__name__}.")
    return value


def check_gradients(
    f: Function, *args: Any, order: int = 2, step: float = 1e-5, tolerance: float = 1e-5, seed: int = 0
) -> None:
    """Compare the gradient of `f` with numeric differences along random directions, in float64.

    The sum of `f`'s output, weighted with fixed random numbers, is moved along a random direction of each floating
    argument; the central difference must agree with the gradient's product with that direction. With `order=2` the
    gradient itself is checked in the same way.

    Parameters
    ----------
    f
        A function of tensors that returns a floating tensor.
    *args
        Its arguments; floating ones are converted to float64 and differentiated.
    order
        1 or 2.
    step
        Half the distance of the central difference, relative to numbers of size 1.
    tolerance
        The greatest difference, relative to the larger of 1 and the numeric value.

    Raises
    ------
    GradientError
        If they differ, with the order, the argument and both numbers.
    """
    if order not in (1, 2):
        raise ArgumentError(f"check_gradients: order is 1 or 2, not {order}.")
    generator = np.random.default_rng(seed)
    arrays = [np.asarray(arg) for arg in args]
    arrays = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays]
    places = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    if not places:
        raise ArgumentError("check_gradients: no argument is floating.")

    output = _tensor_result(f(*map(asarray, arrays)), "check_gradients")
    if not is_floating(output.dtype):
        raise ArgumentError(f"check_gradients: the function returns {output.dtype.name}, which has no gradient.")
    weights = asarray(generator.standard_normal(output.shape))

    def weighed(*tensors: Any) -> Tensor:
        return sum_over(f(*tensors) * weights)

    _compare(weighed, arrays, places, generator, step, tolerance, 1)
    if order == 2:
        slopes = [asarray(generator.standard_normal(arrays[i].shape)) for i in places]

        def weighed_gradient(*tensors: Any) -> Tensor:
            gradients = grad(weighed, places)(*tensors)
            return sum((sum_over(g * s) for g, s in zip(gradients, slopes, strict=True)), start=asarray(0.0))

        _compare(weighed_gradient, arrays, places, generator, step, tolerance, 2)


def _compare(
    f: Function,
    arrays: list[Any],
    places: list[int],
    generator: np.random.Generator,
    step: float,
    tolerance: float,
    order: int,
) -> None:
    gradients = grad(f, places)(*arrays)
    for place, gradient in zip(places, gradients, strict=True):
        direction = generator.standard_normal(arrays[place].shape)
        ahead, behind = list(arrays), list(arrays)
        ahead[place] = arrays[place] + step * direction
        behind[place] = arrays[place] - step * direction
        numeric = (float(f(*map(asarray, ahead))) - float(f(*map(asarray, behind)))) / (2 * step)
        exact = float(np.sum(np.asarray(gradient) * direction))
        if not abs(exact - numeric) <= tolerance * max(1.0, abs(numeric)):
            raise GradientError(
                f"check_gradients: order {order}, argument {place}: the gradient gives {exact:.10g} along a random "
                f"direction, the numeric difference {numeric:.10g}."
            )
