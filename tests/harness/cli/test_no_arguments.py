"""The command line without arguments prints its help, as it stands, and is a usage error."""

from __future__ import annotations

import sys

import pytest

from harness.cli import main


@pytest.mark.parametrize("words", [[], ["new"]])
def test_without_arguments_the_help_is_printed_as_it_stands(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["oneclock", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("Usage: ")
    assert "Commands:" in said.err


def test_another_mistake_is_one_sentence_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["oneclock", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("oneclock: Missing argument")
