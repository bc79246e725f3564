# make demo    set up and run the main job          make test   set up and pass all tests
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUNS := .venv/.runs
READY := .venv/.ready
ARGS ?= --once

.PHONY: demo world test test-postgresql replicas check bench chaos soak schema docs lock clean

# What the program and its demo need; the tests need much more.
$(RUNS): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --constraint requirements.txt hatchling editables
	$(PIP) --constraint requirements.txt --no-build-isolation --editable ".[demo]"
	@touch $@

$(READY): $(RUNS)
	$(PIP) --requirement requirements.txt
	@touch $@

demo: $(RUNS)  ## the main job, once, with a closing table
	$(BIN)/rmabridge demo $(ARGS)

world: $(RUNS)  ## the same, and the world keeps running
	$(BIN)/rmabridge demo

test: $(READY)  ## all tests
	$(BIN)/python -m pytest $(TESTS)

test-postgresql: $(READY)  ## the same, on a real PostgreSQL that the tests start
	RMABRIDGE_TEST_STORE=postgresql $(BIN)/python -m pytest $(TESTS)

replicas: $(READY)  ## three processes on one database, killed, stopped and cut off under load
	RMABRIDGE_REPLICAS=1 $(BIN)/python -m pytest tests/crash/test_replicas.py

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	for one in plugins/*/rmabridge_*; do $(BIN)/mypy $$one || exit 1; done

bench: $(READY)  ## figures of this machine, as JSON
	$(BIN)/python bench/run.py $(BENCH)

chaos: $(READY)  ## faults of every kind, counted, into docs/reliability.md (CHAOS="--only kills --kills 60": a part)
	PYTHONPATH=tests:tests/crash $(BIN)/python -m chaos $(CHAOS)

soak: $(READY)  ## an hour of steady load
	PYTHONPATH=tests:tests/crash $(BIN)/python -m chaos --only soak --minutes 60

schema: $(READY)  ## docs/case.schema.json from the model
	$(BIN)/python -c "import json; from rmabridge.model import Case; print(json.dumps(Case.model_json_schema(), indent=2, sort_keys=True, ensure_ascii=False))" > docs/case.schema.json

docs: $(READY)  ## the tables in README and docs that come from the code
	$(BIN)/python docs/generate.py

lock:  ## pin again (needs uv)
	printf '%s\n' mypy ruff types-defusedxml types-jmespath hatchling editables > .venv/dev.in
	uv pip compile --universal --python-version 3.11 --no-annotate --no-header --extra testing pyproject.toml .venv/dev.in --output-file .venv/pins.txt
	{ sed -n '/^#/p' requirements.txt; cat .venv/pins.txt; } > .venv/pinned.txt && mv .venv/pinned.txt requirements.txt

clean:  ## everything that was made here
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
