"""Python's debugger at an exception of a method: `oneclock run --pdb`."""

from __future__ import annotations

import pdb
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from harness.errors import HarnessError


@contextmanager
def open_debugger(wanted: bool) -> Iterator[None]:
    """Open the debugger where an exception was raised in the block, then exit with code 1.

    Sentences for people pass unchanged, as all does without `wanted`.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        if not wanted:
            raise
        traceback.print_exception(error)
        pdb.post_mortem(error.__traceback__)
        raise typer.Exit(1) from None
