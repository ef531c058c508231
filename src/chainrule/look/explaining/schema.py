"""An explanation, a tree and examples as plain data for JSON, in a schema that stays.

Every document has `schema` (its kind) and `version`; a version only ever gains keys. Numbers that JSON does not have
are the strings "NaN", "Infinity" and "-Infinity". docs/explain.md lists all keys.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.look.explaining.figures import digest
from chainrule.look.explaining.story import LayerStory, Named

if TYPE_CHECKING:
    from chainrule.look.explaining.examples import Examples
    from chainrule.look.explaining.explanation import Explanation
    from chainrule.look.explaining.path import Branch, Tree
    from chainrule.look.explaining.update import Update

VERSION = 1
Plain = dict[str, Any]


def explanation_dict(explanation: Explanation, largest: int) -> Plain:
    """An explanation; tensors of more than `largest` elements have no `values`."""
    layers, loss = explanation.layers[:-1], explanation.layers[-1]
    return {
        "schema": "chainrule.explanation",
        "version": VERSION,
        "network": type(explanation.net).__name__,
        "training": explanation.training,
        "rows": len(explanation.x),
        "began": explanation.began,
        "x": tensor(explanation.x, largest),
        "y": tensor(explanation.y, largest),
        "forward": [_forward(layer, largest) for layer in layers],
        "loss": {
            "name": explanation.loss.name,
            "formula": explanation.loss.formula,
            "terms": [{"text": text, "value": number(value)} for text, value in explanation.loss.terms],
            "term_count": explanation.loss.count,
            "combine": explanation.loss.combine,
            "value": number(explanation.loss.value),
            "exact": number(explanation.exact_loss),
        },
        "backpropagation": [_backward(layer, largest) for layer in (loss, *reversed(layers))],
        "update": _update(explanation.update, largest),
        "checked": None if explanation.extent is None else asdict(explanation.extent),
        "checks": [
            {
                "name": check.name,
                "index": list(check.index),
                "exact": number(check.exact),
                "numeric": number(check.numeric),
                "agrees": check.agrees,
            }
            for check in explanation.checks
        ],
    }


def tree_dict(tree: Tree) -> Plain:
    """A path tree."""
    return {
        "schema": "chainrule.path",
        "version": VERSION,
        "parameter": tree.parameter,
        "index": list(tree.index),
        "value": number(tree.value),
        "gradient": number(tree.gradient),
        "total": number(tree.total),
        "dead_end": tree.dead_end,
        "began": tree.began,
        "root": _branch(tree.root),
    }


def examples_dict(examples: Examples) -> Plain:
    """The contributions of examples."""
    return {
        "schema": "chainrule.examples",
        "version": VERSION,
        "parameter": examples.parameter,
        "index": list(examples.index),
        "gradient": number(examples.gradient),
        "contributions": [number(each) for each in examples.contributions.tolist()],
        "direct": number(examples.direct),
        "coupled_by": list(examples.coupled_by),
        "dead_end": examples.dead_end,
        "began": examples.began,
    }


def number(value: float) -> float | str:
    """A number that JSON has, or its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def tensor(values: Any, largest: int) -> Plain:
    """A tensor: shape, data type, digest, and its values unless there are too many."""
    array = np.asarray(values)
    found = digest(array)
    data: Any = None
    if array.size <= largest:
        data = array.tolist() if array.dtype.kind != "f" or np.isfinite(array).all() else _named(array)
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "min": number(found.least),
        "mean": number(found.mean),
        "max": number(found.greatest),
        "norm": number(found.norm),
        "zeros": number(found.zeros),
        "not_finite": found.not_finite,
        "histogram": list(found.counts),
        "values": data,
    }


def _named(array: Any) -> Any:
    return number(array.item()) if array.ndim == 0 else [_named(each) for each in array]


def _forward(layer: LayerStory, largest: int) -> Plain:
    return {
        "path": layer.path,
        "label": layer.label,
        "kind": layer.kind,
        "part": layer.aspect,
        "formula": layer.rule.forward,
        "received": _all(layer.received, largest),
        "produced": _all(layer.produced, largest),
        "parameters": [
            {"name": each.name, "trained": each.trained, **tensor(each.value, largest)} for each in layer.parameters
        ],
    }


def _backward(layer: LayerStory, largest: int) -> Plain:
    return {
        "path": layer.path,
        "label": layer.label,
        "kind": layer.kind,
        "part": layer.aspect,
        "derivative": layer.rule.backward,
        "local": None if layer.local is None else {"name": layer.local.name, **tensor(layer.local.value, largest)},
        "upstream": _all(layer.upstream, largest),
        "passed": _all(layer.passed, largest),
        "gradients": [
            {"name": each.name, **tensor(each.gradient, largest)}
            for each in layer.parameters
            if each.gradient is not None
        ],
    }


def _all(tensors: tuple[Named, ...], largest: int) -> list[Plain]:
    return [{"name": each.name, **tensor(each.value, largest)} for each in tensors]


def _update(update: Update, largest: int) -> Plain:
    return {
        "optimizer": update.optimizer,
        "assumed": update.assumed,
        "rule": update.rule,
        "learning_rate": number(update.learning_rate),
        "parameters": [
            {
                "name": move.name,
                "before": tensor(move.before, largest),
                "gradient": tensor(move.gradient, largest),
                "memory_before": {name: tensor(value, largest) for name, value in move.memory_before.items()},
                "memory_after": {name: tensor(value, largest) for name, value in move.memory_after.items()},
                "step": tensor(move.step, largest),
                "after": tensor(move.after, largest),
            }
            for move in update.moves
        ],
        "promised_decrease": number(update.promised),
        "decrease": number(update.came),
        "loss_before": number(update.loss_before),
        "loss_after": number(update.loss_after),
    }


def _branch(root: Branch) -> Plain:
    """A branch and all below it, built from the ends up."""
    order: list[Branch] = [root]
    done: dict[int, Plain] = {}
    for branch in order:
        order.extend(branch.branches)
    for branch in reversed(order):
        done[id(branch)] = {
            "place": branch.place,
            "factor": None if math.isnan(branch.factor) else number(branch.factor),
            "symbol": branch.symbol,
            "meaning": branch.meaning,
            "slope": number(branch.slope),
            "contribution": number(branch.contribution),
            "branches": [done[id(each)] for each in branch.branches],
            "rest_count": branch.rest_count,
            "rest": number(branch.rest),
        }
    return done[id(root)]
