# The one door to building, testing and measuring; `make` alone lists what there is.
# Assumed: Python 3.11 or later, Git, a C++20 compiler with its sanitizers, make. Everything else comes from pip, at
# the versions pinned in constraints.txt.

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
NATIVE  := $(shell find native -type f -not -path 'native/tests/*')

ifneq ($(origin CXX),default)
export CXX
endif

# The kernels once more, with sanitizers. The baseline's objects come first: of inline functions that several objects
# have, the linker takes the first one's, which every machine can run.
FUZZ          := build/fuzz
SANITIZED     := $(CXX) -std=c++20 -O1 -g -Inative -fsanitize=address,undefined -fno-sanitize-recover=all
HAS_X86       := $(filter x86_64 amd64,$(shell uname -m))
CODECS        := rans fit instructions delta delta_fit alone
MEASURES      := elements measure
MERGES        := elements merge
ARITHMETIC    := -ffp-contract=off -fno-trapping-math
PASSES        := Baseline $(if $(HAS_X86),Avx2 Avx512)
FLAGS_Avx2    := -mavx2 -mbmi2
FLAGS_Avx512  := $(FLAGS_Avx2) -mlzcnt -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd \
                 -mavx512vbmi -mavx512vbmi2

# Tests that run many commands of Git's and ours, one after the other: what they take is mostly starting them.
MERGE_TESTS := tests/model/merging tests/docs/test_guide.py $(wildcard tests/e2e/test_merg*.py tests/ops/test_merge_*.py) \
               $(wildcard tests/ops/test_bisect_*.py tests/cli/test_bisect.py) \
               $(addprefix tests/e2e/test_,lamella_merge.py conflicts.py picking.py rollback.py vocabularies.py) \
               tests/ops/test_rollback.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test test-merges test-frameworks test-programs test-browser fuzz-formats fuzz-native lint format check bench bench-codec bench-series bench-relatives bench-semantics bench-alignment bench-versions bench-merging bench-online docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/installed $(VENV)/demo.txt $(VENV)/test.txt $(VENV)/lint.txt ## install everything, for working on Lamella

demo: $(VENV)/installed $(VENV)/demo.txt ## watch a small network being trained, committed, compared and merged
	$(BIN)/python scripts/demo.py $(ARGS)

test: $(VENV)/installed $(VENV)/test.txt $(FUZZ)/passed ## run the tests (ARGS= goes to pytest)
	$(BIN)/python -m pytest -n 2 $(addprefix --ignore=,$(MERGE_TESTS)) $(ARGS)

test-merges: $(VENV)/installed $(VENV)/test.txt $(VENV)/demo.txt ## run the tests of merges, ways back and guides
	$(BIN)/python -m pytest -n 2 $(MERGE_TESTS) $(ARGS)

test-frameworks: $(VENV)/installed $(VENV)/test.txt $(VENV)/frameworks.txt ## install the real frameworks and test with them
	$(BIN)/python scripts/test_frameworks.py $(ARGS)

test-programs: $(VENV)/installed $(VENV)/test.txt $(VENV)/programs.txt ## install DVC and MLflow, and test with them and Git LFS
	$(BIN)/python -m pytest -o filterwarnings=default tests/programs $(ARGS)

test-browser: $(VENV)/installed $(VENV)/test.txt ## test the web pages in Chromium, which has to be installed
	$(BIN)/python -m pytest -o filterwarnings=default tests/browser $(ARGS)

fuzz-formats: $(VENV)/installed $(VENV)/fuzz.txt ## fuzz every reader of formats (ARGS='--seconds 60')
	$(BIN)/python scripts/fuzz_formats.py $(ARGS)

fuzz-native: $(FUZZ)/fuzz_codecs $(FUZZ)/fuzz_measure $(FUZZ)/fuzz_merge ## fuzz the compiled kernels, with sanitizers (ARGS='SEED ROUNDS')
	$(FUZZ)/fuzz_codecs $(or $(ARGS),1 10000)
	$(FUZZ)/fuzz_measure $(or $(ARGS),1 10000)
	$(FUZZ)/fuzz_merge $(or $(ARGS),1 10000)

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

