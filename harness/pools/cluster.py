"""The Ray cluster under the pool: joins or starts it, and checks whether it is still reachable."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # by default 15: then timed calls wait for whatever else runs

import ray

from harness import signals
from harness.errors import HarnessError, UsageError
from harness.specs.limits import (
    CLUSTER_CONNECT_SECONDS,
    CLUSTER_POLL_AGAIN_SECONDS,
    CLUSTER_POLL_SECONDS,
    MOST_FAILED_POLLS,
)

EXCLUDES = ["results", ".venv", ".git", "*.parquet", "build", "dist", "**/__pycache__"]
"""Patterns of the source tree that are not sent to a cluster."""
_RAY_OPTIONS: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}


class Cluster:
    """Probes, in a thread, the cluster that this process has joined.

    Ray itself would end the process.
    """

    def __init__(self) -> None:
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self.endpoint = host.strip("[]"), int(port)
        self.gone = False
        self._closed = threading.Event()
        threading.Thread(target=self._poll, name="cluster-watch", daemon=True).start()

    def raise_if_gone(self) -> None:
        """Raise HarnessError after `MOST_FAILED_POLLS` failed probes in a row. Does not block."""
        if self.gone:
            raise HarnessError(
                f"the Ray cluster at {self.endpoint[0]}:{self.endpoint[1]} is gone; what was finished is kept, "
                "run again to continue, on this cluster or another"
            )

    def check_alive(self) -> None:
        """Probe the cluster until it is reachable; HarnessError if it stays lost.

        Blocks for seconds.
        """
        for _ in range(MOST_FAILED_POLLS):
            if self._is_reachable():
                return
            time.sleep(CLUSTER_POLL_SECONDS)
        self.gone = True
        self.raise_if_gone()

    def close(self) -> None:
        """Stop probing."""
        self._closed.set()

    def _poll(self) -> None:
        failed = 0
        while not self._closed.wait(CLUSTER_POLL_AGAIN_SECONDS if failed else CLUSTER_POLL_SECONDS):
            failed = 0 if self._is_reachable() else failed + 1
            if failed >= MOST_FAILED_POLLS:
                self.gone = True
                return

    def _is_reachable(self) -> bool:
        try:
            socket.create_connection(self.endpoint, timeout=CLUSTER_CONNECT_SECONDS).close()
        except OSError:
            return False
        return True


def connect(address: str | None) -> bool:
    """Join the cluster at an address (or RAY_ADDRESS), or start one here.

    Return whether we have to stop it. A Ray that this process has already joined is used as it is.
    Raises UsageError if no cluster can be joined.
    """
    if ray.is_initialized():
        return False
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # local clusters have a token by default
    address = address or os.environ.get("RAY_ADDRESS")
    if address in (None, "", "local"):
        _start_local()
    else:
        _join(str(address))
    return True


def count_cluster_devices() -> tuple[int, int]:
    """Return the whole devices of the cluster that this process has joined, and the number of hosts that have them.

    Devices are GPUs where it has any, else CPU cores.
    """
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) else "CPU"
    found = [int(node["Resources"].get(kind, 0)) for node in ray.nodes() if node["Alive"]]
    return max(sum(found), 1), max(sum(count > 0 for count in found), 1)


def _start_local() -> None:
    """Start a cluster on the cores of this machine that this process may use."""
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
    _ensure_token()
    with signals.restored_handlers():  # Ray sets its own handler for SIGTERM
        ray.init(address="local", num_cpus=cores, include_dashboard=False, **_RAY_OPTIONS)


def _join(address: str) -> None:
    """Join the cluster at an address, with our source tree as its working folder.

    UsageError if that fails.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"address is {address}; Ray's client protocol cannot stream events of workers: run on a machine of the "
            "cluster with --address HOST:6379, or use `oneclock submit --address http://HOST:8265`"
        )

    # a job of the cluster has its working folder already
    root = Path(__file__).resolve().parents[2]
    env = None if os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") else {"working_dir": str(root), "excludes": EXCLUDES}
    try:
        with signals.restored_handlers():
            ray.init(address=address, runtime_env=env, **_RAY_OPTIONS)

    # what to do about it, in a sentence
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        ray.shutdown()
        reason = " ".join(str(error).split())[:200]
        if "token" in reason.lower() or "auth" in reason.lower():
            raise UsageError(
                f"the Ray cluster at {address} refuses us ({reason}); set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            ) from None
        raise UsageError(f"no Ray cluster answers at {address} ({reason}); start one with `ray start --head`") from None


def _ensure_token() -> None:
    """Set a token for this process where Ray cannot write a new one to ~/.ray."""
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    folder = Path.home() / ".ray"
    if given or (folder / "auth_token").is_file():
        return
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
