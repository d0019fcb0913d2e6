"""The whole check on made-up trees: parts, what a wheel lacks, a run elsewhere, the exit code."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.cli import release_check
from harness.errors import UsageError
from harness.release import check as checks
from harness.release.check import PARTS, check_release, choose_release_parts
from harness.release.findings import ReleaseFinding
from harness.release.wheel import FailedStepError, WheelCheck, clean_variables, expected_files

CODE = ("harness/__init__.py", "harness/suites/quick.toml", "methods/networks/zoo/unet/card.toml")
DATA = ("datasets/digits.toml", "datasets/references/digits.npz", "datasets/README.md")
PACKED = (*CODE, "harness/data/shipped/digits.toml", "harness/data/shipped/references/digits.npz")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in (*CODE, *DATA, "harness/__pycache__/x.pyc", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    (tree / "pyproject.toml").write_text('[project]\nname = "oneclock"\nversion = "1"\n')
    return tree


@pytest.fixture
def wheel(root: Path, tmp_path: Path) -> WheelCheck:
    """A wheel that was built already, and a Python that stands for the one it is installed in."""
    found = WheelCheck(root, tmp_path)
    found.__dict__["wheel"] = tmp_path / "oneclock-1-py3-none-any.whl"
    pack(found.wheel, PACKED)
    return found


def pack(path: Path, names: Iterable[str]) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, "")


def stand_in(wheel: WheelCheck, tmp_path: Path, script: str) -> None:
    """Put a command `oneclock` into the environment that the wheel would be in."""
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    (folder / "oneclock").write_text(f"#!{sys.executable}\n{script}")
    (folder / "oneclock").chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    wheel.__dict__["python"] = folder / "python"


def test_every_file_of_the_tree_is_expected(root: Path) -> None:
    assert expected_files(root) == set(PACKED)


def test_a_whole_wheel_passes(wheel: WheelCheck) -> None:
    assert not wheel.check_contents().failed


@pytest.mark.parametrize("lost", PACKED)
def test_a_file_that_a_wheel_lacks_is_named(wheel: WheelCheck, lost: str) -> None:
    pack(wheel.wheel, [name for name in PACKED if name != lost])
    finding = wheel.check_contents()
    assert finding.failed
    assert finding.sentence == f"oneclock-1-py3-none-any.whl lacks {lost}"


def test_the_run_sees_no_source_tree(wheel: WheelCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stand_in(
        wheel,
        tmp_path,
        "import os, pathlib, sys\nassert 'PYTHONPATH' not in os.environ\nassert not os.listdir('.')\n"
        "assert sys.argv[1:] == ['run', 'tiny', '--results', 'results', '--in-process'], sys.argv\n"
        "place = pathlib.Path('results/tiny/log'); place.mkdir(parents=True); (place / 'a.json').touch()\n",
    )
    assert wheel.check_run("tiny", ["--in-process"]).sentence.startswith("tiny outside of the source tree: 1 rows")


def test_a_run_that_ends_badly_fails(wheel: WheelCheck, tmp_path: Path) -> None:
    stand_in(wheel, tmp_path, "raise SystemExit(1)\n")
    finding = wheel.check_run("tiny", [])
    assert finding.failed
    assert "`oneclock run tiny --results results` ended with exit code 1" in finding.sentence


def test_an_installed_package_that_finds_less_fails(wheel: WheelCheck, tmp_path: Path) -> None:
    stand_in(wheel, tmp_path, "")
    inside = wheel.python.parents[1] / "lib" / "harness.py"
    said = '{"file": "%s", "version": "1", "suites": %d, "zoo": 1, "cards": 1}'
    wheel.python.unlink()
    for suites, failed in ((0, True), (1, False)):
        wheel.python.write_text(f"#!{sys.executable}\nprint('''{said % (inside, suites)}''')\n")
        wheel.python.chmod(0o755)
        assert wheel.check_installed().failed == failed
    wheel.python.write_text(f"#!{sys.executable}\nprint('''{said % ('/elsewhere/harness.py', 1)}''')\n")
    assert "imported from /elsewhere" in wheel.check_installed().sentence


def test_a_build_that_fails_fails_each_part_that_needs_it(root: Path) -> None:
    (root / "pyproject.toml").write_text('[project]\nname = "oneclock"\nversion = "1"\n[build-system]\nrequires = [')
    found = list(check_release(root, ("wheel", "install"), "quick", []))
    assert [(one.part, one.failed) for one in found] == [("wheel", True), ("install", True)]
    assert "the build ended with exit code 1" in found[0].sentence
    assert found[1].sentence == "not tried, since wheel failed"


def test_the_tree_is_committed(root: Path) -> None:
    def state() -> ReleaseFinding:
        (found,) = check_release(root, ("tree",), "quick", [])
        return found

    assert state().sentence == "git knows no commit here"
    for words in (["init"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-m", "a"]):
        subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, env=clean_variables())
    assert not state().failed
    (root / "new.txt").touch()
    assert state().sentence == "1 files are changed, such as new.txt"


def test_parts_are_chosen_by_name() -> None:
    assert choose_release_parts(None) == PARTS
    assert choose_release_parts("wheel, version") == ("version", "wheel")
    with pytest.raises(UsageError, match=r'found the part "whel".*wheel'):
        choose_release_parts("whel")


def test_a_folder_that_is_no_source_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no source tree of oneclock"):
        list(check_release(tmp_path, PARTS, "quick", []))


def test_the_verb_prints_a_line_each_and_says_whether_all_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [ReleaseFinding("version", "1 everywhere"), ReleaseFinding("tree", "3 files", "commit them")]
    monkeypatch.setattr(release_check, "check_release", lambda *_: iter(found))
    assert not release_check.check_this_release(None, "quick", [])
    assert capsys.readouterr().out == "ok      version    1 everywhere\nfailed  tree       3 files; commit them\n"
    found.pop()
    assert release_check.check_this_release(None, "quick", [])


def test_a_failed_step_does_not_end_the_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: WheelCheck) -> None:
        raise FailedStepError("no disk")

    monkeypatch.setattr(checks.WheelCheck, "check_contents", fail)
    found = [one.sentence for one in check_release(root, ("wheel", "tree"), "quick", [])]
    assert found == ["no disk", "git knows no commit here"]
