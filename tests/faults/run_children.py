"""Drivers that are killed: one process imports everything, each round forks a driver and sends it a signal.

Usage: run_children.py SCENARIO FOLDER ROUNDS; prints a JSON answer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from kit.fast_runs import make_runs_fast
from kit.faulty import slow_suite, suite

from harness.api import run
from harness.cli import main as command_line
from harness.measure.deepspeed_start import load_deepspeed
from harness.pools.local import LocalPool

make_runs_fast()

WANTED = [{"solver": "heun", "steps": 2}, {"solver": "ddim", "steps": [3, 4]}]
NET = {"train": {"steps": 120, "batch": 16, "checkpoint_every": 20}}


def driver(folder: Path, wanted: Any) -> int:
    """Fork a driver of its own process group; return its pid."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setpgid(0, 0)
            log = os.open(folder.parent / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = ["oneclock"]
            import harness.cli.app as app

            app.app = lambda standalone_mode: _run(folder, wanted)
            command_line()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    return pid


def _run(folder: Path, wanted: Any, pool: Any = LocalPool) -> int:
    """Do as the command does."""
    try:
        tables = run(wanted, results=folder, pool=pool, quiet=False)
    except KeyboardInterrupt:
        return 130  # typer turns Ctrl-C into this
    return 0 if tables.all_valid else 1


def ended(pid: int, seconds: float) -> int:
    """Return a child's exit code; kill it after some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 99


def appears(folder: Path, pattern: str, seconds: float) -> bool:
    """Wait until a file is there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if any(folder.glob(pattern)):
            return True
        time.sleep(0.005)
    return False


def kills(folder: Path, rounds: int) -> Any:
    """Kill drivers at random times, then let one finish."""
    rng, codes = random.Random(1), []
    wanted = suite(WANTED)
    for _ in range(rounds):
        pid = driver(folder, wanted)
        time.sleep(rng.uniform(0.02, 0.9))
        os.kill(pid, signal.SIGKILL)
        codes.append(ended(pid, 10))
    codes.append(ended(driver(folder, wanted), 60))
    return codes


def signals(folder: Path, rounds: int) -> Any:
    """Ctrl-C once, Ctrl-C twice, SIGTERM, each while a slow trial runs; then let one finish."""
    codes = []
    wanted = slow_suite(n_images=120)
    for sent in ([signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM]):
        pid = driver(folder, wanted)
        began = appears(folder / "tiny", "run.lock", 20) and appears(folder / "tiny" / "tasks", "*.arrays", 20)
        time.sleep(0.3)
        for number in sent:
            os.kill(pid, number)
            time.sleep(0.1)
        codes.append([began, ended(pid, 20), (folder / "tiny" / "run.lock").exists()])
    codes.append(ended(driver(folder, wanted), 60))
    return codes


def training(folder: Path, rounds: int) -> Any:
    """Kill a driver after its training kept a checkpoint; the next one continues there."""
    wanted = suite(
        [], dataset="digits", network="unet-tiny", precision="float32", networks={"unet-tiny": NET}, n_images=80
    )
    load_deepspeed("cpu")  # once, for both drivers
    pid = driver(folder, wanted)
    kept = appears(folder / "zoo", "*-partial.safetensors", 60)
    os.kill(pid, signal.SIGKILL)
    codes = [kept, ended(pid, 10)]
    return [*codes, ended(driver(folder, wanted), 100)]


def remote(folder: Path, rounds: int) -> Any:
    """Be the driver of two runs on the cluster whose address the file `address` holds."""
    import harness.cli.app as app
    from harness.pools.cluster import connect
    from harness.pools.ray import RayPool

    connect((folder.parent / "address").read_text())
    (folder.parent / "connected").touch()
    assert appears(folder.parent, "go", 150)
    for name in ("loses-a-node", "loses-all"):
        wanted = slow_suite(name=name, n_images=400)
        app.app = lambda standalone_mode, wanted=wanted: _run(folder, wanted, RayPool)
        command_line()
        print(name, "ended", file=sys.stderr, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[2])
    print(
        json.dumps(
            {"kills": kills, "signals": signals, "training": training, "remote": remote}[sys.argv[1]](
                place, int(sys.argv[3])
            )
        )
    )
