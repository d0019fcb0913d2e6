"""One file by HTTP, by requests: it goes on where it stopped, and proxies are those of the environment."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3

from harness.errors import UsageError
from harness.fetching.fetch_card import FetchFile
from harness.specs import limits

_BLOCK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
OnBytes = Callable[[int, int | None], None]
"""Called with the bytes that are there, and those of the whole file where the host states them."""


class _Interrupted(Exception):
    """A transfer ended before the file was whole."""


class _BegunAnew(_Interrupted):
    """What came belongs to another file, and was removed."""


def download(file: FetchFile, partial: Path, is_known: bool, on_bytes: OnBytes) -> None:
    """Bring a file to `partial`, after what is there already. Blocks on the network.

    `is_known`: whether its digest is known, so that a mixture of two files would be found. UsageError in one sentence
    for a host that is not reached or refuses, a size that is not the stated one, and a transfer that breaks off
    again and again; what came stays and is used next time.
    """
    with partial.open("ab") as stream:
        _lock(stream, file)

        for number in range(1, limits.FETCH_TRIES + 1):
            before = stream.tell()
            try:
                _receive(file, stream, partial, is_known, on_bytes)
                break
            except _Interrupted as error:
                is_stuck = stream.tell() <= before and not isinstance(error, _BegunAnew)
                if number == limits.FETCH_TRIES or is_stuck:
                    raise UsageError(
                        f"{file.url}: the transfer broke off after {stream.tell():,} bytes ({error}); what came is "
                        "kept, so run the same command again and it goes on there"
                    ) from None

        # on the disk before it gets its name
        stream.flush()
        os.fsync(stream.fileno())


def forget_partial(partial: Path) -> None:
    """Remove what came of a file, so that the next fetch begins anew."""
    partial.unlink(missing_ok=True)
    _tag_file(partial).unlink(missing_ok=True)


def _lock(stream: BinaryIO, file: FetchFile) -> None:
    """Hold the file while it grows; the lock ends with the process."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"{file.name} is being fetched by another process; wait until that has ended") from None


def _receive(file: FetchFile, stream: BinaryIO, partial: Path, is_known: bool, on_bytes: OnBytes) -> None:
    """Append what is missing of a file, or write it anew where the host has no part of the same file."""
    tag = _tag_file(partial).read_text(encoding="utf-8") if _tag_file(partial).is_file() else ""
    if not tag and not is_known:
        stream.truncate(0)
    start = stream.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": tag} if tag else {})

    wait = (limits.FETCH_CONNECT_SECONDS, limits.FETCH_SILENCE_SECONDS)
    try:
        # the file from there on
        with requests.get(file.url, headers=headers, stream=True, timeout=wait) as response:
            total = _begin(file, response, stream, start)
            if total == stream.tell():
                return
            _tag_file(partial).write_text(_tag(response), encoding="utf-8")
            while block := response.raw.read1(_BLOCK):
                stream.write(block)
                on_bytes(stream.tell(), total)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise UsageError(_unreached(file, error)) from None
    except requests.RequestException as error:
        raise UsageError(f"{file.url} cannot be fetched ({_reason(error)}); check the address in its card") from None
    except urllib3.exceptions.HTTPError as error:  # of the body, which requests leaves to urllib3
        raise _Interrupted(_reason(error)) from None

    if total is not None and stream.tell() != total:
        raise _Interrupted(f"{total:,} were announced")


def _begin(file: FetchFile, response: requests.Response, stream: BinaryIO, start: int) -> int | None:
    """Check a response, put the stream where its body goes, and return the bytes of the whole file if stated."""
    ranged = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        if ranged and ranged[2] == str(start):
            return start
        stream.truncate(0)
        raise _BegunAnew("the host has another file now")
    _check_response(file, response)

    # where the body goes, and how long the whole is
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if response.status_code == requests.codes.partial_content:
        if not ranged or ranged[1] != str(start):
            stream.truncate(0)
            raise _BegunAnew("the host sent another part than requested")
        total = int(ranged[2]) if ranged[2].isdecimal() else None if total is None else start + total
    else:
        stream.truncate(0)
        stream.seek(0)
    _check_size(file, stream, total)
    return total


def _check_response(file: FetchFile, response: requests.Response) -> None:
    """Refuse an error of the host, an unsafe redirect, and a page or an encoding in place of the file."""
    if not response.ok:
        raise UsageError(
            f"{file.url}: the host says {response.status_code} {response.reason}; expected the file {file.name}, so "
            "try again later, or look for its new address and put it there by hand (`oneclock fetch --list` says where)"
        )
    if file.url.startswith("https:") and not response.url.startswith("https:"):
        raise UsageError(f"{file.url} leads to {response.url}, which is not encrypted; expected https, so it is left")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and not file.name.endswith(".html"):
        raise UsageError(
            f"{file.url}: found a web page; expected the file {file.name}, so open the address in a browser (a proxy "
            "or a login may stand in between)"
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UsageError(f"{file.url}: the host sent the file encoded; expected its plain bytes, so fetch it by hand")


def _check_size(file: FetchFile, stream: BinaryIO, total: int | None) -> None:
    """Refuse a size that is not the card's, and one that the disk does not hold."""
    if file.size is not None and total is not None and total != file.size:
        raise UsageError(
            f"{file.url}: the host has {total:,} bytes; expected {file.size:,}, as its card states, so the file was "
            "replaced: correct the card or find the old file"
        )
    missing, free = (total or 0) - stream.tell(), shutil.disk_usage(Path(stream.name).parent).free
    if missing > free:
        raise UsageError(
            f"{file.name} needs {missing / 1e9:.2f} GB more and {free / 1e9:.2f} GB are free; make room or set "
            "ONECLOCK_CACHE to another disk"
        )


def _unreached(file: FetchFile, error: Exception) -> str:
    return (
        f"cannot reach {urlsplit(file.url).netloc} ({_reason(error)}); connect this machine, set HTTPS_PROXY to its "
        f"proxy, or bring {file.name} from {file.url} by hand (`oneclock fetch --list` says where to)"
    )


def _reason(error: Exception) -> str:
    """Return the innermost reason in a few words."""
    inner: BaseException = error
    while nested := [one for one in (getattr(inner, "reason", None), *inner.args) if isinstance(one, BaseException)]:
        inner = nested[0]
    words = " ".join(str(inner).split())
    return words.rpartition(": ")[2][:120] or type(inner).__name__


def _tag(response: requests.Response) -> str:
    """Return what names this state of the file for If-Range: a strong ETag, else its date, else nothing."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _tag_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.tag")
