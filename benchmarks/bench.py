"""How fast chainrule is beside its peers, all of them measured in turns in one run.

    python benchmarks/bench.py                       # everything: about an hour
    python benchmarks/bench.py --quick               # four small workloads, PyTorch and JAX: under three minutes
    python benchmarks/bench.py --only 784 --only scan --only "chainrule loop" --threads 1

`make bench` and `make bench-quick` install the peers first. Tables are printed and saved as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agreement import DisagreementError
from crew import HERE, WorkerError, hired
from digits import digits
from first_step import first_step
from growth import curves, growth
from memory import memory
from peers import PEERS
from plots import draw
from prediction import prediction
from report import refused, written
from rounds import CLOCKS, Turns
from training import last_cache, training
from watching import watching
from workloads import QUICK, WORKLOADS, Workload

SECTIONS = ("training", "prediction", "first step", "memory", "mnist", "watch", "growth")


def main() -> int:
    """Measure what is asked for; the exit status."""
    arguments = _arguments()
    try:
        chosen = _Chosen(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    about = _about(chosen.peers, arguments.clock)
    try:
        found = _measured(chosen, arguments)
    except (DisagreementError, WorkerError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    found["about"] = {**about, "load_after": os.getloadavg()}
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    name = "quick" if arguments.quick else "bench"
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    text = written(found)
    (folder / f"{name}.md").write_text(text)
    print(text)
    for file in draw(found.get("growth", {}), folder):
        _say(f"drawn: {file}")
    return 1 if refused(found) else 0


def _measured(chosen: _Chosen, arguments: argparse.Namespace) -> dict[str, Any]:
    peers, threads, most = chosen.peers, arguments.threads, max(arguments.threads)
    turns = Turns(arguments.rounds, arguments.seconds, arguments.clock)
    few = max(1, min(3, turns.rounds))
    short = replace(turns, seconds=turns.seconds / 2)
    runs: dict[str, Callable[[], Any]] = {
        "training": lambda: training(chosen.workloads, peers, threads, turns, _say),
        "prediction": lambda: prediction(chosen.plain, peers, threads, short, _say),
        "first step": lambda: first_step(chosen.workloads, most, few, _say),
        "memory": lambda: memory(chosen.workloads, most, _say),
        "mnist": lambda: digits(most, min(2, few), _say),
        "watch": lambda: watching(threads, turns, _say),
        "growth": lambda: growth(chosen.axes, most, replace(short, rounds=few), _say),
    }
    keys = {"first step": "first_step", "mnist": "digits", "watch": "watching"}
    return {keys.get(section, section): runs[section]() for section in chosen.sections}


class _Chosen:
    """Which sections, workloads, peers and curves are measured: those that a text of `--only` is part of, or all."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.texts: list[str] = arguments.only
        self.used: set[str] = set()
        workloads = QUICK if arguments.quick else WORKLOADS
        names = [peer for peer, about in PEERS.items() if about.quick or not arguments.quick]
        sections = SECTIONS[:1] if arguments.quick else SECTIONS
        self.sections = self._some(list(sections))
        by_name = {workload.name: workload for workload in workloads}
        self.workloads: list[Workload] = [by_name[name] for name in self._some(list(by_name))]
        self.plain = [workload for workload in self.workloads if workload in WORKLOADS[:3]]
        self.peers = self._some(names)
        axes = [f"curve of {axis}" for axis in curves()]
        self.axes = [axis.removeprefix("curve of ") for axis in self._some(axes)]
        unknown = [text for text in self.texts if text not in self.used]
        if unknown:
            known = "; ".join([*sections, *by_name, *names, *axes])
            raise ValueError(f"--only {', '.join(unknown)}: nothing is called so. There are: {known}.")

    def _some(self, names: list[str]) -> list[str]:
        found = [name for name in names if any(text.lower() in name.lower() for text in self.texts)]
        self.used |= {text for text in self.texts if any(text.lower() in name.lower() for name in names)}
        return found or names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="four small workloads, PyTorch and JAX, fewer rounds")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="see above; may be repeated")
    parser.add_argument("--threads", type=_count, action="append", help="1, 2, ...; may be repeated (default: 2 and 1)")
    parser.add_argument("--rounds", type=_count, help="measurements of each (default: 9, quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a measurement (default: 0.2, quick: 0.1)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="a folder (default: benchmarks/results)")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="processor: only the time that the peer itself computed, for a busy machine; needs --threads 1",
    )
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    arguments.threads = arguments.threads or ([2, 1] if cores > 1 else [1])
    if max(arguments.threads) > cores:
        parser.error(f"--threads {max(arguments.threads)}: this process may use {cores} cores.")
    if arguments.clock == "processor" and max(arguments.threads) > 1:
        parser.error("--clock processor adds up the time of all threads, so it needs --threads 1.")
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 9)
    arguments.seconds = arguments.seconds or (0.1 if arguments.quick else 0.2)
    return arguments


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1, not {text!r}")
    return int(text)


def _about(peers: list[str], clock: str) -> dict[str, Any]:
    with hired(peers, 1) as workers:
        versions = {PEERS[peer].package: worker.ask("hello")["version"] for peer, worker in workers.items()}
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "cache": last_cache(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg(),
        "clock": clock,
        "arguments": sys.argv[1:],
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
