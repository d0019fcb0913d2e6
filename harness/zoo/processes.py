"""The trainings of the zoo as processes: run the list two at a time, pause them, let them go on, say where they are.

Each training is a process of its own at lowest priority, with one thread; its lock file holds its process id. This one
only starts them and shows what they print, so it may be killed too: what still runs is met again by the next one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError, UsageError, did_you_mean
from harness.specs.limits import TRAINING_END_SECONDS, TRAINING_LOCK_BEAT_SECONDS, TRAINING_POLL_SECONDS
from harness.storage.lock import RunLock, holder
from harness.zoo.recipes import Training, all_trainings, unfinished
from harness.zoo.run import PAUSED, TRAININGS

AT_ONCE = 2
"""Trainings that run side by side, one core each."""
NICE = 19
LOG = "log.txt"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_trainings(results: Path, names: Iterable[str] = ()) -> None:
    """Run what is unfinished of the list, or of these names, until all is finished; a failure ends it at the end.

    Raises UsageError for an unknown name and while the trainings are paused, LockedError while another call runs
    them, HarnessError if one did not finish.
    """
    todo = list(_chosen(names))
    if (results / TRAININGS / PAUSED).exists():
        raise UsageError("the trainings are paused; expected them to go on, so run `make zoo-resume` first")
    if not todo:
        print("zoo: every training is finished", file=sys.stderr)
        return
    with RunLock(results / TRAININGS, TRAINING_LOCK_BEAT_SECONDS):
        _run_all(results, todo)


def _run_all(results: Path, todo: list[Training]) -> None:
    running: dict[str, subprocess.Popen[bytes]] = {}
    shown: dict[str, int] = {}
    failed: list[str] = []
    try:
        while todo or running:
            _start_next(results, todo, running, shown)
            time.sleep(TRAINING_POLL_SECONDS)
            for name, process in list(running.items()):
                ended = process.poll() is not None
                _show_new_lines(results, name, shown)
                if ended:
                    del running[name]
                    failed += [name] if process.returncode else []
    finally:
        _end(running.values())
    if failed:
        logs = ", ".join(str(_folder(results, name) / LOG) for name in failed)
        raise HarnessError(f"not finished: {', '.join(failed)}; see {logs}")


def pause(results: Path) -> list[str]:
    """Stop every training where it is, and start no other; return the names of those that ran."""
    (results / TRAININGS).mkdir(parents=True, exist_ok=True)
    (results / TRAININGS / PAUSED).touch()
    return [name for name, pid in _live(results) if _signalled(pid, signal.SIGSTOP)]


def resume(results: Path) -> list[str]:
    """Let every training that was paused go on; return their names."""
    (results / TRAININGS / PAUSED).unlink(missing_ok=True)
    return [name for name, pid in _live(results) if _signalled(pid, signal.SIGCONT)]


def _chosen(names: Iterable[str]) -> Iterator[Training]:
    wanted, listed = list(names), {training.name: training for training in all_trainings()}
    for name in wanted:
        if name not in listed:
            raise UsageError(f'zoo training "{name[:80]}" is not listed{did_you_mean(name, listed)}')
    return unfinished(training for name, training in listed.items() if not wanted or name in wanted)


def _start_next(
    results: Path, todo: list[Training], running: dict[str, subprocess.Popen[bytes]], shown: dict[str, int]
) -> None:
    paused = (results / TRAININGS / PAUSED).exists()
    others = {name for name, _ in _live(results)} - running.keys()
    while todo and not paused and len(running) + len(others) < AT_ONCE:
        training = todo.pop(0)
        if training.name in others:
            continue  # an earlier call started it, and it goes on
        folder = _folder(results, training.name)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / LOG
        shown[training.name] = log.stat().st_size if log.exists() else 0
        with log.open("ab") as stream:
            running[training.name] = subprocess.Popen(
                _command(training, results),
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,
                preexec_fn=_take_lowest_priority,
            )


def _take_lowest_priority() -> None:
    """Make this process, and the session that it leads, yield to all others.

    Linux may share a core among sessions first (autogroup), where a process's own nice value counts inside its session
    alone; the session's value is set through a file of its own.
    """
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def _command(training: Training, results: Path) -> list[str]:
    recipe = training.recipe
    seed = ["--set", f"train.seed={training.seed}"] if training.seed else []
    verb = [sys.executable, "-m", "harness", "train", recipe.dataset, recipe.network]
    return [*verb, *seed, "--into", "zoo", "--results", str(results)]


def _show_new_lines(results: Path, name: str, shown: dict[str, int]) -> None:
    log = _folder(results, name) / LOG
    with log.open("rb") as stream:
        stream.seek(shown[name])
        lines = stream.read()
    whole = lines[: lines.rfind(b"\n") + 1]
    shown[name] += len(whole)
    sys.stderr.write(whole.decode(errors="replace"))
    sys.stderr.flush()


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask each to stop between two steps, so that nothing of it is lost; kill what does not listen."""
    live = [process for process in processes if process.poll() is None]
    for process in live:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    for process in live:
        try:
            process.wait(timeout=TRAINING_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _live(results: Path) -> Iterator[tuple[str, int]]:
    """Yield name and process id of every training that holds its lock and lives."""
    for folder in sorted((results / TRAININGS).glob("*/")):
        pid = holder(folder)
        if pid is not None:
            yield folder.name, pid


def _signalled(pid: int, number: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        return True
    return False


def _folder(results: Path, name: str) -> Path:
    return results / TRAININGS / name
