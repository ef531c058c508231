"""Looking inside: what a step did and why, as text, pages, formulas and data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.look import plots as plots
    from chainrule.look.diagnosing import diagnose as diagnose
    from chainrule.look.diagnosis.finding import Finding as Finding
    from chainrule.look.diagnosis.finding import Findings as Findings
    from chainrule.look.explaining.explain import explain as explain
    from chainrule.look.explaining.explanation import Explanation as Explanation
    from chainrule.look.explaining.labels import Labels as Labels
    from chainrule.look.remedies.loop import Trial as Trial
    from chainrule.look.remedies.report import Repair as Repair
    from chainrule.look.repairing import repair as repair
    from chainrule.look.summarising import Summary as Summary
    from chainrule.look.summarising import summary as summary
    from chainrule.look.watching.record import Moment as Moment
    from chainrule.look.watching.record import Record as Record
    from chainrule.look.watching.tensorboard import to_tensorboard as to_tensorboard
    from chainrule.look.watching.watch import Watch as Watch


def __getattr__(name: str) -> Any:
    """What users call is read when it is first asked for: the diagnosis of a run needs but a part of it."""
    offered = vars(import_module("chainrule.look.names"))
    if name.startswith("_") or name not in offered:
        raise AttributeError(f"module 'chainrule.look' has no attribute {name!r}")
    return offered[name]


def __dir__() -> list[str]:
    offered = vars(import_module("chainrule.look.names"))
    return sorted({*globals(), *(name for name in offered if not name.startswith("_"))})
