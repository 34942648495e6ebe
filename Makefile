# make demo [VIDEO=path]   set up .venv, find the people of a video and say what each does
# make test [JOBS=2]       set up .venv, run the tests in so many processes; SLOW=1 adds those marked slow
# make lint                ruff and mypy
# Each takes PYTHON=python3.12 and the like; without it, the first Python of 3.11 or newer that runs.
ifndef PYTHON
PYTHON := $(shell for each in python3 python3.13 python3.12 python3.11; do \
	if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$each; exit; fi; done; echo python3)
endif
BIN := .venv/bin
OUT ?= results
VIDEO ?=
JOBS ?= 2
SLOW ?=

.PHONY: demo test lint clean always
.DELETE_ON_ERROR:

demo: .venv/.installed
	@if [ -z "$(VIDEO)" ]; then $(BIN)/python -m avadet render $(OUT)/demo.mp4 --overwrite; fi
	$(BIN)/python -m avadet infer "$(if $(VIDEO),$(VIDEO),$(OUT)/demo.mp4)" --out "$(OUT)/demo" --model $(if $(VIDEO),tiny,tiny_jhmdb) --detector tiny --overwrite

test: .venv/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile$(if $(SLOW), --slow)

lint: .venv/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.venv/.installed: pyproject.toml .venv/.made
	$(PIP_INSTALL) -e .
	@touch $@

.venv/.installed-test: pyproject.toml .venv/.made
	$(PIP_INSTALL) -e ".[test]"
	@touch $@

.venv/.installed-dev: pyproject.toml .venv/.made
	$(PIP_INSTALL) -e ".[dev]"
	@touch $@

# Make .venv anew unless a working one stands there: made in this place, and of the Python that is asked for.
.venv/.made: always
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "avadet needs Python 3.11 or newer, got %d.%d; run make PYTHON=python3.12" % v[:2])'
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	if ! $(BIN)/python -m pip --version 2>/dev/null | grep -qF "(python $$version)" \
		|| ! grep -qF " $(CURDIR)/.venv" .venv/pyvenv.cfg; then \
		rm -rf .venv && $(PYTHON) -m venv .venv; \
	fi
	@[ -e $@ ] || touch $@

clean:
	rm -rf .venv build dist results .pytest_cache .mypy_cache .ruff_cache
