"""The verb `site`: which folders it takes, what it refuses, and that a failure leaves the former site whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.site_kit import few_rows, write_folder

from harness.cli import site as verb
from harness.cli.site import MARKER, write_site
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No method is imported."""
    monkeypatch.setattr(verb, "collect_facts", tuple)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folders_of_two_people_make_one_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_folder(tmp_path / "alice" / "quick", few_rows().iloc[:4])
    other = write_folder(tmp_path / "bob" / "quick", few_rows().iloc[2:])
    count = write_site([one, tmp_path / "bob"], tmp_path / "site")
    front = (tmp_path / "site" / "index.html").read_text()
    assert "alice/quick" in front
    assert "bob/quick" in front
    assert count == len(list((tmp_path / "site").rglob("*.html"))) == 2 + 2 + 6
    assert capsys.readouterr().out == "alice/quick: 4 rows\nbob/quick: 4 rows\n"
    assert str(tmp_path).encode() not in b"".join(contents(tmp_path / "site").values())

    # again, elsewhere and in place
    before = contents(tmp_path / "site")
    write_site([one, other], tmp_path / "site")
    write_site([one, other], tmp_path / "again")
    assert contents(tmp_path / "site") == contents(tmp_path / "again") == before


def test_a_folder_with_problems_is_left_out_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write_folder(tmp_path / "good", few_rows()), write_folder(tmp_path / "bad", few_rows())
    next((bad / "trials").iterdir()).write_bytes(b"altered")
    write_site([bad, good], tmp_path / "site")
    front = (tmp_path / "site" / "index.html").read_text()
    assert "refused: trials/" in front
    assert "bytes long; the log says" in capsys.readouterr().err
    assert str(tmp_path) not in front


def test_where_no_folder_is_left_nothing_is_written(tmp_path: Path) -> None:
    bad = write_folder(tmp_path / "bad", few_rows())
    next((bad / "trials").iterdir()).write_bytes(b"altered")
    with pytest.raises(UsageError, match=r"^bad: trials/.* no folder is left, see `oneclock doctor`$"):
        write_site([bad], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_what_is_no_results_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no results; expected a results folder"):
        write_site([tmp_path / "empty"], tmp_path / "site")


@pytest.mark.parametrize("kind", ["file", "folder", "link", "results", "inside"])
def test_a_target_that_is_no_site_of_ours_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    good, to = write_folder(tmp_path / "good", few_rows()), tmp_path / "to"
    if kind == "file":
        to.write_text("mine")
    elif kind == "folder":
        (to / "thesis").mkdir(parents=True)
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir()
        to.symlink_to(tmp_path / "elsewhere")
    else:
        to = good if kind == "results" else good / "site"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="expected"):
        write_site([good], to)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_leaves_the_former_site_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, to = write_folder(tmp_path / "good", few_rows()), tmp_path / "site"
    write_site([good], to)
    before = contents(to)

    monkeypatch.setattr(verb, "site_files", lambda *_: {"index.html": b"new", "submit.html": None})
    with pytest.raises(TypeError):
        write_site([good], to)
    assert contents(to) == before
    assert MARKER in before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "site"]
