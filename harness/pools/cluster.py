"""The Ray cluster under the pool: joins or starts it, and checks whether it is still reachable."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any

from harness.pools.local_ray import LOCAL_RAY, VARIABLES, StartFailedError

os.environ.update({**VARIABLES, **os.environ})

import grpc
import ray
from ray import _raylet

from harness import signals
from harness.errors import HarnessError, UsageError
from harness.source_tree import ROOT, is_source_tree
from harness.specs.limits import (
    CLUSTER_CONNECT_SECONDS,
    CLUSTER_POLL_AGAIN_SECONDS,
    CLUSTER_POLL_SECONDS,
    MOST_FAILED_POLLS,
    RAY_START_SECONDS,
)

EXCLUDES = ["results", ".venv", ".git", "*.parquet", "build", "dist", "**/__pycache__"]
"""Patterns of the source tree that are not sent to a cluster."""
_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""The first call of whoever joins a cluster."""
_NO_NODE = ("No node info found matching", "Failed to get node info for possible node ids")
"""How Ray says that none of a cluster's nodes is this machine."""
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
    Raises UsageError if no cluster can be joined or started.
    """
    if ray.is_initialized():
        return False
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # local clusters have a token by default
    address = address or os.environ.get("RAY_ADDRESS")
    if address in (None, "", "local"):
        LOCAL_RAY.start(_join_local)
    else:
        _join(str(address))
    return True


def disconnect() -> None:
    """Leave the cluster that `connect` has joined, and end it if it was started there."""
    ray.shutdown()
    LOCAL_RAY.end()


def _join_local(address: str) -> None:
    """Join the cluster that was started here; StartFailedError if that fails."""
    # a notebook may have imported Ray before RAY_AUTH_MODE was set: read it again
    _raylet.Config.initialize("")  # type: ignore[attr-defined]
    overdue = threading.Timer(RAY_START_SECONDS, LOCAL_RAY.end, [LOCAL_RAY.starts])
    overdue.daemon = True
    overdue.start()
    try:
        with signals.restored_handlers():  # Ray sets its own handler for SIGTERM
            ray.init(address=address, **_RAY_OPTIONS)
    except Exception as error:
        ray.shutdown()
        raise StartFailedError(" ".join(str(error).split())[:200]) from None
    finally:
        overdue.cancel()


def _join(address: str) -> None:
    """Join the cluster at an address, with our source tree as its working folder.

    UsageError if that fails.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"address is {address}; Ray's client protocol cannot stream events of workers: run on a machine of the "
            "cluster with --address HOST:6379, or use `oneclock submit --address http://HOST:8265`"
        )

    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"address is {address}, a dashboard; send a job to it with `oneclock submit --address {address}`, or run "
            "on a machine of the cluster with --address HOST:6379"
        )
    _check_endpoint(address)

    # a job of the cluster has its working folder already; an installed package is installed on every node
    is_there = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or not is_source_tree()
    env = None if is_there else {"working_dir": str(ROOT), "excludes": EXCLUDES}
    try:
        with signals.restored_handlers():
            ray.init(address=address, runtime_env=env, **_RAY_OPTIONS)

    # what to do about it, in a sentence
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        ray.shutdown()
        reason = " ".join(str(error).split())[:200]
        if any(words in reason for words in _NO_NODE):
            raise UsageError(
                f"the Ray cluster at {address} answers, but this machine is none of its nodes; run on one of them, "
                f"join it with `ray start --address {address}`, or use `oneclock submit --address http://HOST:8265`"
            ) from None
        if "token" in reason.lower() or "auth" in reason.lower():
            raise UsageError(
                f"the Ray cluster at {address} refuses us ({reason}); set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            ) from None
        raise UsageError(_no_cluster(address, reason)) from None


def _check_endpoint(address: str) -> None:
    """UsageError if HOST:PORT takes no connection, or what listens there is no cluster.

    Ray itself would try for half a minute and print lines of its own meanwhile.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CLUSTER_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(_no_cluster(address, str(error))) from None
    if "RAY_USE_TLS" not in os.environ and _speaks_plain_http(address):
        raise UsageError(_no_cluster(address, "what answers there is a web server or a proxy"))


def _speaks_plain_http(address: str) -> bool:
    """Tell whether a call of a Ray cluster is answered with a page: by a dashboard, a web server, a proxy."""
    options = (("grpc.enable_http_proxy", 0),)
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            channel.unary_unary(_CALL)(b"", timeout=CLUSTER_CONNECT_SECONDS)
        except grpc.RpcError as error:
            return "http" in str(error.details()).lower()
    return False


def _no_cluster(address: str, reason: str) -> str:
    return f"no Ray cluster answers at {address} ({reason}); start one with `ray start --head`"
