"""What commands print, in the user's language, on standard output and standard error; and their exit statuses."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from rufusd.core.words import _

OK, FAILED, USAGE, CONFIG, INTERRUPTED = 0, 1, 2, 78, 130  # 78: EX_CONFIG of sysexits.h; 130: as shells say SIGINT
EXIT_STATUS = {
    OK: "done",
    FAILED: "failed, with a sentence that says why on standard error",
    USAGE: "wrong usage",
    CONFIG: "the configuration is invalid",
    INTERRUPTED: "interrupted from the keyboard",
}


class CannotWrite(Exception):
    """Standard output or standard error takes nothing; `args[0]` is the system's text for it."""


def say(sentence: str) -> None:
    """Write a sentence to standard output."""
    write(sys.stdout, localized(sentence))


def warn(sentence: str) -> None:
    """Write a sentence to standard error."""
    write(sys.stderr, f"rufusd: {localized(sentence)}")


def fail(sentence: str) -> int:
    """Write a sentence to standard error, and return the status of a command that has failed."""
    warn(sentence)
    return FAILED


def say_json(found: Any) -> None:
    """Print one object. Escape characters that could move a terminal's cursor."""
    from rufusd.text.report import printable

    text = json.dumps(found, indent=1, ensure_ascii=False)
    with _writing():
        sys.stdout.write("".join(c if c == "\n" or printable(c) == c else json.dumps(c)[1:-1] for c in text) + "\n")


def write(stream: Any, text: str) -> None:
    """Write a text for people. On a terminal, wrap at spaces and escape what could move the cursor."""
    if stream.isatty():
        import shutil  # the daemon never needs it

        from rufusd.text.report import printable, wrapped

        width = shutil.get_terminal_size().columns
        text = "\n".join(row for line in text.split("\n") for row in wrapped(printable(line), width))
    with _writing():
        stream.write(f"{text}\n")


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Raises CannotWrite; or BrokenPipeError where nobody reads any more."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotWrite(why(error)) from None


def localized(sentence: str) -> str:
    """A sentence in the user's language. The journal stays English, so that people can search and share it."""
    if stderr_is_journal():
        return sentence
    from rufusd.adapters.language import translate

    return translate(sentence)


def stderr_is_journal() -> bool:
    """Whether standard error is the journal. The variable alone may be inherited (systemd.exec(5))."""
    try:
        return os.environ.get("JOURNAL_STREAM") == "{0.st_dev}:{0.st_ino}".format(os.fstat(2))
    except OSError:
        return False


def why(error: OSError) -> str:
    """The system's text for an error, for people."""
    return _(os.strerror(error.errno).lower()) if error.errno else _("unknown error")


def flush_stdout() -> bool:
    """Flush standard output; False, after an error message, if that fails. Raises BrokenPipeError."""
    try:
        with _writing():
            sys.stdout.flush()
    except CannotWrite as error:
        report_unwritable(error)
        return False
    return True


def report_unwritable(error: CannotWrite) -> int:
    """Say that the output cannot be written, and write no more of it. Return the exit status."""
    silence()
    return fail(_("cannot write what it has to say ({why})", why=error.args[0]))


def silence() -> None:
    """Redirect standard output to /dev/null: nobody reads it, or it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
