"""Trains on a table of 1,000,000 rows × 50 columns through the command line, and measures time and peak memory.

    python benchmarks/large_table.py                  # one epoch
    python benchmarks/large_table.py --rows 100000    # a smaller table

The table is written into a temporary folder: numbers, categories, dates, gaps. `chainrule train` runs as a
process of its own, so that the peak is its own; the bound that is promised is 8 GiB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

PROMISED_GIB = 8.0
COMMAND = [sys.executable, "-c", "import sys; from chainrule.app.cli.main import run; sys.exit(run())"]
PIECE = 100_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.csv")
        write(path, arguments.rows)
        print(f"{arguments.rows:,} rows x 50 columns, {path.stat().st_size / 2**20:,.0f} MiB of CSV")
        train = ["train", str(path), "--target", "outcome", "--epochs", str(arguments.epochs), "--json"]
        begin = time.perf_counter()
        done = subprocess.run([*COMMAND, *train, "--output", f"{folder}/run"], capture_output=True, text=True)
        seconds = time.perf_counter() - begin
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return done.returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    outcome = json.loads(done.stdout)
    scores = [outcome["network_score"], *outcome["baselines"]]
    print(f"peak memory   {peak:.2f} GiB (promised: {PROMISED_GIB:g} GiB at most)")
    print(f"time          {seconds:.0f} s, of which training {outcome['seconds']:.0f} s")
    print("accuracy      " + ", ".join(f"{score['name']} {score['metrics']['accuracy']:.4f}" for score in scores))
    return 0 if peak <= PROMISED_GIB else 1


def write(path: Path, rows: int) -> None:
    """A table whose outcome follows from some of its columns, with noise; written in pieces."""
    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        for start in range(0, rows, PIECE):
            piece = table(rng, min(PIECE, rows - start))
            piece.write_csv(stream, include_header=not start)


def table(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    numbers = rng.normal(size=(rows, 44))
    columns = {f"number_{n}": numbers[:, n] for n in range(44)}
    kinds = rng.integers(0, 8, rows)
    shops = rng.integers(0, 500, rows)
    frame = pl.DataFrame(columns).with_columns(
        pl.Series("kind", kinds).cast(pl.String).str.replace(r"^", "kind "),
        pl.Series("shop", shops).cast(pl.String).str.replace(r"^", "shop "),
        pl.Series("member", rng.random(rows) < 0.3),
        pl.Series("count", rng.poisson(3, rows)),
        (pl.lit(19_000) + pl.Series("day", rng.integers(0, 900, rows))).cast(pl.Date).alias("day"),
        pl.when(pl.Series(rng.random(rows) < 0.05)).then(None).otherwise(pl.col("number_3")).alias("number_3"),
    )
    signal = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + (kinds - 3.5) * 0.4 + (shops % 5 - 2) * 0.5
    return frame.with_columns(pl.Series("outcome", np.where(signal + rng.normal(0, 0.5, rows) > 0, "yes", "no")))


if __name__ == "__main__":
    sys.exit(main())
