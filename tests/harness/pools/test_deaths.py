"""What is said of workers that did not start."""

from __future__ import annotations

import pytest

from harness.pools.deaths import describe_lost_start


@pytest.mark.parametrize(
    ("text", "said", "is_lost"),
    [
        (
            "The actor died.\nThe actor died because its node has died. Node Id: 0f\n\tits node was terminated",
            "the nodes on which workers were starting were lost; run again to continue on those that are left",
            True,
        ),
        ("ImportError: no module\n named torch", "ImportError: no module named torch", False),
        ("x" * 500 + " ValueError: found 3", "... " + "x" * 380 + " ValueError: found 3", False),
    ],
)
def test_workers_that_did_not_start_are_a_sentence(text: str, said: str, is_lost: bool) -> None:
    assert describe_lost_start(RuntimeError(text)) == (said, is_lost)
