#!/bin/sh
# lgpio.sh VENV: installs lgpio into a virtual environment. It has wheels up to Python 3.12; for later ones it is built,
# with its C part inside, by SWIG (4.4 dropped what it uses).
set -eu
"$1/bin/pip" install --quiet --only-binary :all: 'lgpio==0.2.2.0' 2>/dev/null && exit 0
"$1/bin/pip" install --quiet 'swig<4.4' setuptools wheel
bin=$(cd "$1/bin" && pwd)
PYPI=1 PATH="$bin:$PATH" "$1/bin/pip" install --quiet --no-build-isolation 'lgpio==0.2.2.0'
