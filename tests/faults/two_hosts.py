"""Two hosts on one machine: a Ray head and a Ray worker in network namespaces, a device each. Run as root.

Usage: python -P tests/faults/two_hosts.py. Neither host resolves its own name, as without entries in a hosts file. A
network is trained by two workers and sampled by SRDS on two devices, so every group spans both hosts. It prints the
rows and ends with 0 where both are VALID; namespaces and processes are removed at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NET, PORT = "10.77.23", 6399
LIMIT = 420
"""Seconds for the whole."""
SUITE = """
name = "two-hosts"
title = "one training and one sampler over two hosts"
dataset = "digits"
network = "unet-tiny"
extractor = "pixels"
n_images = 80
batch = 20

[baseline]
clock_steps = 4

[timing]
tier = "smoke"
batch = 10

[networks.unet-tiny.train]
steps = 6
batch = 8
workers = 2
lr = 1e-3

[[trials]]
steps = 4

[[trials]]
steps = 4
executor = { name = "srds", devices = 2 }
"""


def run(*words: str, check: bool = True) -> None:
    """Run a command of the system."""
    subprocess.run(words, check=check, capture_output=not check)


def inside(number: int, folder: Path, *words: str) -> list[str]:
    """Return a command line that runs on one of the hosts, which has a name that nothing resolves."""
    script = f"hostname oneclock-host-{number}; exec {' '.join(words)}"
    return ["ip", "netns", "exec", _name(number), "unshare", "--uts", "sh", "-c", script]


def make_hosts(stack: ExitStack) -> None:
    """Make two namespaces with a cable between them; they are removed with the stack."""
    for number in (1, 2):
        run("ip", "netns", "add", _name(number))
        stack.callback(run, "ip", "netns", "del", _name(number), check=False)
    cable = f"oc{os.getpid() % 10000}"
    ends = [f"{cable}a", f"{cable}b"]
    run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    for number, end in enumerate(ends, 1):
        run("ip", "link", "set", end, "netns", _name(number))
        for words in (
            ("addr", "add", f"{NET}.{number}/24", "dev", end),
            ("link", "set", end, "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-n", _name(number), *words)


def start(number: int, folder: Path, variables: dict[str, str], stack: ExitStack, *options: str) -> None:
    """Start Ray on a host, with one core; it is ended with the stack."""
    ray = str(Path(sys.executable).with_name("ray"))
    options = (f"--node-ip-address={NET}.{number}", "--num-cpus=1", "--disable-usage-stats", "--block", *options)
    with (folder / f"ray-{number}.log").open("w") as log:
        process = subprocess.Popen(
            inside(number, folder, ray, "start", *options),
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    stack.callback(_end, process)


def main() -> int:
    """Make the hosts, run the suite, and return its exit code."""
    folder = Path(tempfile.mkdtemp(prefix="oc-", dir="/tmp"))  # a socket's path must be short
    (folder / "suite.toml").write_text(SUITE)
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GLOO_", "NCCL_"))},
        **{"RAY_TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"},
        **{"RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0"},
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        make_hosts(stack)
        head = f"{NET}.1:{PORT}"
        start(1, folder, variables, stack, "--head", f"--port={PORT}", "--include-dashboard=false")
        _wait(inside(1, folder, sys.executable, "-c", f"'{_CONNECT}'", NET + ".1", str(PORT)))
        start(2, folder, variables, stack, f"--address={head}")
        words = ["-m", "harness", "run", str(folder / "suite.toml"), "--results", str(folder), "--address", head]
        waited = [sys.executable, "-c", f"'{_TWO_NODES}'", head]
        _wait(inside(1, folder, *waited), variables)
        done = subprocess.run(inside(1, folder, sys.executable, *words), env=variables, cwd=ROOT, timeout=LIMIT)
        print(*(line for line in _board(folder)), sep="\n")
        return done.returncode


_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
_TWO_NODES = (
    'import ray, sys; ray.init(sys.argv[1], logging_level=50); sys.exit(ray.cluster_resources().get("CPU") != 2)'
)


def _wait(words: list[str], variables: dict[str, str] | None = None) -> None:
    until = time.monotonic() + LIMIT / 2
    while subprocess.run(words, env=variables, capture_output=True, timeout=LIMIT).returncode:
        if time.monotonic() > until:
            raise SystemExit("Ray did not come up on both hosts")
        time.sleep(0.5)


def _board(folder: Path) -> list[str]:
    board = folder / "two-hosts" / "leaderboard.md"
    return board.read_text(encoding="utf-8").splitlines() if board.is_file() else []


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _name(number: int) -> str:
    return f"oneclock-{os.getpid()}-{number}"


if __name__ == "__main__":
    sys.exit(main())
