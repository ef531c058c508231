"""Search for a random program that compiles to something wrong: `python scripts/fuzz.py --programs 10000 --seed 7`.

Every program, half of them with gradients, is compiled, run in guarded memory on 1 and 3 threads, and compared with the
reference executor (see `tests/engine/fuzzing.py`). Programs are made in batches; the seed of a batch is printed before
it runs, so that even a crash can be repeated: `--seed` that number `--programs` the size of a batch.
"""

import argparse
import faulthandler
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chainrule.engine.op import Op
from chainrule.engine.target import host, named
from engine.fuzzing import search
from engine.graphs import Case, ops_of

BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()) // BATCH * BATCH)
    parser.add_argument("--target", help="avx512, avx2 or sse2: what this machine can run (default: itself)")
    parser.add_argument("--no-shrink", action="store_true", help="show the first failure as it is found")
    wanted = parser.parse_args()
    faulthandler.enable()
    target = named(wanted.target) if wanted.target else host()
    ops: Counter[Op] = Counter()
    numbers = exact = made = 0
    begin = time.perf_counter()

    def note(case: Case) -> None:
        nonlocal numbers, exact, made
        made += 1
        ops.update(ops_of(case))
        for expected, spread in zip(case.expected, case.spreads, strict=True):
            numbers += expected.size
            exact += expected.size if spread is None else 0

    print(f"{wanted.programs} programs for {target.name}, from seed {wanted.seed}", flush=True)
    for batch in range(0, wanted.programs, BATCH):
        print(
            f"\rseed {wanted.seed + batch // BATCH} ... {made} programs, {time.perf_counter() - begin:.0f} s ",
            end="",
            flush=True,
        )
        size = min(BATCH, wanted.programs - batch)
        search(size, wanted.seed + batch // BATCH, target=target, shrink=not wanted.no_shrink, note=note)
    print(f"\n{made} programs in {time.perf_counter() - begin:.0f} s agree with the reference")
    print(f"{numbers} numbers, {exact / max(1, numbers):.0%} of them to be equal exactly")
    print("programs with each op: " + ", ".join(f"{op.value} {count}" for op, count in ops.most_common()))


if __name__ == "__main__":
    main()
