# Every target sets itself up: a bare clone and Python 3.11 or later are enough.

PYTHON  ?= python3
SUITE   ?= quick
ADDRESS ?=
GPUS    ?=
DEVICE  ?=
RESULTS ?= results
IN_PROCESS ?=
STORAGE ?=
JOB     ?=
INSTALLED ?=
MINUTES ?=
PARTS   ?=
ZOO     ?=
FOLDERS ?= results/reference
SITE    ?= $(RESULTS)/site
BIN     := .venv/bin
HARNESS := $(BIN)/python -m harness
CHOICE   = $(if $(GPUS),--gpus $(GPUS)) $(if $(DEVICE),--device "$(DEVICE)")

export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help install benchmark plan report site release-check test test-browser test-all test-gpu test-faults lint format submit attach doctor bench docs clean zoo zoo-pause zoo-resume

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

benchmark: install  ## run what is missing of SUITE (quick) and rebuild its report; ADDRESS= names a Ray cluster, GPUS= and DEVICE= what of it, IN_PROCESS=1 does without Ray
	$(HARNESS) run $(SUITE) --results $(RESULTS) $(if $(ADDRESS),--address $(ADDRESS)) $(CHOICE) $(if $(IN_PROCESS),--in-process)

plan: install  ## what SUITE would run, and what is already measured
	$(HARNESS) plan $(SUITE) --results $(RESULTS) $(if $(ADDRESS),--address $(ADDRESS)) $(CHOICE)

report: install  ## rebuild leaderboard, plots and report.html of SUITE from its tables alone
	$(HARNESS) report $(RESULTS)/$(SUITE)

site: install  ## write a static site of FOLDERS (results/reference) to SITE (results/site)
	$(HARNESS) site $(FOLDERS) --to $(SITE)

submit: install  ## run SUITE as a Ray job on the cluster whose dashboard is at ADDRESS, and bring the results back; STORAGE= keeps them in a bucket or shared folder
	$(HARNESS) submit $(SUITE) $(if $(ADDRESS),--address $(ADDRESS)) $(CHOICE) --results $(RESULTS) $(if $(STORAGE),--storage '$(STORAGE)')

attach: install  ## follow the submitted JOB again, and bring its results back
	$(HARNESS) attach $(JOB) $(if $(ADDRESS),--address $(ADDRESS)) --results $(RESULTS)

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

# INSTALLED=python3 takes a Python that has all packages already, such as that of a machine without network.
test-gpu: $(if $(INSTALLED),,install)  ## check a GPU machine: tests marked cuda, kernels, both modes, trainings in bf16; one page of findings. Without a GPU, or with DEVICE=cpu, a rehearsal
	$(if $(INSTALLED),$(INSTALLED),$(BIN)/python) -m harness gpu-check --results $(RESULTS)/gpu-check $(if $(DEVICE),--device "$(DEVICE)") $(if $(MINUTES),--training-minutes $(MINUTES)) $(if $(PARTS),--only "$(PARTS)")

# In an environment of its own: its botocore wants another python-dateutil than requirements.lock has.
.venv/s3/.installed: .venv/.installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/s3
	$(BIN)/uv pip install --quiet --python .venv/s3/bin/python 'moto[server]==5.2.5'
	touch $@

test-faults: install .venv/s3/.installed  ## kills, full disks, lost nodes, lost heads, a server that speaks S3, two hosts (these as root)
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

# In an environment of its own: the site is made from sources and pages, nothing is imported. The theme is maintained until
# May 2027; its successor reads the same mkdocs.yml.
.venv/docs/.installed: docs/requirements.lock
	$(PYTHON) -m venv --clear .venv/docs
	.venv/docs/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.lock
	touch $@

docs: .venv/docs/.installed  ## build the documentation as a site in build/docs; a warning is an error
	NO_MKDOCS_2_WARNING=1 .venv/docs/bin/python -m mkdocs build --strict --clean

release-check: install  ## before a tag: version, changelog, citation, reference runs, a wheel that runs SUITE (quick) elsewhere; PARTS= picks some, IN_PROCESS=1 does without Ray
	$(HARNESS) release-check --suite $(SUITE) $(if $(PARTS),--only "$(PARTS)") $(if $(IN_PROCESS),--in-process)

clean:  ## remove the environment; results stay
	rm -rf .venv *.egg-info
