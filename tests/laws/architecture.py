"""What ARCHITECTURE.md shows, made from the sources: the worked example at every stage, and the map of all files.

A stage is one entry of `STAGES`: its name as the page's mark has it, and a function of the example's names to text.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.engine.native import assembly
from chainrule.engine.program import Program
from chainrule.engine.show import graph_text
from chainrule.engine.simplify import simplify
from chainrule.engine.target import named
from chainrule.engine.trace import trace
from laws.sources import PACKAGE, SOURCES, Source

PAGE = PACKAGE.parents[1] / "ARCHITECTURE.md"
Names = dict[str, Any]


def program(names: Names) -> Program:
    """The example's step, compiled for a processor of a certain kind, so that the page is the same everywhere."""
    return Program(trace(names["step"], names["x"], names["y"]), named("avx2"))


def llvm_of_a_kernel(names: Names) -> str:
    """The shortest kernel's function, as it is emitted."""
    bodies = re.findall(r"define internal void @\w+_\d+\(.*?\n}", program(names).module.text, re.DOTALL)
    return min(bodies, key=len)


def machine_code_of_a_kernel(names: Names) -> str:
    """The same function's instructions."""
    function = llvm_of_a_kernel(names).replace("define internal", "define")
    lines = assembly(function, named("avx2")).splitlines()
    start = next(i for i, line in enumerate(lines) if re.match(r"\w+:", line))
    end = next(i for i, line in enumerate(lines) if line.startswith(".Lfunc_end"))
    return "\n".join(line.expandtabs(8) for line in lines[start:end] if not line.strip().startswith((".", "#")))


STAGES: dict[str, Callable[[Names], str]] = {
    "traced": lambda names: graph_text(trace(names["forward"], names["x"], names["y"]).graph),
    "gradients": lambda names: graph_text(trace(names["step"], names["x"], names["y"]).graph),
    "simplified": lambda names: graph_text(simplify(trace(names["step"], names["x"], names["y"]).graph)),
    "kernels": lambda names: str(program(names).kernels),
    "memory": lambda names: str(program(names).memory),
    "llvm": llvm_of_a_kernel,
    "machine": machine_code_of_a_kernel,
}

# Files in the order of the data; others follow by name.
FOLDERS = ["errors.py", "engine", "nn", "data", "train", "look", "interop", "app"]
ENGINE = """
    op graph dtypes provenance philox erf reference interchange context tensor state functions random derivatives
    backprop transforms trace show simplify kernel place fuse listing memory budget work emit code kernels instructions
    mathematics target llvm cache image pieces native recipe team gathering loop peaks profile stages run program
    structure compile
"""


def example(page: str) -> Names:
    """The names that the page's own example defines."""
    code = re.search(r"<!-- example -->\n```python\n(.*?)```", page, re.DOTALL)
    assert code, "ARCHITECTURE.md has lost its example"
    names: Names = {"cr": cr, "np": np}
    exec(compile(code[1], str(PAGE), "exec"), names)
    return names


def remade(page: str) -> str:
    """The page with everything between its marks made anew."""
    made = {name: f"```text\n{stage(example(page))}\n```" for name, stage in STAGES.items()} | {"map": the_map()}
    marks = re.findall(r"<!-- made: (\w+) -->", page)
    assert sorted(marks) == sorted(made), f"the page has marks for {marks}, but there are {list(made)}"
    return re.sub(
        r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{made[m[2]]}\n{m[3]}", page, flags=re.DOTALL
    )


def the_map() -> str:
    """One list a folder: each file with the first sentence of its docstring."""
    lines = []
    for folder in FOLDERS:
        found = sorted((source for source in SOURCES if _place(source)[0] == folder), key=_order)
        if not found or folder.endswith(".py"):
            lines += [f"* `{folder}`: {_sentence(source)}" for source in found]
            continue
        lines += (
            ["", f"**`{folder}/`** {_sentence(found[0])}", ""]
            if _is_package(found[0])
            else ["", f"**`{folder}/`**", ""]
        )
        lines += [f"* `{_name(source)}`: {_sentence(source)}" for source in found[_is_package(found[0]) :]]
    return "\n".join(lines).strip()


def _place(source: Source) -> tuple[str, ...]:
    return source.path.relative_to(PACKAGE).parts


def _is_package(source: Source) -> bool:
    return source.path.name == "__init__.py"


def _name(source: Source) -> str:
    parts = _place(source)[1:]
    return "/".join(parts[:-1]) + "/" if _is_package(source) else "/".join(parts)


def _order(source: Source) -> tuple[Any, ...]:
    inside = _place(source)[1:]
    first, order = Path((inside or ("",))[0]).stem, ENGINE.split()
    rank = order.index(first) if _place(source)[0] == "engine" and first in order else len(order)
    is_head = inside == ("__init__.py",)
    return (not is_head, rank, first, not _is_package(source), inside)


def _sentence(source: Source) -> str:
    """The first sentence of a module's docstring on one line."""
    text = " ".join((ast.get_docstring(source.tree) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)`])\. ", text + " ")[0].strip().removesuffix(".") + "."
