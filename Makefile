# Every target sets itself up: a bare clone and Python 3.11 or later are enough.

PYTHON  ?= python3
SUITE   ?= quick
ADDRESS ?=
RESULTS ?= results
IN_PROCESS ?=
ZOO     ?=
BIN     := .venv/bin
HARNESS := $(BIN)/python -m harness

export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help install benchmark plan report test test-browser test-all test-faults lint format submit doctor bench clean zoo zoo-pause zoo-resume

help:  ## these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

# Half a minute to compile them once: where Python may write no bytecode, every start would compile what it imports.
.venv/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "found $$($(BIN)/python --version); expected Python 3.11 or later: rm -r .venv, then make PYTHON=python3.11 ..." >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

install: .venv/.installed  ## set up .venv with the pinned dependencies; a second call does nothing

benchmark: install  ## run what is missing of SUITE (quick) and rebuild its report; ADDRESS= names a Ray cluster, IN_PROCESS=1 does without Ray
	$(HARNESS) run $(SUITE) --results $(RESULTS) $(if $(ADDRESS),--address $(ADDRESS)) $(if $(IN_PROCESS),--in-process)

plan: install  ## what SUITE would run, and what is already measured
	$(HARNESS) plan $(SUITE) --results $(RESULTS) $(if $(ADDRESS),--address $(ADDRESS))

report: install  ## rebuild leaderboard, plots and report.html of SUITE from its tables alone
	$(HARNESS) report $(RESULTS)/$(SUITE)

submit: install  ## run SUITE as a Ray job on the cluster whose dashboard is at ADDRESS, and bring the results back
	$(HARNESS) submit $(SUITE) $(if $(ADDRESS),--address $(ADDRESS)) --results $(RESULTS)

zoo: install  ## train what the zoo lacks, two at a time at lowest priority; ZOO=unet-16 picks its seeds; goes on where it was
	$(HARNESS) zoo train $(ZOO) --results $(RESULTS)

zoo-pause: install  ## stop these trainings where they are, as while something is timed
	$(HARNESS) zoo pause --results $(RESULTS)

zoo-resume: install  ## let them go on
	$(HARNESS) zoo resume --results $(RESULTS)

test: install  ## the test suite (CPU, minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --durations 12 -m "not slow and not browser"

test-browser: install  ## drive report.html in headless Chromium (Debian's package chromium)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser

test-all: install  ## the same with the slow tests: real clusters, ZeRO stages, all of CIFAR-10
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --durations 12

test-faults: install  ## kills, full disks, two drivers, two hosts in network namespaces (these as root)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults --durations 12

lint: install  ## ruff, mypy, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install  ## let ruff arrange the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## speed and size figures of the harness itself, printed
	for file in tests/benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

doctor: install  ## is this machine, this cluster, this results folder sound?
	$(HARNESS) doctor $(RESULTS)

clean:  ## remove the environment; results stay
	rm -rf .venv *.egg-info
