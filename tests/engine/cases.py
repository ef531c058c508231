"""One row for each differentiable function: how to call it here and in PyTorch, and on which inputs.

`domain` names how inputs are drawn: away from points where the function has no derivative.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import chainrule as cr


@dataclass(frozen=True)
class Case:
    name: str
    ours: Callable[..., Any]
    torch: Callable[..., Any] | None  # (torch, *tensors) -> tensor
    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    domain: str = "any"
    order: int = 2
    tolerance: float = 2e-5
    pytorch_tolerance: float = 1e-10  # relative, in float64
    edges: tuple[tuple[tuple[int, ...], ...], ...] = ()  # other shapes that it takes: scalars, empty, axes of length 1

    def inputs(self, dtype: Any = np.float64, shapes: tuple[tuple[int, ...], ...] | None = None) -> list[np.ndarray]:
        rng = np.random.default_rng(abs(hash_name(self.name)))
        return [draw(rng, self.domain, shape).astype(dtype) for shape in shapes or self.shapes]


ROUNDED = 9.0  # a tolerance that says: numeric differences cannot tell, only PyTorch can

ONE = tuple((shape,) for shape in [(), (0,), (1, 1), (2, 0, 3), (3, 1, 4)])
TWO = (((), ()), ((), (3,)), ((2, 1), (1, 3)), ((0, 3), (3,)), ((1,), (1, 1)), ((2, 3, 1), (2, 1, 4)))


def hash_name(name: str) -> int:
    return sum((i + 1) * ord(letter) for i, letter in enumerate(name))


def draw(rng: np.random.Generator, domain: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from a domain; "apart" are all different by far, and away from 0 and from ties."""
    size = int(np.prod(shape))
    if domain == "any":
        return rng.standard_normal(shape)
    if domain == "positive":
        return rng.uniform(0.3, 2.5, shape)
    if domain == "unit":
        return rng.uniform(-0.8, 0.8, shape)
    if domain == "above one":
        return rng.uniform(1.3, 3.0, shape)
    if domain == "apart":
        return ((rng.permutation(size) - size / 2 + 0.3) * 0.37).reshape(shape)
    raise ValueError(domain)


def unary(name: str, domain: str = "any", torch_name: str | None = None, order: int = 2) -> Case:
    return Case(
        name,
        lambda x: getattr(cr, name)(x),
        lambda torch, x: getattr(torch, torch_name or name)(x),
        domain=domain,
        order=order,
        edges=ONE,
    )


def binary(name: str, domain: str = "positive", torch_name: str | None = None) -> Case:
    return Case(
        name,
        lambda a, b: getattr(cr, name)(a, b),
        lambda torch, a, b: getattr(torch, torch_name or name)(a, b),
        shapes=((3, 4), (4,)),
        domain=domain,
        edges=TWO,
    )


def activation(name: str, call: Callable[..., Any], domain: str = "apart", order: int = 2) -> Case:
    def torch_call(torch: Any, x: Any) -> Any:
        return call(torch.nn.functional, x)

    return Case(name, getattr(cr, name), torch_call, domain=domain, order=order, edges=ONE)


def other(dtype: Any) -> Any:
    """The other floating data type."""
    return cr.float64 if dtype == cr.float32 else cr.float32


INDEX = np.array([[0, 2], [2, 1]])
MASK = np.array([True, False, True])

