# mailops: everything from a fresh clone. `make` lists what there is.
#
# The environment lives in .venv. A stamp says for which pyproject.toml and constraints.txt it was made, so a second
# `make` does nothing; without network nothing is asked for once the packages are there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp
WORKERS ?= 2
ARGS ?=
# Without a workspace of your own named, the notebooks open on the demonstration's, with its mail servers up.
DEMO_PEERS = $(if $(MAILOPS_WORKSPACE),,$(if $(wildcard demo-workspace/demo.json),$(PY) -m mailops.demo with-peers))
ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help demo test lab app bench doctor check docs clean env

help: ## List the targets (this list)
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

env: $(STAMP) ## Make the environment in .venv (the other targets do it by themselves)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "mailops needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "What to do: install one and name it, such as: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python has no venv module." >&2; \
	  echo "What to do: on Debian and Ubuntu, install the package python3-venv, then run make again." >&2; exit 2; }
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  echo "Making the environment in .venv (about 1 GB; one to three minutes) ..."; \
	  { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); } || { \
	    echo "The folder .venv could not be made here." >&2; \
	    echo "What to do: give this user the folder, and some 1.5 GB of room; then run make again." >&2; exit 2; }; \
	elif [ "$(origin PYTHON)" != file ] && \
	  [ "$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])')" != "$$($(PY) -c 'import sys; print(sys.version_info[:2])')" ]; then \
	  echo "The environment in .venv is one of $$($(PY) --version), not of '$(PYTHON)'." >&2; \
	  echo "What to do: make clean, then make PYTHON=$(PYTHON) $(MAKECMDGOALS)" >&2; exit 2; \
	fi
	@bash .ci/install $(PY)
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@printf '%s\n' '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' \
	  > $(VENV)/share/jupyter/lab/settings/overrides.json
	@touch $(STAMP)

demo: $(STAMP) ## Send, receive, bounce and analyse a month of made mail; leaves reports/index.html
	@$(PY) -m mailops.demo $(ARGS)

test: $(STAMP) ## Run all tests (ARGS='-k queue' for some of them)
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lab: $(STAMP) ## Open the notebooks in JupyterLab
	@$(DEMO_PEERS) $(PY) -m jupyterlab --ip=127.0.0.1 --notebook-dir=notebooks $(ROOT) $(ARGS)

app: $(STAMP) ## Serve the notebooks as an app (voila), on this machine only, behind a token
	@$(DEMO_PEERS) $(PY) -m voila --token --Voila.ip=127.0.0.1 $(ARGS) notebooks

bench: $(STAMP) ## Measure the queue beside smtp-source and smtplib
	@$(PY) benchmarks/queue.py $(ARGS)

doctor: ## Explain what is missing or broken on this machine
	@if test -x $(PY); then $(PY) -m mailops.doctor; else $(PYTHON) -m mailops.doctor; fi

check: $(STAMP) ## Style and types: ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

docs: $(STAMP) ## Write the reference pages that follow from the code
	@$(PY) docs/generate.py

clean: ## Remove the environment, caches and what the demo left
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist reports demo-workspace
