# mailops: everything from a fresh clone. `make` lists what there is.
#
# The environment lives in .venv. A stamp says for which pyproject.toml and constraints.txt it was made, so a second
# `make` only looks whether it is whole; without network nothing is asked for once the packages are there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
WORKERS ?= 2
ARGS ?=
# Without a workspace of your own named, the notebooks open on the demonstration's, with its mail servers up.
DEMO_PEERS = $(if $(MAILOPS_WORKSPACE),,$(if $(wildcard demo-workspace/demo.json),$(PY) -m mailops.demo with-peers))
ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help demo test fuzz incidents sweep lab app bench doctor check docs clean env

help: ## List the targets (this list)
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

env: ## Make the environment in .venv, or see that it is whole (the other targets do it by themselves)
	@bash .ci/env "$(PYTHON)" "$(origin PYTHON)" $(firstword $(MAKECMDGOALS))

demo: env ## Send, receive, bounce and analyse a month of made mail; leaves reports/index.html
	@$(PY) -m mailops.demo $(ARGS)

test: env ## Run all tests (ARGS='-k queue' for some of them)
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

fuzz: env ## Run the marked set: 2,000 fuzzed submissions and 2,000 fuzzed received mails, fixed seeds
	@$(PY) -m pytest -m fuzz tests/integration/test_fuzz_set.py $(ARGS)

incidents: env ## Run the marked set: incidents of 20 kinds and quiet years of eight, 20 seeds each, with their figures
	@$(PY) -m pytest -s -m incidents tests/integration/test_incidents_marked.py $(ARGS)

sweep: env ## Fill the disk at each octet of a small drain, in 64 parts of minutes (MAILOPS_SWEEP_PARTS=0-3 for some)
	@MAILOPS_SWEEP_PARTS=$${MAILOPS_SWEEP_PARTS:-0-63} $(PY) -m pytest -m sweep tests/integration/test_disk_sweep.py $(ARGS)

lab: env ## Open the notebooks in JupyterLab
	@$(DEMO_PEERS) $(PY) -m jupyterlab --ip=127.0.0.1 --notebook-dir=notebooks --LabApp.default_url=/lab/tree/start_here.ipynb $(ROOT) $(ARGS)

app: env ## Open the app: home, search, lists and the notebooks, on this machine only, behind a token
	@$(DEMO_PEERS) $(PY) -m mailops app $(ARGS)

bench: env ## Measure the queue beside smtp-source and smtplib
	@$(PY) benchmarks/queue.py $(ARGS)

doctor: ## Explain what is missing or broken on this machine
	@if $(PY) -c '' 2>/dev/null; then $(PY) -m mailops.doctor; \
	  else echo "note  Environment: $(if $(wildcard $(VENV)),the one in .venv is damaged,there is none yet); make env makes it."; \
	  "$(PYTHON)" -m mailops.doctor; fi

check: env ## Style, types, idle lines among the words of refusals, the order of the rooms
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m mailops.bounces.reading.lint
	@$(PY) -m mailops.testing.house >/dev/null || { echo 'The whole table: $(PY) -m mailops.testing.house'; exit 1; }

docs: env ## Write the reference pages that follow from the code
	@$(PY) docs/generate.py

clean: ## Remove the environment, caches and what the demo left
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist reports demo-workspace
