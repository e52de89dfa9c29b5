# `make` lists the verbs. `make run` and `make test` set up all they need on a machine with python3 (3.11+), venv and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint setup bench soak chaos prices status docs clean

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

run: .venv/.run ## set up, start gateway, dashboard and local model, make one real call, print how to use it
	@$(BIN)/jevons up

demo: .venv/.run ## the same with a recorded agent workload; prints the bill with and without jevons, and exits
	@$(BIN)/jevons demo

setup: .venv/.dev ## install everything that tests, checks and benchmarks need

test: .venv/.dev ## set up and run the tests
	@$(BIN)/python -m tests.setup
	$(BIN)/python -m pytest

lint: .venv/.dev ## formatting, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint test ## what CI runs

bench: .venv/.dev ## list the benchmarks, each with its command
	@$(BIN)/python -m benchmarks

chaos: .venv/.dev ## kill things under load and count what was lost
	$(BIN)/python -m benchmarks.chaos

soak: .venv/.dev ## thirty minutes at 70% of saturation
	$(BIN)/python -m benchmarks.soak

prices: .venv/.dev ## regenerate the price book from genai-prices
	$(BIN)/python -m jevons.lab.prices_snapshot

status: .venv/.dev ## regenerate docs/status.md
	$(BIN)/python -m tests.status

clean: ## remove what was built here; keeps .jevons (your ledger and models)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jevons needs Python 3.11 or newer; say make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.venv requirements/base.txt requirements/local.txt requirements/build.txt pyproject.toml
	@echo "setting up: the gateway and the local engine ..."
	@$(PIP) install --require-hashes -r requirements/base.txt -r requirements/local.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.venv requirements/dev.txt pyproject.toml
	@echo "setting up: everything that tests and benchmarks need ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.run
