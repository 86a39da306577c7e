#!/bin/sh
# need.sh venv PYTHON | cc | man | faults | lgpio VENV | deb | system | vm: makes sure that the machine has what the set-up
# needs beyond Python, git and make.
# Where root can install it, it does; else it says what to install, and fails.
set -eu

install_packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $*" >&2
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends "$@" >/dev/null
    else
        echo "please install $*, for example by: sudo apt-get install $*" >&2
        exit 1
    fi
}

case $1 in
venv) # Debian keeps the part of Python that makes virtual environments in a package of its own.
    "$2" -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    ;;
cc) # The tests compile a stand-in for the kernel's GPIO lines.
    printf '#include <linux/gpio.h>\nint main(void) { return 0; }\n' >"${TMPDIR:-/tmp}/need-$$.c"
    cc -fsyntax-only "${TMPDIR:-/tmp}/need-$$.c" 2>/dev/null || missing=yes
    rm -f "${TMPDIR:-/tmp}/need-$$.c"
    [ -z "${missing:-}" ] || install_packages gcc libc6-dev
    ;;
faults) # What only root can do with the rest, networks and file systems of its own, is left out for others, and said so.
    command -v strace >/dev/null || install_packages strace
    [ "$(id -u)" != 0 ] || { command -v nft && command -v ip && command -v fusermount3; } >/dev/null ||
        install_packages nftables iproute2 fuse3
    ;;
man) # Two programs that show man pages, and tell what is wrong with one.
    command -v groff >/dev/null && command -v mandoc >/dev/null || install_packages groff-base mandoc
    ;;
deb) # What builds the package, by debian/control.
    dpkg-checkbuilddeps 2>/dev/null || install_packages dpkg-dev build-essential $(sed -n '/^Build-Depends:/,/^[^ ]*:/s/^ \([a-z0-9-]*\).*/\1/p' debian/control)
    ;;
system) # What makes root file systems, and boots them.
    command -v mmdebstrap >/dev/null && command -v systemd-nspawn >/dev/null ||
        install_packages mmdebstrap systemd-container debian-archive-keyring
    ;;
vm) # What boots a virtual machine from a disk that forgets what was not flushed.
    { command -v qemu-system-x86_64 && command -v nbdkit && command -v mke2fs; } >/dev/null ||
        install_packages qemu-system-x86 nbdkit e2fsprogs
    ;;
lgpio) # Has wheels up to Python 3.12; for later ones it is built, with its C part inside, by SWIG (4.4 dropped what it uses).
    "$2/bin/pip" install --quiet --only-binary :all: 'lgpio==0.2.2.0' 2>/dev/null && exit 0
    "$2/bin/python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
        install_packages python3-dev
    "$2/bin/pip" install --quiet 'swig<4.4' setuptools wheel
    bin=$(cd "$2/bin" && pwd)
    PYPI=1 PATH="$bin:$PATH" "$2/bin/pip" install --quiet --no-build-isolation 'lgpio==0.2.2.0'
    ;;
esac
