"""A real Ray head with a dashboard and a token on this machine, for tests that send jobs to one."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 4


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def ray_head(home: Path, **variables: str) -> Iterator[tuple[str, dict[str, str], Path]]:
    """Run a head whose user's home is a folder.

    Yield its dashboard's address, the environment of its users, and its folder of logs.
    """
    (home / ".ray").mkdir(parents=True, exist_ok=True)
    (home / ".ray" / "auth_token").write_text(TOKEN)
    temp = Path(f"/tmp/oneclock-{os.getpid()}-{secrets.token_hex(2)}")  # a socket's path must be short
    own = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env = {
        **own,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # tests share their machine
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    dashboard = free_port()
    words = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=1"),
        *("--node-ip-address=127.0.0.1", f"--port={free_port()}", "--disable-usage-stats"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={temp}"),
        *(f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"),
    ]
    with (home / "ray.log").open("a") as log:
        head = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(dashboard)
        yield f"http://127.0.0.1:{dashboard}", env, temp / "session_latest" / "logs"
    finally:
        head.terminate()  # with --block, ray ends its own processes
        try:
            head.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, 9)
            head.wait()
        shutil.rmtree(temp, ignore_errors=True)


def command_line(env: dict[str, str], *words: str, seconds: float = 300) -> tuple[int, str, str]:
    """Run `oneclock` with these words; return its exit code, stdout and stderr."""
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def _wait_for(port: int) -> None:
    """Wait until something listens at a port."""
    for _ in range(900):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at {port}")
