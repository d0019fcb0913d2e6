"""Results on their way back from a cluster: they arrive whole or not at all, and never overwrite."""

import base64
import hashlib
import io
import tarfile

import pytest
from kit.faulty import measure, rows, suite

from harness import api
from harness.cli import transfer
from harness.errors import HarnessError
from harness.storage.store import Store


def without_times(folder):
    tables = api.load(folder)
    return {name: getattr(tables, name).to_csv(index=False) for name in ("trials", "steps", "timings", "quality")}


def test_what_is_packed_arrives_whole(finished, tmp_path):
    lines = list(transfer.pack(finished))
    assert all(line.startswith(transfer.FRAME) and len(line) < 8100 for line in lines)
    transfer.merge(transfer.unpack(lines), tmp_path / "tiny")
    assert without_times(tmp_path / "tiny") == without_times(finished)
    assert (tmp_path / "tiny" / "report.html").is_file()
    assert {p.name for p in (tmp_path / "tiny" / "samples").iterdir()} == {p.name for p in finished.glob("samples/*")}
    assert not (tmp_path / "tiny" / "run.lock").exists()


def test_a_merge_never_overwrites(finished, tmp_path):
    home = tmp_path / "tiny"
    lines = list(transfer.pack(finished))
    measure(suite([]), tmp_path)
    before = {p: p.read_bytes() for table in ("trials", "log", "timings") for p in (home / table).iterdir()}
    picture = next((home / "samples").glob("*.png"))
    picture.write_bytes(b"mine")
    for _ in range(2):
        transfer.merge(transfer.unpack(lines), home)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert picture.read_bytes() == b"mine"
    assert sorted(rows(Store(home))) == ["ddim-2", "heun-2"]
    assert not Store(home).snapshot().read("trials").duplicated("trial_id").any()


def drop(lines):
    return lines[:-1]


def swap(lines):
    return [lines[0], *reversed(lines[1:])]


def alter(lines):
    line = lines[-1]
    return [*lines[:-1], line[:-9] + ("A" if line[-9] != "A" else "B") + line[-8:]]


def cut(lines):
    return [*lines[:-1], lines[-1][:-3]]


def headless(lines):
    return lines[1:]


@pytest.mark.parametrize("harm", [drop, swap, alter, cut, headless])
def test_damage_on_the_way_is_noticed(finished, harm):
    with pytest.raises(HarnessError, match="damaged"):
        transfer.unpack(harm(list(transfer.pack(finished))))


def framed(*members):
    """Return an archive of hand-made members as `pack` would frame it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for member in members:
            archive.addfile(member)
    data = buffer.getvalue()
    return [
        f"{transfer.FRAME} sha256 {hashlib.sha256(data).hexdigest()}",
        f"{transfer.FRAME} data {base64.b64encode(data).decode()}",
    ]


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("log/../../escaped"),
        link("log/1.json", "/etc/passwd"),
        link("trials", "log"),
        link("log/hard", "store.json", tarfile.LNKTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.linkname}",
)
def test_an_archive_that_reaches_out_is_refused_and_leaves_nothing(member, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(HarnessError, match="arrived results"):
        transfer.unpack(framed(member))
    assert list(tmp_path.iterdir()) == []
