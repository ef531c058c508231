"""The text of one LLVM function while it is written: values with fresh names, loops, variables.

`Code` knows the grammar of LLVM's language and nothing about tensors. Variables are stack slots, which LLVM turns into
registers; addresses are bytes-free: `element` steps by whole elements of a type.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np

from chainrule.engine.dtypes import DType, bool_, float32, float64, int32, int64
from chainrule.engine.record import record

# How a value of each data type stands in a register, and in memory (a bool takes a byte there).
REGISTER: dict[DType, str] = {bool_: "i1", int32: "i32", int64: "i64", float32: "float", float64: "double"}
MEMORY: dict[DType, str] = {**REGISTER, bool_: "i8"}


@record(frozen=True, slots=True)
class Kind:
    """The type of a value in a register: one element (`lanes` 0) or a vector of them.

    >>> Kind(float32).type, Kind(float32, 8).type, Kind(float32, 8).mask, Kind(float64, 4).bits
    ('float', '<8 x float>', '<8 x i1>', '<4 x i64>')
    """

    dtype: DType
    lanes: int = 0

    @property
    def type(self) -> str:
        """As LLVM writes it."""
        return self._of(REGISTER[self.dtype])

    @property
    def bits(self) -> str:
        """The integer type of the same width."""
        return self._of(f"i{8 * self.dtype.itemsize}")

    @property
    def mask(self) -> str:
        """The type of a comparison's result."""
        return self._of("i1")

    def constant(self, value: object) -> str:
        """A number of this type, the same in every lane."""
        return self._all(REGISTER[self.dtype], literal(value, self.dtype))

    def integer(self, value: int) -> str:
        """A number of the type `bits`."""
        return self._all(f"i{8 * self.dtype.itemsize}", str(value))

    def _of(self, element: str) -> str:
        return f"<{self.lanes} x {element}>" if self.lanes else element

    def _all(self, element: str, number: str) -> str:
        return f"<{', '.join([f'{element} {number}'] * self.lanes)}>" if self.lanes else number


