"""How long `cr.look.explain` takes: cold, as the first call of a fresh process, and warm, as the third.

    python benchmarks/explain.py [--rounds 5]

For 784-300-10 at batch 64, and a GPT block (width 128, 4 heads, 64 tokens, batch 16, 65 letters). Importing the library
and making the network are not counted. `--clock cpu` counts processor time on one thread, which a busy machine moves
least. "explain" is the call alone, "shown" with the text of the terminal, for which the step is made once more in
float64. Goals: 784-300-10 under 0.5 s, the GPT block under 2 s, both cold and shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn

GOALS = {"784-300-10": 0.5, "GPT block": 2.0}
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
WIDTH, HEADS, TOKENS, ROWS, LETTERS = 128, 4, 64, 16, 65


class Block(nn.Module):
    """A block of a GPT with layer norms before its parts."""

    def __init__(self) -> None:
        self.before_attention, self.before_hidden = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project, self.mix = nn.Dense(WIDTH, 3 * WIDTH), nn.Dense(WIDTH, WIDTH)
        self.hidden, self.back = nn.Dense(WIDTH, 4 * WIDTH, activation="gelu"), nn.Dense(4 * WIDTH, WIDTH)

    def attention(self, x: cr.Tensor) -> cr.Tensor:
        """Each token looks at those before it."""
        rows, tokens, width = x.shape
        parts = cr.reshape(self.project(x), (rows, tokens, 3, HEADS, width // HEADS))
        queries, keys, values = (cr.permute_dims(parts[:, :, number], (0, 2, 1, 3)) for number in range(3))
        scores = queries @ cr.permute_dims(keys, (0, 1, 3, 2)) / (width // HEADS) ** 0.5
        later = np.triu(np.full((tokens, tokens), -1e9, np.float32), 1)
        seen = cr.softmax(scores + cr.asarray(later)) @ values
        return self.mix(cr.reshape(cr.permute_dims(seen, (0, 2, 1, 3)), (rows, tokens, width)))

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        x = x + self.attention(self.before_attention(x))
        return x + self.back(self.hidden(self.before_hidden(x)))


def letters_loss(guesses: cr.Tensor, targets: cr.Tensor) -> cr.Tensor:
    """Cross entropy of every letter."""
    return cr.losses.cross_entropy(cr.reshape(guesses, (-1, LETTERS)), cr.reshape(targets, (-1,)))


def perceptron() -> tuple[Any, ...]:
    """784-300-10 with a batch."""
    net = nn.Sequential(nn.Dense(784, 300), nn.ReLU(), nn.Dense(300, 10))
    rng = np.random.default_rng(0)
    return net, rng.normal(size=(64, 784)).astype(np.float32), rng.integers(0, 10, 64), "cross_entropy"


def transformer() -> tuple[Any, ...]:
    """The block between an embedding and the guess of the next letter, with a batch."""
    net = nn.Sequential(nn.Embedding(LETTERS, WIDTH), Block(), nn.Dense(WIDTH, LETTERS))
    x, y = np.random.default_rng(0).integers(0, LETTERS, (2, ROWS, TOKENS))
    return net, x, y, letters_loss


MAKERS: dict[str, Callable[[], tuple[Any, ...]]] = {"784-300-10": perceptron, "GPT block": transformer}


def measured(name: str, now: Callable[[], float]) -> list[list[float]]:
    """Seconds of three calls of `explain` in this process, each alone and then with its text."""
    net, x, y, loss = MAKERS[name]()
    times = []
    for _ in range(3):
        began = now()
        step = cr.look.explain(net, x, y, loss, "adam")
        made = now()
        str(step)
        times.append([made - began, now() - began])
    return times


def main() -> None:
    """Measure in fresh processes, in turns, and print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=MAKERS, help="measure once in this process and print JSON")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one, CLOCKS[given.clock])))
        return
    found: dict[str, list[list[list[float]]]] = {name: [] for name in MAKERS}
    for _ in range(given.rounds):
        for name, rounds in found.items():
            command = [sys.executable, __file__, "--one", name, "--clock", given.clock]
            variables = os.environ | ({"OPENBLAS_NUM_THREADS": "1"} if given.clock == "cpu" else {})
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
            rounds.append(json.loads(done.stdout))
    print(f"{'seconds, medians':18} {'cold: explain':>14} {'shown':>7} {'warm: explain':>14} {'shown':>7}   goal")
    for name, rounds in found.items():
        cold, cold_shown, warm, warm_shown = (
            statistics.median(each[call][part] for each in rounds) for call in (0, 2) for part in (0, 1)
        )
        verdict = "met" if cold_shown < GOALS[name] else "MISSED"
        print(
            f"{name:18} {cold:14.3f} {cold_shown:7.3f} {warm:14.3f} {warm_shown:7.3f}   under {GOALS[name]} s {verdict}"
        )


if __name__ == "__main__":
    main()
