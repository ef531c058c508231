"""Law: `import chainrule` is light: it loads NumPy and nothing else, and costs little beside it."""

import os
import subprocess
import sys

# A module without a specification was not imported but made by another (Cython's runtime, inside numpy.random).
LOADED = """
import sys
before = set(sys.modules)
import chainrule
new = [name for name in sys.modules.keys() - before if getattr(sys.modules[name], "__spec__", None)]
print(*sorted({name.partition(".")[0] for name in new}))
"""

# Processor time, which other programs on the machine do not count into; what NumPy loads is loaded only once.
COST = """
import time
start = time.process_time()
import numpy
after_numpy = time.process_time()
import chainrule
print(after_numpy - start, time.process_time() - start)
"""
ROUNDS = 5


def run(code: str, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | environment
    return subprocess.run(command, capture_output=True, text=True, check=True, env=settings).stdout


def test_importing_chainrule_loads_only_numpy() -> None:
    loaded = set(run(LOADED).split()) - sys.stdlib_module_names
    assert {name for name in loaded if not name.startswith("_")} == {"chainrule", "numpy"}


def test_importing_chainrule_costs_at_most_twice_what_numpy_costs(tmp_path) -> None:
    """Both from bytecode, as after an installation; a ratio within each process, and the best of a few."""
    run(COST, PYTHONPYCACHEPREFIX=str(tmp_path))  # writes the bytecode
    costs = [tuple(map(float, run(COST, PYTHONPYCACHEPREFIX=str(tmp_path)).split())) for _ in range(ROUNDS)]
    numpy_alone, both = min(costs, key=lambda cost: cost[1] / cost[0])
    assert both <= 2 * numpy_alone, f"numpy {numpy_alone * 1e3:.0f} ms, with chainrule {both * 1e3:.0f} ms"
