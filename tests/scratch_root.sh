#!/bin/sh
# scratch_root.sh FOLDER SCRIPT: runs a script as root in a copy of this whole machine, in /srv/rufusd, and then forgets
# all that it changed: what is written goes to a layer in memory. FOLDER is an empty one; what is in FOLDER.files comes on
# top. The script's processes end with it.
set -eu

if [ "${3:-}" != inside ]; then
    exec unshare --mount --pid --fork --kill-child "$0" "$1" "$2" inside
fi
mount -t tmpfs scratch "$1"
mkdir "$1/written" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/written,workdir=$1/work" overlay "$1/root"
# Not a rufusd that this machine has itself, nor what one has left behind.
rm -rf "$1/root/etc/rufusd" "$1/root/opt/rufusd" "$1/root/var/lib/rufusd"
cp -a "$1.files/." "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
exec chroot "$1/root" /bin/sh -c 'cd /srv/rufusd && exec /bin/sh -eux' <"$2"
