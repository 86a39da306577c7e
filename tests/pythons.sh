#!/bin/sh
# pythons.sh COMMAND...: runs a command for each Python that rufusd supports and this machine has, with its version as
# $VERSION and its program as $PYTHON. Says at the end which passed, which failed and which are not here.
set -u

# Whether a program is a Python of this version: one of pyenv's shims may be there, and yet lead nowhere.
is() {
    [ "$("$2" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]
}

find_python() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python python3; do
        is "$1" "$candidate" && command -v "$candidate" && return
    done
}

passed='' failed='' missing=''
for VERSION in ${VERSIONS:-3.9 3.10 3.11 3.12 3.13}; do
    PYTHON=$(find_python "$VERSION")
    if [ -z "$PYTHON" ]; then
        missing="$missing $VERSION"
        continue
    fi
    export VERSION PYTHON
    echo "== Python $VERSION: $PYTHON" >&2
    if "$@"; then passed="$passed $VERSION"; else failed="$failed $VERSION"; fi
done
echo "Python: passed:${passed:- none}; failed:${failed:- none}; not on this machine:${missing:- none}"
[ -n "$passed" ] && [ -z "$failed" ]
