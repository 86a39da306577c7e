"""What a virtual machine boots from: Debian's kernel with gpio-sim, a first root in memory, a disk with rufusd on it.

All is made once and kept in the cache folder: the kernel until its recipe changes, the disk until the package does.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rootfs import CACHE, _pip, _run, rootfs

HERE = Path(__file__).parent
#: gpiozero wants to know which Pi this is, and opens no line where /proc/cpuinfo has no revision. This one is a Pi 4's.
CPUINFO = "Revision : c03111\n"
#: What of the spool was on the disk is noted before the daemon touches it.
STATION = """\
[Service]
BindReadOnlyPaths=/opt/test/cpuinfo:/proc/cpuinfo
ExecStartPre=+/bin/sh -c 'cd /var/lib/rufusd && find . -type f >/run/found'
"""
AGENT = """\
[Unit]
Description=does what the host says
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/python3 /opt/test/vm_agent.py
"""
SIZE = 1 << 30  # bytes of the disk, most of them a hole in its file
UNNEEDED = ("getty.target", "e2scrub_reap.service")  # the console is for the log, and each start takes seconds


@dataclass(frozen=True)
class Image:
    """What QEMU is given. The disk is to be copied first."""

    kernel: Path
    initrd: Path
    disk: Path


def image(package: Path) -> Image:
    """The image for this package: from the cache, or made now, which takes minutes the first time."""
    recipe = [Path(__file__), HERE / "vm_init.sh", HERE / "vm_agent.py"]
    with rootfs("bookworm", package) as root:
        boot = _cached("vm-boot", [*recipe, HERE / "vm_kernel.sh"], lambda folder: _make_boot(folder, root))
        disk = _cached("vm-disk", [*recipe, package], lambda folder: _make_disk(folder, root, package))
    return Image(boot / "vmlinuz", boot / "initrd.gz", disk / "disk.img")


def _cached(name: str, made_of: list[Path], make: Callable[[Path], None]) -> Path:
    recipe = b"\0".join(file.read_bytes() for file in made_of)
    folder = CACHE / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for older in CACHE.glob(f"{name}-*"):
                shutil.rmtree(older)
            fresh = CACHE / f"{name}-fresh"  # which the next one removes, should this one fail
            fresh.mkdir()
            make(fresh)
            fresh.rename(folder)
    return folder


def _make_boot(folder: Path, root: Path) -> None:
    """The kernel is unpacked, and the module built, in memory."""
    shutil.copy(HERE / "vm_kernel.sh", folder)
    _nspawn(root, "--volatile=overlay", "--resolv-conf=replace-host", f"--bind={folder}:/made",
            "sh", "/made/vm_kernel.sh", "/made")  # fmt: skip
    first = {"bin/busybox": folder / "busybox", "init": HERE / "vm_init.sh"}
    first.update({f"modules/{file.name}": file for file in (folder / "modules").iterdir()})
    folders = ("bin", "dev", "modules", "proc", "root", "sys")
    entries = [
        *((name, 0o040755, b"") for name in folders),
        *((name, 0o100755, file.read_bytes()) for name, file in first.items()),
    ]
    (folder / "initrd.gz").write_bytes(gzip.compress(cpio(entries), 1))


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """An archive as the kernel unpacks it (its Documentation/driver-api/early-userspace/buffer-format.rst), sorted."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*sorted(entries), ("TRAILER!!!", 0, b"")]):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def _nspawn(root: Path, *rest: str) -> None:
    """Run a command in a root file system; `rest` begins with more options."""
    _run("systemd-nspawn", "--quiet", "--directory", root, "--register=no", "--keep-unit", "--pipe", *_pip(), *rest)


def _make_disk(folder: Path, root: Path, package: Path) -> None:
    """rufusd as apt installs it, without a network."""
    own = folder / "root"
    _run("cp", "--archive", "--one-file-system", root, own)
    install = "apt-get install --yes /root/rufusd.deb; rm -r /var/lib/apt/lists /var/cache/apt"
    _nspawn(own, "--private-network", f"--bind-ro={package}:/root/rufusd.deb", "sh", "-euc", install)
    for name, text in {
        "opt/test/cpuinfo": CPUINFO,
        "opt/test/vm_agent.py": (HERE / "vm_agent.py").read_text(),
        "etc/systemd/system/vm-agent.service": AGENT,
        "etc/systemd/system/rufusd.service.d/vm.conf": STATION,
        "etc/fstab": "/dev/vda / ext4 rw 0 0\n",
    }.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    wanted = own / "etc/systemd/system/sysinit.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "vm-agent.service").symlink_to("../vm-agent.service")
    for unit in UNNEEDED:
        (own / "etc/systemd/system" / unit).symlink_to("/dev/null")
    disk = folder / "disk.img"
    with open(disk, "wb") as file:
        file.truncate(SIZE)
    _run("mke2fs", "-q", "-t", "ext4", "-d", own, disk)
    shutil.rmtree(own)
