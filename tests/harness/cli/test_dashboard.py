"""A dashboard that is not there, says nothing, or hides behind a proxy: one sentence within seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.cli import dashboard
from harness.cli.dashboard import check_dashboard
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "DASHBOARD_SECONDS", 0.5)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server whose answer has the status `server.status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.status = 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_one_that_answers_passes_and_so_does_a_refusal(server: ThreadingHTTPServer) -> None:
    for server.status in (200, 401, 404):
        check_dashboard(url(server))


@pytest.mark.parametrize("address", ["http://", "http://head:port", "http://:8265"])
def test_an_address_without_a_host(address: str) -> None:
    with pytest.raises(UsageError, match="expected its dashboard, like http://head:8265"):
        check_dashboard(address)


def test_one_that_accepts_and_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match="accepts connections and sends no answer"):
            check_dashboard(address)


def test_one_that_takes_no_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Ray dashboard answers at"):
            check_dashboard(address)


def test_a_proxy_in_between_is_named_without_its_password(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 502
    monkeypatch.setenv("http_proxy", url(server).replace("//", "//me:secret@"))
    with pytest.raises(UsageError, match=r"through the proxy 127\.0\.0\.1.*NO_PROXY=10\.0\.0\.1") as caught:
        check_dashboard("http://10.0.0.1:8265")
    assert "secret" not in str(caught.value)
    server.status = 200
    check_dashboard("http://10.0.0.1:8265")  # a proxy that reaches it
