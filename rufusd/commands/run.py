"""`rufusd run`: the daemon. `rufusd simulate` prepares it in the same way, and then drives its pins."""

from __future__ import annotations

import argparse
import gc
import os
from typing import Any

from rufusd.commands import output
from rufusd.core.words import _


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    found = prepare_daemon(options, training=False)
    if isinstance(found, int):
        return found
    from rufusd.adapters.pins import Pins
    from rufusd.daemon.loop import Daemon

    loaded, spool, runtime = found
    return Daemon(options.config, loaded, spool, runtime, Pins(str(runtime.folder))).run()


def prepare_daemon(options: argparse.Namespace, *, training: bool) -> tuple[Any, Any, Any] | int:
    """The configuration, the closes and the runtime folder; or, after an error message, an exit status."""
    gc.disable()  # until the daemon has started: imports create much that stays, and nothing to collect
    from rufusd.adapters.closes.spool import Spool
    from rufusd.adapters.runtime import Runtime
    from rufusd.commands import files

    options.config = os.path.abspath(options.config)  # lgpio changes the directory
    loaded = files.load_and_report(options.config)
    if not loaded.settings:
        if "NOTIFY_SOCKET" in os.environ:
            from rufusd.adapters.systemd import Systemd

            Systemd().tell(f"STATUS={options.config} is invalid, `rufusd check` says why; to save it mended is enough")
        return output.CONFIG
    spool, runtime = Spool(options.state_dir.absolute(), training=training), Runtime(options.runtime_dir.absolute())
    try:
        runtime.open()
    except OSError as error:
        return output.fail(
            _(
                "cannot make {folder} ({why}); use another --runtime-dir, or `sudo systemctl start rufusd`",
                **{"folder": str(runtime.folder), "why": output.why(error)},
            )
        )
    return loaded, spool, runtime
