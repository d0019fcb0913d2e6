"""Drivers to be killed: run as a script, forks them and writes what happened to standard output as JSON.

One script per test rather than one interpreter per driver: starting pyarrow costs more than a round.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import harness.storage.store
from harness.errors import LockedError
from harness.identity import content_hash
from harness.storage.disk import Disk
from harness.storage.lock import RunLock
from harness.storage.store import Store

STEPS = ("create", "write", "sync", "read_back", "link", "rename", "sync_folder", "unlink")
PLAN = [content_hash(number) for number in range(8)]
MEET_SECONDS = 9.0  # the longest that one child waits for the other


def tables(trial_id: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows of a trial, which depend on its id alone."""
    number = int(trial_id[:6], 16)
    return {
        "trials": [{"suite": "toy", "fid": number / 7, "status": "finished", "verdict": "VALID", "reasons": ""}],
        "steps": [{"step": step, "sigma": 1.0 / (step + 1)} for step in range(3)],
    }


def remembering(encode):
    """Return an encoder of rows that works once for equal rows."""
    known: dict[str, bytes] = {}

    def remembered(table: str, rows: object) -> bytes:
        key = repr((table, rows))
        if key not in known:
            known[key] = encode(table, rows)
        return known[key]

    return remembered


class Counting(Disk):
    """Calls `strike` before the n-th write step; on `torn`, half of the bytes have been written by then."""

    def __init__(self, at: int, torn: bool = False) -> None:
        self.count, self.at, self.torn = 0, at, torn

    def strike(self) -> None:
        """End the process as the power switch would."""
        os.kill(os.getpid(), signal.SIGKILL)

    def __getattribute__(self, name: str):
        found = super().__getattribute__(name)
        if name not in STEPS:
            return found

        def step(*arguments):
            self.count += 1
            if self.count == self.at:
                if self.torn and name == "write":
                    found(arguments[0], arguments[1][: len(arguments[1]) // 2])
                self.strike()
            return found(*arguments)

        return step


def fork(work) -> int:
    """Run `work` in a child with a time limit; its exit status is the number that it returns."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(20)
    code = 70
    try:
        code = work()
    except LockedError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except Exception:
        traceback.print_exc()  # the parent shows it if the code is not the expected one
    finally:
        os._exit(code)


def end(pid: int) -> int:
    """Wait for a child and return its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def commit_missing(folder: Path, disk: Disk, plan: list[str]) -> int:
    """Do what a driver does: open the store and commit what is not finished."""
    store = Store.create_or_open(folder, disk)
    done = store.snapshot().finished()
    for trial_id in plan:
        if trial_id not in done:
            store.commit(trial_id, tables(trial_id))
    return 0


def steps(base: Path) -> list[int]:
    """Kill one driver at every write step of its life (making the store, one commit), then half-way in every write."""
    codes: list[int] = []
    for at, torn in [*((at, False) for at in range(1, 30)), *((at, True) for at in range(2, 30, 7))]:
        folder = base / str(len(codes))
        codes.append(end(fork(lambda f=folder, a=at, t=torn: commit_missing(f, Counting(a, t), PLAN[:1]))))
    return codes


def kills(folder: Path, rounds: int) -> list[int]:
    """Kill drivers of one folder at random moments, noting after each how many trials were finished."""
    chance, finished = random.Random(7), []
    for _ in range(rounds):
        pid = fork(lambda: commit_missing(folder, Disk(), PLAN))
        time.sleep(chance.uniform(0.002, 0.05))
        os.kill(pid, signal.SIGKILL)
        end(pid)
        finished.append(len(Store.create_or_open(folder).snapshot().finished()))
    end(fork(lambda: commit_missing(folder, Disk(), PLAN)))
    return finished


def race(base: Path, rounds: int, locked: bool) -> list[list[int]]:
    """Start two drivers of one folder at the same moment, with or without the lock.

    Whoever has the lock keeps it until the other is refused, or has it too: both meet there, however slow they are.
    """
    codes = []
    for number in range(rounds):
        folder, both = base / str(number), multiprocessing.get_context("fork").Barrier(2)

        def drive(folder=folder, both=both) -> int:
            both.wait(MEET_SECONDS)
            if not locked:
                return commit_missing(folder, Disk(), PLAN[:3])
            try:
                with RunLock(folder):
                    commit_missing(folder, Disk(), PLAN[:1])
                    both.wait(MEET_SECONDS)
            except LockedError:
                both.wait(MEET_SECONDS)
                raise
            return 0

        codes.append(sorted(end(pid) for pid in (fork(drive), fork(drive))))
    return codes


def main() -> None:
    """Run the scenario named on the command line: steps, kills, locked or unlocked."""
    harness.storage.store.encode = remembering(harness.storage.store.encode)
    with tempfile.TemporaryDirectory() as warm:  # every child inherits what is imported and encoded here
        commit_missing(Path(warm), Disk(), PLAN)
    scenario, base, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if scenario == "steps":
        result: object = steps(base)
    elif scenario == "kills":
        result = kills(base, rounds)
    else:
        result = race(base, rounds, scenario == "locked")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
