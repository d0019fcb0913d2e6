"""Archives: their content gets its place whole; what would leave the folder is refused, and nothing of it stays."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.file_server import Hosted

from harness.errors import UsageError

from .conftest import Bring  # type: ignore[import-not-found]


def tar_of(**members: bytes | tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                made.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_of(name: str, content: bytes = b"x", mode: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        made.writestr(info, content)
    return out.getvalue()


def link_to(target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.fixture
def fetched(
    bring: Bring, card: Callable[..., None], host: Hosted, tmp_path: Path
) -> Callable[[bytes], tuple[Path, list[str]]]:
    card({"kind": "data set", "folder": "pictures"}, unpack=True)

    def fetch(archive: bytes) -> tuple[Path, list[str]]:
        host.files["/thing.bin"] = archive
        return tmp_path / "cache" / "data" / "pictures", bring()

    return fetch


@pytest.mark.parametrize("archive", [tar_of(**{"train/a.png": b"a"}), zip_of("train/a.png", b"a")], ids=["tar", "zip"])
def test_the_content_stands_in_the_folder_of_the_data_set(fetched: Callable, archive: bytes, bring: Bring) -> None:
    folder, lines = fetched(archive)
    assert (folder / "train" / "a.png").read_bytes() == b"a"
    assert "pinned now" in lines[1]
    assert bring()[1].endswith("is there, unpacked")


@pytest.mark.parametrize(
    ("archive", "sentence"),
    [
        (tar_of(**{"../out": b"a"}), "'../out'"),
        (tar_of(**{"/tmp/out": b"a"}), "'/tmp/out'"),
        (tar_of(link=link_to("/etc/passwd")), "'link', a link"),
        (zip_of("../out"), "'../out'"),
        (zip_of("link", b"/etc/passwd", 0o120777), "'link', a link"),
        (b"neither", "neither a tar nor a zip archive"),
        (tar_of(**{"train/a.png": b"a" * 9000})[:-40], "cannot be unpacked"),
    ],
    ids=["tar-up", "tar-root", "tar-link", "zip-up", "zip-link", "none", "damaged"],
)
def test_what_is_unsafe_or_damaged_is_refused_whole(
    fetched: Callable, archive: bytes, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        fetched(archive)
    assert sentence in str(caught.value)
    assert not (tmp_path / "cache" / "data" / "pictures").exists()
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "cache" / "partial").rglob("*.content"))


def test_an_archive_is_alone_in_its_card(card: Callable[..., None], bring: Bring, host: Hosted) -> None:
    two = [{"name": name, "url": f"{host.url}/{name}", "unpack": True} for name in ("a.tar", "b.tar")]
    card({"kind": "data set", "folder": "pictures", "files": two})
    with pytest.raises(UsageError, match="an archive stands among other files"):
        bring()
