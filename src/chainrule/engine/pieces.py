"""A module as several that are compiled at once.

Comes in: the text of a module as it is written here, `declare` lines and functions. Goes out: the texts of pieces of
about the same weight, each with some of the functions. One that stands in another piece is declared there, hidden from
everything else; a short one of which nobody but the module knows is written down in each piece that calls it. The
functions are the same as in the whole module, and so is the machine code of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LEAST = 400  # lines from which a piece of its own saves time
_OWN = 45  # lines that take as long to compile as what every function takes beside its own
_SHORT = 40  # lines of a function that may stand in several pieces
_NAME = re.compile(r"@([\w.]+)\(")


def pieces(text: str, most: int) -> list[str]:
    """The pieces of a module, the heaviest first.

    Parameters
    ----------
    text
        The module.
    most
        How many pieces there may be.
    """
    count = min(most, text.count("\n") // _LEAST)
    if count < 2:
        return [text]
    declared, functions = _parts(text)
    if not all(line.startswith("declare ") for line in declared):  # what else is there may be there once
        return [text]
    calls = {name: {*_NAME.findall(body)} & functions.keys() - {name} for name, body in functions.items()}
    copied = {name for name, body in functions.items() if _is_own(body) and body.count("\n") <= _SHORT}
    parts = _balanced({name: _OWN + body.count("\n") for name, body in functions.items() if name not in copied}, count)
    return ["\n".join([*declared, *_piece(functions, calls, copied, part)]) for part in parts]


def _parts(text: str) -> tuple[list[str], dict[str, str]]:
    """The lines between the functions, and the functions by name."""
    between: list[str] = []
    functions: dict[str, str] = {}
    for part in f"\n{text}\n".split("\n}\n"):
        before, head, body = f"\n{part}".partition("\ndefine ")
        between += [line for line in before.split("\n") if line]
        if head:
            found = _NAME.search(body)
            assert found, "a function has a name"
            functions[found[1]] = f"define {body}\n}}"
    return between, functions


def _piece(
    functions: dict[str, str], calls: dict[str, set[str]], copied: set[str], part: Iterable[str]
) -> Iterable[str]:
    """The functions of a piece: its own, copies of the short ones that they call, and the heads of the others."""
    there = [*part]
    for name in there:  # it grows meanwhile
        there += [other for other in sorted(calls[name] & copied) if other not in there]
    others = {other for name in there for other in calls[name]} - {*there}
    for name, body in functions.items():
        if name in others:
            yield _hidden(body.partition("\n")[0].rstrip("{ ")).replace("define ", "declare ", 1)
        elif name in there:
            yield body if name in copied else _hidden(body)


def _is_own(body: str) -> bool:
    """Whether only the module itself knows the function."""
    return body.startswith("define internal ")


def _hidden(body: str) -> str:
    """The function as other pieces may call it, but nobody else."""
    return body.replace("define internal ", "define hidden ", 1)


def _balanced(weights: dict[str, int], count: int) -> list[list[str]]:
    """The names in so many parts, the next heaviest one always in the lightest part; the heaviest part first."""
    parts: list[list[str]] = [[] for _ in range(count)]
    sums = [0] * count
    for name in sorted(weights, key=lambda name: -weights[name]):
        lightest = sums.index(min(sums))
        parts[lightest].append(name)
        sums[lightest] += weights[name]
    return [part for _, part in sorted(zip(sums, parts, strict=True), key=lambda pair: -pair[0]) if part]
