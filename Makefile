# make help lists the targets. `demo` and `test` need Python 3.10 to 3.13 and make, and nothing else.

VENV := .venv
BIN := $(VENV)/bin
# Tests that run side by side; each uses one thread.
JOBS ?= 2
CHECKS := "ruff format --check ." "ruff check ." "mypy" "codespell" "mkdocs build --strict --quiet"
# Overrides for the demo: make demo ARGS="trainer.max_epochs=5"
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench docs docs-serve clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.product ## make a small video data set, pretrain on it, write a report (some minutes on a CPU)
	$(BIN)/python run/pretrain.py -cp configs -cn demo $(ARGS)

test: $(VENV)/.dev ## run the tests, and the examples in docstrings
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "not gpu and not slow" --doctest-modules

check: $(VENV)/.dev ## formatting, lint, types, spelling, and whether the documentation builds
	@status=0; \
	for command in $(CHECKS); do echo "$$command"; $(BIN)/$$command || status=1; done; \
	exit $$status

format: $(VENV)/.dev ## format the code, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## run all benchmarks; each prints a ratio and its goal
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; OMP_NUM_THREADS=1 $(BIN)/python $$file; done

docs: $(VENV)/.dev ## build the documentation into site/
	$(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.dev ## show the documentation in a browser, and follow changes
	$(BIN)/mkdocs serve

clean: ## remove what make has made; data and runs under outputs/ stay
	rm -rf $(VENV) site build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.product: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[dev,docs,torchcodec]"
	@touch $@ $(VENV)/.product

# The first of these that is a Python we support and can make an environment; PYTHON=... says which instead.
PYTHONS := $(if $(PYTHON),$(PYTHON),python3.11 python3.12 python3.13 python3.10 python3)
SUITABLE := import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

$(BIN)/python:
	@for python in $(PYTHONS); do \
	    if "$$python" -c '$(SUITABLE)' 2>/dev/null; then \
	        echo "Making $(VENV) with $$("$$python" --version). The first installation takes some minutes."; \
	        exec "$$python" -m venv $(VENV); \
	    fi; \
	done; \
	echo "None of $(PYTHONS) is Python 3.10 to 3.13 with the venv module (Debian and Ubuntu: apt install python3-venv)." >&2; \
	exit 1
