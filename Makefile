# Each target sets up all that it needs; a machine with python3 and make is enough.
# `make install PYTHON=python3.12` chooses the interpreter of a new .venv (3.11 to 3.13).

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := runs/demo
WORKERS := -n logical --maxprocesses 4

# Processes that tests start read bytecode, where an image has switched it off.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint style types floors site clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

install: $(STAMP) ## Make .venv with everything that tests and benchmarks use.

demo: $(STAMP) ## Plan in Wall with the bundled checkpoint: 96 tasks, four rows, a report.
	$(BIN)/jepawm eval wall --protocol paper --episodes 96 --seed 0 --out $(DEMO) --overwrite
	$(BIN)/jepawm report $(DEMO)

test: lint ## Lint and run every test that takes seconds.
	$(BIN)/python -m pytest -q $(WORKERS)

test-all: lint ## Run the slow tests too, and the others as on other processors.
	$(BIN)/python -m pytest -q $(WORKERS) -m "slow or not slow"
	PYTHON=$(BIN)/python tests/every_cpu.sh $(WORKERS)

lint: $(STAMP) ## Check style, types, the floors and the documentation site.
	@$(MAKE) --no-print-directory --jobs=2 types style floors site

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

floors: $(STAMP)
	$(BIN)/lint-imports --no-cache

site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## Remove .venv and caches.
	rm -rf .venv .pytest_cache .ruff_cache build site src/*.egg-info

$(STAMP): pyproject.toml constraints/cpu.txt
	PYTHON="$(PYTHON)" bash constraints/install.sh
	@touch $(STAMP)
