"""The log of a job over a bad line: every line once and in order, the job's end found, a lost cluster named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from harness.cli import job_log
from harness.cli.job_log import follow_log
from harness.errors import HarnessError

LOG = "one\n\ntwo\nthree \u2028 and a half\nfour"
LINES = ["one", "", "two", "three \u2028 and a half", "four"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "JOB_POLL_SECONDS", 0.01)


class Cluster:
    """A client of one job. Each stream of its log runs the next script; each status poll takes the next reply."""

    def __init__(self, streams: list[Callable[[], AsyncIterator[str]]], polls: list[str | Exception]) -> None:
        self.streams, self.polls = streams, polls
        self.opened = self.closed = self.wholes = 0

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        self.opened += 1
        stream = self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]
        try:
            async for chunk in stream():
                yield chunk
        finally:
            self.closed += 1

    def get_job_status(self, job: str) -> str:
        reply = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def get_job_logs(self, job: str) -> str:
        self.wholes += 1
        return LOG


async def sent_whole() -> AsyncIterator[str]:
    for start in range(0, len(LOG), 3):
        yield LOG[start : start + 3]


async def broken_half_way() -> AsyncIterator[str]:
    yield LOG[:7]
    raise ConnectionError("the line broke")


async def ended_half_way() -> AsyncIterator[str]:
    yield LOG[:7]


async def refused() -> AsyncIterator[str]:
    raise ConnectionError("no")
    yield ""


async def silent_after_the_first_line() -> AsyncIterator[str]:
    yield LOG[:4]
    await asyncio.sleep(3600)


GONE = ConnectionError("gone\nfor now")


@pytest.mark.parametrize(
    ("streams", "polls"),
    [
        ([sent_whole], ["SUCCEEDED"]),
        ([sent_whole], ["RUNNING", "JobStatus.FAILED"]),
        ([broken_half_way, sent_whole], ["RUNNING", "RUNNING", "SUCCEEDED"]),
        ([broken_half_way, broken_half_way, ended_half_way], ["RUNNING"] * 5 + ["STOPPED"]),
        ([refused], ["PENDING", "RUNNING", "SUCCEEDED"]),
        ([silent_after_the_first_line], ["RUNNING", "SUCCEEDED"]),
        ([silent_after_the_first_line, sent_whole], [*[GONE] * 9, "RUNNING", *[GONE] * 9, "SUCCEEDED"]),
    ],
)
def test_every_line_comes_once(streams: list[Callable[[], AsyncIterator[str]]], polls: list[str | Exception]) -> None:
    cluster = Cluster(list(streams), list(polls))
    assert list(follow_log(cluster, "j")) == LINES
    assert cluster.wholes == 1  # not once per poll
    assert cluster.closed == cluster.opened


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("three \u2028 and a half\nfour", [*LINES]),
        ("n a rotated log\nfour", ["one", "", "n a rotated log", "four"]),
        ("", ["one", ""]),
    ],
)
def test_what_is_left_of_a_rotated_log_is_read(left: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read = LOG.index("\nthree") + 1 if left.startswith("three") else LOG.index("two") + 2

    async def cut_off() -> AsyncIterator[str]:
        yield LOG[:read]

    monkeypatch.setattr(job_log, "_COMPARED", 3)
    cluster = Cluster([cut_off], ["SUCCEEDED"])
    monkeypatch.setattr(cluster, "get_job_logs", lambda job: LOG[:read][-3:] + left if left[:2] == "th" else left)
    assert list(follow_log(cluster, "j")) == expected


def test_lines_come_while_the_job_runs() -> None:
    lines = follow_log(Cluster([silent_after_the_first_line], ["RUNNING"]), "j")
    assert next(lines) == "one"
    lines.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("stream", [silent_after_the_first_line, refused, broken_half_way])
def test_a_lost_cluster_is_named_after_ten_failed_polls(stream: Callable[[], AsyncIterator[str]]) -> None:
    cluster, lines = Cluster([stream], [*["RUNNING"] * 3, GONE]), []
    with pytest.raises(HarnessError, match=r"lost contact with job j \(gone for now\); .* submit again to go on"):
        lines.extend(follow_log(cluster, "j"))
    assert cluster.closed == cluster.opened


def test_text_that_comes_in_time_is_shown_at_once_without_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "JOB_POLL_SECONDS", 600.0)

    async def slow() -> AsyncIterator[str]:
        for line in LOG.splitlines(keepends=True):
            await asyncio.sleep(0.002)
            yield line
        await asyncio.sleep(3600)

    cluster = Cluster([slow], [AssertionError("polled")])
    lines = follow_log(cluster, "j")
    assert [next(lines) for _ in LINES[:3]] == LINES[:3]
    lines.close()  # type: ignore[attr-defined]
    assert cluster.closed == cluster.opened == 1
