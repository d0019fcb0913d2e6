"""The command line over `harness.run`, `plan` and `load`.

Results go to stdout, messages to stderr.
"""

from __future__ import annotations

import sys
from typing import Any

from harness.errors import HarnessError, Terminated

_INTERRUPTED = "interrupted; what was finished is kept, run again to continue"


def main() -> None:
    """Run the command line and exit: 0, or the exit code of the error or signal that ended it."""
    from harness.cli.app import app

    try:
        code = app(standalone_mode=False)  # typer returns the code of typer.Exit, and 130 after Ctrl-C
    except HarnessError as error:
        exit_with(str(error), error.exit_code)
    except Terminated as end:
        exit_with(_INTERRUPTED, int(end.code or 0))
    except Exception as error:
        usage = _usage(error)
        if usage is None:
            raise
        exit_with(usage, 2)
    if code == 130:
        exit_with(_INTERRUPTED, 130)
    if code:
        sys.exit(code)


def exit_with(sentence: str, code: int) -> None:
    """Print one sentence to standard error and exit; the whole help, after no arguments, as it stands."""
    print(sentence if sentence.startswith("Usage: ") else f"oneclock: {sentence}", file=sys.stderr)
    sys.exit(code)


def in_one_line(error: Any, most: int = 300) -> str:
    """Return an error's text in one line of so many characters at most."""
    return " ".join(str(error).split())[:most]


def _usage(error: Exception) -> str | None:
    """Return the sentence of a mistake on the command line, or None for another error."""
    formatted = getattr(error, "format_message", None)
    return str(formatted()) if callable(formatted) else None
