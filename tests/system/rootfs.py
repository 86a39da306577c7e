"""Root file systems of the Debian releases that rufusd runs on, made once and kept in a cache folder.

Each holds a small Debian with systemd, and ready to be installed, but not installed, all that rufusd's package depends
on: so `apt install` works as on a station, but asks no network. What Debian lacks of a Raspberry Pi is put where pip
puts things, out of the packages' way:

- lgpio, which only Raspberry Pi's archive has, from PyPI's source;
- gpiozero 2, which Raspberry Pi's archive has, and neither of Debian's: 1.6.2 does not work with lgpio 0.2.2;
- in /opt/test: gpiofake.so, a GPIO chip made of files (tests/gpiofake.c), and what else a test runs inside.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
GPIOFAKE = HERE.parent / "gpiofake.c"
CACHE = Path(os.environ.get("RUFUSD_ROOTS") or "/var/cache/rufusd-test")
RELEASES = {"bookworm": "python3.11", "trixie": "python3.13"}
FROM_PYPI = "lgpio==0.2.2.0 gpiozero==2.0.1"
TOOLS = "gcc libc6-dev make swig python3-dev python3-pip python3-setuptools python3-wheel"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


@contextlib.contextmanager
def rootfs(release: str, package: Path) -> Iterator[Path]:
    """The root file system of a release for this package: from the cache, or made now, which takes a minute or two.

    It is kept for as long as this lasts; what nobody uses any more is removed when another one is made.
    """
    relations = subprocess.run(["dpkg-deb", "--field", package, "Depends", "Recommends"], stdout=-1, check=True).stdout
    recipe = b"\0".join([Path(__file__).read_bytes(), GPIOFAKE.read_bytes(), relations])
    folder = CACHE / f"{release}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{release}.lock", "w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        if not folder.exists():
            for older in CACHE.glob(f"{release}-*"):
                _remove_unused(older)
            fresh = CACHE / f"{release}-fresh"  # which the next one removes, should this one fail
            _make(release, fresh, package)
            fresh.rename(folder)
        used = os.open(folder, os.O_DIRECTORY)
        fcntl.flock(used, fcntl.LOCK_SH)
    try:
        yield folder
    finally:
        os.close(used)


def _remove_unused(folder: Path) -> None:
    used = os.open(folder, os.O_DIRECTORY)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _run("rm", "-rf", "--one-file-system", folder)
    os.close(used)


def _make(release: str, root: Path, package: Path) -> None:
    # Its mounts are in a namespace of its own, so that none outlives it, whatever ends it.
    _run("unshare", "--mount", "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--skip=cleanup/apt",
         "--include=systemd,systemd-sysv,dbus", release, root)  # fmt: skip
    (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")  # otherwise each start would be the first
    (root / "etc/hostname").write_text("station\n")
    shutil.copy(package, root / "tmp/rufusd.deb")
    _run("chroot", root, "apt-get", "install", "-qq", "--download-only", "/tmp/rufusd.deb")
    (root / "tmp/rufusd.deb").unlink()
    made = root.with_name(f"{release}-made")
    made.mkdir()
    shutil.copy(GPIOFAKE, made)
    # The tools are installed into memory, and gone afterwards: a package that missed a dependency must not find it.
    _run("systemd-nspawn", "--quiet", "--directory", root, "--volatile=overlay", "--register=no", "--keep-unit",
         "--pipe", "--resolv-conf=replace-host", f"--bind={made}:/made", *_pip(), "sh", "-euc",
         f"""apt-get install -qq --no-install-recommends {TOOLS}
             gcc -shared -fPIC -O1 -o /made/gpiofake.so /made/gpiofake.c
             pip install --quiet --no-build-isolation --no-deps --target /made/dist {FROM_PYPI}""",
         )  # fmt: skip
    shutil.copytree(made / "dist", root / "usr/local/lib" / RELEASES[release] / "dist-packages")
    (root / "opt/test").mkdir()
    shutil.copy(made / "gpiofake.so", root / "opt/test")
    shutil.rmtree(made)


def _pip() -> list[str]:
    """The host's settings for pip, and lgpio's for bringing its C part with it."""
    given = [
        f"--setenv={name}={value}" for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "https_proxy")
    ]
    if certificates := os.environ.get("PIP_CERT"):
        given += [f"--bind-ro={certificates}:/run/certificates.pem", "--setenv=PIP_CERT=/run/certificates.pem"]
    return [*given, *(f"--setenv={name}={value}" for name, value in PATH.items()), "--setenv=PYPI=1"]


def _run(*command: str | Path) -> None:
    """Run a command to its end; what it says is shown where it fails."""
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=-1, stderr=-2, env={**os.environ, **PATH}, text=True
    )
    if ended.returncode:
        raise RuntimeError(f"{command[0]} failed with {ended.returncode}:\n{ended.stdout[-4000:]}")
