"""`summary`: layers, shapes, parameters, work and memory of a network, without computing it.

The network is traced on symbols of the shape, so that nothing is calculated and size does not matter; the work of a
training step is counted in the graph of its gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.backprop import backpropagate
from chainrule.engine.dtypes import int64, is_floating
from chainrule.engine.functions import sum as sum_over
from chainrule.engine.graph import Node, toposort
from chainrule.engine.op import Op
from chainrule.engine.state import Parameter, State
from chainrule.engine.tensor import Tensor
from chainrule.engine.trace import trace
from chainrule.errors import ArgumentError, DTypeError
from chainrule.look.explaining import lines
from chainrule.look.explaining.figures import shape_text
from chainrule.look.explaining.lines import Line
from chainrule.look.explaining.page import document, text, wrapped
from chainrule.nn.arguments import whole
from chainrule.nn.module import Module, calls_watched
from chainrule.nn.table import kind, memory
from chainrule.train.steps import modes_kept, net_dtype

Shape = tuple[int, ...]
# Ops that move or name elements without calculating.
_FREE = {Op.INPUT, Op.CONSTANT, Op.RESHAPE, Op.TRANSPOSE, Op.BROADCAST, Op.SLICE, Op.PAD, Op.CONCAT, Op.FLIP}
_FREE |= {Op.CAST, Op.STOP_GRADIENT, Op.CUSTOM, Op.TAKE}
_OVER_INPUT = {Op.SUM, Op.PROD, Op.MAX, Op.MIN, Op.ARGMAX, Op.ARGMIN, Op.CUMSUM, Op.SCATTER_ADD}


@dataclass(frozen=True, slots=True)
class Row:
    """One call of a layer.

    Attributes
    ----------
    path, kind
        Which layer, and what it is with its arguments.
    output
        The shape of what it produces, the batch first.
    parameters, trained
        How many parameters it owns, and how many of them learn; 0 for a call of a layer that stood before.
    flops
        Floating-point operations of its forward pass, a multiplication and an addition counted as two.
    kept
        Bytes of what it makes that the backward pass reads again.
    """

    path: str
    kind: str
    output: tuple[Shape, ...]
    parameters: int
    trained: int
    flops: int
    kept: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A network in figures; prints as a table of 80 columns, and shows itself in a notebook.

    Attributes
    ----------
    network, input_shape, batch_size
        What was summarised.
    rows
        The calls of layers in their order.
    parameters, trained
        How many parameters there are, each counted once, and how many of them learn.
    parameter_bytes
        Memory of parameters and states.
    flops, step_flops
        Floating-point operations of a forward pass, and of forward and backward pass together.
    kept
        Bytes that a training step keeps for its backward pass, beside the parameters and the input.
    """

    network: str
    input_shape: Shape
    batch_size: int
    rows: tuple[Row, ...]
    parameters: int
    trained: int
    parameter_bytes: int
    flops: int
    step_flops: int
    kept: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        fields = ("network", "batch_size", "parameters", "trained", "parameter_bytes", "flops", "step_flops", "kept")
        return {
            "schema": "chainrule.summary",
            "version": 1,
            "input_shape": list(self.input_shape),
            **{name: getattr(self, name) for name in fields},
            "layers": [
                {
                    "path": row.path,
                    "kind": row.kind,
                    "output": [list(shape) for shape in row.output],
                    "parameters": row.parameters,
                    "trained": row.trained,
                    "flops": row.flops,
                    "kept": row.kept,
                }
                for row in self.rows
            ],
        }

    def to_text(self, width: int = 80) -> str:
        """A plain table."""
        return lines.plain(_lines(self), width)

    def to_html(self) -> str:
        """A whole HTML page."""
        return document(f"Summary of {self.network}", self._repr_html_())

    def show(self) -> None:
        """Print it to the terminal, in colour where there is one."""
        lines.show(_lines(self))

    def __str__(self) -> str:
        return self.to_text()

    def __rich__(self) -> Any:
        return lines.rich_text(_lines(self))

    def _repr_html_(self) -> str:
        return _fragment(self)


