# Needs only Python (3.10 or newer), make and pip. Everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test lint types unit install install-dev clean

quickstart: $(VENV)/.fit  ## fit a router on the bundled sample, report, route a few prompts; offline
	PATH="$(CURDIR)/$(BIN):$$PATH" sh recipes/quickstart/run.sh

test: lint types unit  ## lint, types and the whole test suite

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

install: $(VENV)/.fit

install-dev: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.fit: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing zooter-lite[fit] into $(VENV) (once; a few minutes)"
	$(PIP_INSTALL) -e '.[fit]'
	@touch $@

$(VENV)/.dev: $(VENV)/.fit
	@echo "installing the development tools into $(VENV)"
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV)
