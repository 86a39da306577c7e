"""rufusd on a machine, as apt has installed it: its service, its pins, its files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine import Machine, Rufus
from stations import QUICK, toml, until

UNIT = "rufusd.service"
CONFIG = "/etc/rufusd/config.toml"
SPOOL = "/var/lib/rufusd"
PINS = "/run/gpio"
DEB = "/root/rufusd.deb"
BUTTON = QUICK["button"]["pin"]
EDITORS = IN_PLACE, BY_A_RENAME = "in place", "by a rename"


class Installed:
    """One station. Its configuration's tables are QUICK's, for the session `token`."""

    def __init__(self, machine: Machine, rufus: Rufus, package: Path) -> None:
        """Opens a session for it; touches nothing of the machine's but the package's file."""
        self.machine = machine
        self.rufus = rufus
        self.token = rufus.open("FINISH-10K")
        self.tables: dict[str, dict[str, Any]] = {name: dict(table) for name, table in QUICK.items()}
        self.tables["api"].update(key=rufus.key, url=rufus.url)
        self.tables["session"].update(token=self.token)
        shutil.copy(package, machine.path(DEB))

    # -- the package

    def install(self, package: str = DEB) -> str:
        """The one command; what it said."""
        return self.machine.run("apt-get", "install", "--yes", "--quiet", package)

    def is_installed(self) -> bool:
        return "ok installed" in self.machine.run(
            "dpkg-query", "--show", "--showformat=${Status}", "rufusd", check=False
        )

    def purge(self) -> str:
        """Leave nothing of it, whether it is there or not; what was said to that."""
        self._undo_drop_ins()
        return self.machine.run("dpkg", "--purge", "rufusd")

    def clear(self) -> None:
        """Install it where it is not, stop it, and give it a configuration, no closes, and a button that is let go."""
        if not self.is_installed():
            self.install()
        self.machine.run("systemctl", "stop", UNIT)
        self.machine.run("systemctl", "reset-failed", UNIT, check=False)
        self.machine.run("rm", "-rf", SPOOL, PINS)
        self.machine.run("install", "-d", "-o", "rufusd", PINS)
        self.machine.run("find", "/etc/rufusd", "-mindepth", "1", "!", "-name", "config.toml", "-delete")
        self.machine.run("systemd-tmpfiles", "--create", "rufusd.conf")  # a test may have given it other rights
        self._undo_drop_ins()
        chip = f"Environment=LD_PRELOAD=/opt/test/gpiofake.so GPIOFAKE_DIR={PINS}\nReadWritePaths={PINS}\n"
        self.drop_in("gpio", f"[Service]\n{chip}")
        self.configure()

    def drop_in(self, name: str, text: str) -> None:
        """Change the unit, as an administrator does."""
        self.machine.write(f"/etc/systemd/system/{UNIT}.d/{name}.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def _undo_drop_ins(self) -> None:
        self.machine.run("rm", "-rf", f"/etc/systemd/system/{UNIT}.d")
        self.machine.run("systemctl", "daemon-reload")

    # -- the service

    def configure(self, how: str = IN_PLACE, **tables: Mapping[str, Any]) -> None:
        """Save a configuration, as one editor does or as the other."""
        for name, table in tables.items():
            self.tables[name] = {**self.tables.get(name, {}), **table}
        self.machine.write(CONFIG if how == IN_PLACE else f"{CONFIG}~", toml(self.tables))
        if how == BY_A_RENAME:
            self.machine.run("mv", f"{CONFIG}~", CONFIG)

    def start(self) -> None:
        """`systemctl start`, until it is armed."""
        self.machine.run("systemctl", "start", UNIT)
        self.shows("armed")

    def pid(self) -> int:
        """The daemon's process, by the machine's number for it; 0 where there is none."""
        return int(self.machine.show("MainPID"))

    def view(self) -> dict[str, Any]:
        """The daemon's own view; empty where none runs."""
        try:
            found: dict[str, Any] = json.loads(self.machine.path("/run/rufusd/status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def shows(self, indication: str) -> None:
        """Wait until this is what the LED says, and systemd knows that the daemon is ready."""
        until(lambda: self.view().get("indicator") == indication, patience=30)
        until(lambda: self.machine.show("SubState") == "running", patience=30)

    def records(self, state: str) -> list[str]:
        """The tokens in one folder of the spool."""
        folder = self.machine.path(f"{SPOOL}/{state}")
        return sorted(file.stem for file in folder.glob("[!.]*.json")) if folder.is_dir() else []

    # -- the button

    def level(self, line: int, high: bool) -> None:
        """Apply a level to an input."""
        file = self.machine.path(f"{PINS}/{line}")
        fresh = file.with_name(f"{line}.new")
        fresh.write_text("1" if high else "0")
        os.replace(fresh, file)

    def press(self) -> None:
        """Hold the button until the LED says "let go", and let go."""
        self.level(BUTTON, False)
        until(lambda: self.view().get("indicator") == "let_go")
        self.level(BUTTON, True)