bench-codec: $(VENV)/installed ## measure the codec against others, size and speed (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.codec $(ARGS)

bench-series: $(VENV)/installed $(VENV)/bench.txt ## measure moments, trained series and 50 checkpoints (installs PyTorch)
	$(BIN)/python -m benchmarks.series $(ARGS)

bench-relatives: $(VENV)/installed ## measure the search for a base without a history (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.relatives $(ARGS)

bench-semantics: $(VENV)/installed ## measure the difference of two models against others (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.semantics $(ARGS)

bench-alignment: $(VENV)/installed ## measure which layer became which, time and errors (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.alignment $(ARGS)

bench-merging: $(VENV)/installed ## measure merges of recipes against mergekit (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.merging $(ARGS)

bench-versions: $(VENV)/installed ## measure blame and history over 1,000 versions (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.versions $(ARGS)

bench-online: $(VENV)/installed ## measure 1,000 updates of a running average (ARGS=--help tells more)
	$(BIN)/python -m benchmarks.online $(ARGS)

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

$(FUZZ)/passes_%.o: $(NATIVE)
	@echo "compiling the codecs with sanitizers ($*)"
	@mkdir -p $(@D)
	@$(SANITIZED) $(FLAGS_$*) -DLAMELLA_PASSES=kPasses$* -DLAMELLA_INSTRUCTIONS='"$*"' -c native/passes.cpp -o $@

$(FUZZ)/measure_%.o: $(NATIVE)
	@echo "compiling what measures with sanitizers ($*)"
	@mkdir -p $(@D)
	@$(SANITIZED) $(ARITHMETIC) $(FLAGS_$*) -DLAMELLA_PASSES=kMeasure$* -DLAMELLA_INSTRUCTIONS='"$*"' \
		-c native/measure_passes.cpp -o $@

$(FUZZ)/merge_%.o: $(NATIVE)
	@echo "compiling what merges with sanitizers ($*)"
	@mkdir -p $(@D)
	@$(SANITIZED) $(ARITHMETIC) $(FLAGS_$*) -DLAMELLA_PASSES=kMerge$* -DLAMELLA_INSTRUCTIONS='"$*"' \
		-c native/merge_passes.cpp -o $@

$(FUZZ)/fuzz_codecs $(FUZZ)/fuzz_measure $(FUZZ)/fuzz_merge: native/tests/fuzzing.hpp

$(FUZZ)/fuzz_codecs: native/tests/fuzz_codecs.cpp $(PASSES:%=$(FUZZ)/passes_%.o)
	@$(SANITIZED) $(if $(HAS_X86),-DLAMELLA_X86) $(CODECS:%=native/%.cpp) $(filter %.cpp %.o,$^) -o $@

$(FUZZ)/fuzz_measure: native/tests/fuzz_measure.cpp $(PASSES:%=$(FUZZ)/measure_%.o)
	@$(SANITIZED) $(if $(HAS_X86),-DLAMELLA_X86) $(MEASURES:%=native/%.cpp) $(filter %.cpp %.o,$^) -o $@

$(FUZZ)/fuzz_merge: native/tests/fuzz_merge.cpp $(PASSES:%=$(FUZZ)/merge_%.o)
	@$(SANITIZED) $(if $(HAS_X86),-DLAMELLA_X86) $(MERGES:%=native/%.cpp) $(filter %.cpp %.o,$^) -o $@

# Some seconds of fuzzing, once for every change of the kernels.
$(FUZZ)/passed: $(FUZZ)/fuzz_codecs $(FUZZ)/fuzz_measure $(FUZZ)/fuzz_merge
	@$(FUZZ)/fuzz_codecs 1 1000
	@$(FUZZ)/fuzz_measure 1 1000
	@$(FUZZ)/fuzz_merge 1 1000
	@touch $@
