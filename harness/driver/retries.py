"""How often a unit is tried again, and whether a worker's death counts against its unit."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import expected_kinds
from harness.specs.limits import CLOSE_SECONDS, MOST_DEATHS, OWN_DEATHS, RETRIES
from harness.task import Failure, Unit


def describe_failure(unit: Unit, failure: Failure, suite: str) -> str:
    """Return what people read of a unit that failed for good: what it did, what was raised, how to look into it.

    Kinds that have a capital letter are exceptions, nearly always of a method's code; other sentences, and those of the
    harness's own errors, say it all.
    """
    if not failure.kind[:1].isupper() or failure.kind in expected_kinds():
        return failure.sentence
    return (
        f"{unit.label} raised {failure.kind}: {failure.sentence}; `oneclock run {suite} --pdb` stops where it is raised"
    )


@dataclass
class _Death:
    """The death of a worker that ran a unit."""

    when: float
    is_alone: bool
    """Whether no worker of another task died at about the same time."""


class Retries:
    """Counts the failures of units.

    A death counts against the worker first, then against the unit.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: Counter[tuple[str, str]] = Counter()  # by unit and kind
        self._deaths: dict[str, list[_Death]] = defaultdict(list)  # by unit
        self._last: dict[str, float] = {}  # by task: its last death within CLOSE_SECONDS
        self._alone: dict[str, list[_Death]] = {}  # by task: deaths that may still turn out to be shared

    def attempts(self, unit: Unit) -> int:
        """Return how often a unit has failed."""
        return sum(count for (key, _), count in self._failures.items() if key == unit.key)

    def count_failure(self, unit: Unit, failure: Failure) -> str | None:
        """Count a failure.

        Return "(n of m)" if the unit is to be tried again, None if it has failed for good.
        """
        self._failures[unit.key, failure.kind] += 1
        if failure.kind != "worker-died":
            tried, most = self._failures[unit.key, failure.kind], RETRIES.get(failure.kind, 0)
            return f"({tried} of {most})" if tried <= most else None

        # a death alone counts against the unit, one among others only in the long run
        death = self._note_death(unit.task.id)
        deaths = self._deaths[unit.key]
        deaths.append(death)
        own = sum(one.is_alone for one in deaths)
        if own >= OWN_DEATHS or len(deaths) >= MOST_DEATHS:
            return None
        return f"({own} of {OWN_DEATHS - 1})" if death.is_alone else "(others died with it)"

    def _note_death(self, task_id: str) -> _Death:
        """Record a death.

        Deaths of other tasks shortly before are shared with it, and it with them.
        """
        now = self._clock()
        self._last = {task: when for task, when in self._last.items() if now - when <= CLOSE_SECONDS}
        others = self._last.keys() - {task_id}

        # earlier deaths that are not alone any more
        for task in list(self._alone):
            if task != task_id:
                for death in self._alone.pop(task):
                    death.is_alone = death.is_alone and now - death.when > CLOSE_SECONDS
        death = _Death(now, is_alone=not others)
        self._last[task_id] = now
        self._alone.setdefault(task_id, []).append(death)
        return death
