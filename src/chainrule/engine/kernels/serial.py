"""Work that goes from one element to the next: scattering, running sums, sorting. The first thread does it."""

from __future__ import annotations

from chainrule.engine.code import MEMORY, Code, Kind
from chainrule.engine.dtypes import DType, int64
from chainrule.engine.instructions import INSTRUCTIONS
from chainrule.engine.kernel import Running, Scatter, Sorting, contiguous
from chainrule.engine.kernels.body import Arrays, Body, checked_index, index_of
from chainrule.engine.kernels.vector import read, write
from chainrule.engine.kernels.walk import Axis, loops
from chainrule.engine.op import Op


def write_scatter(code: Code, scatter: Scatter, arrays: Arrays) -> None:
    """Zeros, then every value added at its index, in the order of the values."""
    node, kind = scatter.node, Kind(scatter.node.dtype)
    axis, rank = node.attributes["axis"], len(node.inputs[1].shape)
    goal = arrays[node]
    assert isinstance(goal, str), "what is scattered to is seen whole"
    with code.loop("0", str(node.size)) as place:
        write(code, kind, kind.constant(0), code.element(MEMORY[node.dtype], goal, place))
    strides = contiguous(node.shape)
    along = strides[axis]
    steps = (*strides[:axis], *[0] * rank, *strides[axis + 1 :])
    with loops(code, _each(scatter.domain)) as indices:
        body = Body(code, arrays, indices)
        index, right = checked_index(code, index_of(body, scatter.index), node.shape[axis], node, Kind(int64))
        value = body.value(scatter.value)
        with code.when(right):
            far = code.let(f"mul nsw i64 {index}, {along}")
            element = code.let(f"add nsw i64 {body.place(0, steps)}, {far}")
            address = code.element(MEMORY[node.dtype], goal, element)
            write(code, kind, INSTRUCTIONS[Op.ADD](code, kind, read(code, kind, address), value), address)


def write_running(code: Code, running: Running, arrays: Arrays) -> None:
    """Each row from its first element to its last."""
    kind = Kind(running.node.dtype)
    with loops(code, _each(running.domain[:-1])) as outer:
        total = code.variable(kind.type, kind.constant(0))
        with code.loop("0", str(running.domain[-1])) as index:
            body = Body(code, arrays, {**outer, len(running.domain) - 1: index})
            value = body.value(running.value)
            grown = INSTRUCTIONS[Op.ADD](code, kind, code.get(kind.type, total), value)
            code.set(kind.type, total, grown)
            body.store(running.access, grown)


def write_sorting(code: Code, sorting: Sorting, arrays: Arrays) -> None:
    """A merge sort of each row's indices."""
    count, last = sorting.domain[-1], len(sorting.domain) - 1
    dtype = sorting.values.array.dtype
    code.declare("declare ptr @malloc(i64)")
    code.declare("declare void @free(ptr)")
    code.declare(_sorter(dtype))
    buffer = code.let(f"call ptr @malloc(i64 {max(1, 3 * count) * 8})")
    with loops(code, _each(sorting.domain[:-1])) as outer:
        body = Body(code, arrays, outer)
        values, goal = body.address(sorting.values), body.address(sorting.access)
        steps = f"i64 {sorting.values.strides[last]}, i64 {sorting.access.strides[last]}, i64 {count}"
        code.do(f"call void @{_sorter_name(dtype)}(ptr {values}, ptr {goal}, ptr {buffer}, {steps})")
    code.do(f"call void @free(ptr {buffer})")


def _each(domain: tuple[int, ...]) -> list[Axis]:
    return [Axis(extent, number) for number, extent in enumerate(domain)]


def _sorter_name(dtype: DType) -> str:
    return f"chainrule_argsort_{dtype.name}"