def summary(net: Module, input_shape: int | Iterable[int], batch_size: int = 1, dtype: Any = None) -> Summary:
    """The layers of a network with shapes, parameters, floating-point operations and memory.

    Parameters
    ----------
    net
        Any module; it is left as it was. It is summarised as it behaves in use (`eval()`), the backward pass too.
    input_shape
        The shape of one example, without the batch: `(28, 28)`, or a number for a row of features.
    batch_size
        How many examples; shapes, operations and memory are for so many.
    dtype
        What the input holds; default floating, or integers where the network looks them up in a table.

    Raises
    ------
    ArgumentError
        If a length is not a whole number from 1, or `net` is no network.
    ShapeError, DTypeError
        If such an input does not fit the network.

    Examples
    --------
    >>> import chainrule as cr
    >>> from chainrule import nn
    >>> print(cr.look.summary(nn.Sequential(nn.Dense(784, 128), nn.ReLU(), nn.Dense(128, 10)), 784, batch_size=64))
    Sequential, 64 examples of 784
    layer  kind             output  parameters   FLOPs    kept
    0      Dense(784, 128)  64×128     100,480  12.9 M     0 B
    1      ReLU()           64×128           0  8.19 k  40 KiB
    2      Dense(128, 10)   64×10        1,290   164 k     0 B
    parameters: 101,770
    memory of parameters and states: 398 KiB
    forward pass: 13 M floating-point operations
    forward and backward pass: 26.2 M floating-point operations
    kept for the backward pass: 40 KiB
    """
    if not isinstance(net, Module):
        raise ArgumentError(f"summary: net must be a network (nn.Module), but is a {type(net).__name__}.")
    one = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    lengths = tuple(whole(length, "summary: input_shape") for length in one)
    shape = (whole(batch_size, "summary: batch_size"), *lengths)
    with modes_kept(net):
        net.eval()
        if dtype is not None:
            return _summarised(net, lengths, _blank(shape, dtype))
        try:
            return _summarised(net, lengths, _blank(shape, net_dtype(net)))
        except DTypeError:
            return _summarised(net, lengths, _blank(shape, int64))


def _blank(shape: Shape, dtype: Any) -> Any:
    """Zeros that take no memory until somebody reads them."""
    zeros = np.zeros(shape, dtype)
    zeros.flags.writeable = False  # only then they are shared, not copied
    return zeros


