# `make demo` shows the main job, `make test` runs the tests; both set up all they need in .venv. `make deb` makes dist/*.deb.

PYTHON ?= python3
VENV ?= .venv
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-all faults bench bench-short system-test system-test-vm lint types deb docs clean

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

# The package on real systemds, in containers, and on a real kernel's GPIO, in a virtual machine, by root; see
# tests/system/README.md. One after the other, since their systemds may have to share the control groups that this is
# started in.
SYSTEMS = bookworm trixie vm
system-test: $(VENV)/.test
	[ "$$(id -u)" != 0 ] || { sh tests/need.sh system && $(MAKE) deb; }
	$(MAKE) --jobs 1 --keep-going $(SYSTEMS:%=system-test-%)

system-test-vm: $(VENV)/.test
	[ "$$(id -u)" != 0 ] || sh tests/need.sh vm
	$(VENV)/bin/python -m pytest --capture no tests/system/vm_station.py $(SYSTEM)

system-test-%: $(VENV)/.test
	$(VENV)/bin/python -m pytest tests/system/system_*.py --release $* $(SYSTEM)

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

# The modules that decide and touch nothing: every branch of theirs is taken by a test.
PURE = rufusd/settings.py,rufusd/triggers.py,rufusd/station.py,rufusd/record.py,rufusd/indicator.py,rufusd/delivery.py,rufusd/report.py,rufusd/watch.py,rufusd/words.py,rufusd/diagnosis.py

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

# In a copy, since the tools leave what they make beside the source; and with Debian's Python, whatever else is there.
deb:
	sh tests/need.sh deb
	rm -rf build/deb
	mkdir -p build/deb/rufusd dist
	git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents --no-dereference --target-directory build/deb/rufusd
	cd build/deb/rufusd && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --build=binary --no-sign
	cp build/deb/rufusd_*_all.deb dist

# What rufusd costs beside what people use today; bench/README.md tells how to read it. NOISE=1e8 scans as much noise.
bench bench-short: $(VENV)/.test .venv-bench/.made
	PYTHONPATH=tests $(VENV)/bin/python -m bench $(if $(NOISE),--noise $(NOISE)) $(if $(filter %-short,$@),--short) $(BENCH)

# rufusd as a user installs it: a copy, with nothing beside it; tomli in plain Python, as Debian has it.
.venv-bench/.made: pyproject.toml $(wildcard rufusd/*.py)
	$(PYTHON) -m venv .venv-bench
	rm -rf build/lib
	.venv-bench/bin/pip install --quiet --force-reinstall --no-deps .
	.venv-bench/bin/pip install --quiet --no-binary tomli .
	sh tests/need.sh lgpio .venv-bench
	touch $@

docs: $(VENV)/.test
	$(VENV)/bin/python docs/led.py
	$(VENV)/bin/python docs/card.py
	$(VENV)/bin/python docs/draw.py
	$(VENV)/bin/python docs/manual.py
	$(VENV)/bin/python docs/catalogue.py

clean:
	rm -rf $(VENV) .venv-3.* .venv-bench .venv-distribution build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
