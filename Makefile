# Every target sets up what it needs: a machine with Python 3.11 or newer and make is enough.
.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types benchmark clean

TREE := {{cookiecutter.project_slug}}
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
INSTALLED := .cache/installed
RUN := $(UV) run --no-sync

# uv takes the python3 of PATH, and finds or fetches another one only where that is too old.
FOUND_PYTHON := $(shell python3 -c 'import sys; print(sys._base_executable if sys.version_info >= (3, 11) else "")' 2>/dev/null)
export UV_PYTHON ?= $(or $(FOUND_PYTHON),3.11)
# Compiled files stay out of the tree, which Cookiecutter copies as it finds it.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## Emit a FastAPI service into build/, start it, place orders, show what it answers, stop it.
	$(RUN) python scripts/demo.py

test: $(INSTALLED) ## Run the tests of the generator, of the union project and of an emitted one.
	$(RUN) pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(TESTS)

check: lint types test ## Run everything that CI runs.

lint: $(INSTALLED) ## Look for mistakes and for unformatted code.
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(INSTALLED) ## Check the types.
	$(RUN) mypy

format: $(INSTALLED) ## Format the code of the template and of the union project.
	$(RUN) ruff check --fix-only .
	$(RUN) ruff format . '$(TREE)'

benchmark: ## Measure what the wiring costs, beside bare FastAPI and other stacks; takes a while.
	python3 benchmarks/run.py

clean: ## Delete what the other targets made.
	rm -rf .venv .uv .cache build

$(INSTALLED): pyproject.toml $(TREE)/pyproject.toml | $(filter .uv/bin/uv,$(UV))
	@mkdir -p .cache
	$(UV) sync --quiet --inexact
	$(RUN) python scripts/union_requirements.py > .cache/union.txt
	$(UV) pip install --quiet --python .venv --requirement .cache/union.txt
	@touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet 'uv>=0.13,<0.14'
