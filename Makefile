# The one door to building, testing and measuring; `make` alone lists what there is.
# Assumed: Python 3.11 or later, Git, a C++20 compiler, make. Everything else comes from pip, at the versions pinned
# in constraints.txt.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
NATIVE  := $(shell find native -type f)

ifneq ($(origin CXX),default)
export CXX
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test lint format check bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/installed $(VENV)/demo.txt $(VENV)/test.txt $(VENV)/lint.txt ## install everything, for working on Lamella

demo: $(VENV)/installed $(VENV)/demo.txt ## watch a small network being trained, committed, compared and merged
	$(BIN)/python scripts/demo.py $(ARGS)

test: $(VENV)/installed $(VENV)/test.txt ## run the tests (ARGS= goes to pytest)
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/installed $(VENV)/lint.txt ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/lint.txt ## rewrite the sources in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: ## all that continuous integration runs
	@.ci/run

bench: $(VENV)/installed ## measure against cp, Git, Git LFS, DVC, borg and restic (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.foundation $(ARGS)

docs: $(VENV)/installed ## regenerate docs/reference
	$(BIN)/python scripts/make_reference.py

clean: ## remove all that make made
	rm -rf $(VENV) build dist demo-run bench-run
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# An empty stamp: the directory's own time changes with every installation.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Lamella needs Python 3.11 or later: name one, as in 'make PYTHON=python3.11'" >&2; exit 1; }
	@$(PYTHON) scripts/toolchain.py
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# One purpose's requirements, as a file that is as old as their installation.
$(VENV)/%.txt: pyproject.toml constraints.txt scripts/requirements.py | $(VENV)/created
	@echo "installing what $* needs"
	@$(BIN)/python scripts/requirements.py $* > $@
	@$(INSTALL) --requirement $@

# Editable, so that a change of Python takes effect by itself; a change of C++ compiles again what it touches.
$(VENV)/installed: pyproject.toml constraints.txt $(NATIVE) $(VENV)/build.txt
	@echo "compiling and installing Lamella"
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@