class Code:
    """One function under construction.

    Parameters
    ----------
    name
        The function's name in the module.
    parameters
        (type, name) of each parameter, such as `("ptr noalias", "a")`; they are used as `%a`.
    internal
        Whether only the same module calls it.
    fused
        Whether the processor multiplies and adds in one instruction with one rounding.
    masked
        Whether it loads and stores some lanes of a vector as fast as all.
    estimated
        Whether it has estimates of roots that are worth refining.
    alone
        Whether one thread does all that the function does: parameters `%thread` and `%threads` are then not asked.

    Examples
    --------
    >>> code = Code("twice", [("ptr", "x"), ("i64", "n")])
    >>> with code.loop("0", "%n") as i:
    ...     place = code.element("float", "%x", i)
    ...     value = code.let(f"load float, ptr {place}")
    ...     code.do(f"store float {code.let(f'fadd float {value}, {value}')}, ptr {place}")
    >>> print(code.text().splitlines()[0])
    define void @twice(ptr %x, i64 %n) {
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        internal: bool = False,
        *,
        fused: bool = True,
        masked: bool = False,
        estimated: bool = False,
        alone: bool = False,
    ) -> None:
        self.name, self.parameters = name, tuple(parameters)
        self.fused, self.masked, self.estimated, self.alone = fused, masked, estimated, alone
        listed = ", ".join(f"{kind} %{parameter}" for kind, parameter in parameters)
        self._head = f"define {'internal ' if internal else ''}void @{name}({listed}) {{"
        self._slots: list[str] = []
        self._lines: list[str] = []
        self.declarations: dict[str, None] = {}  # what the function needs beside it in the module, in order
        self.failures: dict[object, str] = {}  # slots that say what went wrong
        self.roots = 0  # square roots written so far: every other one in another way
        self.known: dict[int, str] = {}  # values that hold in the whole function, by the expression that they are of
        self._count = 0

    def fresh(self, hint: str = "v") -> str:
        """A name that was not used before."""
        self._count += 1
        return f"{hint}{self._count}"

    def let(self, expression: str) -> str:
        """A new value: `%name = expression`."""
        name = "%" + self.fresh()
        self._lines.append(f"  {name} = {expression}")
        return name

    def do(self, statement: str) -> None:
        """A statement without a value."""
        self._lines.append(f"  {statement}")

    def variable(self, kind: str, initial: str) -> str:
        """A slot for a value that changes; read it with `get`, write it with `set`."""
        slot = "%" + self.fresh("slot")
        self._slots.append(f"  {slot} = alloca {kind}")
        self.set(kind, slot, initial)
        return slot

    def reserve(self, name: str, room: str) -> None:
        """Room in the function's own memory, at an address of that name."""
        self._slots.append(f"  {name} = alloca {room}")

    def get(self, kind: str, slot: str) -> str:
        """The value in a slot."""
        return self.let(f"load {kind}, ptr {slot}")

    def set(self, kind: str, slot: str, value: str) -> None:
        """Put a value into a slot."""
        self.do(f"store {kind} {value}, ptr {slot}")

    def element(self, kind: str, pointer: str, index: str) -> str:
        """The address of an element."""
        return pointer if index == "0" else self.let(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def fetch(self, address: str, cache: int = 1) -> None:
        """Ask for what is at an address, which may be past the end of an array, to come into a cache, and go on."""
        self.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 {4 - cache}, i32 1)")

    def declare(self, text: str) -> None:
        """Something that the module must hold once: the declaration of a function, or a small function itself."""
        self.declarations[text] = None

    def fail_unless(self, what: object, kind: Kind, right: str, used: int | None = None) -> None:
        """Remember that `what` went wrong unless `right` holds, in a vector in each of its first `used` lanes.

        The writer of the function asks `failures` at its end.
        """
        if what not in self.failures:
            slot = "%" + self.fresh("failed")
            self._slots.extend([f"  {slot} = alloca i1", f"  store i1 false, ptr {slot}"])
            self.failures[what] = slot
        wrong = self.let(f"xor {kind.mask} {right}, {Kind(bool_, kind.lanes).constant(True)}")
        if kind.lanes:
            some = kind.lanes if used is None else used
            word = self.let(f"bitcast {kind.mask} {wrong} to i{kind.lanes}")
            word = self.let(f"and i{kind.lanes} {word}, {(1 << some) - 1}")
            wrong = self.let(f"icmp ne i{kind.lanes} {word}, 0")
        before = self.get("i1", self.failures[what])
        self.set("i1", self.failures[what], self.let(f"or i1 {before}, {wrong}"))

    def label(self, name: str) -> None:
        """Begin a new block; the block before goes on into it unless it ended by a branch."""
        last = self._lines[-1].split() if self._lines else [""]
        if last[0] not in ("br", "ret", "unreachable"):
            self.do(f"br label %{name}")
        self._lines.append(f"{name}:")

    @contextmanager
    def loop(self, start: str, stop: str, step: int = 1, hint: str = "") -> Iterator[str]:
        """A loop over i64 `start, start + step, ...` below `stop`; gives the counter. `hint` is metadata, such as
        `, !llvm.loop !0`."""
        number = self.fresh("")
        head, body, latch, done = (f"{part}{number}" for part in ("head", "body", "latch", "done"))
        before = self.fresh("before")
        self.label(before)
        self.label(head)
        counter, following = f"%i{number}", f"%next{number}"
        self.do(f"{counter} = phi i64 [ {start}, %{before} ], [ {following}, %{latch} ]")
        more = self.let(f"icmp slt i64 {counter}, {stop}")
        self.do(f"br i1 {more}, label %{body}, label %{done}")
        self.label(body)
        yield counter
        self.label(latch)
        self.do(f"{following} = add nsw i64 {counter}, {step}")
        self.do(f"br label %{head}{hint}")
        self.label(done)

    @contextmanager
    def drawing(self, draw: Callable[[], str], stop: str) -> Iterator[str]:
        """A loop over the i64 numbers that `draw` writes the code for, until one is not below `stop`."""
        number = self.fresh("")
        head, body, done = (f"{part}{number}" for part in ("head", "body", "done"))
        self.label(head)
        drawn = draw()
        more = self.let(f"icmp slt i64 {drawn}, {stop}")
        self.do(f"br i1 {more}, label %{body}, label %{done}")
        self.label(body)
        yield drawn
        self.do(f"br label %{head}")
        self.label(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """A block that runs only where the i1 `condition` holds."""
        number = self.fresh("")
        self.do(f"br i1 {condition}, label %then{number}, label %after{number}")
        self.label(f"then{number}")
        yield
        self.label(f"after{number}")

    @property
    def calls_library(self) -> bool:
        """Whether it calls a function of the C library."""
        return any(text.startswith("declare") and "@llvm." not in text for text in self.declarations)

    def enclose(self, first: str, last: str) -> None:
        """A statement before all others, and one after them."""
        self._slots.insert(0, f"  {first}")
        self.do(last)

    def text(self) -> str:
        """The whole function."""
        return "\n".join([self._head, "entry:", *self._slots, *self._lines, "  ret void", "}"])


@record(frozen=True, slots=True)
class Function:
    """A finished function that others call; a module holds it once."""

    name: str
    text: str
    declarations: tuple[str, ...]

    @classmethod
    def of(cls, code: Code) -> "Function":
        """What was written."""
        return cls(code.name, code.text(), tuple(code.declarations))

    def call(self, code: Code, arguments: str, *, is_last: bool = False) -> None:
        """Write a call; if it `is_last`, a jump that does not come back here, where the processor permits it."""
        for text in (*self.declarations, self.text):
            code.declare(text)
        code.do(f"{'tail ' * is_last}call void @{self.name}({arguments})")


@cache
def shared(write: Callable[[], Code]) -> Function:
    """A function that is the same in all modules."""
    return Function.of(write())


def literal(value: object, dtype: DType) -> str:
    """A number as LLVM writes it: floats as the bits of a double, which is exact.

    >>> literal(1.5, float32), literal(True, bool_), literal(-7, int64)
    ('0x3FF8000000000000', 'true', '-7')
    """
    if dtype == bool_:
        return "true" if value else "false"
    if dtype.kind == "i":
        return str(int(np.asarray(value, dtype)))
    exact = np.asarray(np.asarray(value, dtype), np.float64)
    return f"0x{int(exact.view(np.uint64)):016X}"