CASES = [
    *(
        unary(name)
        for name in [
            "negative",
            "exp",
            "expm1",
            "sin",
            "cos",
            "sinh",
            "cosh",
            "tanh",
            "asinh",
            "sigmoid",
            "erf",
            "square",
        ]
    ),
    *(unary(name, "positive") for name in ["sqrt", "log", "log1p", "log2", "log10", "reciprocal"]),
    *(unary(name, "unit") for name in ["asin", "acos", "atan", "atanh", "tan"]),
    unary("acosh", "above one"),
    unary("abs", "apart"),
    Case("sign", lambda x: cr.sign(x) * x, lambda torch, x: torch.sign(x) * x, domain="apart"),
    Case("floor", lambda x: cr.floor(x) * x, lambda torch, x: torch.floor(x) * x, domain="apart"),
    Case("ceil", lambda x: cr.ceil(x) * x, lambda torch, x: torch.ceil(x) * x, domain="apart"),
    Case("round", lambda x: cr.round(x) * x, lambda torch, x: torch.round(x) * x, domain="apart"),
    Case("trunc", lambda x: cr.trunc(x) * x, lambda torch, x: torch.trunc(x) * x, domain="apart"),
    *(
        binary(name)
        for name in ["add", "subtract", "multiply", "divide", "pow", "hypot", "logaddexp", "atan2", "copysign"]
    ),
    binary("maximum", "any"),
    binary("minimum", "any"),
    binary("remainder"),
    Case("nextafter", lambda x: cr.nextafter(x, 9.0) * x, None, edges=ONE),
    Case("positive", lambda x: cr.positive(x) * x, lambda torch, x: torch.positive(x) * x),
    Case(
        "custom_gradient",
        cr.custom_gradient(lambda x: (x**3, lambda upstream: upstream * 3 * x**2)),
        lambda torch, x: x**3,
    ),
    Case("checkpoint", cr.checkpoint(lambda x: cr.sin(x) * cr.exp(x)), lambda torch, x: torch.sin(x) * torch.exp(x)),
    Case(
        "where",
        lambda a, b: cr.where(MASK, a, b),
        lambda torch, a, b: torch.where(torch.tensor(MASK), a, b),
        shapes=((4, 3), (3,)),
    ),
    Case("clip", lambda x: cr.clip(x, -1.0, 0.5), lambda torch, x: torch.clip(x, -1.0, 0.5), domain="apart"),
    Case(
        "stop_gradient", lambda x: cr.stop_gradient(x) * x, lambda torch, x: x.detach() * x, order=1, tolerance=ROUNDED
    ),
    Case(
        "cast",
        lambda x: cr.astype(cr.sin(cr.astype(x, other(x.dtype))), x.dtype),
        lambda torch, x: torch.sin(x.to(torch.float64 if x.dtype == torch.float32 else torch.float32)).to(x.dtype),
        tolerance=ROUNDED,
        pytorch_tolerance=1e-6,
    ),
    # Activations
    activation("relu", lambda f, x: f.relu(x)),
    activation("leaky_relu", lambda f, x: f.leaky_relu(x, 0.01)),
    activation("elu", lambda f, x: f.elu(x)),
    activation("selu", lambda f, x: f.selu(x)),
    activation("gelu", lambda f, x: f.gelu(x), "any"),
    Case(
        "gelu approximate",
        lambda x: cr.gelu(x, approximate=True),
        lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
    activation("silu", lambda f, x: f.silu(x), "any"),
    activation("softplus", lambda f, x: f.softplus(x), "apart"),
    # PyTorch's hardsigmoid multiplies by a sixth rounded to float32, also in float64.
    replace(activation("hard_sigmoid", lambda f, x: f.hardsigmoid(x), "apart", 1), pytorch_tolerance=1e-7),
    activation("hard_tanh", lambda f, x: f.hardtanh(x), "apart", 1),
    activation("hard_silu", lambda f, x: f.hardswish(x), "apart", 1),
    Case("softmax", lambda x: cr.softmax(x, axis=0), lambda torch, x: torch.softmax(x, 0)),
    Case("log_softmax", cr.log_softmax, lambda torch, x: torch.log_softmax(x, -1)),
    # Reductions
    Case("sum", lambda x: cr.sum(x, axis=1), lambda torch, x: torch.sum(x, 1)),
    Case("sum keepdims", lambda x: cr.sum(x, axis=0, keepdims=True), lambda torch, x: torch.sum(x, 0, keepdim=True)),
    Case("sum all", lambda x: cr.sum(x * x), lambda torch, x: torch.sum(x * x)),
    Case("mean", lambda x: cr.mean(x * x, axis=-1), lambda torch, x: torch.mean(x * x, -1)),
    Case("prod", lambda x: cr.prod(x, axis=1), lambda torch, x: torch.prod(x, 1)),
    Case("prod all", cr.prod, lambda torch, x: torch.prod(x), shapes=((2, 3),)),
    Case("max", lambda x: cr.max(x * x, axis=1), lambda torch, x: torch.amax(x * x, 1), domain="positive"),
    Case("min", lambda x: cr.min(x * x, axis=0), lambda torch, x: torch.amin(x * x, 0), domain="positive"),
    Case("var", lambda x: cr.var(x, axis=1, correction=1), lambda torch, x: torch.var(x, 1)),
    Case("std", lambda x: cr.std(x, axis=0), lambda torch, x: torch.std(x, 0, correction=0)),
    Case("logsumexp", lambda x: cr.logsumexp(x, axis=1), lambda torch, x: torch.logsumexp(x, 1)),
    Case("cumulative_sum", lambda x: cr.cumulative_sum(x, axis=1) ** 2, lambda torch, x: torch.cumsum(x, 1) ** 2),
    Case("sum of nothing", lambda x: cr.sum(x, axis=0), lambda torch, x: torch.sum(x, 0), shapes=((0, 3),)),
    Case("sum of a scalar", lambda x: cr.sum(x) ** 2, lambda torch, x: torch.sum(x) ** 2, shapes=((),)),
    Case("mean of one", lambda x: cr.mean(x, axis=1) ** 2, lambda torch, x: torch.mean(x, 1) ** 2, shapes=((3, 1, 2),)),
    Case("prod of one", lambda x: cr.prod(x, axis=0) ** 2, lambda torch, x: torch.prod(x, 0) ** 2, shapes=((1, 3),)),
    Case("prod of many", lambda x: cr.prod(x, axis=1), lambda torch, x: torch.prod(x, 1), shapes=((2, 21),)),
    Case("prod of two axes", lambda x: cr.prod(x, axis=(0, 2)), None, shapes=((2, 3, 2),)),
    Case("max of one", lambda x: cr.max(x, axis=1) ** 2, lambda torch, x: torch.amax(x, 1) ** 2, shapes=((3, 1),)),
    Case("max of all", lambda x: cr.max(x) ** 2, lambda torch, x: torch.amax(x, (0, 1)) ** 2),
    Case("diff", lambda x: cr.diff(x, n=2) ** 2, lambda torch, x: torch.diff(x, n=2) ** 2),
    Case("cumulative_prod", lambda x: cr.cumulative_prod(x, axis=0), lambda torch, x: torch.cumprod(x, 0)),
    # Shape
    Case("reshape", lambda x: cr.reshape(x, (2, -1)) ** 2, lambda torch, x: torch.reshape(x, (2, -1)) ** 2),
    Case("permute_dims", lambda x: cr.permute_dims(x, (1, 0)) ** 2, lambda torch, x: torch.permute(x, (1, 0)) ** 2),
    Case(
        "moveaxis",
        lambda x: cr.moveaxis(x, 0, 2) ** 2,
        lambda torch, x: torch.moveaxis(x, 0, 2) ** 2,
        shapes=((2, 3, 4),),
    ),
    Case("matrix_transpose", lambda x: x.mT * x.T, lambda torch, x: x.mT * x.T),
    Case("expand_dims", lambda x: cr.expand_dims(x, axis=1) * x, lambda torch, x: torch.unsqueeze(x, 1) * x),
    Case("squeeze", lambda x: cr.squeeze(x) ** 2, lambda torch, x: torch.squeeze(x) ** 2, shapes=((3, 1, 2, 1),)),
    Case("unstack", lambda x: cr.unstack(x)[1] * cr.unstack(x, axis=1)[0][0], lambda torch, x: x[1] * x[0, 0]),
    Case(
        "broadcast_arrays",
        lambda a, b: cr.broadcast_arrays(a, b)[0] * b,
        lambda torch, a, b: torch.broadcast_tensors(a, b)[0] * b,
        shapes=((3, 1), (2, 1, 4)),
    ),
    Case(
        "meshgrid",
        lambda a, b: cr.meshgrid(a, b)[0] * cr.meshgrid(a, b)[1] ** 2,
        lambda torch, a, b: torch.meshgrid(a, b, indexing="xy")[0] * torch.meshgrid(a, b, indexing="xy")[1] ** 2,
        shapes=((3,), (2,)),
    ),
    Case(
        "broadcast_to",
        lambda x: cr.broadcast_to(x, (2, 3, 4)) ** 2,
        lambda torch, x: torch.broadcast_to(x, (2, 3, 4)) ** 2,
        shapes=((3, 1),),
    ),
    Case("flip", lambda x: cr.flip(x, axis=1) * x, lambda torch, x: torch.flip(x, (1,)) * x),
    Case("roll", lambda x: cr.roll(x, 2, axis=1) * x, lambda torch, x: torch.roll(x, 2, 1) * x),
    Case("repeat", lambda x: cr.repeat(x, 3, axis=0) ** 2, lambda torch, x: torch.repeat_interleave(x, 3, 0) ** 2),
    Case("tile", lambda x: cr.tile(x, (2, 1, 2)) ** 2, lambda torch, x: torch.tile(x, (2, 1, 2)) ** 2),
    Case(
        "concat",
        lambda a, b: cr.concat([a, b, a], axis=1) ** 2,
        lambda torch, a, b: torch.concat([a, b, a], 1) ** 2,
        shapes=((3, 2), (3, 4)),
    ),
    Case(
        "stack",
        lambda a, b: cr.stack([a, b], axis=1) ** 2,
        lambda torch, a, b: torch.stack([a, b], 1) ** 2,
        shapes=((3, 2), (3, 2)),
    ),
    Case("split", lambda x: cr.split(x, [1, 3], axis=1)[1] ** 2, lambda torch, x: x[:, 1:3] ** 2),
    Case(
        "pad",
        lambda x: cr.pad(x, [(1, 0), (2, 1)], value=3.0) ** 2,
        lambda torch, x: torch.nn.functional.pad(x, (2, 1, 1, 0), value=3.0) ** 2,
    ),
    Case("slice", lambda x: x[1:, ::2] ** 2, lambda torch, x: x[1:, ::2] ** 2, shapes=((4, 5),)),
    Case("slice of nothing", lambda x: x[2:2] ** 2, lambda torch, x: x[2:2] ** 2, shapes=((4, 5),)),
    Case("slice backwards", lambda x: x[::-2, 3:0:-1] ** 2, None, shapes=((4, 5),)),
    # Indexed access
    Case("index by arrays", lambda x: x[INDEX, 1:] ** 2, lambda torch, x: x[torch.tensor(INDEX), 1:] ** 2),
    Case(
        "index by two arrays",
        lambda x: x[INDEX, INDEX - 1] ** 2,
        lambda torch, x: x[torch.tensor(INDEX), torch.tensor(INDEX - 1)] ** 2,
    ),
    Case("index by mask", lambda x: x[MASK] ** 2, lambda torch, x: x[torch.tensor(MASK)] ** 2),
    Case(
        "take",
        lambda x: cr.take(x, INDEX[0], axis=1) ** 2,
        lambda torch, x: torch.index_select(x, 1, torch.tensor(INDEX[0])) ** 2,
    ),
    Case(
        "take_along_axis",
        lambda x: cr.take_along_axis(x, INDEX, axis=1) ** 2,
        lambda torch, x: torch.gather(x, 1, torch.tensor(INDEX)) ** 2,
        shapes=((2, 4),),
    ),
    Case(
        "scatter_add",
        lambda x, u: cr.scatter_add(x, INDEX[1], u, axis=0) ** 2,
        lambda torch, x, u: torch.index_add(x, 0, torch.tensor(INDEX[1]), u) ** 2,
        shapes=((3, 4), (2, 4)),
    ),
    Case("sort", lambda x: cr.sort(x, axis=1) ** 2, lambda torch, x: torch.sort(x, 1)[0] ** 2, domain="apart"),
    Case("top_k", lambda x: cr.top_k(x, 2)[0] ** 2, lambda torch, x: torch.topk(x, 2)[0] ** 2, domain="apart"),
    Case("tril", lambda x: cr.tril(x, k=1) ** 2, lambda torch, x: torch.tril(x, 1) ** 2),
    Case("triu", lambda x: cr.triu(x) ** 2, lambda torch, x: torch.triu(x) ** 2),
    # Products
    Case("matmul", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((3, 4), (4, 2))),
    Case("matmul batched", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((2, 1, 3, 4), (5, 4, 2))),
    Case("matmul of vectors", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((4,), (4,))),
    Case("matmul matrix by vector", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((2, 3, 4), (4,))),
    Case("matmul of nothing", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((2, 0), (0, 3))),
    Case("matmul without rows", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((0, 4), (4, 3))),
    Case("matmul one by one", lambda a, b: a @ b, lambda torch, a, b: a @ b, shapes=((1, 1), (1, 1))),
    Case("vecdot", cr.vecdot, lambda torch, a, b: torch.linalg.vecdot(a, b), shapes=((3, 4), (4,))),
    Case(
        "tensordot",
        lambda a, b: cr.tensordot(a, b, axes=([0, 1], [1, 0])),
        lambda torch, a, b: torch.tensordot(a, b, ([0, 1], [1, 0])),
        shapes=((3, 4, 2), (4, 3, 5)),
    ),
    *(
        Case(
            f"einsum {formula}",
            lambda *xs, formula=formula: cr.einsum(formula, *xs),
            lambda torch, *xs, formula=formula: torch.einsum(formula, *xs),
            shapes=shapes,
        )
        for formula, shapes in [
            ("ij,jk->ik", ((3, 4), (4, 2))),
            ("bij,bjk->bik", ((2, 3, 4), (2, 4, 2))),
            ("ii->i", ((3, 3),)),
            ("ij->", ((3, 4),)),
            ("i,j,ij->j", ((3,), (4,), (3, 4))),
            ("bhqd,bhkd->bhqk", ((2, 2, 3, 4), (2, 2, 3, 4))),
            ("...ij,jk->...ik", ((2, 1, 3, 4), (4, 2))),
        ]
    ),
    Case(
        "scan",
        lambda x: cr.scan(lambda carry, row: (carry * row, cr.sin(carry)), cr.ones(4, dtype=x.dtype), x)[1],
        None,
    ),
]
