# `make` lists the targets. Everything that they need is installed into .venv by themselves.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
# Installed for its copy of htmx alone, without what the package itself needs.
HTMX := django-htmx==1.29.0

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench screens lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-9s %s\n", $$1, $$2}'

.venv/ready: requirements.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing what the portal needs (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(HTMX)
	@touch $@

.venv/ready-for-tests: .venv/ready tests/requirements.txt tests/install-tools tests/clients/package-lock.json tests/clients/requirements.txt
	@echo "Installing what the tests need (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@tests/install-tools
	@touch $@

setup: .venv/ready ## install what the portal needs

run: .venv/ready ## serve everything on http://127.0.0.1:8000 (PORT= changes it) and print an install link
	@PORT=$(PORT) exec $(BIN)/python -m portal.demo

check: .venv/ready-for-tests ## lint, types, import rules (seconds)
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy --no-error-summary portal && $(BIN)/lint-imports --no-cache >/dev/null || { $(BIN)/lint-imports --no-cache; exit 1; }

test: check ## every check and every test
	@$(BIN)/python -m pytest -n 4 tests/rules tests/pages tests/faults # they wait as much as they reckon
	@$(BIN)/python -m pytest -n 2 tests/browser # apart: Playwright keeps an event loop that the engine won't run beside
	@$(BIN)/python -m pytest -n 2 tests/clients # apart: they name workflows of the demo, which stories of the browser add to

bench: .venv/ready-for-tests ## measure, and write the table build/bench.md
	@$(BIN)/python -m benchmarks

screens: .venv/ready-for-tests ## pictures of every state of the page under build/screens, and the one in docs/
	@$(BIN)/python -m pytest tests/browser -k screens --screens-for-docs

lock: ## pin the newest versions of requirements.in and tests/requirements.in
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@for f in requirements tests/requirements tests/clients/requirements; do $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links $$f.in -o $$f.txt; done

clean: ## remove what the other targets made, but not the data in instance/
	rm -rf .venv tests/clients/.venv tests/clients/node_modules build .pytest_cache .mypy_cache .ruff_cache .hypothesis
