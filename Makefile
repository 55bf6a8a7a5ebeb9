# `make` lists the targets. Everything runs in .venv, which is made when first needed and again when
# pyproject.toml or constraints.txt change.

PYTHON ?= python3
PORT ?= 3000
PYTEST_ARGS ?=
FLIGHTS ?= build/flights

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# Byte code makes every Dagster run 2.5 times cheaper, so nobody's shell may turn it off here.
unexport PYTHONDONTWRITEBYTECODE
# Pyright tells of newer versions by asking the network; the pinned one is the one wanted.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dev run test test-long exhaustive fuzz soak chaos mutants check format flights bench wheel clean clean-data

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

dev: $(READY) ## start Dagster with its UI on port 3000 (or PORT=), sensors and schedules on
	@$(BIN)/python -c 'import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", $(PORT)))' 2>/dev/null \
	  || { echo "Port $(PORT) is taken, perhaps by another 'make dev'. Stop that, or choose another: make dev PORT=$$(($(PORT) + 1))"; exit 1; }
	@mkdir -p .dagster_home && cp dagster.yaml .dagster_home/
	@$(BIN)/python -m compileall -q stream_assets
	@printf '%s\n' '' \
	  '  Dagster   http://127.0.0.1:$(PORT)   (ready in about 15 seconds; Ctrl-C stops it, and its runs: the next `make dev` goes on)' \
	  "  lake      $${STREAM_ASSETS_LAKE:-$(CURDIR)/lake}" \
	  '' \
	  '  Try next  watch revenue_dashboard fill: http://127.0.0.1:$(PORT)/assets' \
	  '            why it runs when it runs:     $(BIN)/stream-assets explain revenue_dashboard' \
	  '            what is fresh, what is due:   $(BIN)/stream-assets status' \
	  '            write your own: add a file to stream_assets/consumers/' \
	  '' \
	  '  Below stands what is asked for and what became of it; why nothing was asked for stands in the UI (Automation).' \
	  '  Dagster warns that it does not read ./dagster.yaml: it reads the copy in .dagster_home.' \
	  ''
	@export DAGSTER_HOME="$(CURDIR)/.dagster_home" PYTHONWARNINGS='ignore:Function `dev_command` is superseded'; \
	  exec $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT) --log-level warning

run: $(READY) ## fill everything that is due, without Dagster, and stop
	@$(BIN)/stream-assets run

test: $(READY) ## run the tests (PYTEST_ARGS="-k window -x" for some of them)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not exhaustive" $(PYTEST_ARGS)

test-long: $(READY) ## run the long tests: a year of flights, a real `dagster dev`, long automations
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not soak" $(PYTEST_ARGS)

exhaustive: $(READY) ## kill and stop at every step, and draw many histories, where `make test` takes some
	@$(BIN)/python -m pytest -n 2 -m exhaustive $(PYTEST_ARGS)

fuzz: $(READY) ## throw FUZZ (100,000) drawn inputs at everything that reads what strangers write
	@STREAM_ASSETS_FUZZ=$${FUZZ:-100000} $(BIN)/python -m pytest -n 2 --dist load stream_assets_tests/fuzz $(PYTEST_ARGS)

soak: $(READY) ## watch the real daemon for SOAK_MINUTES (20): promises, late events, a power cut
	@SOAK_MINUTES=$${SOAK_MINUTES:-20} $(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

chaos: $(READY) ## kill, stop, fill up and mislead 20 writers for CHAOS_MINUTES (10) while readers poll; CHAOS_SEED= repeats
	@$(BIN)/python -m stream_assets_tests.chaos --minutes $${CHAOS_MINUTES:-10} $${CHAOS_SEED:+--seed $$CHAOS_SEED}

mutants: $(READY) ## break the code on purpose, one promise at a time: each variant must be caught
	@$(BIN)/python -m stream_assets_tests.mutants

check: $(READY) ## lint, format, types and import layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

format: $(READY) ## let ruff mend and lay out the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

flights: $(READY) ## prepare New York's flights of 2013 as a landing folder (FLIGHTS=build/flights)
	@$(BIN)/python -m stream_assets_tests.flights "$(FLIGHTS)"

bench: $(READY) ## measure; figures as JSON under build/
	@$(BIN)/python -m stream_assets_tests.benchmarks

wheel: $(READY) ## build the wheel into build/
	@$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build .
	@ls build/*.whl

clean: ## remove the environment, build/ and caches; keeps the lake and Dagster's instance
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .tmp_dagster_home_*
	find stream_assets stream_assets_tests -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: ## remove ./lake and Dagster's instance (a lake elsewhere stays)
	rm -rf lake .dagster_home

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$($(PYTHON) -V) is too old: stream_assets needs 3.11 or newer. Name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu install python3-venv: apt-get install python3-venv"; exit 1; }
	@if [ -e $@ ]; then echo "Bringing $(VENV) up to date ..."; else echo "Making $(VENV) (once; some 400 MB are downloaded) ..."; fi
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --compile -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -q stream_assets
	@touch $@
