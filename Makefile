# `make run` shows the pipeline at work on this machine, `make test` runs the whole suite; both set themselves up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PIPELINE := pipelines/staging_to_fact.py
SOURCES := pydag_gcp operators pipelines tests benchmarks docs

.PHONY: help run test check docs bench clean

help:
	@echo "make run    run the staging-to-fact pipeline on the local cloud and show its fact table"
	@echo "make test   run all tests"
	@echo "make check  lint, format check, type check"
	@echo "make docs   write the pages that come from the code"
	@echo "make bench  run all benchmarks (about half an hour), write docs/benchmarks.md"
	@echo "make clean  stop the local cloud, remove $(VENV) and .pydag"

run: $(VENV)/.local
	@echo "== Starting the local cloud, its buckets filled from pipelines/data"
	@$(BIN)/pydag local up --seed pipelines/data
	@echo "== Running $(PIPELINE)"
	@$(BIN)/pydag run $(PIPELINE)
	@echo "== The fact table"
	@$(BIN)/python pipelines/show_fact.py

test: $(VENV)/.dev
	@echo "== Running all tests"
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	@echo "== Linting"
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@echo "== Checking types"
	@$(BIN)/mypy

docs: $(VENV)/.dev
	@echo "== Writing the pages that come from the code"
	@$(BIN)/python docs/generate.py

bench: $(VENV)/.dev
	@echo "== Running all benchmarks: about half an hour, on a machine that does nothing else"
	@$(BIN)/python benchmarks/bench.py

clean:
	@echo "== Stopping the local cloud, removing $(VENV) and .pydag"
	@if [ -x $(BIN)/pydag ]; then $(BIN)/pydag local down || true; fi
	@rm -rf $(VENV) .pydag build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); install Python 3.11 or newer, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: pydag-gcp needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "== Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.local: pyproject.toml | $(VENV)/.python
	@echo "== Installing pydag-gcp with its local cloud (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.python
	@echo "== Installing pydag-gcp with its local cloud and test tools (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.local $@
