"""A server of files on this machine, in a thread, that misbehaves as it is set to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hosted:
    """What a server has and how it behaves; `seen` holds (path, Range or "") of every request."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    tag: str = '"one"'
    takes_ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """After how many bytes of their body the next answers break off."""
    pause: float = 0.0
    """Between two blocks, in seconds; a silence of `silent` comes before the body."""
    silent: float = 0.0
    kind: str = "application/octet-stream"
    seen: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that hung up, which is what some tests are about."""


@contextmanager
def serving(hosted: Hosted) -> Iterator[Hosted]:
    """Serve until the end; `hosted.url` is the address."""
    server = _Server(("127.0.0.1", 0), _handler(hosted))
    hosted.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hosted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hosted: Hosted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            hosted.seen.append((self.path, asked))
            if self.path in hosted.redirects:
                self.send_response(302)
                self.send_header("Location", hosted.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif self.path not in hosted.files:
                self.send_error(404)
            else:
                self._send_file(hosted.files[self.path], asked)

        def _send_file(self, data: bytes, asked: str) -> None:
            start = int(asked[6:-1]) if asked and hosted.takes_ranges else 0
            if start and self.headers.get("If-Range", hosted.tag) != hosted.tag:
                start = 0
            if start >= len(data) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            if hosted.tag:
                self.send_header("ETag", hosted.tag)
            self.send_header("Content-Type", hosted.kind)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self._send_body(data[start:])

        def _send_body(self, body: bytes) -> None:
            cut = hosted.cuts.pop(0) if hosted.cuts else len(body)
            self.wfile.flush()
            time.sleep(hosted.silent)
            for at in range(0, min(cut, len(body)), 4096):
                self.wfile.write(body[at : min(at + 4096, cut)])
                self.wfile.flush()
                time.sleep(hosted.pause)
            self.close_connection = True

        def log_message(self, *words: object) -> None:
            pass

    return Handler
