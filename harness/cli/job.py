"""`python -m harness.cli.job`: what `submit` starts on the cluster's head.

Runs a suite, prints its results framed.

Results also stay on the head in ONECLOCK_HOME (default ~/.oneclock), so that a later job continues
a lost one.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

from harness.cli.transfer import pack
from harness.config.suite import load_suite
from harness.errors import HarnessError

SUITE_VARIABLE = "ONECLOCK_SUITE"
"""Environment variable: the text of a suite's file in base64, unset for a shipped suite."""


def main(words: list[str]) -> int:
    """Run the suite of the command line, print its results, and return the exit code."""
    from harness.cli.app import app

    home = Path(os.environ.get("ONECLOCK_HOME", Path.home() / ".oneclock")) / "results"
    with tempfile.TemporaryDirectory() as folder:
        # a suite that is a file travels as text
        if SUITE_VARIABLE in os.environ:
            path = Path(folder) / words[0]
            path.write_bytes(base64.b64decode(os.environ.pop(SUITE_VARIABLE)))
            words = [str(path), *words[1:]]

        kept = None
        try:
            settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            kept = home / load_suite(words[0], settings).name
            code = app(["run", *words, "--results", str(home)], standalone_mode=False) or 0
        except HarnessError as error:
            print(f"oneclock: {error}", file=sys.stderr)
            code = error.exit_code
    return _print_results(kept, int(code))


def _print_results(folder: Path | None, code: int) -> int:
    """Print the results, if there are any, as framed lines; return the exit code."""
    if folder is not None and (folder / "log").is_dir():
        for line in pack(folder):
            print(line)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