def _summarised(net: Module, lengths: Shape, example: Any) -> Summary:
    calls: list[_Call] = []
    forward: list[Node] = []
    back: list[Node] = []

    def watch(module: Module, arguments: tuple[Any, ...], result: Any) -> None:
        calls.append(_Call(module, module._path, _tensors(arguments), _tensors(result)))

    def forward_and_back(x: Tensor) -> Tensor:
        with calls_watched(watch):
            result = net(x)
        guess = _tensors(result)[0]
        forward.extend(toposort([guess.node]))
        read = {node.owner for node in forward if isinstance(node.owner, State)}
        wanted = [parameter for parameter in net.parameters() if parameter.trainable and parameter in read]
        gradients = backpropagate(sum_over(guess), wrt=wanted) if wanted and is_floating(guess.dtype) else []
        known = set(forward)
        back.extend(node for node in toposort([gradient.node for gradient in gradients]) if node not in known)
        return guess

    trace(forward_and_back, example)
    kept = _kept(forward, back)
    parameters = net.parameters()
    states = [state for _, state in net.named_states()]
    flops = sum(map(work, forward))
    return Summary(
        type(net).__name__,
        lengths,
        len(example),
        _rows(calls, kept),
        sum(parameter.size for parameter in parameters),
        sum(parameter.size for parameter in parameters if parameter.trainable),
        sum(state.size * state.dtype.itemsize for state in (*parameters, *states)),
        flops,
        flops + sum(map(work, back)),
        sum(node.size * node.dtype.itemsize for node in kept),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    module: Module
    path: str
    received: tuple[Tensor, ...]
    produced: tuple[Tensor, ...]


def _tensors(result: Any) -> tuple[Tensor, ...]:
    several = result if isinstance(result, tuple | list) else (result,)
    return tuple(each for each in several if isinstance(each, Tensor))


def _kept(forward: list[Node], back: list[Node]) -> set[Node]:
    """What the forward pass made and the backward pass reads; the input and the states are there anyway."""
    made = {node for node in forward if node.op not in (Op.INPUT, Op.CONSTANT)}
    return {source for node in back for source in node.inputs if source in made}


def work(node: Node) -> int:
    """The floating-point operations of one node: one an element, two for each product of a matrix product."""
    if node.op in _FREE or node.dtype.kind != "f":
        return 0
    if node.op is Op.MATMUL:
        return 2 * node.size * node.inputs[0].shape[-1]
    return node.inputs[0].size if node.op in _OVER_INPUT else node.size


def _inside(call: _Call) -> list[Node]:
    """The nodes between what a call produced and what it received."""
    ends = {each.node for each in call.received}
    nodes = toposort([each.node for each in call.produced], lambda node: node not in ends)
    return [node for node in nodes if node not in ends]


def _rows(calls: list[_Call], kept: set[Node]) -> tuple[Row, ...]:
    """A row for every call that calculates or owns something, or has nothing inside."""
    rows: list[Row] = []
    counted: set[int] = set()
    taken: set[Node] = set()
    for call in calls:
        own = [node for node in _inside(call) if node not in taken and node.provenance.module == call.path]
        taken.update(own)
        parameters = [each for each in vars(call.module).values() if isinstance(each, Parameter)]
        parameters = [each for each in parameters if id(each) not in counted]
        counted.update(map(id, parameters))
        flops = sum(map(work, own))
        is_leaf = next(iter(call.module.children()), None) is None
        if is_leaf or parameters or flops:
            shapes = tuple(each.shape for each in call.produced)
            owned = sum(each.size for each in parameters)
            trained = sum(each.size for each in parameters if each.trainable)
            bytes_kept = sum(node.size * node.dtype.itemsize for node in own if node in kept)
            path = call.path or "(own)"
            rows.append(Row(path, kind(call.module), shapes, owned, trained, flops, bytes_kept))
    return tuple(rows)


def count_text(value: float) -> str:
    """A count to three digits: 950, 12.9 k, 12.9 M.

    >>> count_text(950), count_text(12_850_000), count_text(3.4e12)
    ('950', '12.8 M', '3.4 T')
    """
    units = ("", " k", " M", " G", " T", " P")
    place = 0
    while value >= 999.5 and place < len(units) - 1:
        value /= 1000
        place += 1
    return f"{value:.3g}{units[place]}"


def _table(found: Summary) -> list[tuple[str, ...]]:
    header = ("layer", "kind", "output", "parameters", "FLOPs", "kept")
    rows = [
        (
            row.path,
            row.kind,
            ", ".join(map(shape_text, row.output)),
            f"{row.parameters:,}" + ("" if row.trained == row.parameters else " frozen"),
            count_text(row.flops),
            memory(row.kept),
        )
        for row in found.rows
    ]
    return [header, *rows]


def _totals(found: Summary) -> list[tuple[str, str]]:
    frozen = found.parameters - found.trained
    return [
        ("parameters", f"{found.parameters:,}" + (f", {frozen:,} of them frozen" if frozen else "")),
        ("memory of parameters and states", memory(found.parameter_bytes)),
        ("forward pass", f"{count_text(found.flops)} floating-point operations"),
        ("forward and backward pass", f"{count_text(found.step_flops)} floating-point operations"),
        ("kept for the backward pass", memory(found.kept)),
    ]


def _head(found: Summary) -> str:
    many = f"{found.batch_size:,} examples" if found.batch_size > 1 else "1 example"
    return f"{many} of {shape_text(found.input_shape)}"


def _lines(found: Summary) -> list[Line]:
    table = _table(found)
    widths = [max(len(row[column]) for row in table) for column in range(6)]
    widths[0] = min(widths[0], 22)
    room = lines.WIDTH - sum(widths) + widths[1] - 10
    widths[1] = max(8, min(widths[1], room))
    shown: list[Line] = [[(found.network, "title"), (f", {_head(found)}", "still")]]
    for number, row in enumerate(table):
        left = f"{lines.shortened(row[0], widths[0]):<{widths[0]}}  {lines.cut(row[1], widths[1]):<{widths[1]}}  "
        middle = f"{row[2]:<{widths[2]}}"
        right = "  ".join(f"{row[column]:>{widths[column]}}" for column in (3, 4, 5))
        style = "title" if not number else "still" if "frozen" in row[3] else ""
        shown.append([(left, style), (middle, style if style else "forward"), (f"  {right}", style)])
    return [*shown, *([(f"{name}: ", "still"), (value, "")] for name, value in _totals(found))]


def _fragment(found: Summary) -> str:
    header, *rows = _table(found)
    head = "".join(f"<th>{each}</th>" for each in header)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=r' if i > 2 else ''}>{text(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    totals = "".join(f"<tr><td>{name}</td><td>{text(value)}</td></tr>" for name, value in _totals(found))
    table = f'<div class="scroll"><table class="t"><tr>{head}</tr>{body}</table></div>'
    title = f"<h1>{text(found.network)}</h1><p class='muted'>{text(_head(found))}</p>"
    return wrapped(f'{title}{table}<p></p><table class="t">{totals}</table>')
