"""What a worker tells: progress now and then, checkpoints and results always."""

import pytest

from harness.pools.progress import thin_progress
from harness.specs.base import Output
from harness.task import Checkpoint, Progress, Result

CHECKPOINT, RESULT = Checkpoint({}, {"step": 1}), Result(Output())


def told(script, seconds=1.0):
    """Return what passes of events that come at given times."""
    now = [100.0]

    def events():
        for at, event in script:
            now[0] = 100.0 + at
            yield event

    return list(thin_progress(events(), seconds, lambda: now[0]))


def steps(*times):
    return [(at, Progress(number, 9)) for number, at in enumerate(times)]


@pytest.mark.parametrize(
    ("times", "passed"),
    [
        ((0.0, 0.5, 0.99), []),
        ((0.5, 1.0, 1.5, 1.99, 2.0), [1, 4]),
        ((0.9, 5.0, 5.1, 6.5), [1, 3]),
    ],
)
def test_progress_passes_at_most_once_a_second_first_after_one(times, passed):
    assert [event.done for event in told(steps(*times))] == passed


def test_checkpoints_and_the_result_always_pass():
    script = [(0.1, CHECKPOINT), *steps(0.2), (0.3, CHECKPOINT), (0.4, RESULT)]
    assert told(script) == [CHECKPOINT, CHECKPOINT, RESULT]


def test_no_interval_lets_all_pass():
    assert len(told(steps(0.0, 0.0, 0.1), seconds=0)) == 3
