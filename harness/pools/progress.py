"""Progress that comes now and then: what a worker sends of what its tasks yield."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from harness.task import Event, Progress


def thin_progress(
    events: Iterable[Event], seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Event]:
    """Yield the events without progress that comes within `seconds` of the last one."""
    last = clock()
    for event in events:
        if isinstance(event, Progress) and seconds > 0:
            if (now := clock()) - last < seconds:
                continue
            last = now
        yield event
