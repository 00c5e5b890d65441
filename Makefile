.PHONY: demo test slow cover lint format bench coverage gallery docs build clean
# Every target makes its own environment in .venv first; PYTHON chooses the interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The constraint holds for the isolated build of the package, too.
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

demo: $(READY)
	$(BIN)/python examples/wages.py

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadgroup

slow: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadgroup --slow -m slow

cover: $(READY)
	$(BIN)/python -m pytest --cov --cov-report=term

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH_READY)
	$(BIN)/python -m pytest benchmarks -o python_files='bench_*.py' -o addopts= -W default --benchmark-only \
		--benchmark-json=.benchmarks/latest.json --benchmark-columns=min,median,rounds -q
	$(BIN)/python benchmarks/report.py .benchmarks/latest.json
	$(BIN)/python benchmarks/memory.py

coverage: $(BENCH_READY)
	$(BIN)/python benchmarks/coverage_study.py

gallery: docs
	$(BIN)/python docs/gallery/draw.py

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -b doctest docs docs/_build/doctest
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

build: $(READY)
	$(PIP) hatchling
	rm -rf dist
	$(BIN)/python -m hatchling build

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable ".[test,lint,docs,demo,ecosystem]"
	touch $@

$(BENCH_READY): $(READY)
	$(PIP) --editable ".[bench]"
	touch $@

clean:
	rm -rf $(VENV) dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
