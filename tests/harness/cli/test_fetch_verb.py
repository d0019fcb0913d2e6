"""The verb `fetch` and `ls fetch`."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
from kit.cli_kit import Command
from kit.file_server import Hosted, serving

from harness.fetching import fetch_card


def test_everything_that_can_be_fetched_is_listed_with_licence_and_place(command: Command) -> None:
    listed = command("ls", "fetch")
    assert listed.out == command("fetch", "--list").out
    (line,) = [line for line in listed.out.splitlines() if line.startswith("inception ")]
    assert "Apache-2.0" in line
    assert "not here" in line
    assert "no-cache/files/inception" in line


def test_no_name_and_an_unknown_one_are_one_sentence_each(command: Command) -> None:
    said = command("fetch")
    assert (said.code, said.out) == (2, "")
    assert "expected one or more of adm-imagenet256-statistics" in said.err
    assert 'did you mean "inception"' in command("fetch", "incepton").err


def test_a_file_comes_and_is_named(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch_card, "CARDS", tmp_path)
    with serving(Hosted({"/a.npz": b"abc"})) as host:
        card = {
            "name": "a", "title": "A", "kind": "network", "licence": "MIT", "source": "a test", "then": "use it",
            "files": [{"name": "a.npz", "url": f"{host.url}/a.npz"}],
        }  # fmt: skip
        (tmp_path / "a.toml").write_text(tomli_w.dumps(card))
        said = command("fetch", "a")
    assert said.code == 0
    assert said.out.splitlines()[-1] == "  next: use it"
    assert str(tmp_path / "cache" / "files" / "a" / "a.npz") in said.out
    assert (tmp_path / "cache" / "files" / "a" / "a.npz").read_bytes() == b"abc"
