# `make demo` and `make test` build .venv on their own, once; a changed pyproject.toml or constraints.txt updates it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT := out

# Small operators dominate: one thread each, and as many processes as `make test` starts.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

# Rooms of pure functions whose shapes and types the tests check at every call.
CHECKED := torchrrm.rates,torchrrm.nn

# Together they call every kernel, most of them for every registered allocator.
BOUNDSCHECKED := tests/kernels tests/testing/test_boundary.py tests/solvers/test_sparse_wmmse.py \
  tests/policies/test_sparse_power_gnn.py tests/policies/test_sparse_hbgnn.py

.DELETE_ON_ERROR:
.PHONY: help demo test browser boundscheck check lint doctest docs wheel bench fuzz falsify matrix mutants leaderboard clean

help:
	@echo "make demo    allocate a slice of a ray-traced Munich cell; writes $(OUT)/demo"
	@echo "make test    all tests"
	@echo "make boundscheck  tests that call kernels, each access to an array checked against its bounds"
	@echo "make check   format, lint, types, order of the rooms, doctests"
	@echo "make docs    the documentation, its examples run; writes docs/_build/html"
	@echo "make wheel   source archive and wheel in dist/, the wheel's demo run offline in a clean environment"
	@echo "make bench   timing suites of benchmarks/ (on an idle machine)"
	@echo "make browser install a browser for the tests of the HTML page, if there is none"
	@echo "make fuzz    hostile inputs (ten minutes) and random kills (six); writes docs/results/fuzz.txt and kills.txt"
	@echo "make falsify search for counterexamples to certified bounds, ten minutes; writes docs/results/falsify.txt"
	@echo "make mutants small wrong changes of the source, each of which a test must notice; writes docs/results/mutants.txt"
	@echo "make matrix  every policy and solver in every use; writes docs/results/matrix.md"
	@echo "make leaderboard  the full benchmark, and the README's table of it"
	@echo "make clean   remove .venv, caches and $(OUT)"

# The demo compiles the kernels that it needs, and says so.
demo: $(VENV)/.installed
	$(BIN)/torchrrm demo --out $(OUT)/demo

test: $(VENV)/.kernels
	$(BIN)/python -m pytest -n 2 --dist worksteal --jaxtyping-packages=$(CHECKED),beartype.beartype

browser: $(VENV)/.installed
	command -v chromium || $(BIN)/python -m playwright install --with-deps chromium-headless-shell

# Checked code has a cache of its own, which is not taken into a wheel.
boundscheck: $(VENV)/.installed
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/.boundscheck \
	  $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" $(BOUNDSCHECKED)

check: lint doctest

lint: $(VENV)/.installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

doctest: $(VENV)/.kernels
	$(BIN)/python -m pytest -q --doctest-modules --doctest-glob=README.md src README.md

# The wheel is made of the source archive, so that both are whole.
wheel: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist --directory dist
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	PYTHON=$(PYTHON) .ci/try-wheel

# Warnings are errors, and a page whose code fails is one.
docs: $(VENV)/.kernels
	$(BIN)/python -m sphinx -b html -W --keep-going -q -j 2 docs docs/_build/html

fuzz: $(VENV)/.fuzz $(VENV)/.kernels
	$(BIN)/python tests/fuzz/campaign.py
	$(BIN)/python tests/stops/campaign.py 6

falsify: $(VENV)/.kernels
	$(BIN)/python tests/falsify/campaign.py

mutants: $(VENV)/.kernels
	$(BIN)/python tests/mutants/campaign.py

matrix: $(VENV)/.kernels
	$(BIN)/python tests/matrix/table.py

bench: $(VENV)/.kernels
	$(BIN)/python benchmarks/bench_plain.py
	$(BIN)/python benchmarks/bench_start.py
	$(BIN)/python benchmarks/bench_compile.py
	$(BIN)/python benchmarks/bench_slicing.py
	$(BIN)/python benchmarks/bench_links.py
	$(BIN)/python benchmarks/bench_links_gnn.py
	$(BIN)/python benchmarks/bench_bounds.py
	$(BIN)/python benchmarks/bench_qos_bound.py
	$(BIN)/python benchmarks/bench_demands.py
	$(BIN)/python benchmarks/bench_demands_front.py
	$(BIN)/python benchmarks/bench_beams.py
	$(BIN)/python benchmarks/bench_beam_bounds.py
	$(BIN)/python benchmarks/bench_association.py
	$(BIN)/python benchmarks/bench_association_sparse.py
	$(BIN)/python benchmarks/bench_deploy.py
	$(BIN)/python -m pytest benchmarks/test_meta_gradient.py --benchmark-only --benchmark-columns=median,iqr,rounds

# On an idle machine: half an hour on two cores.
leaderboard: $(VENV)/.kernels
	$(BIN)/torchrrm benchmark --scale full --out $(OUT)/benchmark-full
	mkdir -p docs/results/benchmark-full
	cp $(OUT)/benchmark-full/leaderboard.json docs/results/benchmark-full/
	cp $(OUT)/benchmark-full/leaderboard.md docs/results/benchmark-full/README.md
	$(BIN)/python -m torchrrm.recipes.benchmark.readme README.md docs/results/benchmark-full/leaderboard.json

clean:
	rm -rf $(VENV) $(OUT) build dist docs/_build .benchmarks .hypothesis .import_linter_cache .pytest_cache .ruff_cache \
	  .boundscheck
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "torchrrm needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.torch: $(VENV)/.created constraints.txt
	$(PIP) install --constraint constraints.txt torch
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/.fuzz: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev,fuzz]'
	touch $@

# Compiled once, here, so that no command or test waits for it.
$(VENV)/.kernels: $(VENV)/.installed $(wildcard src/torchrrm/kernels/*.py)
	$(BIN)/torchrrm warm
	touch $@
