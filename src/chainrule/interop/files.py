"""Model files: one safetensors file with the arrays, and in its header, as JSON, what the network is made of.

A file is data: no code is read from it, and a damaged, foreign or hostile one ends in one clear error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chainrule.errors import ArgumentError, ChainruleError, FileFormatError
from chainrule.nn.description import build, describe
from chainrule.nn.module import Module
from chainrule.train.storage import read_arrays, write_arrays

FORMAT = "chainrule"
VERSION = 1
_OURS = ("format", "version", "network", "frozen")
_SLACK = 2**16  # elements that a network may make beyond those in its file


def save(net: Module, path: str | Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network to a file from which `load` makes it again.

    Parameters
    ----------
    net
        Any module whose constructors' arguments are numbers, strings, layers and the like.
    path
        The file, usually `*.safetensors`; an old one is replaced only by a whole new one.
    metadata
        More to keep, by name, each ready for JSON: a table's schema, settings, metrics.

    Raises
    ------
    ArgumentError
        If the network or the metadata cannot be described in a file.
    DataError
        If the file cannot be written: no such folder, no permission, disk full. Nothing is left behind then.

    Examples
    --------
    >>> import tempfile
    >>> from chainrule import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(nn.Dense(3, 2), f"{folder}/model.safetensors", {"metrics": {"accuracy": 0.9}})
    ...     net, metadata = read_model(f"{folder}/model.safetensors")
    >>> net.weight.shape, metadata
    ((3, 2), {'metrics': {'accuracy': 0.9}})
    """
    extra = dict(metadata or {})
    for name, value in extra.items():
        if not isinstance(name, str) or name in _OURS:
            raise ArgumentError(f"metadata must have names other than {', '.join(_OURS)}, but has {name!r}.")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(f'metadata "{name}" cannot be written as JSON: {error}.') from error
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "network": describe(net)}
    frozen = [name for name, parameter in net.named_parameters() if not parameter.trainable]
    if frozen:
        header["frozen"] = frozen
    write_arrays(path, net.arrays(), header | extra)


def load(path: str | Path, classes: Iterable[type[Module]] = ()) -> Module:
    """The network in a file that `save` wrote, in evaluation mode.

    Parameters
    ----------
    path
        The file.
    classes
        Your own subclasses of `Module` that the network is made of; those of chainrule are known.

    Raises
    ------
    FileFormatError
        If there is no such file, or it is damaged, of another kind, or of a newer chainrule.
    """
    return read_model(path, classes)[0]


def read_model(path: str | Path, classes: Iterable[type[Module]] = ()) -> tuple[Module, dict[str, Any]]:
    """The network in a file and the metadata that was saved with it; parameters and errors as for `load`."""
    arrays, header = read_arrays(path)
    if header.get("format") != FORMAT:
        raise FileFormatError(
            f"{path} is a safetensors file, but not of a chainrule network; give a file that chainrule saved."
        )
    version = header.get("version")
    if not isinstance(version, int) or version < 1 or "network" not in header:
        raise FileFormatError(f"{path} has a damaged header; save the network again.")
    if version > VERSION:
        raise FileFormatError(
            f"{path} was saved by a newer chainrule (file version {version}, this one reads {VERSION}); "
            "update chainrule."
        )
    size = sum(array.size for array in arrays.values())
    try:
        net = build(header["network"], classes, most_elements=size + _SLACK, blank=True)
    except FileFormatError as error:
        raise FileFormatError(f"{path} cannot be loaded: {error}{_hint(error)}") from error
    try:
        net.load_arrays(arrays)
    except ChainruleError as error:
        raise FileFormatError(f"{path} does not hold the arrays of its network: {error}") from error
    _freeze(net, header.get("frozen", []), path)
    return net.eval(), {name: value for name, value in header.items() if name not in _OURS}


def _hint(error: FileFormatError) -> str:
    is_class = "is no layer that is known" in str(error)
    return " If it is a class of yours, give it: load(path, classes=[MyNet])." if is_class else ""


def _freeze(net: Module, names: Any, path: str | Path) -> None:
    parameters = dict(net.named_parameters())
    if not isinstance(names, list) or not all(isinstance(name, str) and name in parameters for name in names):
        raise FileFormatError(f"{path} has a damaged header: it freezes what the network does not have.")
    for name in names:
        parameters[name].trainable = False
