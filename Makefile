# Each target sets up its own environment in .venv; nothing else is needed but Python 3.10 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Programs that build and check packages, apart from what the package needs.
TOOLS := .venv-release

.PHONY: demo test test-all trust test-bounds test-oldest mutants coverage lint bench setup clean package-check sbom licences audit

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

test-oldest: $(TOOLS)/.installed  ## With the oldest Python and the oldest dependencies that pyproject.toml allows, in .venv-oldest
	$(TOOLS)/bin/python release/oldest.py
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -m "not slow and not trust" --ignore tests/architecture

mutants: setup  ## Put faults into four rooms, one at a time, and count those that the tests find; takes hours
	for room in selfpaced retrieval neighbours verification; do \
		$(BIN)/python tests/trust/mutants.py $$room --number 200 --out runs/mutants || exit 1; done

coverage: setup  ## Branch coverage of src by the tests of make test; the compiled loops run as Python where NUMBA_DISABLE_JIT=1
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run --branch --source src/spcl -m pytest -m "not slow and not trust"
	$(BIN)/python -m coverage report --skip-covered --sort=cover

$(TOOLS)/.installed: release/tools.txt
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -r release/tools.txt
	touch $@

package-check: setup $(TOOLS)/.installed  ## Wheel and source archive: built twice, compared, installed, run; left in dist/
	$(TOOLS)/bin/python release/package_check.py

sbom: setup $(TOOLS)/.installed  ## The list of all installed packages in the format CycloneDX, dist/spcl.cdx.json
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/spcl.cdx.json $(BIN)/python

licences: setup  ## The table of docs/licences.md, from the installed packages
	$(BIN)/python release/licences.py --write

audit: setup $(TOOLS)/.installed  ## Known weaknesses of the installed packages; needs the network
	$(TOOLS)/bin/python release/audit.py $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")

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
	rm -rf $(VENV) $(TOOLS) .venv-oldest build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
