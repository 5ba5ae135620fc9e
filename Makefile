# make venv once, then make demo, test, lint, wheel. Everything runs in .venv.

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_PROCESSES ?= 2
WITH ?= $(BIN)/python
TORCH ?= $(shell $(BIN)/python -c 'import torch; print(torch.__version__)' 2>/dev/null)
# Each process has half of the tests, and takes some of the other's when it is done. Tests start
# many a Python, which would compile the whole package each time if it might not keep bytecode.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q \
	-n $(TEST_PROCESSES) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow test-batch test-faults test-slurm test-kill fuzz test-plans test-lowest test-newest test-arm lint format docs kernels wheel clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP)  ## .venv with the locked packages and unetmm itself, editable

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: venv  ## denoise a real image within 512 MB; results in demo/out
	PATH="$(CURDIR)/$(BIN):$$PATH" bash demo/run.sh

test: venv  ## the tests without the slow ones
	$(PYTEST) -m "not slow"

test-slow: venv  ## all tests
	$(PYTEST)

test-kill: venv  ## 50 runs killed and resumed, 50 races for an output, byte by byte (minutes)
	$(BIN)/python benchmarks/kill.py --kills 50 --races 50

fuzz: venv  ## damaged files, MINUTES (10) for each reader; findings are kept in fuzz-findings
	$(BIN)/python benchmarks/fuzz.py --minutes $(or $(MINUTES),10)

test-plans: venv  ## random runs at the smallest budget: plan and budget are kept (minutes)
	$(BIN)/python benchmarks/plans.py --runs 200

test-lowest: venv  ## the tests with the oldest packages that are allowed; WITH=python3.12 for another Python
	$(call test_resolved,lowest,--resolution lowest-direct)

test-newest: venv  ## the tests with the newest packages there are; WITH=python3.13 for another Python
	$(call test_resolved,newest,--upgrade)

# An environment of its own, with torch as in .venv, whose builds are gigabytes each, or with TORCH.
define test_resolved
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --python $(WITH) .venv-$(1)
	echo "torch==$(TORCH)" > .venv-$(1)/torch.txt
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(BIN)/uv pip install --quiet --python .venv-$(1)/bin/python \
		$(2) --override .venv-$(1)/torch.txt -e ".[dev,bio,cluster]"
	env -u PYTHONDONTWRITEBYTECODE .venv-$(1)/bin/python -m pytest -q -m "not slow" \
		-n $(TEST_PROCESSES) --dist worksteal -p no:cacheprovider
endef

test-arm: venv  ## what the kernels compute on ARM, emulated by qemu-user, against this processor
	$(BIN)/python -m pip install --quiet uv
	PYTHON="$(BIN)/python" UV="$(BIN)/uv" bash tests/arm/run.sh

test-batch: venv  ## 200 files of all kinds, 10 of them broken, against each file alone (minutes)
	$(BIN)/python benchmarks/batch200.py

test-faults: venv  ## disk full, read-only output, truncated input; needs root
	$(BIN)/python benchmarks/faults.py

test-slurm: venv  ## job array and Dask workers on a real Slurm of one node; needs root
	bash tests/slurm/start.sh
	PYTHON="$(CURDIR)/$(BIN)/python" bash tests/slurm/run.sh; code=$$?; \
		bash tests/slurm/stop.sh; exit $$code

lint: venv  ## ruff, mypy, who may import whom, and the length of modules and functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tests/house/source_rules.py

format: venv  ## let ruff format and sort imports
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: venv  ## the pages of docs/ as a site, in site/
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q -d site

kernels: venv  ## translate the kernels that are shipped, after they changed; needs AVX-512
	$(BIN)/python packaging/kernels.py

wheel: venv  ## dist/*.whl and dist/*.tar.gz
	$(BIN)/python -m build --no-isolation

clean:  ## what make made, .venv apart
	rm -rf dist build site demo/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
