"""Results on their way home: an archive of the latest plan's rows, and its lines in the log of a job.

Each line carries the archive's SHA-256, its own number and a checksum. So it is known which lines are missing, and they
can be requested again in any order, as after a log was rotated.

An archive is refused that holds a name which no results folder has, or more than `MOST_UNPACKED` bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import lzma
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.cli import in_one_line
from harness.errors import HarnessError
from harness.storage.disk import read_regular
from harness.storage.returned_files import ReturnedFile, is_returned_name

FRAME = "ONECLOCK-RESULTS"
"""How a line that carries results begins."""
PIECE = 6000
"""Bytes of an archive in one line."""
PRINTED_AT_ONCE = 8_000_000
"""Bytes of an archive that one job prints; the rest is requested, so much at a time."""
MOST_LOGGED = 64_000_000
"""Bytes of an archive that come home through logs; more wants a storage."""
MOST_UNPACKED = 1 << 30
"""Bytes that an archive may hold; rows of a suite of 10,000 trials take a tenth."""
_LINE = re.compile(rf"{FRAME} ([0-9a-f]{{64}}) ([0-9]+)/([0-9]+) ([0-9a-f]{{8}}) ([A-Za-z0-9+/=]+)")
_HEAD = re.compile(rf"{FRAME} ([0-9a-f]{{64}}) ([0-9]+) bytes")


def pack(folder: Path, files: Sequence[ReturnedFile]) -> bytes:
    """Return a compressed archive of these files of a results folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=1) as archive:
        for file in files:
            member = tarfile.TarInfo(file.name)
            member.size = file.bytes
            archive.addfile(member, io.BytesIO(read_regular(folder / file.name, file.bytes)))
    return buffer.getvalue()


def unpack(data: bytes) -> Path:
    """Return a temporary folder with the files of an archive; the caller removes it.

    Raises HarnessError for an archive that is damaged, too large, or holds a link or a foreign name.
    """
    folder = Path(tempfile.mkdtemp(prefix="oneclock-"))
    try:
        with tarfile.open(fileobj=io.BytesIO(_decompress(data)), mode="r:") as archive:
            for member in archive:
                if not member.isfile() or not is_returned_name(member.name):
                    raise HarnessError(f'the arrived results hold "{member.name}", which is no file of results')
                archive.extract(member, folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        shutil.rmtree(folder)
        raise HarnessError(f"the arrived results cannot be unpacked: {in_one_line(error)}") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def head_line(data: bytes) -> str:
    """Return the line that announces an archive."""
    return f"{FRAME} {hashlib.sha256(data).hexdigest()} {len(data)} bytes"


def piece_lines(data: bytes, numbers: Iterable[int] | None = None) -> Iterator[str]:
    """Yield the lines that carry an archive, or those of these numbers alone."""
    digest, count = hashlib.sha256(data).hexdigest(), count_pieces(len(data))
    for number in range(count) if numbers is None else numbers:
        piece = data[number * PIECE : (number + 1) * PIECE]
        if piece:
            text = base64.b64encode(piece).decode()
            yield f"{FRAME} {digest} {number}/{count} {binascii.crc32(piece):08x} {text}"


def count_pieces(size: int) -> int:
    """Return the number of lines that carry an archive of so many bytes."""
    return -(-size // PIECE)


class Pieces:
    """The pieces of one archive that have arrived, in any order. A line that is damaged counts as missing."""

    def __init__(self) -> None:
        self.digest = ""
        self.size: int | None = None
        """Length of the archive in bytes, None until it is known."""
        self._count = 0
        self._found: dict[int, bytes] = {}

    def add(self, line: str) -> None:
        """Take a line that begins with FRAME. A later archive replaces an earlier one."""
        if head := _HEAD.fullmatch(line):
            self._begin(head[1], count_pieces(min(int(head[2]), MOST_LOGGED)))
            self.size = int(head[2])
        match = _LINE.fullmatch(line)
        if not match or int(match[3]) > count_pieces(MOST_LOGGED):
            return
        try:
            piece = base64.b64decode(match[5], validate=True)
        except binascii.Error:
            return
        if f"{binascii.crc32(piece):08x}" == match[4]:
            self._begin(match[1], int(match[3]))
            self._found[int(match[2])] = piece

    @property
    def arrived(self) -> int:
        """Return how many pieces have arrived."""
        return len(self._found)

    @property
    def missing(self) -> list[int]:
        """Return the numbers of the pieces that have not arrived."""
        return [number for number in range(self._count) if number not in self._found]

    def join(self) -> bytes:
        """Return the archive once nothing is missing; HarnessError where its checksum differs."""
        data = b"".join(self._found[number] for number in range(self._count))
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise HarnessError("the results arrived damaged (checksum differs); they stay whole there, attach again")
        return data

    def _begin(self, digest: str, count: int) -> None:
        if digest != self.digest:
            self.digest, self.size, self._count, self._found = digest, None, count, {}


def _decompress(data: bytes) -> bytes:
    stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MOST_UNPACKED)
    content = stream.decompress(data, max_length=MOST_UNPACKED + 1)
    if len(content) > MOST_UNPACKED:
        raise HarnessError(
            f"the arrived results hold more than {MOST_UNPACKED} bytes, which no suite's rows take; "
            "bring them home with --storage"
        )
    if not stream.eof:
        raise EOFError("it ends too early")
    return content
