"""Pools in this process that a test opens: those it leaves open are closed with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.pools.local import LocalPool

_opened: list[LocalPool] = []


def note_opened_pools() -> None:
    """Note every pool that is opened in this process from now on."""
    opens = LocalPool.__init__

    def note(self: LocalPool, *args: Any, **kwargs: Any) -> None:
        opens(self, *args, **kwargs)
        _opened.append(self)

    LocalPool.__init__ = note  # type: ignore[method-assign]


@contextmanager
def closing_pools() -> Iterator[None]:
    """Close the pools that the block opens, the latest first.

    A pool that nobody closes restores its settings when its memory is freed: at any time, in another test.
    """
    before = len(_opened)
    try:
        yield
    finally:
        while len(_opened) > before:
            _opened.pop().close()
