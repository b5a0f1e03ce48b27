# Each target does all of its own set-up; `make demo` and `make test` are the two commands.
PYTHON ?= python3
VENV   ?= .venv
# On a Linux machine without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves gigabytes of CUDA.
TORCH_INDEX ?=
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
STATE  ?= state
# Threads beyond the real cores slow small models down.
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help demo test check clean

help:
	@echo "make demo    the whole loop, offline, on this machine: about ten minutes with installing"
	@echo "make test    the tests"
	@echo "make check   ruff, mypy and import-linter"
	@echo "make clean   remove the environment and what the demo wrote"

demo: $(VENV)/installed
	$(VENV)/bin/duel demo --state $(STATE)

test: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Duel needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first: a resolver that meets it later may take another build.
$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(STATE)
