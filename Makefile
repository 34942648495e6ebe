# make demo [VIDEO=path]   set up .venv, find the people of a video and say what each does
# make test                set up .venv, run the tests
# make lint                ruff and mypy
PYTHON ?= python3
BIN := .venv/bin
OUT ?= results
VIDEO ?=

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: .venv/.installed
	@if [ -z "$(VIDEO)" ]; then $(BIN)/python -m avadet render $(OUT)/demo.mp4 --overwrite; fi
	$(BIN)/python -m avadet infer "$(if $(VIDEO),$(VIDEO),$(OUT)/demo.mp4)" --out "$(OUT)/demo" --model tiny --detector tiny --overwrite

test: .venv/.installed-test
	$(BIN)/python -m pytest

lint: .venv/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

.venv/.installed: pyproject.toml
	@$(call fresh_venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/.installed-test: pyproject.toml
	@$(call fresh_venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	@touch $@

.venv/.installed-dev: pyproject.toml
	@$(call fresh_venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

# Make .venv unless a working one of this checkout stands there.
define fresh_venv
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "avadet needs Python 3.11 or newer, got %d.%d; run make PYTHON=python3.12" % v[:2])' && \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then rm -rf .venv && $(PYTHON) -m venv .venv; fi
endef

clean:
	rm -rf .venv build dist results .pytest_cache .mypy_cache .ruff_cache
