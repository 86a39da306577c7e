#!/bin/sh
# need.sh PYTHON TARGET...: makes sure that this machine has what these targets of the Makefile need beyond make and git.
# It finds all that is missing at once. Root installs it, and says before what; others get the command for it, and a failure.
set -eu
cd "$(dirname "$0")/.."

python=$1
shift
packages=''

# lacks COMMAND PACKAGE: this command comes with this package.
lacks() {
    command -v "$1" >/dev/null || packages="$packages $2"
}

is_root() {
    [ "$(id -u)" = 0 ]
}

# Debian keeps the part of Python that makes virtual environments in a package of its own.
need_python() {
    if ! command -v "$python" >/dev/null; then
        packages="$packages python3 python3-venv"
    elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        echo "$python is $("$python" --version 2>&1), and rufusd needs Python 3.9 or later: name another one, for example by: make PYTHON=python3.13 $*" >&2
        exit 1
    else
        "$python" -c 'import ensurepip' 2>/dev/null || packages="$packages python3-venv"
    fi
}

# lgpio has wheels for Python 3.9 to 3.12 on these machines; for others it is compiled, against Python's headers.
need_headers() {
    "$python" - 2>/dev/null <<'EOF' || packages="$packages python3-dev"
import os, platform, sys, sysconfig
wheel = sys.version_info < (3, 13) and platform.machine() in ("x86_64", "aarch64", "armv7l")
sys.exit(not wheel and not os.path.exists(sysconfig.get_path("include") + "/Python.h"))
EOF
}

# The tests compile a stand-in for the kernel's GPIO lines, and show man pages by two programs, which tell what is wrong.
need_tests() {
    need_python "$@"
    need_headers
    echo '#include <linux/gpio.h>' | cc -fsyntax-only -x c - 2>/dev/null || packages="$packages gcc libc6-dev"
    lacks groff groff-base
    lacks mandoc mandoc
}

# What only root can do with the rest, networks and file systems of its own, is left out for others, and said so.
need_faults() {
    lacks strace strace
    is_root || return 0
    lacks nft nftables
    lacks ip iproute2
    lacks fusermount3 fuse3
}

# What builds the package, by debian/control.
need_deb() {
    dpkg-checkbuilddeps 2>/dev/null || packages="$packages dpkg-dev build-essential $(sed -n '/^Build-Depends:/,/^[^ ]*:/s/^ \([a-z0-9-]*\).*/\1/p' debian/control)"
}

# What makes root file systems, and boots them.
need_containers() {
    lacks mmdebstrap "mmdebstrap debian-archive-keyring"
    lacks systemd-nspawn systemd-container
}

# What boots a virtual machine from a disk that forgets what was not flushed.
need_machine() {
    lacks qemu-system-x86_64 qemu-system-x86
    lacks nbdkit nbdkit
    lacks mke2fs e2fsprogs
}

for target; do
    case $target in
    clean | help) ;;
    deb) need_deb ;;
    demo | *.demo) need_python "$@" ;;
    faults) need_tests "$@" && need_faults ;;
    system-test*)
        need_tests "$@"
        ! is_root || { need_deb && need_containers && need_machine; }
        ;;
    *) need_tests "$@" ;;
    esac
done

packages=$(echo "$packages" | tr -s ' \n' '\n' | sort -u | xargs) # each once
[ -n "$packages" ] || exit 0
if is_root && command -v apt-get >/dev/null; then
    echo "\`make $*\` needs packages that this machine does not have. Installing them with apt-get: $packages" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends $packages >/dev/null
else
    echo "\`make $*\` needs packages that this machine does not have: install them, for example with \`sudo apt-get install $packages\`, and run make again." >&2
    exit 1
fi
