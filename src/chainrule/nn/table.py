"""A network as a table for the terminal: one line a layer, with its arguments, parameters and memory.

It reads modules by their paths and attributes alone, so that `Module` itself can print with it.
"""

import functools
import inspect
from typing import Any

_WIDTH = 80


def network_table(module: Any) -> str:
    """The table of `module`: path, kind, parameters and bytes of every layer, then the totals.

    Parameters
    ----------
    module
        A module. Layers that only hold others are left out; parameters that are shared are counted once.

    Returns
    -------
    str
        Plain text of at most 80 columns; a single line for a module without submodules.

    Examples
    --------
    >>> from chainrule import nn
    >>> print(nn.Sequential(nn.Dense(784, 128), nn.ReLU(), nn.Dense(128, 10)))
    layer  kind             parameters    memory
    0      Dense(784, 128)     100,480   392 KiB
    1      ReLU()                    0       0 B
    2      Dense(128, 10)        1,290  5.04 KiB
    total  Sequential          101,770   398 KiB
    """
    paths = module.named_modules()
    counts, sizes, frozen = _owned(module, paths)
    if len(paths) == 1:
        return f"{kind(module)}: {counts['']:,} parameters, {memory(sizes[''])}"
    shown = [path for path, each in paths.items() if counts[path] or sizes[path] or not _has_children(each)]
    rows = [(path or "(own)", kind(paths[path]), f"{counts[path]:,}", memory(sizes[path])) for path in shown]
    total, held = sum(counts.values()), sum(sizes.values())
    header = ("layer", "kind", "parameters", "memory")
    lines = _aligned([header, *rows, ("total", type(module).__name__, f"{total:,}", memory(held))])
    if frozen:
        lines.append(f"{total - frozen:,} of them are trained, {frozen:,} are frozen.")
    return "\n".join(lines)


def kind(module: Any) -> str:
    """The class with the arguments it was made with, such as `Dense(784, 128, activation='relu')`."""
    parameters = inspect.signature(type(module).__init__).parameters
    parts = []
    for name, value in module.arguments.items():
        if _holds_modules(value):
            continue
        required = name in parameters and parameters[name].default is inspect.Parameter.empty
        parts.append(_text(value) if required else f"{name}={_text(value)}")
    return f"{type(module).__name__}({', '.join(parts)})"


def _text(value: Any) -> str:
    if isinstance(value, functools.partial):
        keywords = [f"{name}={_text(each)}" for name, each in value.keywords.items()]
        return f"{_text(value.func)}({', '.join([*map(_text, value.args), *keywords])})"
    return getattr(value, "__name__", None) or " ".join(repr(value).split())


def memory(size: float) -> str:
    """A number of bytes to three digits, such as `392 KiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    place = 0
    while size >= 999.5 and place < len(units) - 1:
        size /= 1024
        place += 1
    return f"{size:.3g} {units[place]}"


def _owned(module: Any, paths: dict[str, Any]) -> tuple[dict[str, int], dict[str, int], int]:
    """Parameters and bytes by the path of the module that owns them, and how many parameters are frozen."""
    counts, sizes, frozen = dict.fromkeys(paths, 0), dict.fromkeys(paths, 0), 0
    for name, parameter in module.named_parameters():
        counts[_owner(name, paths)] += parameter.size
        sizes[_owner(name, paths)] += parameter.size * parameter.dtype.itemsize
        frozen += 0 if parameter.trainable else parameter.size
    for name, state in module.named_states():
        sizes[_owner(name, paths)] += state.size * state.dtype.itemsize
    return counts, sizes, frozen


def _owner(name: str, paths: dict[str, Any]) -> str:
    while name not in paths:
        name = name.rpartition(".")[0]
    return name


def _has_children(module: Any) -> bool:
    return next(iter(module.children()), None) is not None


def _holds_modules(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_modules(item) for item in value)
    if isinstance(value, dict):
        return any(_holds_modules(item) for item in value.values())
    return hasattr(value, "named_modules")


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    numbers = [max(len(row[column]) for row in rows) for column in (2, 3)]
    path = min(max(len(row[0]) for row in rows), 28)
    left = _WIDTH - path - sum(numbers) - 6
    middle = min(max(len(row[1]) for row in rows), left)
    return [
        f"{_cut(row[0], path):{path}}  {_cut(row[1], middle):{middle}}  {row[2]:>{numbers[0]}}  {row[3]:>{numbers[1]}}"
        for row in rows
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
