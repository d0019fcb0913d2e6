"""A server on this machine that speaks S3: moto's, from the environment that `make test-faults` makes for it.

It is not in requirements.lock, since its botocore wants another python-dateutil.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What pyarrow needs in the environment; the server takes any."""


def find_server() -> str | None:
    """Return the program, from `s3/` of this environment or from the PATH; None where it is not installed."""
    own = Path(sys.prefix) / "s3" / "bin" / "moto_server"
    return str(own) if own.is_file() else shutil.which("moto_server")


@contextmanager
def s3_server(folder: Path, bucket: str) -> Iterator[str]:
    """Run the server and make a bucket; yield the URI of a folder in it."""
    program = find_server()
    assert program is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "s3.log").open("w") as log:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        _make_bucket(f"http://127.0.0.1:{port}/{bucket}", server)
        yield f"s3://{bucket}/runs?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    finally:
        server.terminate()
        server.wait(10)


def _make_bucket(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        try:
            if requests.put(url, timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise TimeoutError(f"no S3 server answers at {url}")
