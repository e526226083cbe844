# make demo: environment, install, a few minutes of training.   make test: the tests.   make help: the rest.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
BESIDE := --numprocesses auto --maxprocesses 8 --dist worksteal
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-cuda check reproduce-all list report smoke bench numerics docs tensorboard clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[dev]'
	touch $@

install: $(VENV)/installed  ## a virtual environment in .venv with the project and its tools

demo: $(VENV)/installed  ## a few minutes of ODE-Net training on whatever MNIST can be had
	$(BIN)/node-run task=mnist profile=demo
	@echo
	@echo "Curves:  make tensorboard        (http://localhost:6006/#custom_scalars)"
	@echo "Numbers: result.json and metrics.jsonl in the folder that the line 'run' names"

test: $(VENV)/installed  ## the tests, in minutes
	$(PYTEST) $(BESIDE)

test-all: $(VENV)/installed  ## the slow tests too
	$(PYTEST) $(BESIDE) -m 'not cuda'

test-cuda: $(VENV)/installed  ## the tests that need a CUDA device
	$(PYTEST) -m cuda

check: $(VENV)/installed  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

PROFILE ?= quick
SEEDS   ?= 1
JOBS    ?= 1
OUT     ?= outputs
ARGS    ?=
export OUT
seeds    = $(or $(shell seq 0 $$(($(SEEDS) - 1)) | paste -sd, -),$(error SEEDS=$(SEEDS) must be a whole number >= 1))
REPRODUCE = $(BIN)/node-run reproduce profile=$(PROFILE) seed=$(seeds) jobs=$(JOBS) "outputs=$$OUT"

reproduce-all: $(VENV)/installed  ## everything: PROFILE=quick SEEDS=3 JOBS=2 OUT=outputs ARGS="data.root=/my/mnist"
	@exec $(REPRODUCE) $(ARGS)

list: $(VENV)/installed  ## experiments and probes: what they are for, cost, state (PROFILE SEEDS OUT)
	@$(BIN)/node-run list profile=$(PROFILE) seed=$(seeds) "outputs=$$OUT" $(ARGS)

report: $(VENV)/installed  ## the report of what there is (PROFILE OUT)
	$(BIN)/node-run job=report profile=$(PROFILE) "outputs=$$OUT"

smoke: PROFILE := smoke
smoke: JOBS := 2
smoke: OUT := outputs/smoke
smoke: $(VENV)/installed  ## every experiment, probe and the report, for a few iterations
	@exec $(REPRODUCE) $(ARGS)

bench: $(VENV)/installed  ## speed beside torchdiffeq, torchode and diffrax, and the goals: docs/performance.md (ARGS)
	@PYTHONPATH=scripts $(BIN)/python -m bench $(ARGS)

numerics: $(VENV)/installed  ## orders, work and precision of the solvers: docs/numerics.md
	OMP_NUM_THREADS=1 $(BIN)/python scripts/work_precision.py

tensorboard: $(VENV)/installed  ## every run below OUT, on http://localhost:6006/#custom_scalars
	$(BIN)/tensorboard --logdir "$$OUT" --host localhost --port 6006

docs: $(VENV)/installed  ## the documentation as a site in outputs/site; broken links are errors
	$(INSTALL) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet -f .mkdocs.yml
	@echo "open outputs/site/index.html"

clean:  ## remove the environment and caches, keep outputs
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist
