# Each target sets up its own environment in .venv; nothing else is needed but Python 3.10 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all trust test-bounds lint bench setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,demo]"
	touch $@

demo: setup  ## Adapt an encoder to a street it has no labels for, on rendered images; results in runs/demo
	$(BIN)/spcl demo

test: setup  ## The tests that every change must pass, on two processes of one thread each: the networks are tiny
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not trust" -n 2 --dist loadfile --no-loadscope-reorder

test-all: setup test-bounds  ## The slow ones too
	$(BIN)/python -m pytest -m "not trust"

trust: setup  ## Kills, full disks, damaged and hostile files, random input, long runs: what docs/reliability.md tallies
	SPCL_TRUST=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/trust -n 2 --dist loadfile

test-bounds: setup  ## The compiled loops with every index checked; these are cached apart from the others
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(VENV)/numba-bounds OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not trust" \
		tests/retrieval tests/selfpaced tests/neighbours tests/data/test_augment.py

lint: setup  ## Style, types, import contract, sizes of files and functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tests/architecture/limits.py

docs: setup  ## The documentation site in site/; a broken link or anchor fails
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

bench: setup  ## Measure what docs/benchmarks.md claims
	$(BIN)/python benchmarks/label_stage.py
	$(BIN)/python benchmarks/ranking.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/official_style.py
	$(BIN)/python benchmarks/gallery.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/report.py

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
