"""The Ray cluster under the pool: how it is joined or started here, and whether it is still there."""

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
"""What of the source tree does not travel to a cluster."""


class Cluster:
    """Whether the cluster that this process has joined is still there. Ray itself would end the process."""

    def __init__(self) -> None:
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self.place = host.strip("[]"), int(port)
        self.gone = False
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="cluster-watch", daemon=True).start()

    def check(self) -> None:
        """Raise HarnessError if several looks in a row have found nothing."""
        if self.gone:
            raise HarnessError(
                f"the Ray cluster at {self.place[0]}:{self.place[1]} is gone; what was finished is kept, "
                "run again to continue, on this cluster or another"
            )

    def insist(self) -> None:
        """Look until the cluster answers; raise HarnessError if it does not. This can take seconds."""
        for _ in range(MOST_FAILED_POLLS):
            if self._answers():
                return
            time.sleep(CLUSTER_POLL_SECONDS)
        self.gone = True
        self.check()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _watch(self) -> None:
        missed = 0
        while not self._closed.wait(CLUSTER_POLL_AGAIN_SECONDS if missed else CLUSTER_POLL_SECONDS):
            missed = 0 if self._answers() else missed + 1
            if missed >= MOST_FAILED_POLLS:
                self.gone = True
                return

    def _answers(self) -> bool:
        try:
            socket.create_connection(self.place, timeout=CLUSTER_CONNECT_SECONDS).close()
        except OSError:
            return False
        return True


def connect(address: str | None) -> bool:
    """Join the cluster at an address (or RAY_ADDRESS), or start one here; return whether it is ours to end.

    A Ray that this process has already joined is used as it is.
    """
    if ray.is_initialized():
        return False
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # local clusters have a token by default
    address = address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address in (None, "", "local"):
        cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
        _have_token()
        with signals.restored_handlers():  # Ray takes SIGTERM for itself
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **common)
        return True
    if str(address).startswith("ray://"):
        raise UsageError(
            f"address is {address}; Ray's client protocol cannot stream what workers tell: run on a machine of the "
            "cluster with --address HOST:6379, or use `oneclock submit --address http://HOST:8265`"
        )
    root = Path(__file__).resolve().parents[2]
    env = None if os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") else {"working_dir": str(root), "excludes": EXCLUDES}
    try:
        with signals.restored_handlers():
            ray.init(address=address, runtime_env=env, **common)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        ray.shutdown()
        reason = " ".join(str(error).split())[:200]
        if "token" in reason.lower() or "auth" in reason.lower():
            raise UsageError(
                f"the Ray cluster at {address} refuses us ({reason}); set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            ) from None
        raise UsageError(f"no Ray cluster answers at {address} ({reason}); start one with `ray start --head`") from None
    return True


def _have_token() -> None:
    """Make a token for this process alone where Ray, which keeps a new one in ~/.ray, cannot write it."""
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    folder = Path.home() / ".ray"
    if given or (folder / "auth_token").is_file():
        return
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
