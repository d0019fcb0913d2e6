"""The command line: what it prints where, and the contract's exit codes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kit import toys
from kit.toys import CountingPool, suite_file, trial

from harness import api
from harness.cli import doctor, main
from harness.config.suite import suite_names
from harness.measure import machine_load
from harness.pools.local import LocalPool
from harness.pools.pool import Pool
from harness.report.figures import draw as figures
from harness.runs import workplace
from harness.storage import lock
from harness.storage.disk import Disk

ROOT = Path(__file__).resolve().parents[3]
VERBS = ("run", "plan", "report", "ls", "train", "doctor", "submit", "export", "zoo", "new")


class Said:
    """How a command ended and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Command = Callable[..., Said]


def use_pool(monkeypatch: pytest.MonkeyPatch, pool: Callable[[], Pool]) -> None:
    """Let runs and trainings have this pool where they would start Ray."""
    monkeypatch.setattr(workplace, "make_pool", lambda *_: pool())
    monkeypatch.setattr(workplace, "open_ray", lambda *_, meanwhile: closing(pool()))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a call that runs the command line here, with one worker in this process, and few plots."""
    use_pool(monkeypatch, LocalPool)
    monkeypatch.setattr(figures, "DRAWERS", {"fid-nfe": figures.DRAWERS["fid-nfe"]})
    monkeypatch.setattr(machine_load, "describe_busy_machine", lambda: "")
    monkeypatch.setattr(doctor, "_LEAST_FREE", 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run(*words: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["oneclock", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in err
        return Said(code, out, err)

    return run


@pytest.fixture
def suite(tmp_path: Path) -> str:
    return suite_file(tmp_path, trial(steps=3))


@pytest.fixture
def toy_methods() -> Iterator[None]:
    with toys.registered(toys.NaN):
        yield


def parts(results: Path, table: str = "trials") -> list[Path]:
    return sorted((results / "toy" / table).glob("*.parquet"))


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
    assert [one.strip() for one in headings.split("\t")] == ["method", "limit", "FID at 2", "FID at 3"]
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
        (["run"], "suite"),
        (["nonsense"], "nonsense"),
        (["ls", "method"], '"method" is nothing that can be listed; did you mean "methods"'),
        (["plan", "quik"], 'did you mean "quick"'),
        (["report", "RESULTS/absent"], "does not exist"),
        (["submit", "quick"], "expected --address"),
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


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_too_few_images_for_fid_are_refused_before_anything_is_written(
    command: Command, tmp_path: Path, verb: str
) -> None:
    few = ("--set", "dataset=gaussian-mixture", "--set", "n_images=2", "--set", "batch=2")
    said = command(verb, suite_file(tmp_path), *few, "--results", tmp_path / "results")
    assert said.code == 2
    assert 'every row on "gaussian-mixture" would be INVALID: found n_images = 2 for the 16 features' in said.err
    assert not (tmp_path / "results").exists()


def test_notes_are_printed_by_plan_and_by_a_run_before_its_first_row(command: Command, tmp_path: Path) -> None:
    results = ("--results", tmp_path / "results", "--set", "batch=50")
    planned = command("plan", suite_file(tmp_path), *results)
    said_now = "note: other programs"  # of the machine, not of the plan
    lines = planned.out.splitlines()
    notes = [line for line in lines if line.startswith("note: ") and not line.startswith(said_now)]
    assert any("batch = 50 is more than n_images = 40" in note for note in notes)
    said = " ".join(command("run", suite_file(tmp_path), *results).err.split())
    assert all(said.index(note) < said.index("[1/") for note in notes)


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


def test_a_damaged_part_is_named_left_out_and_exit_code_4(command: Command, suite: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results)
    victim = parts(results)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    said = command("report", results / "toy")
    assert said.code == 4
    assert victim.name in said.err
    board = (results / "toy/leaderboard.md").read_text()
    assert "1 VALID" in board
    assert command("doctor", results).code == 4


def test_doctor_finds_damage_and_orphans_moves_them_and_a_run_repairs(
    command: Command, suite: str, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results)
    sound = command("doctor", results)
    assert sound.code == 0
    assert "2 finished trials, all intact" in sound.out
    damaged, orphan = parts(results)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    entry = next((results / "toy/log").glob(f"{orphan.name[:64]}*"))
    entry.unlink()
    found = command("doctor", results)
    assert found.code == 4
    assert f"trials/{damaged.name}: altered" in found.out
    assert f"trials/{orphan.name}: orphan" in found.out
    assert parts(results) == [damaged, orphan]  # looking changes nothing
    fixed = command("doctor", results, "--fix")
    assert "to quarantine" in fixed.out
    assert parts(results) == []
    assert (results / "toy/quarantine/trials" / damaged.name).is_file()
    assert command("doctor", results).code == 0
    assert command("run", suite, "--results", results).code == 0
    assert len(parts(results)) == 2
    assert "2 finished trials, all intact" in command("doctor", results).out


def test_doctor_without_results_tells_of_the_machine(command: Command, tmp_path: Path) -> None:
    said = command("doctor", tmp_path / "absent")
    assert said.code == 0
    assert {"python", "libraries", "cpu", "gpu", "disk", "network"} <= {
        line.split()[1] for line in said.out.splitlines()
    }
    assert not (tmp_path / "absent").exists()


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
        ("networks", {"unet-8", "analytic", "family unet"}),
        ("extractors", {"digits-cnn", "pixels", "inception-v3-compat"}),
    ],
)
def test_ls_gives_each_thing_a_line(command: Command, what: str, expected: set[str]) -> None:
    said = command("ls", what)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in expected)
    assert len(lines) == len(set(lines)) >= len(expected)


@pytest.mark.parametrize(("suite_name", "trials"), [("known-answer", 18), ("quick", None)])
def test_plan_prints_every_trial_and_writes_nothing(
    command: Command, tmp_path: Path, suite_name: str, trials: int | None
) -> None:
    said = command("plan", suite_name, "--results", tmp_path / "results")
    assert said.code == 0
    rows = [line for line in said.out.splitlines() if line.startswith("to do ")]
    assert len(rows) == len({row.split(maxsplit=4)[4] for row in rows}) == (trials or len(api.plan(suite_name).trials))
    assert f"\n{len(rows)} to do · about " in said.out
    assert not (tmp_path / "results").exists()


def test_plan_tells_what_is_already_measured(command: Command, suite: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results, "--only", "ddim-2")
    out = command("plan", suite, "--results", results).out
    assert out.splitlines()[0].split() == ["done", "VALID", "analytic:ddim-2"]
    assert "\n1 to do, 1 done · about " in out


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
