"""The command line: what it prints where, and the contract's exit codes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import toys
from kit.cli_kit import Command, parts, use_pool
from kit.toys import CountingPool, suite_file, trial

from harness.config.suite import suite_names
from harness.storage import lock
from harness.storage.disk import Disk

ROOT = Path(__file__).resolve().parents[3]
VERBS = (
    "run",
    "plan",
    "report",
    "site",
    "paper",
    "ls",
    "train",
    "reference",
    "check",
    "doctor",
    "release-check",
    "submit",
    "attach",
    "export",
    "zoo",
    "new",
)


@pytest.fixture
def toy_methods() -> Iterator[None]:
    with toys.registered(toys.NaN):
        yield


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_an_example(command: Command, verb: str) -> None:
    said = command(verb, "--help")
    assert said.code == 0
    assert "Example: " in said.out
    assert f"oneclock {verb}" in said.out.partition("Example: ")[2]


def test_help_names_every_verb(command: Command) -> None:
    said = command("--help")
    assert said.code == 0
    assert all(f"\n  {verb} " in said.out for verb in VERBS)


def test_results_go_to_stdout_and_talk_to_stderr(command: Command, suite: str, tmp_path: Path) -> None:
    said = command("run", suite, "--results", tmp_path / "results")
    assert said.code == 0
    title, headings, *rows = said.out.splitlines()
    assert title.startswith("gaussian on ")
    assert [one.strip() for one in headings.split("\t")] == ["method", "FID at 2", "FID at 3"]  # no card, no limit
    assert rows[0].startswith("analytic:ddim\t")
    assert "2 trials: 0 already measured" in said.err
    assert said.err.splitlines()[-1] == f"report: {tmp_path / 'results/toy/report.html'}"
    again = command("run", suite, "--results", tmp_path / "results")
    assert again.out == said.out
    assert "2 trials: 2 already measured" in again.err


def test_quiet_says_nothing_where_all_is_well_and_only_errors_where_it_is_not(
    command: Command, suite: str, tmp_path: Path
) -> None:
    folder = tmp_path / "results/toy"
    folder.mkdir(parents=True)
    (folder / lock.LOCK_NAME).write_text("{}")  # of nobody: it is taken over
    os.utime(folder / lock.LOCK_NAME, (0, 0))
    said = command("run", suite, "--results", tmp_path / "results", "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")
    assert "took over the lock" in (folder / "log.txt").read_text()
    with toys.registered(toys.NaN):
        broken = suite_file(tmp_path, trial(solver="toy-nan", steps=2))
        said = command("run", broken, "--results", tmp_path / "results", "--quiet")
    assert (said.code, said.out) == (1, "")
    wrong, code = said.err.splitlines()
    assert wrong.startswith("analytic:toy-nan-2 is INVALID and does not rank: nan-samples: 4 of 40 images")
    assert code.startswith("exit code 1 means: 1 of 2 planned trials")


@pytest.mark.usefixtures("toy_methods")
def test_a_trial_that_is_not_valid_is_exit_code_1(command: Command, tmp_path: Path) -> None:
    said = command("run", suite_file(tmp_path, trial(solver="toy-nan", steps=2)), "--results", tmp_path / "results")
    assert said.code == 1
    assert said.err.count("nan-samples") == 2  # its row, and what is wrong at the end
    assert "exit code 1 means: 1 of 2 planned trials have no VALID row" in said.err
    assert command("run", str(tmp_path / "toy.toml"), "--results", tmp_path / "results").code == 1
    only = command("run", str(tmp_path / "toy.toml"), "--results", tmp_path / "results", "--only", "ddim")
    assert only.code == 0  # all that was planned is valid


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "quik"], 'did you mean "quick"'),
        (["run", "SUITE", "--only", "nothing"], "matches none"),
        (["run", "SUITE", "--set", "n_image=3"], 'did you mean "n_images"'),
        (["run", "SUITE", "--seeds", "0"], "--seeds is 0"),
        (["run", "SUITE", "--seeds", "many"], "--seeds"),
        (["run", "SUITE", "--nonsense"], "--nonsense"),
        (["run", "SUITE", "--gpus", "0"], "--gpus is 0; expected 1 or more"),
        (["run", "SUITE", "--gpus", "2000"], "--gpus is 2000; this machine has "),
        (["run", "SUITE", "--device", "abacus"], '--device is "abacus"; this machine runs on '),
        (["run", "SUITE", "--device", "abacus", "--in-process"], "expected neither of them, or no --in-process"),
        (["plan", "SUITE", "--device", "abacus"], '--device is "abacus"; this machine runs on '),
        (["train", "digits", "unet-8", "--gpus", "2000"], "--gpus is 2000; this machine has "),
        (["train", "digits", "unet-8", "--gpus", "1", "--into", "zoo"], "expected no --address, --gpus or --device"),
        (["run"], "suite"),
        (["nonsense"], "nonsense"),
        (["ls", "method"], '"method" is nothing that can be listed; did you mean "methods"'),
        (["plan", "quik"], 'did you mean "quick"'),
        (["report", "RESULTS/absent"], "does not exist"),
        (["submit", "quick"], "expected --address"),
        (["attach"], "expected --address"),
        (["train", "digits", "unet-9"], "unet-9"),
        (["train", "digit", "unet-8"], "digit"),
        (["train", "gaussian", "analytic"], "is not trained"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_is_one_sentence_exit_code_2_and_leaves_nothing(
    command: Command, suite: str, tmp_path: Path, words: list[str], told: str
) -> None:
    results = tmp_path / "results"
    given = [word.replace("SUITE", suite).replace("RESULTS", str(results)) for word in words]
    if words[0] in ("run", "plan", "train"):
        given += ["--results", str(results)]
    said = command(*given)
    assert said.code == 2
    assert said.out == ""
    assert told in said.err
    assert said.err.startswith("oneclock: ")
    assert not results.exists()


def test_a_report_of_a_folder_without_a_store_names_what_is_missing(command: Command, tmp_path: Path) -> None:
    said = command("report", tmp_path)
    assert said.code == 2
    assert f"{tmp_path} has no store.json" in said.err
    assert "name one suite's folder" in said.err
    assert "Errno" not in said.err


@pytest.mark.parametrize(
    ("verb", "line"), [("pause", "paused: none was running"), ("resume", "resumed: none was paused")]
)
def test_without_trainings_zoo_says_what_there_was_none_of(
    command: Command, tmp_path: Path, verb: str, line: str
) -> None:
    assert command("zoo", verb, "--results", tmp_path).out.strip() == line


def test_a_file_where_the_results_should_be_is_exit_code_2(command: Command, suite: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = command("run", suite, "--results", tmp_path / "file")
    assert said.code == 2
    assert "a file is in the way" in said.err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_other_things_is_not_written_to(command: Command, suite: str, tmp_path: Path) -> None:
    (tmp_path / "results/toy").mkdir(parents=True)
    (tmp_path / "results/toy/thesis.tex").write_text("mine")
    said = command("run", suite, "--results", tmp_path / "results")
    assert said.code == 2
    assert "thesis.tex" in said.err
    assert [p.name for p in (tmp_path / "results/toy").iterdir()] == ["thesis.tex"]


HOLD = "import sys\nfrom pathlib import Path\nfrom harness.storage.lock import RunLock\n"
HOLD += "with RunLock(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"


def test_results_that_another_process_holds_are_exit_code_3(command: Command, suite: str, tmp_path: Path) -> None:
    folder = tmp_path / "results/toy"
    assert command("run", suite, "--results", tmp_path / "results", "--only", "ddim-2").code == 0
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = command("run", suite, "--results", tmp_path / "results")
        assert said.code == 3
        assert str(holder.pid) in said.err
        assert len(parts(tmp_path / "results")) == 1
    finally:
        holder.communicate(timeout=60)
    assert command("run", suite, "--results", tmp_path / "results").code == 0


def test_full_storage_is_exit_code_5_and_what_was_committed_stays(
    command: Command, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results, "--only", "ddim-2")
    before = parts(results)

    def full(disk: Disk, descriptor: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write", full)
        said = command("run", suite, "--results", results)
    assert said.code == 5
    assert "is full" in said.err
    assert parts(results) == before
    assert command("run", suite, "--results", results).code == 0


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_a_signal_keeps_what_is_finished_and_says_so_by_its_exit_code(
    command: Command, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    results = tmp_path / "results"
    pool = CountingPool(3, lambda: os.kill(os.getpid(), number))
    use_pool(monkeypatch, lambda: pool)
    said = command("run", suite, "--results", results)
    assert said.code == code
    assert "stopping; what is finished is kept" in said.err
    assert "interrupted" in said.err
    assert not (results / "toy/run.lock").exists()
    rest = CountingPool()
    use_pool(monkeypatch, lambda: rest)
    assert command("run", suite, "--results", results).code == 0
    assert not {u.key for u in rest.started} & {u.key for u in pool.started[:3]}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("methods", {"solver    ddim", "schedule  edm", "denoiser  full", "executor  serial"}),
        ("datasets", {"digits", "cifar10", "gaussian", "gaussian-mixture"}),
        ("suites", set(suite_names())),
        ("networks", {"unet-8", "analytic", "unet"}),
        ("extractors", {"digits-cnn", "pixels", "inception-v3-compat"}),
    ],
)
def test_ls_gives_each_thing_a_line(command: Command, what: str, expected: set[str]) -> None:
    said = command("ls", what)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in expected)
    assert len(lines) == len(set(lines)) >= len(expected)


def test_columns_are_aligned_whatever_names_are_long(command: Command) -> None:
    lines = command("ls", "networks").out.partition("\n\n")[0].splitlines()
    assert len({line.index("  family ") for line in lines if line.startswith("uvit")}) == 1
    assert len({len(line) - len(line.partition("family")[2]) for line in lines}) == 1


@pytest.mark.parametrize("group", [(), ("new",), ("zoo",), ("export",)])
def test_no_summary_in_the_help_is_cut(
    command: Command, monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, _, listed = command(*group, "--help").out.partition("Commands:")
    assert listed.strip()
    assert "..." not in listed


def test_a_report_is_rebuilt_to_the_same_bytes(command: Command, suite: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results)
    said = command("report", results / "toy")
    paths = [Path(line) for line in said.out.split("\n") if line]
    assert said.code == 0
    assert {p.name for p in paths} >= {"leaderboard.md", "leaderboard.csv", "leaderboard.tex", "report.html"}
    first = {p: p.read_bytes() for p in paths}
    for path in paths:
        path.unlink()
    command("report", results / "toy")
    assert {p: p.read_bytes() for p in paths} == first


def test_the_module_and_the_command_leave_with_the_code() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = Path(sys.executable).parent / "oneclock"
    starts = [[sys.executable, "-m", "harness"], *([[str(script)]] if script.is_file() else [])]
    for start in starts:
        done = subprocess.run(
            [*start, "run", "quik"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert 'did you mean "quick"' in done.stderr
