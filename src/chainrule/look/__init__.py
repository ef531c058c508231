"""Looking inside: what a step did and why, as text, pages, formulas and data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.look.names import *  # noqa: F403  # all of them, for whoever reads types


def __getattr__(name: str) -> Any:
    """What users call is read when it is first asked for: the diagnosis of a run needs but a part of it."""
    offered = vars(import_module("chainrule.look.names"))
    if name.startswith("_") or name not in offered:
        raise AttributeError(f"module 'chainrule.look' has no attribute {name!r}")
    return offered[name]


def __dir__() -> list[str]:
    offered = vars(import_module("chainrule.look.names"))
    return sorted({*globals(), *(name for name in offered if not name.startswith("_"))})
