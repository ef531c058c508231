"""Processes that measure: started with equal threads on equal cores, asked one at a time, never two at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "chainrule-benchmarks"
# NumPy's OpenBLAS chooses its kernels as it would for anyone; Python compiles modules once, as if they were installed.
_UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "CHAINRULE_TARGET")
_UNSET += ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


class WorkerError(Exception):
    """A process ended although it had more to answer."""


def environment(threads: int, **more: str) -> dict[str, str]:
    """The environment variables of a process that is to use so many threads."""
    several = "true" if threads > 1 else "false"
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CHAINRULE_THREADS", "NUM_CPU_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return {
        **kept,
        **dict.fromkeys(counts, str(threads)),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={several} intra_op_parallelism_threads={threads}",
        "JAX_PLATFORMS": "cpu",
        "DEV": "CPU",
        "CC": str(HERE / "clang.sh"),
        "CACHEDB": str(CACHE / "tinygrad.db"),
        "BENCHMARK_PYTHON": sys.executable,
        "PYTHONPATH": "",
        **more,
    }


class Worker:
    """A process for one peer; used as a context, at whose end it is gone."""

    def __init__(self, peer: str, threads: int, **variables: str) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self.cores = sorted(os.sched_getaffinity(0))[-threads:]
        self.peer, self.threads = peer, threads
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  it is closed with the process
        self._process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", peer, *map(str, self.cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(threads, **variables),
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tell(self, order: str, **details: Any) -> None:
        """Give an order without waiting for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"order": order, **details}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._complain()

    def hear(self) -> dict[str, Any]:
        """The answer to the oldest order that is not yet answered."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._complain()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: str, **details: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        self.tell(order, **details)
        return self.hear()

    def _complain(self) -> None:
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip()[-3000:]
        raise WorkerError(f"{self.peer} ended with status {self._process.returncode} and said:\n{said}")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@contextmanager
def hired(peers: list[str], threads: int) -> Iterator[dict[str, Worker]]:
    """A process for each peer; they load their libraries side by side, and are idle from then on."""
    workers = {peer: Worker(peer, threads) for peer in peers}
    try:
        for worker in workers.values():
            worker.tell("hello")
        for worker in workers.values():
            worker.hear()
        yield workers
    finally:
        for worker in workers.values():
            worker.close()
