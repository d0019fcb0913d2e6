"""A server, a cache and a folder of cards of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from kit.file_server import Hosted, serving

from harness.fetching import fetch_card
from harness.fetching.fetch import fetch_all
from harness.specs import limits

BODY = bytes(range(256)) * 200  # 51,200 bytes
Bring = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ONECLOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(limits, "FETCH_SILENCE_SECONDS", 0.5)
    (tmp_path / "cards").mkdir()
    monkeypatch.setattr(fetch_card, "CARDS", tmp_path / "cards")


@pytest.fixture
def host() -> Iterator[Hosted]:
    with serving(Hosted({"/thing.bin": BODY})) as hosted:
        yield hosted


@pytest.fixture
def card(tmp_path: Path, host: Hosted) -> Callable[..., None]:
    """Return what writes the card `thing`: keys of its one file, or of itself as `head`."""

    def write(head: dict[str, Any] | None = None, **file: Any) -> None:
        tables = {
            "name": "thing", "title": "A thing", "kind": "statistics", "licence": "MIT", "source": "a test",
            "files": [{"name": "thing.bin", "url": f"{host.url}/thing.bin", **file}], **(head or {}),
        }  # fmt: skip
        (tmp_path / "cards" / "thing.toml").write_text(tomli_w.dumps(tables))
        fetch_card._read_cards.cache_clear()

    write()
    return write


@pytest.fixture
def bring(card: Any) -> Bring:
    return lambda *names: list(fetch_all(names or ("thing",)))
