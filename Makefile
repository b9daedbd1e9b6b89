# One command for each habit; each does the set-up that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Whole files go to each process, in their order: those that start servers are not the last.
PARALLEL := --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-fast check histories soak bench scorecard compatibility clean

demo: $(VENV)/.demo  ## the main job in front of your eyes
	@$(BIN)/python -m demo

test: $(VENV)/.dev  ## all tests
	$(BIN)/pytest -n 4 $(PARALLEL)

test-fast: $(VENV)/.dev  ## the inner loop, under a minute
	$(BIN)/pytest -n 2 $(PARALLEL) -m "not slow and not system and not parts"

check: $(VENV)/.dev  ## lint, types, arrows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

histories: $(VENV)/.dev  ## record the replay histories anew, after a change of the workflow
	$(BIN)/python tests/workflows/record_histories.py

soak: $(VENV)/.dev  ## what takes longer than a test run may
	SOAK=1 $(BIN)/pytest -m soak --timeout=3600

bench: $(VENV)/.dev  ## what gate and kernels cost, as ratios; also in bench-results.json
	@$(BIN)/python -m bench

scorecard: $(VENV)/.dev  ## adversarial programs in a plain kernel, and in ours
	@$(BIN)/python -m tests.security.scorecard

compatibility: $(VENV)/.dev  ## the pyepics project's own tests, directly and through the gate
	@$(BIN)/python -m tests.compatibility.pyepics_suite

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.demo: locks/demo.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the demo needs into $(VENV) (once) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: locks/dev.txt $(VENV)/.demo
	@echo "Installing what the tests need into $(VENV) (once) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@touch $@

# A lock holds names, versions and hashes for every Python that we support, and no address.
locks: pyproject.toml  ## renew the locks (needs uv)
	for group in demo dev; do \
		uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
			--group $$group pyproject.toml --output-file locks/$$group.txt || exit 1; \
	done
.PHONY: locks

clean:  ## remove what the commands made
	rm -rf $(VENV) demo-run .mypy_cache .ruff_cache .pytest_cache .hypothesis
