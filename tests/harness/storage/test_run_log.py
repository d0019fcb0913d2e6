"""The log of a run: what stands in `log.txt`, what a user's own logging receives, and what a bad disk does to it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from kit.log_kit import Logged
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.api import Tables
from harness.errors import LockedError
from harness.measure import machine_load
from harness.measure.machine_load import MachineLoad
from harness.storage import run_log
from harness.storage.disk import Disk
from harness.storage.lock import LOCK_NAME, RunLock
from harness.storage.run_log import LOG_FILE, LogFile, handler_attached, logging_to_file
from harness.storage.store import Store
from harness.task import Failure, TaskEvent

LOGGER = logging.getLogger("oneclock")
CHILD = logging.getLogger("oneclock.tests")
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 (DEBUG|INFO|WARNING|ERROR) .+")


@pytest.fixture(autouse=True)
def logging_is_left_as_it_was() -> Iterator[None]:
    """No run leaves a handler, a level or another propagation behind."""
    before = list(LOGGER.handlers), LOGGER.level, LOGGER.propagate, list(logging.getLogger().handlers)
    yield
    assert (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate) == before[:3]
    assert set(logging.getLogger().handlers) <= set(before[3])


@pytest.fixture
def user() -> Iterator[Logged]:
    """A handler that a user has set on the root logger."""
    handler = Logged()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


class ReadOnly(Disk):
    def append(self, path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))


def run(folder: Path, **options: Any) -> Tables:
    options = {"pool": CountingPool, "report": False, **options}
    return harness.run(suite_file(folder, trial(steps=3)), results=folder, **options)


def lines(folder: Path) -> list[str]:
    return (folder / "toy" / LOG_FILE).read_text(encoding="utf-8").splitlines()


def test_a_run_is_told_line_by_line(tmp_path: Path) -> None:
    run(tmp_path)
    found = lines(tmp_path)
    assert all(LINE.fullmatch(line) for line in found), found
    text = "\n".join(found)
    assert re.search(r"DEBUG run begins: oneclock \S+, Python 3", text)
    assert re.search(r"INFO 2 trials: 0 already measured, 2 to do in \d+ tasks", text)
    assert re.search(r"DEBUG sample analytic:ddim-2 \[0, \d+\) starts in this process", text)
    assert re.search(r"DEBUG sample analytic:ddim-2 \[0, \d+\) ended after \d+\.\d\d s", text)
    assert re.search(r"INFO \[2/2\] analytic:ddim-3 +FID ", text)
    assert found[-1].endswith("DEBUG run ended")


def test_a_second_run_is_appended_without_doubled_lines(tmp_path: Path) -> None:
    run(tmp_path)
    first = lines(tmp_path)
    run(tmp_path)
    both = lines(tmp_path)
    assert both[: len(first)] == first
    second = both[len(first) :]
    assert len(second) < 15  # 11: its phases, that it has nothing to do, what it took
    assert sum("2 already measured, 0 to do" in line for line in second) == 1
    assert second[-1].endswith("DEBUG run ended")


def test_a_try_again_and_a_failure_stand_there(tmp_path: Path) -> None:
    class Short(CountingPool):
        """Reports every unit of the longer trial as out of memory."""

        def poll(self, seconds: float) -> list[TaskEvent]:
            events = super().poll(seconds)
            return [self._failed(told) if "-3 [" in told.unit.label else told for told in events]

        def _failed(self, told: TaskEvent) -> TaskEvent:
            self._running = None
            return TaskEvent(told.unit, Failure("out-of-memory", f"no room for {told.unit.label}"))

    run(tmp_path, pool=Short)
    text = "\n".join(lines(tmp_path))
    assert re.search(r"WARNING no room for sample .*-3 .*; trying again \(1 of 1\)", text)
    assert re.search(r"ERROR no room for sample .*-3 .* \(attempt 2\)", text)


def test_an_error_that_ends_a_run_stands_there_with_its_place(tmp_path: Path) -> None:
    def breaks() -> Any:
        raise RuntimeError("no pool today")

    with pytest.raises(RuntimeError):
        run(tmp_path, pool=breaks)
    text = (tmp_path / "toy" / LOG_FILE).read_text(encoding="utf-8")
    assert "DEBUG run ended by RuntimeError\nTraceback" in text
    assert "RuntimeError: no pool today" in text


def test_it_is_written_while_the_lock_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []

    def emit(handler: LogFile, record: logging.LogRecord) -> None:
        held.append((Path(handler.baseFilename).parent / LOCK_NAME).exists())

    monkeypatch.setattr(LogFile, "emit", emit)
    run(tmp_path)
    assert held
    assert all(held)


def test_a_refused_run_writes_no_line(tmp_path: Path) -> None:
    store = Store.create_or_open(tmp_path / "toy")
    with RunLock(store.folder), pytest.raises(LockedError):
        run(tmp_path)
    assert not (store.folder / LOG_FILE).exists()


def test_it_is_no_part_of_the_results(tmp_path: Path) -> None:
    run(tmp_path)
    store = Store(tmp_path / "toy")
    assert store.check() == []
    before = harness.load(store.folder)
    (store.folder / LOG_FILE).unlink()
    run(tmp_path)
    assert harness.load(store.folder).trials.equals(before.trials)
    assert "2 already measured, 0 to do" in (store.folder / LOG_FILE).read_text(encoding="utf-8")


def test_a_users_handlers_receive_what_they_have_asked_for(
    tmp_path: Path, user: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_load, "measure_machine_load", MachineLoad)  # a busy machine is a warning
    run(tmp_path)
    assert user.messages == []  # the root logger is at WARNING
    LOGGER.setLevel(logging.INFO)
    run(tmp_path)
    LOGGER.setLevel(logging.NOTSET)
    check, first, second = user.messages
    assert check.startswith("the ruler is straight")
    assert first == "2 trials: 2 already measured, 0 to do in 0 tasks"
    assert second.startswith("took ")


def test_the_debug_lines_reach_a_user_who_sets_the_level(tmp_path: Path, user: Logged) -> None:
    LOGGER.setLevel(logging.DEBUG)
    run(tmp_path)
    LOGGER.setLevel(logging.NOTSET)
    assert sum("starts in this process" in line for line in user.messages) > 2
    assert user.messages.count("run ended") == 1


def test_pytests_own_capture_works(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="oneclock")
    with logging_to_file(tmp_path):
        CHILD.debug("seen")
    assert "seen" in caplog.messages


def test_a_quiet_run_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "")


def test_a_logger_that_does_not_propagate_stays_so(tmp_path: Path, user: Logged) -> None:
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    try:
        run(tmp_path)
        assert not LOGGER.propagate
    finally:
        LOGGER.propagate = True
        LOGGER.setLevel(logging.NOTSET)
    assert user.messages == []


def test_two_runs_at_once_write_to_their_own_files(tmp_path: Path) -> None:
    begun, ended = threading.Event(), threading.Event()

    def other() -> None:
        (tmp_path / "b").mkdir()
        with logging_to_file(tmp_path / "b"):
            begun.set()
            ended.wait(10)
            CHILD.debug("in b")

    thread = threading.Thread(target=other)
    (tmp_path / "a").mkdir()
    with logging_to_file(tmp_path / "a"):
        thread.start()
        begun.wait(10)
        CHILD.debug("in a")
    ended.set()
    thread.join(10)
    texts = [(tmp_path / name / LOG_FILE).read_text() for name in "ab"]
    assert ["in a" in text for text in texts] == [True, False]
    assert ["in b" in text for text in texts] == [False, True]


def test_it_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "LOG_FILE_BYTES", 1000)
    with logging_to_file(tmp_path):
        for number in range(100):
            CHILD.info("line %d", number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOG_FILE, f"{LOG_FILE}.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 99" in (tmp_path / LOG_FILE).read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_costs_the_log_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LogFile, "_open", lambda handler: open("/dev/full", "a"))  # noqa: PTH123, SIM115
    assert len(run(tmp_path, quiet=False).trials) == 2
    found = capsys.readouterr().err
    assert found.count("log.txt cannot be written (No space left on device); the run continues without it") == 1
    assert "Traceback" not in found


@pytest.mark.parametrize("kind", ["folder", "link", "read-only"])
def test_a_log_that_cannot_be_opened_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = Store.create_or_open(tmp_path / "toy").folder / LOG_FILE
    elsewhere = tmp_path / "elsewhere"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(elsewhere)
    else:
        monkeypatch.setattr(run_log, "DISK", ReadOnly())
    assert len(run(tmp_path, quiet=False).trials) == 2
    assert capsys.readouterr().err.count("log.txt cannot be written") == 1
    assert not elsewhere.exists()


def test_a_line_that_cannot_be_formatted_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_file(tmp_path):
        CHILD.info("%d", "no number")
        CHILD.info("the next one")
    text = (tmp_path / LOG_FILE).read_text()
    assert "no number" not in text
    assert "the next one" in text
    assert capsys.readouterr().err == ""


def test_a_handler_is_closed_when_its_run_ends() -> None:
    stream = StringIO()
    with handler_attached(logging.StreamHandler(stream)):
        CHILD.debug("heard")
    CHILD.error("not heard")
    assert stream.getvalue() == "heard\n"
