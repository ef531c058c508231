"""Jobs that are done one by one between other work, and at last all that are left."""

from __future__ import annotations

from collections.abc import Callable

from chainrule.engine.code import Code
from chainrule.engine.kernels.shares import plus


class Jobs:
    """Numbered jobs of a function that is written: `write(number)` writes the code of one."""

    def __init__(self, code: Code, write: Callable[[str], None]) -> None:
        self._code, self._write = code, write
        self._done, self._total = (code.variable("i64", "0") for _ in range(2))

    def begin(self, total: str) -> None:
        """So many jobs are to be done from now on."""
        self._code.set("i64", self._done, "0")
        self._code.set("i64", self._total, total)

    def one(self) -> None:
        """The next one, if there is one."""
        code = self._code
        number = code.get("i64", self._done)
        with code.when(code.let(f"icmp slt i64 {number}, {code.get('i64', self._total)}")):
            self._write(number)
            code.set("i64", self._done, plus(code, number, 1))

    def all(self) -> None:
        """All that are left."""
        code = self._code
        total = code.get("i64", self._total)
        with code.loop(code.get("i64", self._done), total) as number:
            self._write(number)
        code.set("i64", self._done, total)
