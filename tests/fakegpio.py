"""The test's side of gpiofake.c: builds the library, and drives the files of which its GPIO chip is made."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("gpiofake.c")
EDGE = struct.Struct("=QIIII24x")  # struct gpio_v2_line_event: when (ns), rising or falling, line, two counters
STEPS = ("open", "line", "read")  # what can be made to fail


def build(folder: Path) -> Path:
    """Compiles gpiofake.c into a folder; RuntimeError if there is no compiler, or it refuses."""
    library = folder.resolve() / "gpiofake.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("there is no C compiler for tests/gpiofake.c; install Debian's packages gcc and libc6-dev")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    command = [compiler, *flags, "-o", str(library), str(SOURCE)]
    compiled = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if compiled.returncode != 0:
        raise RuntimeError(
            f"{compiler} cannot compile {SOURCE}; if it misses a header, install Debian's packages gcc and libc6-dev:\n"
            f"{compiled.stderr}"
        )
    return library


class FakeChip:
    """A GPIO chip made of the files in one folder, for the programs that are started with `env()`."""

    def __init__(self, folder: Path, library: Path) -> None:
        """Makes the folder if need be; every line begins at its pull, and nothing fails."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()  # absolute, since lgpio changes directory to LG_WD
        (self.folder / "mounts").touch()  # no state folder is in memory, though the test's may be
        self.library = library.resolve()

    def env(self) -> dict[str, str]:
        """The variables, beside those of `os.environ`, that put a program on this chip."""
        return {
            "LD_PRELOAD": str(self.library),
            "GPIOFAKE_DIR": str(self.folder),
            "GPIOZERO_PIN_FACTORY": "lgpio",
            "LG_WD": str(self.folder),
        }

    def allow_edges(self, line: int) -> None:
        """Lets programs subscribe to a line's edges, which they are refused otherwise; one program at a time."""
        os.mkfifo(self.folder / f"edges{line}")

    def drive(self, line: int, high: bool) -> None:
        """Applies a level to an input from outside, in place of its pull; who has subscribed to its edges gets one."""
        self._replace(str(line), "1" if high else "0")
        with contextlib.suppress(OSError):  # there are none, or nobody has subscribed
            edges = os.open(self.folder / f"edges{line}", os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(edges, EDGE.pack(time.monotonic_ns(), 1 if high else 2, line, 0, 0))
            finally:
                os.close(edges)

    def output(self, line: int) -> bool | None:
        """The level to which the program last drove a line; None if it has driven none."""
        try:
            text = (self.folder / f"out{line}").read_text()
        except FileNotFoundError:
            return None
        return text.startswith("1") if text else None  # empty for the instant between its creation and its first level

    def fail(self, what: str | None) -> None:
        """Makes a step fail from now on: "open EACCES", "line EBUSY", "read EIO" or a number; None ends that."""
        if what is None:
            (self.folder / "fail").unlink(missing_ok=True)
            return
        step, _, name = what.partition(" ")
        number = int(name) if name.isdigit() else getattr(errno, name, None)
        if step not in STEPS or not isinstance(number, int):
            raise ValueError(f'{what!r} is no fault; expected one of {", ".join(STEPS)} and an errno, as in "read EIO"')
        self._replace("fail", f"{step} {number}")

    def _replace(self, name: str, text: str) -> None:
        """Writes a file so that a reader finds its old text or its new, never less."""
        fresh = self.folder / f"{name}.new"
        fresh.write_text(text)
        os.replace(fresh, self.folder / name)
