"""The GPIO lines: levels in, levels out. The only import of gpiozero.

Inputs are `InputDevice`s, which claim a line without edge detection, and are read when asked. A line that cannot be
had or read is reported, and tried again at the next `configure`; it never ends the program.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from rufusd.core.inputs import Levels
from rufusd.core.settings import OPTIONAL, Settings, line_identity
from rufusd.core.words import _

ROLES = OPTIONAL  # button, reader, led, buzzer
INPUTS = ("button", "reader")
_NAMES = {"button": _("button"), "reader": _("reader"), "led": _("led"), "buzzer": _("buzzer")}


def backend() -> str:
    """Which of gpiozero's ways to the lines is used."""
    return os.environ.get("GPIOZERO_PIN_FACTORY", "lgpio")


class Pins:
    """The station's lines."""

    def __init__(self, folder: str) -> None:
        """Opens nothing yet. `folder` is where lgpio may write its FIFO (it changes directory to it)."""
        os.environ.setdefault("LG_WD", folder)
        self.problems: dict[str, str] = {}  # role to sentence
        self._devices: dict[str, Any] = {}
        self._specs: dict[str, Any] = {}
        self._written: dict[str, bool] = {}

    def configure(self, settings: Settings) -> None:
        """Open what is configured and not open yet, having closed what is not any more. `problems` says what failed."""
        wanted = {role: getattr(settings, role) for role in ROLES if getattr(settings, role)}
        for role in list(self._devices):
            # What makes a line another one cannot be changed while the line is open.
            if line_identity(self._specs[role]) != line_identity(wanted.get(role)):
                self._drop(role)
        self._specs = wanted
        self.problems = {}
        for role, spec in wanted.items():
            if role not in self._devices:
                try:
                    self._devices[role] = self._open(role, spec)
                except Exception as error:  # noqa: BLE001 - each of gpiozero's backends raises errors of its own
                    self._failed(role, error)
        if wanted and not self._devices:
            self._forget_factory()

    def read(self) -> Levels:
        """The levels now, as the triggers understand them."""
        button, reader = self._level("button"), self._level("reader")
        return Levels(
            None if button is None else button == (self._specs["button"].active == "high"),
            None if reader is None else reader == (self._specs["reader"].running == "high"),
        )

    def levels(self) -> dict[str, str]:
        """The level of each input that can be read: "high" or "low"."""
        found = {role: self._level(role) for role in INPUTS}
        return {role: "high" if high else "low" for role, high in found.items() if high is not None}

    def write(self, light: bool, sound: bool) -> None:
        """Switch the LED and the buzzer, where there are any and they are not so already."""
        for role, on in (("led", light), ("buzzer", sound)):
            if role in self._devices and self._written.get(role) != on:
                try:
                    self._devices[role].value = on
                    self._written[role] = on
                except Exception as error:  # noqa: BLE001 - as above
                    self._failed(role, error)

    @property
    def watching(self) -> bool:
        """Whether an input is open, or none is configured. One that cannot be had is a fault, but the other counts."""
        configured = [role for role in INPUTS if role in self._specs]
        return not configured or any(role in self._devices for role in configured)

    def close(self) -> None:
        """Switch the outputs off and let all lines go."""
        self.write(False, False)
        for role in list(self._devices):
            self._drop(role)
        self._forget_factory()

    def _open(self, role: str, spec: Any) -> Any:
        import gpiozero

        if gpiozero.Device.pin_factory is None and backend() == "lgpio":
            # By itself gpiozero falls back to others, warning only; by that variable it looks into all packages.
            from gpiozero.pins.lgpio import LGPIOFactory

            gpiozero.Device.pin_factory = LGPIOFactory()
        if role in INPUTS:
            pull = {"up": True, "down": False, "none": None}[spec.pull]
            return gpiozero.InputDevice(spec.pin, pull_up=pull, active_state=True if pull is None else None)
        self._written[role] = False
        return gpiozero.DigitalOutputDevice(spec.pin, active_high=spec.active == "high", initial_value=False)

    def _level(self, role: str) -> bool | None:
        """Whether the line is high."""
        if role not in self._devices:
            return None
        try:
            # gpiozero calls a line with a pull-up active when it is low.
            inverted: bool = self._specs[role].pull == "up"
            return bool(self._devices[role].value) != inverted
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(role, error)
            return None

    def _failed(self, role: str, error: Exception) -> None:
        self._drop(role)
        said = " ".join(str(error).split()) or type(error).__name__
        if "lgd-nfy" in said:
            self.problems[role] = _(
                "GPIO{pin} ({role}) cannot be used: lgpio cannot make its FIFO in {folder}, which is full or cannot be "
                "written. `df {folder}` shows how full it is: remove what fills it",
                **{"pin": self._specs[role].pin, "role": _NAMES[role], "folder": os.environ["LG_WD"]},
            )
            return
        self.problems[role] = _(
            "GPIO{pin} ({role}) cannot be used ({why}): check that no other program has it, that rufusd's user "
            "is in the group gpio (`id rufusd`), and that lgpio is installed",
            **{"pin": self._specs[role].pin, "role": _NAMES[role], "why": said[:120]},
        )

    def _drop(self, role: str) -> None:
        device = self._devices.pop(role, None)
        with contextlib.suppress(Exception):  # as above; it is gone in any case
            if device:
                device.close()

    def _forget_factory(self) -> None:
        """Let the backend go, so that the next try begins from nothing."""
        with contextlib.suppress(Exception):  # as above; where it cannot even be imported, there is nothing to let go
            import gpiozero

            factory, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, None
            if factory:
                factory.close()


class SimulatedPins(Pins):
    """The same lines on gpiozero's mock pins, which `drive` moves from outside."""

    def __init__(self, folder: str) -> None:
        """As for real ones; nothing outside the process is touched."""
        super().__init__(folder)
        from gpiozero import Device
        from gpiozero.pins.mock import MockFactory, MockPin

        class Driven(MockPin):  # type: ignore[misc]
            """A mock pin whose pull gives way to what is connected to it, from before it was opened."""

            external: bool | None = None

            def _set_pull(self, value: str) -> None:
                super()._set_pull(value)
                self.connect(self.external)

            def connect(self, high: bool | None) -> None:
                self.external = high
                if high is not None and self.function == "input":
                    self.drive_high() if high else self.drive_low()

        self._factory = MockFactory(pin_class=Driven)
        Device.pin_factory = self._factory

    def drive(self, number: int, high: bool) -> None:
        """Put a level on a pin, as its cable would."""
        self._factory.pin(number).connect(high)

    def _forget_factory(self) -> None:
        """The mock pins keep their levels."""
