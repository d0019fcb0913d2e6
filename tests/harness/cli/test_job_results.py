"""A job's rows come home whatever its log becomes, and a sentence says so where they do not."""

from __future__ import annotations

import asyncio
import io
import shlex
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kit.faulty import rows
from kit.job_suites import gaussian_suite

from harness.cli import attach, job, job_log, job_pieces, job_results
from harness.cli.job_results import SentJob, follow_job
from harness.cli.outbox import keep_archive, read_archive
from harness.cli.transfer import FRAME, PIECE, head_line, pack, piece_lines
from harness.errors import HarnessError, UsageError
from harness.storage.manifest import write_manifest
from harness.storage.mirror import Mirror
from harness.storage.remote import RemoteFolder
from harness.storage.returned_files import list_returned
from harness.storage.store import Store

ADDRESS = "http://head:8265"


@dataclass
class Info:
    """What a cluster knows of a job."""

    submission_id: str
    status: str = "SUCCEEDED"
    driver_exit_code: int | None = 0
    message: str = "the last words"
    log: str = ""
    metadata: dict[str, str] = field(default_factory=lambda: {"suite": "tiny"})
    start_time: int = 1


class Head:
    """A client of a cluster whose jobs have ended. What requests pieces runs here; each log is cut by `cut`."""

    def __init__(self, *jobs: Info, cut: Callable[[str], str] = lambda text: text) -> None:
        self.jobs = {one.submission_id: one for one in jobs}
        self.cut = cut
        self.requests: list[str] = []

    def submit_job(self, entrypoint: str, submission_id: str, **given: Any) -> str:
        self.requests.append(entrypoint)
        words, out = shlex.split(entrypoint), io.StringIO()
        assert words[:3] == ["python", "-m", "harness.cli.job_pieces"]
        with redirect_stdout(out), redirect_stderr(out):
            code = job_pieces.main(words[3:])
        end = "FAILED" if code else "SUCCEEDED"
        self.jobs[submission_id] = Info(submission_id, end, code, log=self.cut(out.getvalue()), metadata={})
        return submission_id

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        yield self.jobs[name].log

    def get_job_status(self, name: str) -> str:
        return self.jobs[name].status

    def get_job_logs(self, name: str) -> str:
        return self.jobs[name].log

    def get_job_info(self, name: str) -> Info:
        return self.jobs[name]

    def list_jobs(self) -> list[Info]:
        return list(self.jobs.values())


@pytest.fixture(autouse=True)
def head_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "JOB_POLL_SECONDS", 0.01)
    monkeypatch.setenv("ONECLOCK_HOME", str(tmp_path / "head"))
    monkeypatch.setattr(job_results.api, "report", lambda folder: (folder / "leaderboard.md").write_text("the table"))


@pytest.fixture
def archive(finished: Path) -> bytes:
    """The archive of a finished job, kept in the outbox of the head."""
    data = pack(finished, list_returned(finished))
    keep_archive("j", data)
    return data


def framed(data: bytes) -> str:
    return "\n".join(["talk", *piece_lines(data), head_line(data), ""])


def followed(client: Head, results: Path, storage: str | None = None) -> int:
    return follow_job(SentJob(client, ADDRESS, "j", "tiny", storage), results)


