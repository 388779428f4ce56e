PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SHARED := ../shared
export EXPRBENCH_WEIGHTS ?= $(if $(wildcard $(SHARED)/weights),$(abspath $(SHARED)/weights))

.PHONY: leaderboard demo test test-all lint bench fuzz tables venv clean

demo: venv  ## draw a small benchmark, score six toy methods on it, print a table
	$(BIN)/exprbench demo --out runs/demo

test: venv  ## the tests, without the slow ones
	$(BIN)/pytest -n auto --dist loadscope -m "not slow"

test-all: venv  ## every test that this machine can run
	$(BIN)/pytest -n auto --dist loadscope

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

tables: venv  ## rebuild results/LEADERBOARD.md and its other forms from the stored results
	$(BIN)/python -m exprbench.leaderboard.results results

bench: venv  ## speed and memory compared with other libraries, on this machine
	$(BIN)/python -m benchmarks

leaderboard: venv  ## doubles of all baseline methods: installed by uv, run, scored and put into one table
	$(BIN)/python -m tests.baselines.leaderboard --out runs/leaderboard

fuzz: venv  ## two thousand damaged videos, images, tracks, records, tables and archives: each is read or named
	$(BIN)/python -m tests.fuzz --variants 2000 --seed 0

venv: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
