"""A worker that runs no task and imports no torch, for tests of a cluster on one machine. See docs/sharing.md.

The variable ONECLOCK_FAKE_TASKS names the function that takes the place of every task, as MODULE:FUNCTION.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.measure.device_names import FAKE_DEVICE, fake_device_name
from harness.specs.base import Spec
from harness.task import ALONE, Event, Ranks, Span

FAKE_TASKS = "ONECLOCK_FAKE_TASKS"
"""Variable of a worker's process: MODULE:FUNCTION, called with spec, inputs, span and ranks; yields a unit's events."""


@dataclass(frozen=True)
class FakeDevice:
    """What stands for a torch device where there is no torch."""

    type: str = "cpu"


class FakeWorker:
    """Hands each unit to one function; its device has to be fake too, so that rows say what they are."""

    def __init__(self, entry: str) -> None:
        """UsageError where the device is not fake, or no function has this name."""
        if not fake_device_name():
            raise UsageError(f"{FAKE_TASKS} is set and {FAKE_DEVICE} is not; expected both, or neither in a real run")
        module, _, function = entry.partition(":")
        try:
            self._run_task = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(f'{FAKE_TASKS} is "{entry}"; expected MODULE:FUNCTION ({error})') from None
        self.device = FakeDevice()

    def run(
        self, spec: Spec, inputs: Mapping[str, Any], span: Span | None = None, ranks: Ranks = ALONE
    ) -> Iterator[Event]:
        """Yield the events of one unit."""
        yield from self._run_task(spec, inputs, span, ranks)
