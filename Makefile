# `make demo` shows the main job, `make test` runs the tests; both set up all they need in .venv.

PYTHON ?= python3
VENV ?= .venv
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-all faults lint types docs clean

demo: $(VENV)/.demo
	$(VENV)/bin/rufusd demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest --numprocesses 4 --cov --cov-report=
	$(VENV)/bin/python -m coverage report --fail-under=100 --show-missing --include='$(PURE)'

# On each Python that rufusd supports and this machine has; VERSIONS='3.9 3.13' makes it fewer.
test-all:
	sh tests/pythons.sh sh -c '$(MAKE) test VENV=.venv-$$VERSION PYTHON=$$PYTHON'

faults: $(VENV)/.test
	sh tests/need.sh faults
	$(VENV)/bin/python -m pytest --numprocesses 3 tests/faults/fault_*.py $(FAULTS)

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

# The modules that decide and touch nothing: every branch of theirs is taken by a test.
PURE = rufusd/settings.py,rufusd/triggers.py,rufusd/station.py,rufusd/record.py,rufusd/indicator.py,rufusd/delivery.py,rufusd/report.py

$(VENV)/bin/python:
	sh tests/need.sh venv $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/bin/python
	sh tests/need.sh cc
	sh tests/need.sh man
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	sh tests/need.sh lgpio $(VENV)
	touch $@ $(VENV)/.demo

docs: $(VENV)/.demo
	$(VENV)/bin/python docs/led.py
	$(VENV)/bin/python docs/manual.py

clean:
	rm -rf $(VENV) .venv-3.* build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
