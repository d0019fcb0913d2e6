"""Results on their way back from a cluster: they arrive whole or not at all, and what is missing is known."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from harness.cli import transfer
from harness.cli.transfer import FRAME, Pieces, head_line, pack, piece_lines, unpack
from harness.errors import HarnessError
from harness.storage.returned_files import list_returned


def packed(folder: Path) -> bytes:
    return pack(folder, list_returned(folder))


def taken(lines: list[str]) -> Pieces:
    pieces = Pieces()
    for line in lines:
        pieces.add(line)
    return pieces


def test_what_is_packed_arrives_byte_by_byte(finished: Path) -> None:
    data = packed(finished)
    lines = list(piece_lines(data))
    assert all(line.startswith(FRAME) and len(line) < 8200 for line in lines)
    assert len(lines) > 1
    arrived = unpack(taken(lines).join())
    names = {str(path.relative_to(arrived)) for path in arrived.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in names} >= {"trials", "steps", "timings", "log", "samples", "store.json"}
    assert all((arrived / name).read_bytes() == (finished / name).read_bytes() for name in names)


def test_lines_come_in_any_order_and_twice(finished: Path) -> None:
    data = packed(finished)
    lines = [*piece_lines(data), head_line(data)]
    pieces = taken([*reversed(lines), *lines])
    assert (pieces.missing, pieces.size) == ([], len(data))
    assert pieces.join() == data


def test_what_is_lost_altered_or_cut_is_missing_and_comes_alone(finished: Path) -> None:
    data = packed(finished)
    lines = list(piece_lines(data))
    harmed = [*lines]
    harmed[0] = lines[0][:-9] + ("A" if lines[0][-9] != "A" else "B") + lines[0][-8:]
    harmed[1] = lines[1][40:]
    pieces = taken(harmed)
    assert pieces.missing == [0, 1]
    for line in piece_lines(data, [1, 0, 10**9]):
        pieces.add(line)
    assert pieces.join() == data


def test_the_announcement_alone_says_what_is_missing(finished: Path) -> None:
    data = packed(finished)
    pieces = taken([head_line(data)])
    assert len(pieces.missing) == len(list(piece_lines(data)))
    assert taken(["ONECLOCK-RESULTS strange", "talk"]).digest == ""


def test_a_later_archive_replaces_an_earlier_one(finished: Path) -> None:
    data = packed(finished)
    pieces = taken([head_line(b"other"), *piece_lines(b"other"), *piece_lines(data)])
    assert pieces.join() == data


def test_a_line_that_claims_more_pieces_than_a_log_carries_is_no_line(finished: Path) -> None:
    line = next(piece_lines(packed(finished)))
    many = line.replace(" 0/", " 0/99999999999")
    assert taken([many]).digest == ""
    assert len(taken([f"{FRAME} {'0' * 64} {10**15} bytes"]).missing) == 10_667


def archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as made:
        for member in members:
            made.addfile(member)
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


ENTRY = f"log/{'0' * 64}-1.json"


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("log/../../escaped"),
        tarfile.TarInfo(f"../{ENTRY}"),
        tarfile.TarInfo(f"/{ENTRY}"),
        tarfile.TarInfo("log/other.json"),
        tarfile.TarInfo("run.lock"),
        tarfile.TarInfo("report.html"),
        tarfile.TarInfo("tasks/journal"),
        link(ENTRY, "/etc/passwd"),
        link("trials", "log"),
        link(ENTRY, "store.json", tarfile.LNKTYPE),
        link(ENTRY, "", tarfile.FIFOTYPE),
        link(ENTRY, "", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.linkname}",
)
def test_an_archive_that_reaches_out_is_refused_and_leaves_nothing(
    member: tarfile.TarInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(HarnessError, match="arrived results hold"):
        unpack(archive(member))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_swells_is_refused_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(transfer, "MOST_UNPACKED", 30_000_000)
    bomb = lzma.compress(bytes(31_000_000), preset=0)
    assert len(bomb) < 10_000
    with pytest.raises(HarnessError, match="hold more than 30000000 bytes"):
        unpack(bomb)
    with pytest.raises(HarnessError, match="cannot be unpacked: it ends too early"):
        unpack(archive(tarfile.TarInfo(ENTRY))[:-40])
    with pytest.raises(HarnessError, match="cannot be unpacked"):
        unpack(b"no archive")
    assert list(tmp_path.iterdir()) == []
