"""Measures what `chainrule train` reaches on the built-in sets with nothing but defaults, over several seeds.

    python scripts/check_scores.py                 # all sets, seeds 0 to 4
    python scripts/check_scores.py digits wine     # some of them
    python scripts/check_scores.py --seeds 10

The seed chooses the rows that are kept aside as well as the first weights. Prints the median and the range, beside the
linear model on the same rows. Ends with status 1 if a median misses what is promised.
"""

import argparse
import statistics
import sys
import tempfile

from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.training import train
from chainrule.data import builtin

PROMISED = {"digits": 0.97, "breast-cancer": 0.96, "diabetes": 0.40}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help="names of built-in sets; default all")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds; default 5")
    arguments = parser.parse_args()
    print(f"{'set':<14} {'metric':<9} {'median':>7}  {'range':<15} {'linear':>7}  {'promised':>8}  {'seconds':>7}")
    missed = 0
    for name in arguments.sets or builtin.names():
        missed += not measured(name, arguments.seeds)
    return 1 if missed else 0


def measured(name: str, seeds: int) -> bool:
    """Print the line of one set, and say whether it keeps its promise."""
    scores, linear, seconds, metric = [], [], [], ""
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            outcome = train(Flags(name, seed=seed, output=folder)).outcome
        metric = outcome.main
        scores.append(outcome.network_score.metrics[metric])
        linear.append(outcome.baselines[0].metrics[metric])
        seconds.append(outcome.seconds)
    middle, promised = statistics.median(scores), PROMISED.get(name)
    spread = f"{min(scores):.4f}-{max(scores):.4f}"
    print(
        f"{name:<14} {metric:<9} {middle:>7.4f}  {spread:<15} {statistics.median(linear):>7.4f}  "
        f"{promised if promised is not None else '-':>8}  {statistics.median(seconds):>7.1f}",
        flush=True,
    )
    return promised is None or middle >= promised


if __name__ == "__main__":
    sys.exit(main())
