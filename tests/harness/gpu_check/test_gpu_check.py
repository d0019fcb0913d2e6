"""The check of a GPU machine imports and plans on a CPU, keeps what its parts found, and says it on one page."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import pytest

import harness.gpu_check
from harness.cli.app import app
from harness.config.suite import load_suite
from harness.config.zoo_card import ZOO_VARIABLE, zoo_folder
from harness.errors import UsageError
from harness.gpu_check import check, trainings
from harness.gpu_check.child import Child, ChildEnd
from harness.gpu_check.findings import findings_page, list_problems
from harness.gpu_check.machine import MachineFinding, describe_machine
from harness.gpu_check.marked_tests import TestsFinding, marked_files, read_report
from harness.gpu_check.network_calls import VARIANTS, CallFinding, CallsFinding
from harness.gpu_check.parts import FILE, PARTS, Findings, choose_parts, load_findings
from harness.gpu_check.scale import ON_GPU, REHEARSAL, SUITE, choose_scale
from harness.gpu_check.suite_modes import MODES, ModeFinding, ModeRow
from harness.gpu_check.trainings import TrainingFinding, TrainingsFinding, run_check_trainings
from harness.planning.plan import make_plan
from harness.specs.prepare import PrepareSpec
from harness.specs.train import TrainSpec
from harness.zoo.recipes import ListedTraining, TrainingRecipe

ROOT = Path(__file__).resolve().parents[3]
DONE = ChildEnd(code=0, seconds=3.0, is_over_time=False, last_lines=[])
MACHINE = MachineFinding(
    devices=["Imaginary 9000 (8 GiB)"], driver=["Imaginary 9000, 580.1"], cores=4, python="3.12.3", torch="2.11.0",
    cuda="13.0", cudnn="91000", nccl="2.28", libraries={"ray": "2.60.0", "altair": "absent"},
    commit="abc clean", busy="",
)  # fmt: skip


def findings(**parts: Any) -> Findings:
    return Findings(device="cuda", machine=MACHINE, **parts)


def row(trial: str = "uvit-16:full-10", **figures: Any) -> ModeRow:
    return ModeRow(**{"trial": trial, "verdict": "VALID", "reasons": "", **figures})


def whole() -> Findings:
    """Return findings of all parts, none with a problem."""
    rows = {"reproducible": row(latency_seconds=0.010, fid=20.0), "deployed": row(latency_seconds=0.004, fid=20.1)}
    calls = [
        CallFinding(
            network="uvit-16", variant=one.name, seconds=0.01 / n, first_seconds=9.0, difference=0.001 * (n - 1)
        )
        for n, one in enumerate(VARIANTS[:3], 1)
    ]
    trained = TrainingFinding(name="slim-16-seed1", dataset="cifar10-16", images=512_000, held_out_loss=0.36, end=DONE,
                              fid=18.5, weights="zoo/slim-16-seed1", ended_by="the aim is reached")  # fmt: skip
    return findings(
        tests=TestsFinding(passed=40, skipped={"two GPUs are needed": 1}, end=DONE),
        calls=CallsFinding(batch=256, calls=calls, end=DONE),
        modes={mode: ModeFinding(mode=mode, rows=[rows[mode]], end=DONE) for mode in MODES},
        trainings=TrainingsFinding(seconds=480, trainings=[trained]),
    )


# It imports and plans where there is no GPU


def test_every_module_imports_without_a_gpu() -> None:
    for module in pkgutil.iter_modules(harness.gpu_check.__path__):
        importlib.import_module(f"harness.gpu_check.{module.name}")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("device", ["cuda:Imaginary 9000 (8 GiB)", "cpu:a CPU"])
def test_the_suite_plans_in_both_modes_on_a_gpu_and_trains_nothing(mode: str, device: str) -> None:
    suite = load_suite(SUITE, [f'timing.mode="{mode}"'])
    made = make_plan(suite, device, device.partition(":")[2], data_may_be_absent=True)
    assert len(made.trials) == 12
    assert {one.trial.sampler.mode for one in made.trials} == {mode}
    assert not [task for task in made.tasks.values() if isinstance(task.spec, TrainSpec | PrepareSpec)]
    assert {one.trial.sampler.devices for one in made.trials} == {1, 2}  # a group of two ranks


@pytest.mark.parametrize("mode", MODES)
def test_the_rehearsal_plans_fewer_trials_of_it(mode: str) -> None:
    suite = load_suite(SUITE, [*REHEARSAL.settings, f'timing.mode="{mode}"'])
    made = make_plan(suite, "cpu:a CPU", "a CPU", REHEARSAL.only.get(mode), data_may_be_absent=True)  # type: ignore[call-overload]
    assert 1 <= len(made.trials) <= 3


def test_files_with_tests_for_a_gpu_are_found() -> None:
    names = {file.name for file in marked_files(ROOT / "tests")}
    assert {"test_waits.py", "test_early_exit.py"} <= names
    assert "test_frechet.py" not in names


# Scale


def test_the_scale_follows_the_device() -> None:
    assert choose_scale(None, has_gpu=True) is ON_GPU
    assert choose_scale(None, has_gpu=False) is choose_scale("cpu", has_gpu=True) is REHEARSAL
    with pytest.raises(UsageError, match="torch sees no GPU here"):
        choose_scale("cuda", has_gpu=False)
    with pytest.raises(UsageError, match='--device is "tpu"; expected cuda or cpu'):
        choose_scale("tpu", has_gpu=True)


# Processes


def test_a_process_is_interrupted_when_its_time_is_over_and_the_log_is_kept(tmp_path: Path) -> None:
    code = "import time; print('begins', flush=True); time.sleep(60)"
    end = Child([sys.executable, "-c", code], tmp_path / "logs" / "a.txt", {}).wait(3.0)
    assert end.is_over_time
    assert end.code != 0
    assert end.seconds < 30
    assert "begins" in (tmp_path / "logs" / "a.txt").read_text()


def test_a_process_that_ends_says_how(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os, sys; print(os.environ['WORD']); sys.exit(3)"]
    end = Child(words, tmp_path / "a.txt", {"WORD": "seen"}).wait(60.0)
    assert (end.code, end.is_over_time, end.last_lines) == (3, False, ["seen"])


# Tests


def test_what_pytest_reports_is_counted_with_reasons(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.a" name="one"/>'
        '<testcase classname="tests.a" name="two"><failure message="assert 1 == 2&#10;more"/></testcase>'
        '<testcase classname="tests.b" name="three"><skipped message="no GPU"/></testcase>'
        '<testcase classname="tests.b" name="four"><skipped message="no GPU"/></testcase></testsuite></testsuites>'
    )
    found = read_report(report, DONE)
    assert (found.passed, found.failed, found.skipped) == (1, {"a::two": "assert 1 == 2"}, {"no GPU": 2})
    assert read_report(tmp_path / "missing.xml", DONE) == TestsFinding(end=DONE)


# The page


def test_the_page_names_device_driver_tests_modes_calls_and_trainings() -> None:
    page = findings_page(whole(), ON_GPU)
    assert page.startswith("# Imaginary 9000 (8 GiB)")
    for words in (
        "driver: Imaginary 9000, 580.1", "torch 2.11.0", "altair absent", "40 passed, 0 failed, 1 skipped",
        "skipped 1: two GPUs are needed", "| uvit-16:full-10 | 10 | 4 |", "| 0.4 |", "slim-16-seed1 | 512,000",
        "zoo/slim-16-seed1", "TF32, compiled", "the aim is reached", "- nothing",
    ):  # fmt: skip
        assert words in page, words
    assert "rehearsal" not in page
    assert "A rehearsal on a CPU" in findings_page(whole(), REHEARSAL)


def test_each_thing_that_fails_or_is_missing_is_a_sentence() -> None:
    over = DONE.model_copy(update={"is_over_time": True, "code": -2, "seconds": 301.0})
    broken = whole().model_copy(
        update={
            "tests": TestsFinding(passed=1, failed={"a::b": "assert 0"}, end=DONE.model_copy(update={"code": 1})),
            "calls": CallsFinding(
                batch=2,
                calls=[
                    CallFinding(network="n", variant="TF32", error="RuntimeError: no"),
                    CallFinding(network="n", variant="bfloat16", difference=0.3),
                    CallFinding(network="n", variant="TF32, compiled", difference=float("nan")),
                ],
                end=DONE,
            ),
            "modes": {"deployed": ModeFinding(mode="deployed", rows=[row(verdict="INVALID", reasons="x")], end=over)},
            "trainings": TrainingsFinding(
                trainings=[TrainingFinding(name="t", dataset="d", problem="no pictures of d here")]
            ),
        }
    )
    found = "\n".join(list_problems(broken))
    for words in (
        "test a::b: assert 0", "n, TF32: RuntimeError: no", "n, bfloat16: its images differ by 0.3", "differ by nan",
        "reproducible: did not run yet", "deployed: stopped after 301 s", "deployed, uvit-16:full-10: INVALID, x",
        "training t did not run: no pictures of d here", "tests: exit code 1",
    ):  # fmt: skip
        assert words in found, words
    assert list_problems(whole()) == []


# Parts are kept, and done once


def test_a_part_is_done_when_its_process_ended_well() -> None:
    assert all(whole().is_done(part) for part in PARTS)
    assert not any(findings().is_done(part) for part in PARTS)
    over = DONE.model_copy(update={"is_over_time": True})
    assert not findings(calls=CallsFinding(end=over)).is_done("calls")
    going = TrainingsFinding(trainings=[TrainingFinding(name="t", dataset="d", end=DONE)])
    assert not findings(trainings=going).is_done("trainings")


def test_findings_of_another_device_are_not_mixed(tmp_path: Path) -> None:
    assert load_findings(tmp_path, MACHINE, "cuda").tests is None
    (tmp_path / FILE).write_text(whole().model_dump_json())
    assert load_findings(tmp_path, MACHINE, "cuda") == whole()
    with pytest.raises(UsageError, match=r"holds the check of Imaginary 9000 \(8 GiB\); expected the devices of"):
        load_findings(tmp_path, MACHINE.model_copy(update={"devices": ["Other"]}), "cuda")
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(UsageError, match="not what a check writes"):
        load_findings(tmp_path, MACHINE, "cuda")


def test_parts_are_chosen_by_name() -> None:
    assert choose_parts(None) == list(PARTS)
    assert choose_parts("trainings, tests") == ["tests", "trainings"]
    with pytest.raises(UsageError, match='names "test", which is no part of the check; did you mean "tests"'):
        choose_parts("test")


def test_a_second_call_does_what_is_left_and_the_page_is_there_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run_tests(folder: Path, environment: dict[str, str]) -> TestsFinding:
        assert "did not run yet" in (folder / check.PAGE).read_text()
        assert environment["CUDA_VISIBLE_DEVICES"] == ""
        ran.append("tests")
        return TestsFinding(passed=2, end=DONE)

    monkeypatch.setattr(check, "run_marked_tests", run_tests)
    for _ in range(2):
        check.run_gpu_check(tmp_path, REHEARSAL, "tests", None, again=False)
    assert ran == ["tests"]
    check.run_gpu_check(tmp_path, REHEARSAL, "tests", None, again=True)
    assert ran == ["tests"] * 2
    assert json.loads((tmp_path / FILE).read_text())["tests"]["passed"] == 2
    assert "2 passed" in (tmp_path / check.PAGE).read_text()


def test_the_verb_refuses_an_unknown_part_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='names "kernels", which is no part of the check'):
        app(["gpu-check", "--only", "kernels", "--results", str(tmp_path / "new")], standalone_mode=False)
    assert not (tmp_path / "new").exists()


def test_the_machine_is_described_without_a_gpu() -> None:
    found = describe_machine("cpu")
    assert found.torch
    assert found.libraries["numpy"] != "absent"
    assert len(found.devices) == 1


# Trainings


def test_trainings_run_in_bfloat16_in_a_zoo_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    class FakeChild:
        def __init__(self, words: list[str], log: Path, environment: dict[str, str]) -> None:
            started.append((words, environment))

        def wait(self, seconds: float) -> ChildEnd:
            return DONE

    monkeypatch.setattr(trainings, "Child", FakeChild)
    monkeypatch.setattr(
        trainings, "_why_not", lambda training: "absent" if training.recipe.network == "cunet-8" else ""
    )
    recipes = [TrainingRecipe(dataset="digits", network=name, seeds=[1]) for name in ("unet-8", "cunet-8")]
    listed = [ListedTraining(recipe=recipe, seed=1) for recipe in recipes]
    monkeypatch.setattr(trainings, "load_recipes", lambda: recipes)
    monkeypatch.setattr(trainings, "select_unfinished", lambda _: listed)
    monkeypatch.setattr(trainings, "pick_trainings", lambda _: listed)

    found = run_check_trainings(tmp_path, ON_GPU, 120.0, {})
    ((words, environment),) = started
    text = " ".join(words)
    assert "train digits unet-8 --set train.precision=bfloat16 --set train.seed=1 --into zoo --minutes 2" in text
    assert environment[ZOO_VARIABLE] == str(tmp_path / "zoo")
    assert "cunet-8" in (tmp_path / "zoo" / "trainings.toml").read_text()
    assert [one.problem for one in found.trainings] == ["", "absent"]


def test_a_variable_names_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = zoo_folder()
    monkeypatch.setenv(ZOO_VARIABLE, str(tmp_path))
    assert zoo_folder() == tmp_path
    monkeypatch.setenv(ZOO_VARIABLE, "")
    assert zoo_folder() == shipped