def _sorter(dtype: DType) -> str:
    """A function that sorts the indices of one row: runs of 1, 2, 4, ... are merged from one buffer to the other."""
    kind, index = Kind(dtype), Kind(int64)
    parameters = [("ptr", "values"), ("ptr", "goal"), ("ptr", "buffer"), ("i64", "step"), ("i64", "goal_step")]
    code = Code(_sorter_name(dtype), [*parameters, ("i64", "count")], internal=True)

    def value_at(place: str) -> str:
        far = code.let(f"mul i64 {place}, %step")
        return read(code, kind, code.element(MEMORY[dtype], "%values", far))

    halves = [code.variable("ptr", "%buffer"), code.variable("ptr", code.element("i64", "%buffer", "%count"))]
    with code.loop("0", "%count") as place:
        write(code, index, place, code.element("i64", "%buffer", place))
    width = code.variable("i64", "1")
    # 63 doublings reach any count; those past the end do nothing.
    with code.loop("0", "63"):
        wide = code.get("i64", width)
        unsorted = code.let(f"icmp slt i64 {wide}, %count")
        with code.when(unsorted):
            source, goal = (code.get("ptr", half) for half in halves)
            start = code.variable("i64", "0")
            pairs = code.let(f"add i64 {code.let(f'sdiv i64 %count, {wide}')}, 1")
            with code.loop("0", pairs):
                begin = code.get("i64", start)
                _merge(code, begin, wide, source, goal, value_at, kind)
                code.set("i64", start, code.let(f"add i64 {begin}, {code.let(f'mul i64 {wide}, 2')}"))
            code.set("ptr", halves[0], goal)
            code.set("ptr", halves[1], source)
            code.set("i64", width, code.let(f"mul i64 {wide}, 2"))
    ordered = code.get("ptr", halves[0])
    with code.loop("0", "%count") as place:
        found = read(code, index, code.element("i64", ordered, place))
        write(code, index, found, code.element("i64", "%goal", code.let(f"mul i64 {place}, %goal_step")))
    return code.text()


def _merge(code: Code, begin: str, wide: str, source: str, goal: str, value_at: object, kind: Kind) -> None:
    """The runs at `begin` and `begin + wide` of `source` as one run of `goal`; equal values keep their order."""
    assert callable(value_at)
    middle = _least(code, code.let(f"add i64 {begin}, {wide}"))
    end = _least(code, code.let(f"add i64 {middle}, {wide}"))
    left, right = code.variable("i64", begin), code.variable("i64", middle)
    with code.loop(begin, end) as place:
        one, other = code.get("i64", left), code.get("i64", right)
        left_there = code.let(f"icmp slt i64 {one}, {middle}")
        right_there = code.let(f"icmp slt i64 {other}, {end}")
        last = code.let("sub i64 %count, 1")
        safe_one = code.let(f"select i1 {left_there}, i64 {one}, i64 {last}")
        safe_other = code.let(f"select i1 {right_there}, i64 {other}, i64 {last}")
        first = read(code, Kind(int64), code.element("i64", source, safe_one))
        second = read(code, Kind(int64), code.element("i64", source, safe_other))
        smaller = _before(code, kind, value_at(second), value_at(first))
        wanted = code.let(f"and i1 {right_there}, {smaller}")
        take_right = code.let(f"or i1 {wanted}, {code.let(f'xor i1 {left_there}, true')}")
        chosen = code.let(f"select i1 {take_right}, i64 {second}, i64 {first}")
        write(code, Kind(int64), chosen, code.element("i64", goal, place))
        step = code.let(f"zext i1 {take_right} to i64")
        code.set("i64", right, code.let(f"add i64 {other}, {step}"))
        code.set("i64", left, code.let(f"add i64 {one}, {code.let(f'sub i64 1, {step}')}"))


def _least(code: Code, value: str) -> str:
    below = code.let(f"icmp slt i64 {value}, %count")
    return code.let(f"select i1 {below}, i64 {value}, i64 %count")


def _before(code: Code, kind: Kind, a: str, b: str) -> str:
    """Whether `a` stands strictly before `b` in ascending order; NaN comes last."""
    if kind.dtype.kind != "f":
        return code.let(f"icmp {'ult' if kind.dtype.kind == 'b' else 'slt'} {kind.type} {a}, {b}")
    smaller = code.let(f"fcmp olt {kind.type} {a}, {b}")
    known = code.let(f"fcmp ord {kind.type} {a}, {a}")
    none = code.let(f"fcmp uno {kind.type} {b}, {b}")
    return code.let(f"or i1 {smaller}, {code.let(f'and i1 {known}, {none}')}")
