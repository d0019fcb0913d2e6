"""The trainings of the zoo as processes: run two at a time, pause and resume all of them.

Each training is a separate process at lowest priority, with one thread. Its lock file holds its
process id. This process starts them and shows what they print. It may be killed: the next call
finds those that still run.
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

from harness.errors import HarnessError, UsageError
from harness.specs.limits import TRAINING_END_SECONDS, TRAINING_LOCK_BEAT_SECONDS, TRAINING_POLL_SECONDS
from harness.storage.lock import RunLock, holder
from harness.zoo.recipes import ListedTraining, pick_trainings, select_unfinished
from harness.zoo.run import PAUSED, TRAININGS

AT_ONCE = 2
"""Trainings that run side by side, one core each."""
NICE = 19
LOG = "log.txt"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_trainings(results: Path, names: Iterable[str] = ()) -> None:
    """Run the unfinished trainings that the names pick, all by default.

    Return when they have ended.

    A network's name picks its trainings from every seed, `NETWORK-seedN` one of them. If one
    fails, the others run all the same. Raises UsageError for an unknown name and while the
    trainings are paused, LockedError while another call runs them, HarnessError at the end if one
    did not finish.
    """
    wanted = list(names)
    todo = select_unfinished(pick_trainings(wanted))
    if (results / TRAININGS / PAUSED).exists():
        raise UsageError("the trainings are paused; expected them to go on, so run `make zoo-resume` first")
    if not todo:
        of_names = f" of {', '.join(wanted)}" if wanted else ""
        print(f"zoo: every training{of_names} is finished", file=sys.stderr)
        return
    with RunLock(results / TRAININGS, TRAINING_LOCK_BEAT_SECONDS):
        _run_all(results, todo)


def _run_all(results: Path, todo: list[ListedTraining]) -> None:
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
        _stop_all(running.values())

    if failed:
        logs = ", ".join(str(_folder(results, name) / LOG) for name in failed)
        raise HarnessError(f"not finished: {', '.join(failed)}; see {logs}")


def pause_trainings(results: Path) -> list[str]:
    """Stop every running training with SIGSTOP and start no other.

    Return the names of those that ran.
    """
    (results / TRAININGS).mkdir(parents=True, exist_ok=True)
    (results / TRAININGS / PAUSED).touch()
    return [name for name, pid in _running_trainings(results) if _send_signal(pid, signal.SIGSTOP)]


def resume_trainings(results: Path) -> list[str]:
    """Let every paused training go on, by SIGCONT; return their names."""
    (results / TRAININGS / PAUSED).unlink(missing_ok=True)
    return [name for name, pid in _running_trainings(results) if _send_signal(pid, signal.SIGCONT)]


def _start_next(
    results: Path, todo: list[ListedTraining], running: dict[str, subprocess.Popen[bytes]], shown: dict[str, int]
) -> None:
    """Start trainings until as many run as may; those of an earlier call count."""
    paused = (results / TRAININGS / PAUSED).exists()
    others = {name for name, _ in _running_trainings(results)} - running.keys()
    while todo and not paused and len(running) + len(others) < AT_ONCE:
        training = todo.pop(0)
        if training.name in others:
            continue  # an earlier call started it, and it goes on

        # a log of its own, shown from where it ends now
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
    """Give this process and its session the lowest priority.

    Linux may first share a core among sessions (autogroup). A process's nice value then counts
    inside its session alone, and the session's value is set through a file.
    """
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def _command(training: ListedTraining, results: Path) -> list[str]:
    recipe = training.recipe
    seed = ["--set", f"train.seed={training.seed}"] if training.seed else []
    verb = [sys.executable, "-m", "harness", "train", recipe.dataset, recipe.network]
    return [*verb, *seed, "--into", "zoo", "--results", str(results)]


def _show_new_lines(results: Path, name: str, shown: dict[str, int]) -> None:
    """Print the complete lines that were added to a training's log."""
    log = _folder(results, name) / LOG
    with log.open("rb") as stream:
        stream.seek(shown[name])
        lines = stream.read()
    whole = lines[: lines.rfind(b"\n") + 1]
    shown[name] += len(whole)
    sys.stderr.write(whole.decode(errors="replace"))
    sys.stderr.flush()


def _stop_all(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Stop each between two steps by SIGTERM, so that nothing is lost.

    Kill it after two minutes.
    """
    live = [process for process in processes if process.poll() is None]
    for process in live:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    for process in live:
        try:
            process.wait(timeout=TRAINING_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _running_trainings(results: Path) -> Iterator[tuple[str, int]]:
    """Yield name and process id of every training whose process holds its lock."""
    for folder in sorted((results / TRAININGS).glob("*/")):
        pid = holder(folder)
        if pid is not None:
            yield folder.name, pid


def _send_signal(pid: int, number: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        return True
    return False


def _folder(results: Path, name: str) -> Path:
    return results / TRAININGS / name
