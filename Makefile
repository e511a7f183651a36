# The README's two commands are `make demo` and `make test`. Each does all its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup tools demo test lint bench clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

setup: $(STAMP) ## Make the virtual environment

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is missing. On Debian: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@for tool in git curl; do command -v $$tool >/dev/null || { \
		echo "make: $$tool is missing. On Debian: apt-get install $$tool" >&2; exit 1; }; done
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	$(BIN)/python -m compileall -q funcs runtimes pipelines
	@touch $(STAMP)

tools: ## On Debian or Ubuntu as root: install crun, so that pods are containers
	@bash .ci/tools demo

demo: $(STAMP) tools ## From an empty machine to a function that scales from zero
	$(BIN)/python examples/demo.py

lint: $(STAMP) ## Formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP) ## Lint, then every test
	@bash .ci/tools test
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest --cov --cov-report=
	@echo "coverage of this process's lines and branches: $$($(BIN)/coverage report --format=total) %"

bench: $(STAMP) ## The budgets, as ratios with peers of the same run
	@bash .ci/tools bench
	$(BIN)/python -m benchmarks

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*
