"""A short look at a Ray dashboard before Ray's client is used, which itself waits without a limit."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import requests

from harness.cli import in_one_line
from harness.errors import UsageError
from harness.specs.limits import CLUSTER_CONNECT_SECONDS, DASHBOARD_SECONDS


def check_dashboard(address: str) -> None:
    """Raise UsageError where nothing replies at a URL, or only a proxy does. Blocks for seconds at most.

    A refusal, as of a wrong token, is left to Ray's client.
    """
    split = urlsplit(address)
    host = split.hostname
    try:
        port = split.port or (443 if split.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if not host:
        raise UsageError(f'the cluster\'s address is "{address}"; expected its dashboard, like http://head:8265')

    proxy = requests.utils.select_proxy(address, requests.utils.get_environ_proxies(address))
    if proxy is None:
        _check_connection(address, host, port)
    reason = _answer(address)
    if not reason:
        return
    if proxy is not None:
        raise UsageError(
            f"{address} is asked through the proxy {_without_password(proxy)} of this environment, which does not "
            f"reach it ({reason}); unset the proxy for it with NO_PROXY={host}"
        )
    raise UsageError(
        f"{address} accepts connections and sends no answer ({reason}); expected a Ray dashboard: check the port"
    )


def _check_connection(address: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=CLUSTER_CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"no Ray dashboard answers at {address}; start one with `ray start --head` ({in_one_line(error)})"
        ) from None


def _answer(address: str) -> str:
    """Return why no answer came, "" if one did; a proxy's own error counts as none."""
    try:
        response = requests.get(f"{address.rstrip('/')}/api/version", timeout=DASHBOARD_SECONDS, stream=True)
    except requests.RequestException as error:
        return in_one_line(error)
    with response:
        bad = response.status_code in (407, 502, 503, 504)
        return f"status {response.status_code}" if bad else ""


def _without_password(proxy: str) -> str:
    return proxy.rpartition("@")[2] if "@" in proxy else proxy
