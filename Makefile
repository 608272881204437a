PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
SOURCES := $(wildcard tfprior export tests examples docs)

# Modules are compiled when they are first imported, not in every process that a test starts.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-all check bench docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## train, sample and export a prior of handwritten digits
	$(BIN)/python examples/digits.py

# Two processes share the cores: threads of BLAS that wait for each other would take what the other one needs.
test test-all: export OPENBLAS_NUM_THREADS := 1

# Kernels that are made anew for every shape take longer than tests of this size compute. `test-all` has them.
test: export TF_ENABLE_ONEDNN_OPTS := 0
test: export XLA_FLAGS := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false

test: $(READY) ## lint, format check, types and all tests; changes no file
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder

test-all: $(READY) ## also the tests that others stand for
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder --everything

check: $(READY) ## format, fix what the linter can fix, check types
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/mypy

bench: $(READY) ## run every benchmark, one after the other
	@set -e; for script in $(filter-out %/__init__.py,$(wildcard tests/benchmarks/*.py)); do \
		echo "== $$script"; $(BIN)/python $$script; \
	done

docs: $(READY) ## write the API reference to build/api
	$(BIN)/python docs/api.py build/api

clean: ## remove .venv, caches and build outputs
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an interrupted installation is done again.
$(READY): setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[dev]'
	@touch $@
