"""Follows the log of a Ray job over Ray's stream of it (`tail_job_logs`), until the job has ended.

The stream alone does not say enough. Over a lost connection it may stay silent for ever; where the
node of the job's driver is lost it ends as if the job had; and it always begins at the log's first
line. So whether the job has ended is polled while nothing arrives, a broken stream is opened
again, and the last lines come from one request at the end. Where the log was rotated meanwhile,
that request brings what is left of it; a line may then come twice, or not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

from harness.cli import in_one_line
from harness.errors import HarnessError
from harness.specs.limits import JOB_POLL_SECONDS, MOST_FAILED_JOB_POLLS

_COMPARED = 200
"""Characters before a place in the log by which it is known again."""


def job_end(status: Any) -> str | None:
    """Return how a job ended (SUCCEEDED, FAILED or STOPPED), or None while it has not."""
    word = str(status).rpartition(".")[2]
    return word if word in ("SUCCEEDED", "FAILED", "STOPPED") else None


def follow_log(client: Any, job_id: str) -> Iterator[str]:
    """Yield the lines of a job's log as it grows, each once; return when the job has ended.

    Blocks for as long as the job runs; Ctrl-C raises KeyboardInterrupt and leaves the job running.
    Raises HarnessError when contact with the cluster is lost.
    """
    failed_polls = 0
    with _LogStream(client, job_id) as stream:
        while True:
            seen = stream.seen
            yield from stream.read_lines(JOB_POLL_SECONDS)
            if stream.seen > seen:
                failed_polls = 0  # a stream that only repeats itself is no sign that the cluster is there
            if stream.has_received:
                continue

            # silence: has the job ended, is the cluster still there?
            try:
                has_ended = job_end(client.get_job_status(job_id)) is not None
                whole = client.get_job_logs(job_id) if has_ended else ""
            except Exception as error:
                failed_polls += 1
                if failed_polls >= MOST_FAILED_JOB_POLLS:
                    raise HarnessError(
                        f"lost contact with job {job_id} ({in_one_line(error)}); what it has done stays on the "
                        "cluster, submit again to go on"
                    ) from None
                stream.close()
                time.sleep(JOB_POLL_SECONDS)
                continue

            failed_polls = 0
            if has_ended:
                yield from stream.rest_of(whole)
                return


class _LogStream:
    """A job's log as lines, over a stream that is opened again where it broke."""

    def __init__(self, client: Any, job_id: str) -> None:
        self._client, self._job_id = client, job_id
        self._runner = asyncio.Runner()
        self._chunks: AsyncIterator[str] | None = None
        self._next: asyncio.Task[str | None] | None = None
        self._position = 0
        """Characters that the open stream has sent; it begins with the log's first."""
        self.seen = 0
        """Characters of the log that have been taken."""
        self._unfinished = ""
        self._latest = ""
        """The last characters that have been taken."""
        self.has_received = False
        """Whether the latest call of `read_lines` received anything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()  # cancels what still waits, which closes the connection

    def read_lines(self, seconds: float) -> list[str]:
        """Wait at most so long for new text; return the lines that it completes."""
        text = self._runner.run(self._receive(seconds))
        self.has_received = bool(text)
        start, self._position = self._position, self._position + len(text)
        return self._take_lines(text[max(0, self.seen - start) :], self._position)

    def rest_of(self, log: str) -> list[str]:
        """Return the lines of a whole log that are still missing, an unfinished last one included."""
        start = self.seen
        if not log[:start].endswith(self._latest):
            # rotated: go on behind what was taken last, or where it is gone at the first character
            found = log.rfind(self._latest)
            start = found + len(self._latest) if found >= 0 else 0
            self._unfinished = self._unfinished if found >= 0 else ""
        lines = self._take_lines(log[start:], len(log))
        return [*lines, self._unfinished] if self._unfinished else lines

    def close(self) -> None:
        """Close the stream; the next `read_lines` opens it again."""
        self._runner.run(self._cancel())

    def _take_lines(self, fresh: str, end: int) -> list[str]:
        """Return the lines that fresh text completes; it ends `end` characters into the log."""
        self.seen = max(self.seen, end)
        self._latest = (self._latest + fresh)[-_COMPARED:]
        *lines, self._unfinished = (self._unfinished + fresh).split("\n")
        return lines

    async def _receive(self, seconds: float) -> str:
        """Return the next piece of the log; "" at a timeout or if the stream broke or ended."""
        if self._chunks is None:
            self._chunks, self._position = self._client.tail_job_logs(self._job_id), 0
        if self._next is None:
            self._next = asyncio.ensure_future(_next_of(self._chunks))

        # a piece that has not come goes on being waited for in the next call
        done, _ = await asyncio.wait({self._next}, timeout=seconds)
        if not done:
            return ""
        task, self._next = self._next, None
        text = None if task.exception() else task.result()
        if text is None:
            self._chunks = None
            await asyncio.sleep(seconds)
        return text or ""

    async def _cancel(self) -> None:
        """Stop waiting for the next piece, which closes the connection."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
        self._chunks = self._next = None


async def _next_of(chunks: AsyncIterator[str]) -> str | None:
    """Return the next item, None at the end."""
    async for chunk in chunks:
        return chunk
    return None
