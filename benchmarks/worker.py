"""A process that measures one peer: reads orders as lines of JSON, answers each with a line.

    python worker.py PEER CORE [CORE ...]

It binds itself to the cores before it loads any library. Orders: `hello`, `prepare`, `losses`, `answers`, `measure`,
`learn`, `quit`; see the functions below.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time
from typing import Any

from rounds import REST

_SLOWEST = 3.0  # seconds; whoever needs longer for a step is not asked for many


class Desk:
    """What the process holds: a peer's module, and the subject that is measured."""

    def __init__(self, peer: str) -> None:
        start = time.perf_counter()
        self.table = importlib.import_module("peers")
        self.peer = self.table.PEERS.get(peer)
        self.module = importlib.import_module(f"peers.{self.peer.module if self.peer else peer}")
        self.loaded, self.imported = time.perf_counter() - start, resident("VmRSS")
        self.subject: Any = None
        self.each = 0.0  # seconds of a step, as far as known

    def hello(self) -> dict[str, Any]:
        """Who this is."""
        version = importlib.metadata.version(self.peer.package) if self.peer else ""
        return {"version": version, "import_seconds": self.loaded, "import_bytes": self.imported}

    def prepare(self, workload: dict[str, Any], task: str, **more: Any) -> dict[str, Any]:
        """Make the subject and let it do its first step: how long that took, and the most memory meanwhile."""
        work = importlib.import_module("workloads")
        self.subject = None
        gc.collect()
        described = work.from_data(workload)
        work.data_of(described)
        time.sleep(REST)
        before = forget_peak()
        start = time.perf_counter()
        try:
            self.subject = getattr(self.module, task)(described, **more)
            made = time.perf_counter()
            self.subject.run(1)
            first = time.perf_counter()
            self.each = 0.0
            self.subject.run(3)
        except self.table.UnsuitedError as reason:
            return {"unsuited": str(reason)}
        except Exception as error:
            # A peer that breaks on this machine is told of in the report, and does not end the run of all others.
            if self.peer is None or self.peer.package == "chainrule":
                raise
            return {"unsuited": f"it failed with {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"}
        return {
            "seconds_to_make": made - start,
            "seconds_to_first": first - made,
            "bytes": resident("VmHWM") - before,
            "peak_bytes": resident("VmHWM"),
            "operations": getattr(self.subject, "operations", None),
        }

    def losses(self, steps: int) -> dict[str, Any]:
        """The losses of the first steps from the first weights, unless a step takes so long that nobody would wait."""
        self.subject.reset()
        begin = time.perf_counter()
        done = self.subject.run(2)
        each = (time.perf_counter() - begin) / done
        if each > _SLOWEST:
            return {"unsuited": f"a step takes {each:.1f} s"}
        self.subject.reset()
        return {"losses": self.subject.losses(steps)}

    def answers(self) -> dict[str, Any]:
        """What the network predicts, row by row."""
        return {"answers": self.subject.answers().tolist()}

    def measure(self, seconds: float) -> dict[str, Any]:
        """How long as many steps take as fill the time, by the clock on the wall and by the processor's.

        The first step from the first weights is not in it: whoever has not put them in place yet does so then.
        `foreign` is how long others worked on the cores of this process meanwhile.
        """
        self.subject.reset()
        if not self.each:
            self._learn_speed(seconds)
        self.subject.run(1)
        busy, start, before = busy_seconds(), time.perf_counter(), time.process_time()
        done = self.subject.run(max(1, int(seconds / self.each)))
        taken, own = time.perf_counter() - start, time.process_time() - before
        self.each = taken / done
        return {"wall": taken, "processor": own, "steps": done, "foreign": busy_seconds() - busy - own}

    def _learn_speed(self, seconds: float) -> None:
        count, self.each = 1, 1.0
        while True:
            start = time.perf_counter()
            done = self.subject.run(count)
            taken = time.perf_counter() - start
            self.each = taken / done
            if taken > seconds / 5:
                break
            count = max(2 * count, min(20 * done, int(seconds / 4 / self.each)))
        self.subject.reset()

    def learn(self, workload: dict[str, Any], folder: str, epochs: int) -> dict[str, Any]:
        """Train on the images of digits in a folder: the time, and the accuracy on the test images."""
        digits = importlib.import_module("digits")
        work = importlib.import_module("workloads")
        train_images, train_labels, test_images, test_labels = digits.load(folder)
        subject = self.module.Digits(work.from_data(workload), train_images, train_labels, epochs)
        start = time.perf_counter()
        subject.learn()
        taken = time.perf_counter() - start
        return {"seconds": taken, "accuracy": subject.accuracy(test_images, test_labels)}


def resident(name: str) -> int:
    """Bytes of memory of this process: `VmRSS` now, `VmHWM` at most so far."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def busy_seconds() -> float:
    """How long the cores of this process have worked since the machine started, including what a host took away."""
    cores, ticks = os.sched_getaffinity(0), 0
    with open("/proc/stat") as lines:
        for line in lines:
            name, *figures = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
                user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, figures[:8])
                ticks += user + nice + system + interrupts + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def forget_peak() -> int:
    """Let the peak of memory begin anew from what is used now, which is returned."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return resident("VmRSS")


def main() -> None:
    """Answer orders until there are no more."""
    peer, *cores = sys.argv[1:]
    os.sched_setaffinity(0, {int(core) for core in cores})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    desk = Desk(peer)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(desk, order.pop("order"))(**order)), file=answers, flush=True)


if __name__ == "__main__":
    main()
