"""What systemd is told. The only import of sdnotify, whose traps end here: it hides errors, blocks and loses UTF-8."""

from __future__ import annotations

import os

import sdnotify


class Systemd:
    """The service manager, where there is one."""

    def __init__(self) -> None:
        """Connects to `$NOTIFY_SOCKET`, if it is set."""
        self._notifier = None
        if os.environ.get("NOTIFY_SOCKET"):
            self._notifier = sdnotify.SystemdNotifier()
            self._notifier.debug = True  # raise, rather than hide
            if self._notifier.socket:
                self._notifier.socket.setblocking(False)
        meant = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = os.environ.get("WATCHDOG_USEC", "")
        #: Seconds between two signs of life, half of what systemd waits for; None where it waits for none.
        self.watchdog = (int(usec) / 2e6 if meant and usec.isdecimal() and self._notifier else 0) or None

    def tell(self, *lines: str) -> bool:
        """Send assignments such as `READY=1`. Never blocks, never raises; whether they went out, or nobody listens."""
        if not self._notifier:
            return True
        # What is not printable would begin another line (systemd splits at "\r", too), or lose all of them ("\0").
        text = "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)
        try:
            # sdnotify encodes Latin-1; so encoded and decoded, the bytes that it sends are UTF-8.
            self._notifier.notify(text.encode().decode("latin-1"))
        except (OSError, AttributeError):  # full, or never connected
            return False
        return True
