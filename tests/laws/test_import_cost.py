"""Law: `import chainrule` is light. How long it takes is measured in `benchmarks/import_time.py`."""

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


def test_importing_chainrule_loads_only_numpy() -> None:
    command = [sys.executable, "-W", "error", "-c", LOADED]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(finished.stdout.split()) - sys.stdlib_module_names
    assert {name for name in loaded if not name.startswith("_")} == {"chainrule", "numpy"}
