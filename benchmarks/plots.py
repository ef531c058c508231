"""The curves of growth as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from peers import FUSED, OURS

mpl.use("svg")
from matplotlib import pyplot as plt

PANELS = (
    ("time of a step, µs", lambda point, peer: 1e6 * point["peers"][peer]["median"]),
    ("time of an operation, ps", lambda point, peer: 1e12 * point["peers"][peer]["median"] / point["operations"]),
    ("memory, MB", lambda point, peer: max(point["peers"][peer]["bytes"], 1 << 16) / 1e6),
)
STYLES = {OURS: ("chainrule", "#1f77b4", "o-"), FUSED: ("PyTorch, fused Adam", "#ff7f0e", "s--")}


def draw(curves: dict[str, list[dict[str, Any]]], folder: Path) -> list[Path]:
    """A picture for each curve."""
    files = []
    for axis, points in curves.items():
        figure, panels = plt.subplots(1, len(PANELS), figsize=(15, 4.5), layout="constrained")
        for panel, (title, figure_of) in zip(panels, PANELS, strict=True):
            for peer, (label, colour, style) in STYLES.items():
                values = [point["value"] for point in points]
                panel.loglog(values, [figure_of(point, peer) for point in points], style, color=colour, label=label)
            panel.set(title=title, xlabel=axis)
            panel.grid(visible=True, which="major", alpha=0.3)
        panels[0].legend()
        files.append(folder / f"growth-{axis}.svg")
        figure.savefig(files[-1])
        plt.close(figure)
    return files
