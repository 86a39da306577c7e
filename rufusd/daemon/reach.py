"""Whether people can ask this daemon what it does: its socket, and what is in the way of it."""

from __future__ import annotations

import contextlib
import os

from rufusd.adapters.live import Peer, Watchers, listener
from rufusd.adapters.runtime import Runtime
from rufusd.core.words import Message, _

_SPARE = _(
    "rufusd cannot make its socket in {folder} ({why}). `rufusd status` and `rufusd watch` reach rufusd in another "
    "way, which any user of this machine can block. `{command}` shows how full {folder} is: remove what fills it, or "
    "what is in the socket's place"
)
_UNSEEN = _(
    "`rufusd status` and `rufusd watch` cannot ask this daemon: no socket in {folder} ({why}). `{command}` shows how "
    "full it is: remove what fills it, or what is in the socket's place"
)


class Reach:
    """The socket in the runtime folder."""

    def __init__(self, runtime: Runtime) -> None:
        """Opens nothing yet."""
        self.watchers = Watchers(runtime.folder)
        self.problem: Message | None = None
        self._runtime = runtime

    def open(self) -> None:
        """Listen. A /run that is full has room again later: `problem` says why nobody can ask until then."""
        self.problem = None
        try:
            self.watchers.open()
        except OSError as error:
            sentence = _SPARE if self.watchers.listening else _UNSEEN
            facts = {"folder": str(self._runtime.folder), "command": self._runtime.shows_room()}
            why = _(os.strerror(error.errno).lower()) if error.errno else str(error)  # of a path that is too long, say
            self.problem = sentence.with_parts(why=why, **facts)

    def retry(self) -> None:
        """Listen again, where the socket is gone or could not be made, and no other daemon has the folder."""
        if not self.watchers.in_folder and not self.other():
            self.open()

    def other(self) -> Peer | None:
        """Another daemon, with another state folder, which can be asked in this runtime folder."""
        with contextlib.suppress(PermissionError):
            found = listener(self._runtime.folder)
            return found if found and found.pid != os.getpid() else None
        return None
