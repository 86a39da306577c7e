"""`rufusd COMMAND`: runs the command. On any error it prints a sentence and returns an exit status."""

from __future__ import annotations

import contextlib
import os
import sys

from rufusd.commands import log, output, syntax
from rufusd.core.words import _


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status, one of `output.EXIT_STATUS`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever called
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no "Ł" shows "?" instead of failing
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = syntax.parser(*arguments[:1])
    options = parser.parse_args(arguments)
    if not options.command:
        parser.print_help(sys.stderr)
        return output.USAGE
    log.set_up()
    # By itself glibc waits 5 s for each name server, twice, and nothing can interrupt it (resolv.conf(5)). Set before
    # any thread starts: a change of the environment while another thread reads it can crash the process.
    os.environ.setdefault("RES_OPTIONS", "timeout:2 attempts:2")
    try:
        # By its name, so that each command imports only what it needs.
        command = __import__(f"rufusd.{syntax.COMMANDS[options.command].module}", fromlist=["run"])
        status: int = command.run(options)
        return status if output.flush_stdout() else output.FAILED
    except KeyboardInterrupt:
        return output.INTERRUPTED
    except BrokenPipeError:
        output.silence()
        return output.FAILED
    except output.CannotWrite as error:
        return output.report_unwritable(error)
    except Exception as defect:  # noqa: BLE001 - the user sees no traceback
        with contextlib.suppress(BrokenPipeError):
            if isinstance(defect, OSError) and not output.flush_stdout():  # the error came from standard output
                return output.FAILED
        import syslog

        syslog.syslog(syslog.LOG_ERR, log.traceback_of(defect))
        kind = type(defect).__name__
        return output.fail(
            _("a defect in rufusd ({kind}); please report it with what `sudo journalctl` says", kind=kind)
        )
