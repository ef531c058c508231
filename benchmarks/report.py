"""What was found, as Markdown: tables of medians with their spread, ratios, shares of the machine's limits, goals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from digits import EPOCHS
from first_step import COLD, JAX, WARM
from goals import DIGITS_ACCURACY, FIRST_STEP_COLD, FIRST_STEP_WARM, GOALS, WATCHING
from growth import CLIFF, cliffs
from peers import FUSED, OURS, PEERS, SCAN
from training import MEMORY, PEAK, threads_in_words

Found = dict[str, Any]
BUSY = 0.05  # share of the processor's time that others took, from which on a figure is not to be trusted
UNSTEADY = 0.15  # half the width of the middle half, as a share of the median, from which on it is neither


def written(found: Found) -> str:
    """The whole report."""
    sections = {
        "training": _training,
        "prediction": _prediction,
        "first_step": _first_step,
        "memory": _memory,
        "digits": _digits,
        "watching": _watching,
        "growth": _growth,
    }
    for row in _measured(found):
        row["disturbed"] = disturbed(row, found["about"]["clock"])
    parts = [_machine(found)]
    parts += [write(found[name]) for name, write in sections.items() if found.get(name)]
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose columns stand under each other as plain text too; all but the first are to the right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    rule = " | ".join("-" * (width - 1) + (":" if place else "-") for place, width in enumerate(widths))
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def digits_of(number: float) -> str:
    """Three significant digits, without an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def refused(found: Found) -> bool:
    """Whether some did not compute the same."""
    return any("refused" in row for row in found.get("training", []))


def disturbed(row: Found, clock: str) -> dict[str, str]:
    """Which figures of a row were measured while something else went on, and why one thinks so.

    A team of threads that waits for each other is slowed down far more than by the share that others took, so that a
    ratio to it says nothing; and a limit measured then is too low.
    """
    found = {}
    for name, sample in {**row["peers"], **row.get("limit_samples", {})}.items():
        if clock == "wall" and sample["others"] > BUSY:
            found[name] = f"others took {sample['others']:.0%}"
        elif _spread(sample) > UNSTEADY:
            found[name] = f"± {_spread(sample):.0%}"
    own = row["peers"].get(OURS)
    peak = None if row.get("has_unit") else row.get("limits", {}).get(PEAK)  # which a matrix unit can exceed
    if own and peak and row["operations"] / own["median"] > peak:
        found[PEAK] = "less than what was reached"
    return found


def _spread(sample: Found) -> float:
    return float((sample["high"] - sample["low"]) / 2 / sample["median"])


