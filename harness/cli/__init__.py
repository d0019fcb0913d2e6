"""The command line: a thin face over `harness.run`, `plan` and `load`. Results on stdout, talk on stderr."""

from __future__ import annotations

import sys

from harness.errors import HarnessError, Terminated

_INTERRUPTED = "interrupted; what was finished is kept, run again to continue"


def main() -> None:
    """Run the command line and leave with the contract's exit code."""
    from harness.cli.app import app

    try:
        code = app(standalone_mode=False)  # typer returns the code of typer.Exit, and 130 after Ctrl-C
    except HarnessError as error:
        leave(str(error), error.exit_code)
    except Terminated as end:
        leave(_INTERRUPTED, int(end.code or 0))
    except Exception as error:
        usage = _usage(error)
        if usage is None:
            raise
        leave(usage, 2)
    if code == 130:
        leave(_INTERRUPTED, 130)
    if code:
        sys.exit(code)


def leave(sentence: str, code: int) -> None:
    """Print one sentence to standard error and exit."""
    print(f"oneclock: {sentence}", file=sys.stderr)
    sys.exit(code)


def _usage(error: Exception) -> str | None:
    """Return the sentence of a command-line mistake, or None if the error is something else."""
    formatted = getattr(error, "format_message", None)
    return str(formatted()) if callable(formatted) else None
