# `make help` tells what there is. All of it sets up what it needs in .venv, by itself.

PYTHON ?= python3
VENV ?= .venv
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Some of what is installed has no pyproject.toml, and pip is about to give up the old way of building these.
export PIP_USE_PEP517 = 1
NEED = sh tests/need.sh $(PYTHON) $(or $(MAKECMDGOALS),help)

.PHONY: help demo test test-all faults simulate mutants mutants-races bench bench-short system-test system-test-vm lint types deb docs clean

help: ## show this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target text; do printf '  %-16s %s\n' "$$target" "$$text"; done

demo: $(VENV)/.demo ## show the main job, from a press to a closed session, in a minute; in a terminal it is yours to press
	$(VENV)/bin/rufusd demo

# COVERAGE=no does not measure which branches the tests take: that costs more than the pure tests themselves.
COVERAGE ?= yes
COVERED = $(filter yes,$(COVERAGE))
test: $(VENV)/.test ## run the tests
	$(VENV)/bin/python -m pytest --numprocesses 4 $(if $(COVERED),--cov --cov-report=)
	$(if $(COVERED),$(VENV)/bin/python -m coverage report --fail-under=100 --show-missing --include='$(PURE)')

# On each Python that rufusd supports and this machine has; VERSIONS='3.9 3.13' makes it fewer.
test-all: ## run the tests on each Python from 3.9 to 3.13 that this machine has
	sh tests/pythons.sh sh -c '$(MAKE) test VENV=.venv-$$VERSION PYTHON=$$PYTHON'

faults: $(VENV)/.test ## fail everything around the station, at every point: about ten minutes
	$(NEED)
	$(VENV)/bin/python -m pytest --numprocesses 3 tests/faults/fault_*.py $(FAULTS)

# Whole races in a simulated world; tests/simulation/README.md tells how. RACE=36 plays one and tells it.
RACES ?= 2000
JOBS ?= 2
FIRST ?= 1
SIMULATION = PYTHONPATH=tests:tests/faults $(VENV)/bin/python -m simulation
simulate: $(VENV)/.test ## play 2,000 races in a simulated world; RACES=1000000 JOBS=2 takes a night
	$(SIMULATION) $(if $(RACE),--race $(RACE),--races $(RACES) --first $(FIRST) --jobs $(JOBS))

mutants: $(VENV)/.test ## break one small thing at a time in what decides about closes, and show that a test sees it
	$(VENV)/bin/python tests/mutants.py --jobs $(JOBS) $(if $(ONLY),--only '$(ONLY)')

mutants-races: $(VENV)/.test ## show that the races catch rufusd's known mutants; writes the table in tests/simulation/README.md
	$(SIMULATION).mutants --jobs $(JOBS) $(MUTANTS)

# The package on real systemds, in containers, and on a real kernel's GPIO, in a virtual machine, by root; see
# tests/system/README.md. One after the other, since their systemds may have to share the control groups that this is
# started in.
SYSTEMS = bookworm trixie vm
system-test: $(VENV)/.test ## install the package in containers and in a virtual machine, and run it there (by root)
	$(NEED)
	[ "$$(id -u)" != 0 ] || $(MAKE) deb
	$(MAKE) --jobs 1 --keep-going $(SYSTEMS:%=system-test-%)

system-test-vm: $(VENV)/.test
	$(NEED)
	$(VENV)/bin/python -m pytest --capture no tests/system/vm_station.py $(SYSTEM)

system-test-%: $(VENV)/.test
	$(VENV)/bin/python -m pytest tests/system/system_*.py --release $* $(SYSTEM)

lint: $(VENV)/.test ## check the code's style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test ## check the code's types
	$(VENV)/bin/mypy

# The modules that decide and touch nothing: every branch of theirs is taken by a test.
PURE = rufusd/core/*,rufusd/text/*

$(VENV)/bin/python:
	$(NEED)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/bin/python
	$(NEED)
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	sh tests/lgpio.sh $(VENV)
	touch $@ $(VENV)/.demo

# In a copy, since the tools leave what they make beside the source; and with Debian's Python, whatever else is there.
deb: ## make the Debian package, dist/*.deb
	$(NEED)
	rm -rf build/deb
	mkdir -p build/deb/rufusd dist
	git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents --no-dereference --target-directory build/deb/rufusd
	cd build/deb/rufusd && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --build=binary --no-sign
	cp build/deb/rufusd_*_all.deb dist

# What rufusd costs beside what people use today; bench/README.md tells how to read it. NOISE=1e8 scans as much noise.
bench: ## measure what rufusd costs beside what people use today
bench-short: ## the same, with fewer rounds
bench bench-short: $(VENV)/.test .venv-bench/.made
	PYTHONPATH=tests $(VENV)/bin/python -m bench $(if $(NOISE),--noise $(NOISE)) $(if $(filter %-short,$@),--short) $(BENCH)

# rufusd as a user installs it: a copy, with nothing beside it; tomli in plain Python, as Debian has it.
.venv-bench/.made: pyproject.toml $(wildcard rufusd/*.py rufusd/*/*.py)
	$(PYTHON) -m venv .venv-bench
	rm -rf build/lib build/tomli
	.venv-bench/bin/pip download --quiet --dest build/tomli --no-deps --only-binary :all: --platform any tomli
	.venv-bench/bin/pip install --quiet --force-reinstall --no-deps . build/tomli/*.whl
	.venv-bench/bin/pip install --quiet .
	sh tests/lgpio.sh .venv-bench
	touch $@

docs: $(VENV)/.test ## make the generated documents, tables and drawings anew
	$(VENV)/bin/python docs/led.py
	$(VENV)/bin/python docs/card.py
	$(VENV)/bin/python docs/draw.py
	$(VENV)/bin/python docs/architecture.py
	$(VENV)/bin/python docs/manual.py
	$(VENV)/bin/python docs/catalogue.py

clean: ## remove all that was made
	rm -rf $(VENV) .venv-3.* .venv-bench .venv-distribution build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