def _machine(found: Found) -> str:
    about = found["about"]
    lines = [
        "# Speed",
        f"{about['when']}, {about['processor']}, {about['cores']} cores, last cache {about['cache'] >> 20} MB, "
        f"{about['system']}, Python {about['python']}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".",
        f"Average load when it began {about['load'][0]:.2f}, when it ended {about['load_after'][0]:.2f}.",
    ]
    taken = [peer["others"] for row in _measured(found) for peer in row["peers"].values()]
    if taken:
        share = sorted(taken)[len(taken) // 2]
        lines.append(
            f"Other programs took {share:.0%} of the cores' time during the median measurement, "
            f"{max(taken):.0%} at most. A goal is not judged where a figure that it needs was disturbed."
        )
        if about["clock"] == "processor":
            lines.append("Times are those that the measured process itself computed: others do not count.")
        elif share > BUSY:
            lines.append("**The machine was busy: take no figure here for more than a hint.**")
    return "\n\n".join(lines)


def _measured(found: Found) -> list[Found]:
    rows = [*found.get("training", []), *found.get("prediction", []), *found.get("watching", [])]
    rows = [row for row in rows if "refused" not in row]
    return rows + [point for points in found.get("growth", {}).values() for point in points]


# --- Training ----------------------------------------------------------------------------------------------------


def _training(rows: list[Found]) -> str:
    lines = [f"**Refused: {row['refused']}**" for row in rows if "refused" in row]
    rows = [row for row in rows if "refused" not in row]
    parts = ["## Training steps", *lines]
    if not rows:
        return "\n\n".join(parts)
    for threads in dict.fromkeys(row["threads"] for row in rows):
        some = [row for row in rows if row["threads"] == threads]
        names = [peer for peer in PEERS if any(peer in row["peers"] for row in some)]
        parts.append(f"Microseconds a step, {threads_in_words(threads)}: median, and half the middle half's width.")
        parts.append(table(["workload", *names], [[row["workload"], *_times(row, names, 1e6)] for row in some]))
        if OURS in names:
            rivals = [name for name in names if name != OURS]
            head = ["workload", *[f"{name}" for name in rivals], "GFLOP/s", "of peak", "of memory", "goals"]
            parts.append(f"How many times as long the others need as {OURS}, and how near it is to the limits.")
            parts.append(table(head, [[row["workload"], *_ratios(row, rivals), *_limits(row)] for row in some]))
        parts += [
            f"Disturbed: {row['workload']}: {', '.join(f'{name} ({why})' for name, why in row['disturbed'].items())}."
            for row in some
            if row["disturbed"]
        ]
    reasons = dict.fromkeys(f"{peer}: {why}" for row in rows for peer, why in row["skipped"].items())
    parts += [f"Not measured: {reason}." for reason in reasons]
    parts.append(
        "The losses of 50 steps agree with NumPy in float64; the furthest off, relative to the first loss: "
        + ", ".join(f"{peer} {most:.0e}" for peer, most in _furthest(rows).items())
        + "."
    )
    return "\n\n".join(parts)


def _times(row: Found, names: list[str], scale: float) -> list[str]:
    found = []
    for name in names:
        peer = row["peers"].get(name)
        if peer is None:
            found.append("-")
            continue
        found.append(f"{digits_of(scale * peer['median'])} ± {_spread(peer):.0%}")
    return found


def _ratios(row: Found, rivals: list[str], ours: str = OURS) -> list[str]:
    peers = row["peers"]
    if ours not in peers:
        return ["-"] * len(rivals)
    own = peers[ours]["median"]
    return [f"{digits_of(peers[name]['median'] / own)}×" if name in peers else "-" for name in rivals]


def _limits(row: Found) -> list[str]:
    if OURS not in row["peers"]:
        return ["-"] * 4
    own = row["peers"][OURS]["median"]
    share = row["operations"] / own / row["limits"][PEAK]
    bandwidth = row["limits"].get(MEMORY)
    # A step reads and writes each parameter and both its moments.
    of_memory = f"{2 * row['state_bytes'] / own / bandwidth:.0%}" if bandwidth else "in cache"
    return [digits_of(row["operations"] / own / 1e9), f"{share:.0%}", of_memory, _goals(row, own, share)]


def _goals(row: Found, own: float, share: float) -> str:
    goal, peers = GOALS[row["workload"]], row["peers"]
    wanted = [
        (f"{name} {least:g}×", {OURS, peer}, peers[peer]["median"] / own >= least)
        for name, peer, least in (("PyTorch", FUSED, goal.fused), ("scan", SCAN, goal.scan))
        if peer in peers
    ]
    if goal.peak is not None:
        wanted.append((f"peak {goal.peak:.0%}", {OURS, PEAK}, share >= goal.peak))
    return ", ".join(
        f"{text} {'not judged' if row['disturbed'].keys() & needed else _met(reached)}"
        for text, needed, reached in wanted
    )


def _met(reached: bool) -> str:
    return "met" if reached else "MISSED"


def _furthest(rows: list[Found]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        for name, peer in row["peers"].items():
            found[name] = max(found.get(name, 0.0), peer["off"])
    return found


# --- The other sections ------------------------------------------------------------------------------------------


def _prediction(rows: list[Found]) -> str:
    parts = ["## Predictions"]
    names = [peer for peer in PEERS if any(peer in row["peers"] for row in rows)]
    for threads in dict.fromkeys(row["threads"] for row in rows):
        some = [row for row in rows if row["threads"] == threads]
        labels = {OURS: "chainrule", FUSED: "PyTorch"}
        head = ["network", "batch", *[labels.get(name, name) for name in names]]
        rivals = [name for name in names if name != OURS]
        parts.append(f"Microseconds a call, {threads_in_words(threads)}, and how many times as long the others need.")
        lines = [[row["network"], str(row["batch"]), *_times(row, names, 1e6), *_ratios(row, rivals)] for row in some]
        parts.append(table([*head, *[f"to {labels.get(name, name)}" for name in rivals]], lines))
    return "\n\n".join(parts)


def _first_step(rows: list[Found]) -> str:
    head = ["workload", *rows[0]["seconds"], "goals"]
    lines = [
        [
            row["workload"],
            *(f"{1000 * seconds:.0f}" for seconds in row["seconds"].values()),
            f"cold {1000 * FIRST_STEP_COLD:.0f} {_met(row['seconds'][COLD] <= FIRST_STEP_COLD)}, "
            f"warm {1000 * FIRST_STEP_WARM:.0f} {_met(row['seconds'][WARM] <= FIRST_STEP_WARM)}",
        ]
        for row in rows
    ]
    text = f"Milliseconds from the call to the end of the first step, in fresh processes; {JAX} has no cache on disk."
    return "\n\n".join(["## The first step", text, table(head, lines)])


_MEMORY = {"more": "over import", "peak": "in all"}


def _is_less(row: Found, name: str) -> bool:
    return bool(row["peers"][OURS][name] <= row["peers"][FUSED][name])


def _memory(rows: list[Found]) -> str:
    head = ["workload", "chainrule", "PyTorch", "chainrule in all", "PyTorch in all", "goal"]
    lines = [
        [
            row["workload"],
            *(_megabytes(row["peers"][peer]["more"]) for peer in (OURS, FUSED)),
            *(_megabytes(row["peers"][peer]["peak"]) for peer in (OURS, FUSED)),
            "at most PyTorch: " + ", ".join(f"{words} {_met(_is_less(row, name))}" for name, words in _MEMORY.items()),
        ]
        for row in rows
    ]
    text = (
        "The most memory, in MB: over the process with its library imported, compiling included, for which chainrule "
        "loads LLVM only then; and in all."
    )
    return "\n\n".join(["## Memory", text, table(head, lines)])


def _megabytes(count: int) -> str:
    return digits_of(count / 1e6)


def _digits(found: Found) -> str:
    lines = [[name, digits_of(each["seconds"]), f"{each['accuracy']:.4f}"] for name, each in found.items()]
    ours = found["chainrule fit"]
    ratio = found["PyTorch loop"]["seconds"] / ours["seconds"]
    verdict = f"PyTorch needs {digits_of(ratio)} times as long. Accuracy {DIGITS_ACCURACY} "
    verdict += f"{_met(ours['accuracy'] >= DIGITS_ACCURACY)}."
    text = (
        f"MNIST, 784-128-10, batch 64, {EPOCHS} epochs: seconds of the whole training, and accuracy on the test images."
    )
    return "\n\n".join(["## MNIST", text, table(["", "seconds", "accuracy"], lines), verdict])


def _watching(rows: list[Found]) -> str:
    parts = ["## What looking at a run costs"]
    for row in rows:
        parts.append(
            f"`fit` of {row['workload']}, {threads_in_words(row['threads'])}: microseconds a step, and how much longer "
            "watching takes, and looking out for NaN: medians over the rounds, each compared with its neighbour."
        )
        parts.append(table([*row["peers"]], [_times(row, [*row["peers"]], 1e6)]))
        verdict = [
            f"{name} {longer:+.1%} (at most {WATCHING[name]:.0%} "
            + ("not judged" if row["disturbed"] else _met(longer <= WATCHING[name]))
            + ")"
            for name, longer in row["more"].items()
        ]
        parts.append(", ".join(verdict) + ".")
        if row["disturbed"]:
            parts.append(f"Disturbed: {', '.join(f'{name} ({why})' for name, why in row['disturbed'].items())}.")
    return "\n\n".join(parts)


def _growth(found: dict[str, list[Found]]) -> str:
    parts = ["## How cost grows"]
    for axis, points in found.items():
        head = [axis, "chainrule, µs", "PyTorch, µs", "ratio", "chainrule, MB", "PyTorch, MB", "chainrule, ms to first"]
        lines = []
        for point in points:
            ours, fused = point["peers"][OURS], point["peers"][FUSED]
            lines.append([
                str(point["value"]), *_times(point, [OURS, FUSED], 1e6), *_ratios(point, [FUSED]),
                _megabytes(ours["bytes"]), _megabytes(fused["bytes"]), f"{1000 * ours['to_first_step']:.0f}",
            ])  # fmt: skip
        parts.append(table(head, lines))
        for name, peer in (("chainrule", OURS), ("PyTorch", FUSED)):
            places = "; ".join(cliffs(points, peer)) or "none"
            parts.append(f"Cliffs of {name} (an operation costs over {CLIFF:g} times as much as before): {places}.")
    return "\n\n".join(parts)
