"""A storage by its URI: what it is given comes back whole, and what is wrong is said in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.s3_server import CREDENTIALS, find_server, s3_server

from harness.errors import UsageError
from harness.storage.remote import RemoteFolder, check_uri


@pytest.fixture(params=["folder", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder that machines share, and a bucket."""
    if request.param == "folder":
        yield str(tmp_path / "shared")
        return
    if find_server() is None:
        pytest.skip("moto_server is not installed; `make test-faults` installs it into .venv/s3")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3_server(tmp_path, "bucket") as found:
        yield found


def test_files_are_written_whole_listed_read_and_removed(uri: str) -> None:
    remote = RemoteFolder(uri)
    assert remote.list_sizes("suite") == {}
    assert remote.read("suite/log/a.json") is None
    remote.write("suite/log/a.json", b"first")
    remote.write("suite/log/a.json", b"second one")
    remote.write("suite/b", bytes(7_000_000))
    assert RemoteFolder(uri).list_sizes("suite") == {"suite/log/a.json": 10, "suite/b": 7_000_000}
    assert RemoteFolder(uri).read("suite/log/a.json") == b"second one"
    for _ in range(2):
        remote.remove("suite/log/a.json")
    assert remote.read("suite/log/a.json") is None


def test_a_bucket_that_is_not_there_is_named_with_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_server() is None:
        pytest.skip("moto_server is not installed; `make test-faults` installs it into .venv/s3")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3_server(tmp_path, "bucket") as found:
        remote = RemoteFolder(found.replace("bucket/", "bouquet/"))
        with pytest.raises(UsageError, match=r"cannot write s3://bouquet/runs.*bucket does not exist.*credentials"):
            remote.write("a", b"1")


def test_a_reader_of_a_shared_folder_never_sees_half_a_file(tmp_path: Path) -> None:
    remote = RemoteFolder(str(tmp_path))
    remote.write("a/b", b"old")
    (tmp_path / "a" / ".tmp-b").write_bytes(b"ha")  # as a writer that was killed leaves it
    assert remote.list_sizes("a") == {"a/b": 3}
    remote.write("a/b", b"new")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".tmp-b", "b"]
    assert remote.read("a/b") == b"new"


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file \(.*expected a bucket or folder that this machine may"):
        RemoteFolder(str(tmp_path / "file")).write("a/b", b"1")


@pytest.mark.parametrize(
    ("uri", "verb"),
    [
        ("gs://anonymous@b/x?retry_limit_seconds=1&scheme=http&endpoint_override=127.0.0.1:1", "list"),
        ("abfs://container@account.dfs.core.windows.net/x", "list"),
        ("abfs://x", "open"),
        ("gs://b/x?word=1", "open"),
    ],
)
def test_google_and_azure_without_what_they_need_are_a_sentence(
    uri: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no credentials of this machine's user, and no wait for those of a machine in a cloud
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    found = rf"^cannot {verb} {uri.split('?')[0]}.* \(.*\); expected .* credentials"
    with pytest.raises(UsageError, match=found) as said:
        RemoteFolder(uri).list_sizes("suite")
    assert said.value.exit_code == 2
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "uri", ["s3://b/x", "gs://b/x", "abfs://c@a.dfs.core.windows.net/x", "/mnt/x", "file:///mnt/x"]
)
def test_storages_that_are_known(uri: str) -> None:
    check_uri(uri)


@pytest.mark.parametrize("uri", ["", "mnt/x", "./x", "s3:", "s3://", "http://head:8265", "nope://x/y", "C:\\x"])
def test_other_words_are_no_storage(uri: str) -> None:
    with pytest.raises(UsageError, match=r"--storage is .*; expected s3://BUCKET/FOLDER"):
        check_uri(uri)


@pytest.mark.parametrize(
    "uri", ["s3://key:secret@b/x", "s3://key@b/x", "abfs://c:pw@a/x", "abfs://c@a/x?client_secret=s", "s3://b/x?SECRET_KEY=s"]
)  # fmt: skip
def test_secrets_do_not_travel_in_a_uri_nor_into_a_message(uri: str) -> None:
    with pytest.raises(UsageError, match="holds a secret") as caught:
        check_uri(uri)
    assert "key" not in str(caught.value)
    assert "pw" not in str(caught.value)