def test_the_exit_code_is_the_jobs(archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert followed(Head(Info("j", log=framed(archive))), tmp_path / "a") == 0
    assert followed(Head(Info("j", "FAILED", 1, log=framed(archive))), tmp_path / "a") == 1
    said = capsys.readouterr()
    place = (tmp_path / "a" / "tiny" / "report.html").resolve()
    assert said.err == f"job j on {ADDRESS}\ntalk\nthe rows are here too: {place}\n" * 2
    assert said.out == "the table\n" * 2
    assert followed(Head(Info("j", "FAILED", 4, log=framed(archive))), tmp_path / "b") == 4
    for code, kind in ((2, 2), (3, 3), (None, 1)):
        with pytest.raises(HarnessError, match="job j ended as FAILED: the last words") as caught:
            followed(Head(Info("j", "FAILED", code)), tmp_path / "c")
        assert caught.value.exit_code == kind
    assert not (tmp_path / "c").exists()
    assert sorted(rows(Store(tmp_path / "a" / "tiny"))) == ["ddim-2", "heun-2"]


@pytest.mark.parametrize("left", [0, 300, -9000])
def test_what_a_rotation_took_is_requested_and_nothing_else(archive: bytes, tmp_path: Path, left: int) -> None:
    log = framed(archive)
    left = left if left >= 0 else len(log) + left
    client = Head(Info("j", log=log[len(log) - left :]))
    assert followed(client, tmp_path) == 0
    assert len(rows(Store(tmp_path / "tiny"))) == 2
    lost = [number for number, line in enumerate(piece_lines(archive)) if line not in log[len(log) - left :]]
    assert (len(lost) < -(-len(archive) // PIECE)) == (left > 300)
    expected = ["python -m harness.cli.job_pieces j"] * (left == 0)
    assert client.requests == [*expected, f"python -m harness.cli.job_pieces j {job_pieces.write_ranges(lost)}"]


def test_requests_go_on_as_long_as_each_brings_some(archive: bytes, tmp_path: Path) -> None:
    client = Head(Info("j"), cut=lambda text: text[-9500:])
    assert followed(client, tmp_path) == 0
    assert len(client.requests) > 2
    assert len(rows(Store(tmp_path / "tiny"))) == 2


def test_requests_become_smaller_where_a_log_is_emptied_as_it_grows(archive: bytes, tmp_path: Path) -> None:
    client = Head(Info("j"), cut=lambda text: text if len(text) < 10_000 else "")
    assert followed(client, tmp_path) == 0
    assert len(client.requests) <= 3 + 2 * -(-len(archive) // PIECE)
    assert len(rows(Store(tmp_path / "tiny"))) == 2


def test_logs_that_are_cut_below_a_line_end_in_a_sentence_with_size_and_remedy(archive: bytes, tmp_path: Path) -> None:
    client = Head(Info("j"), cut=lambda text: text[-1000:])
    with pytest.raises(HarnessError) as caught:
        followed(client, tmp_path)
    said = str(caught.value)
    assert f"({len(archive)} bytes) did not come" in said
    assert "oneclock attach j --address http://head:8265" in said
    assert "--storage URI" in said
    assert len(client.requests) < 6
    assert not (tmp_path / "tiny").exists()


def test_results_too_large_for_a_log_name_their_size_and_the_remedy(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_results, "MOST_LOGGED", 9000)
    client = Head(Info("j", log=head_line(archive)))
    with pytest.raises(HarnessError, match=rf"take {len(archive)} bytes, and a log carries 9000 .* --storage URI"):
        followed(client, tmp_path)
    assert client.requests == []


def test_a_large_archive_is_announced_and_comes_in_portions(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pieces, "PRINTED_AT_ONCE", 2 * PIECE)
    client = Head(Info("j", log=head_line(archive)))
    assert followed(client, tmp_path) == 0
    assert len(client.requests) == -(-len(archive) // (2 * PIECE))


def test_a_job_that_succeeded_with_an_empty_log_and_no_archive_is_no_success(tmp_path: Path) -> None:
    client = Head(Info("j"))
    with pytest.raises(HarnessError, match=r"ended as SUCCEEDED, and no results of it came home.*ONECLOCK_HOME"):
        followed(client, tmp_path)
    assert client.requests == ["python -m harness.cli.job_pieces j"]
    assert not (tmp_path / "tiny").exists()


def test_rows_come_from_the_storage_and_the_log_is_not_used(finished: Path, tmp_path: Path) -> None:
    remote = RemoteFolder(str(tmp_path / "storage"))
    Mirror(remote, finished.parent, "tiny").sync()
    write_manifest(remote, "j", "tiny", list_returned(finished))
    client = Head(Info("j"))
    assert followed(client, tmp_path / "home", str(tmp_path / "storage")) == 0
    assert client.requests == []
    home = tmp_path / "home" / "tiny"
    assert all((home / "log" / path.name).read_bytes() == path.read_bytes() for path in (finished / "log").iterdir())


def test_where_the_storage_cannot_be_read_here_the_rows_come_through_the_log(
    archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise UsageError("cannot read s3://b (no credentials)")

    monkeypatch.setattr(job_results, "fetch_returned", refuse)
    assert followed(Head(Info("j")), tmp_path, str(tmp_path / "storage")) == 0
    assert "note: cannot read s3://b (no credentials); the rows come through the job's log" in capsys.readouterr().err
    assert len(rows(Store(tmp_path / "tiny"))) == 2


def test_the_rest_of_a_line_of_results_is_not_shown(
    archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = framed(archive)[3000:]
    assert followed(Head(Info("j", log=f"talk that goes on {'and on ' * 300}\n{rest}")), tmp_path) == 0
    shown = capsys.readouterr().err
    assert "and on and on" in shown
    assert FRAME not in shown
    assert all(" " in line for line in shown.splitlines())


def test_ctrl_c_leaves_the_job_running_and_says_how_to_attach_and_how_to_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Running(Head):
        async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
            yield "first line\n"
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        followed(Running(Info("j", "RUNNING", None)), tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        f"job j on {ADDRESS}",
        "first line",
        f"job j goes on; to follow it again: oneclock attach j --address {ADDRESS}; "
        f"to end it: ray job stop j --address {ADDRESS}",
    ]


def test_attaching_brings_home_what_an_interrupted_client_did_not(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Info("k", "RUNNING", None, metadata={"suite": "quick"}, start_time=2)
    client = Head(Info("j"), other, Info("raysubmit_1", metadata={}), Info("old", "FAILED", 1, start_time=0))
    monkeypatch.setattr(attach, "connect_dashboard", lambda address: client)
    assert attach.attach_job("j", ADDRESS, tmp_path) == 0
    assert len(rows(Store(tmp_path / "tiny"))) == 2

    listed = r"expected one of k \(quick, running\), j \(tiny, SUCCEEDED\), old \(tiny, FAILED\)"
    with pytest.raises(UsageError, match=f"no job is named; {listed}"):
        attach.attach_job(None, ADDRESS, tmp_path)
    with pytest.raises(UsageError, match=f'knows no job "jj"; {listed}'):
        attach.attach_job("jj", ADDRESS, tmp_path)
    monkeypatch.setattr(attach, "connect_dashboard", lambda address: Head())
    with pytest.raises(UsageError, match="no job is named; the cluster has no job of `oneclock submit`"):
        attach.attach_job(None, ADDRESS, tmp_path)


def test_a_clusters_suite_names_no_other_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Head(Info("j", metadata={"suite": "../../escaped"}))
    monkeypatch.setattr(attach, "connect_dashboard", lambda address: client)
    with pytest.raises(UsageError, match=r"the job's suite is '\.\./\.\./escaped'"):
        attach.attach_job("j", ADDRESS, tmp_path)


def test_the_outbox_keeps_the_newest_archives(tmp_path: Path) -> None:
    for number in range(13):
        keep_archive(f"job-{number}", str(number).encode())
    kept = {path.name for path in (tmp_path / "head" / "outbox").iterdir()}
    assert len(kept) == 10
    assert read_archive("job-12") == b"12"
    assert read_archive("job-0") is None
    with pytest.raises(UsageError):
        read_archive("../results/x")


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([0, 1, 2], "0-2"), ([0, 2, 3, 9, 11, 12], "0,2-3,9,11-12")]
)
def test_numbers_travel_as_ranges(numbers: list[int], text: str) -> None:
    assert job_pieces.write_ranges(numbers) == text
    assert list(job_pieces.read_ranges(text)) == numbers


@pytest.mark.parametrize("text", ["x", "1,", "-1", "1-2-3", "1;2"])
def test_other_text_is_no_range(text: str) -> None:
    assert list(job_pieces.read_ranges(text)) == []


SUITE = gaussian_suite("tiny", "a job's suite")


@pytest.fixture
def run_job(tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a call that runs a job here as the head would; it returns its exit code and its log."""
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)

    def run(name: str, *words: str, storage: str = "") -> tuple[int, str]:
        monkeypatch.setenv("ONECLOCK_JOB", name)
        monkeypatch.setenv("ONECLOCK_STORAGE", storage)
        capsys.readouterr()
        code = job.main([str(path), *words])
        return code, capsys.readouterr().out

    return run


def test_the_rows_of_this_plan_come_home_and_no_others(run_job: Any, tmp_path: Path) -> None:
    assert run_job("first")[0] == 0
    code, log = run_job("second", "--set", "n_images=50")
    assert code == 0
    there = Store(tmp_path / "head" / "results" / "tiny").snapshot().latest()
    assert sorted(there["n_images"]) == [40, 50]
    client = Head(Info("j", log=log))
    assert followed(client, tmp_path / "home") == 0
    assert client.requests == []
    home = Store(tmp_path / "home" / "tiny").snapshot().latest()
    assert list(home["n_images"]) == [50]


def test_a_job_without_a_plan_sends_no_rows_of_earlier_ones(run_job: Any) -> None:
    assert FRAME in run_job("first")[1]
    code, log = run_job("second", "--set", "n_images=oops")
    assert (code, log) == (2, "")
    assert read_archive("second") is None


def test_a_job_on_a_new_head_goes_on_from_the_storage(
    run_job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = str(tmp_path / "storage")
    code, log = run_job("first", storage=storage)
    assert (code, FRAME in log) == (0, False)
    before = Store(tmp_path / "head" / "results" / "tiny").snapshot().latest()

    monkeypatch.setenv("ONECLOCK_HOME", str(tmp_path / "other"))
    assert run_job("second", storage=storage)[0] == 0
    after = Store(tmp_path / "other" / "results" / "tiny").snapshot().latest()
    assert list(after["started_at"]) == list(before["started_at"])
    for name in ("first", "second"):
        client = SentJob(Head(Info(name)), ADDRESS, name, "tiny", storage)
        assert follow_job(client, tmp_path / f"home-{name}") == 0
        assert len(rows(Store(tmp_path / f"home-{name}" / "tiny"))) == 1


def test_a_storage_that_cannot_be_written_ends_a_job_before_it_measures(run_job: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _ = run_job("first", storage=str(tmp_path / "file"))
    assert code == 2
    assert not list((tmp_path / "head").rglob("log/*.json"))
