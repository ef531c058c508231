# Everything a contributor does. `make demo` and `make test` set up what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-targets setup fuzz oracles lint format docs bench bench-quick clean

demo: setup  ## train on built-in real data and leave a report to open
	$(BIN)/chainrule train digits --output runs/demo --overwrite

test: lint  ## lint, types, and the whole test suite, the engine's tests on NumPy and on machine code
	$(BIN)/python -m pytest -n auto -q
	$(BIN)/python -m pytest -n auto -q --executor compiled tests/engine

test-targets: setup  ## the engine's tests with code for the lesser processors that this one can stand for
	for target in $$($(BIN)/python -c "from chainrule.engine.target import runnable; print(*runnable()[1:])"); do \
		CHAINRULE_TARGET=$$target $(BIN)/python -m pytest -n auto -q tests/engine || exit 1; \
		CHAINRULE_TARGET=$$target $(BIN)/python -m pytest -n auto -q --executor compiled tests/engine || exit 1; \
	done

fuzz: setup  ## 10,000 random programs, compiled, against the reference executor
	$(BIN)/python scripts/fuzz.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## the documentation as HTML in build/docs, with a reference of every public name
	$(BIN)/python scripts/build_docs.py --output build/docs

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "chainrule needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

oracles: setup  ## PyTorch and JAX, against which the tests then compare live
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-oracles.lock

bench: benchmarks/.venv/.ready  ## measure against all peers: about an hour; pass more with ARGS="--only mnist"
	benchmarks/.venv/bin/python benchmarks/bench.py $(ARGS)

bench-quick: benchmarks/.venv/.ready  ## four small workloads against PyTorch and JAX: under 3 minutes
	benchmarks/.venv/bin/python benchmarks/bench.py --quick $(ARGS)

benchmarks/.venv/.ready: pyproject.toml benchmarks/requirements.lock
	$(PYTHON) -m venv benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.lock
	benchmarks/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv benchmarks/.venv build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
