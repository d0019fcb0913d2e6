"""What `fetch` brings from a server that behaves and one that does not; nothing stands half-written under its name."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.file_server import Hosted, serving

from harness.errors import UsageError
from harness.fetching import download as module

from .conftest import BODY, Bring  # type: ignore[import-not-found]

DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "files" / "thing" / "thing.bin"


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "partial" / "thing" / "thing.bin"


def refused(bring: Bring, final: Path) -> str:
    """Return the sentence of a fetch that is refused, and check that nothing got the final name."""
    with pytest.raises(UsageError) as caught:
        bring()
    assert not final.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_fetch_pins_and_says_so_and_the_second_verifies(bring: Bring, host: Hosted, final: Path) -> None:
    head, line = bring()
    assert head == "thing: A thing; licence: MIT"
    assert "pinned now" in line
    assert DIGEST in line
    assert final.read_bytes() == BODY
    assert bring()[1].endswith("is there, verified")
    assert len(host.seen) == 1


def test_a_stated_digest_and_size_are_verified(bring: Bring, card: Callable[..., None], final: Path) -> None:
    card(sha256=DIGEST, size=len(BODY))
    assert bring()[1].endswith("as its card states")
    assert final.read_bytes() == BODY


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"sha256": "0" * 64}, f"found SHA-256 {DIGEST}; expected {'0' * 64}"),
        ({"sha256_starts": "00000000"}, "expected 00000000..."),
        ({"size": 7}, "the host has 51,200 bytes; expected 7"),
    ],
)
def test_what_is_not_as_stated_is_refused_and_not_kept(
    stated: dict[str, object], sentence: str, bring: Bring, card: Callable[..., None], final: Path, partial: Path
) -> None:
    card(**stated)
    assert sentence in refused(bring, final)
    assert not partial.exists() or not partial.stat().st_size


def test_a_file_that_was_replaced_after_its_pin_is_refused(bring: Bring, host: Hosted, final: Path) -> None:
    bring()
    final.unlink()
    host.files["/thing.bin"], host.tag = BODY[::-1], '"two"'
    sentence = refused(bring, final)
    assert "which the first fetch pinned" in sentence
    assert "pins.toml" in sentence
    host.files["/thing.bin"] = BODY
    assert bring()[1].endswith("as pinned before")


def test_a_file_that_was_altered_in_the_cache_is_named(bring: Bring, final: Path) -> None:
    bring()
    final.write_bytes(b"other")
    with pytest.raises(UsageError, match="remove it and fetch again"):
        bring()


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(bring: Bring, host: Hosted, final: Path) -> None:
    host.cuts = [10_000, 5_000]
    bring()
    assert [start for _, start in host.seen] == ["", "bytes=10000-", "bytes=15000-"]
    assert final.read_bytes() == BODY


def test_a_fetch_that_ended_goes_on_in_the_next(bring: Bring, host: Hosted, final: Path, partial: Path) -> None:
    host.cuts = [3000] * 5
    assert "broke off after 15,000 bytes" in refused(bring, final)
    assert partial.read_bytes() == BODY[:15_000]
    bring()
    assert host.seen[-1] == ("/thing.bin", "bytes=15000-")
    assert final.read_bytes() == BODY


def test_a_transfer_without_a_byte_more_ends_at_once(bring: Bring, host: Hosted, final: Path) -> None:
    host.cuts = [100, 0, 0]
    assert "broke off after 100 bytes" in refused(bring, final)
    assert len(host.seen) == 2


def test_parts_of_two_files_are_never_joined(bring: Bring, host: Hosted, final: Path) -> None:
    host.cuts = [3000] * 5
    refused(bring, final)
    host.files["/thing.bin"], host.tag = BODY[::-1], '"two"'
    bring()
    assert final.read_bytes() == BODY[::-1]


def test_without_a_tag_and_a_digest_a_fetch_begins_anew(bring: Bring, host: Hosted, final: Path, partial: Path) -> None:
    host.tag, host.cuts = "", [3000]
    bring()
    assert [start for _, start in host.seen] == ["", ""]
    assert final.read_bytes() == BODY


def test_a_host_without_ranges_sends_it_all(bring: Bring, host: Hosted, final: Path) -> None:
    host.takes_ranges, host.cuts = False, [3000]
    bring()
    assert final.read_bytes() == BODY


def test_a_whole_file_that_only_lacks_its_name_is_not_sent_again(
    bring: Bring, card: Callable[..., None], host: Hosted, final: Path, partial: Path
) -> None:
    card(sha256=DIGEST)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY)
    bring()
    assert final.read_bytes() == BODY
    assert host.seen == [("/thing.bin", "bytes=51200-")]


def test_more_than_the_file_is_begun_anew(
    bring: Bring, card: Callable[..., None], host: Hosted, final: Path, partial: Path
) -> None:
    card(sha256=DIGEST)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY + b"more")
    bring()
    assert final.read_bytes() == BODY
    assert [start for _, start in host.seen] == ["bytes=51204-", ""]


def test_a_redirect_is_followed(bring: Bring, card: Callable[..., None], host: Hosted, final: Path) -> None:
    host.redirects = {"/old.bin": f"{host.url}/thing.bin"}
    card(url=f"{host.url}/old.bin")
    bring()
    assert final.read_bytes() == BODY


def test_redirects_without_end_are_one_sentence(
    bring: Bring, card: Callable[..., None], host: Hosted, final: Path
) -> None:
    host.redirects = {"/old.bin": f"{host.url}/old.bin"}
    card(url=f"{host.url}/old.bin")
    assert "cannot be fetched (Exceeded 30 redirects" in refused(bring, final)


def test_a_file_that_is_gone_is_one_sentence(
    bring: Bring, card: Callable[..., None], host: Hosted, final: Path
) -> None:
    card(url=f"{host.url}/gone.bin")
    assert "the host says 404 Not Found; expected the file thing.bin" in refused(bring, final)


def test_a_web_page_in_its_place_is_refused(bring: Bring, host: Hosted, final: Path) -> None:
    host.kind = "text/html; charset=utf-8"
    assert "found a web page" in refused(bring, final)


def test_a_slow_host_is_waited_for(bring: Bring, host: Hosted, final: Path) -> None:
    host.pause = 0.08  # 13 blocks: a second in all, never as long as the longest silence
    bring()
    assert final.read_bytes() == BODY


def test_a_silent_host_is_not(bring: Bring, host: Hosted, final: Path) -> None:
    host.silent = 1.5
    assert "broke off after 0 bytes (Read timed out." in refused(bring, final)


def test_no_server_is_one_sentence(bring: Bring, card: Callable[..., None], final: Path) -> None:
    with serving(Hosted()) as gone:
        pass
    card(url=f"{gone.url}/thing.bin")
    sentence = refused(bring, final)
    assert sentence.startswith(f"cannot reach {gone.url.removeprefix('http://')} (")
    assert "Connection refused" in sentence
    assert "HTTPS_PROXY" in sentence


def test_the_proxy_of_the_environment_is_taken(
    bring: Bring, card: Callable[..., None], host: Hosted, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(url="http://files.invalid/thing.bin")
    monkeypatch.setenv("HTTP_PROXY", host.url)
    host.files["http://files.invalid/thing.bin"] = BODY
    bring()
    assert final.read_bytes() == BODY
    assert host.seen[0][0] == "http://files.invalid/thing.bin"


def test_an_unknown_name_stops_all_before_anything_starts(bring: Bring, host: Hosted) -> None:
    with pytest.raises(UsageError, match='nothing to fetch is called "thin"; did you mean "thing"'):
        bring("thing", "thin")
    assert host.seen == []


def test_a_file_that_another_process_fetches_is_left_to_it(bring: Bring, final: Path, partial: Path) -> None:
    partial.parent.mkdir(parents=True)
    with partial.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "is being fetched by another process" in refused(bring, final)


def test_a_full_disk_is_said_before_it_is_filled(bring: Bring, final: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: _Free())
    assert "make room or set ONECLOCK_CACHE" in refused(bring, final)


class _Free:
    free = 100


def test_a_cache_that_cannot_be_made_is_one_sentence(
    bring: Bring, final: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("ONECLOCK_CACHE", str(tmp_path / "taken"))
    assert "is a file; expected a folder" in refused(bring, final)
