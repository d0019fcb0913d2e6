"""The verb `plan`: what it prints at every width, without building or running a network unless that is wanted."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from kit import toys

from harness import api
from harness.cli import plan_lines as verb
from harness.cli.plan_lines import fit_lines, plan_lines, wrap_lines
from harness.measure.machine_load import MachineLoad
from harness.planning.cost import flops_guess, timed_evaluations
from harness.storage.run_rates import add_run_rates


@pytest.fixture(autouse=True)
def _idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "measure_machine_load", lambda: MachineLoad())
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module that could build a network raises instead."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network is built")

    monkeypatch.setattr(flops_guess, "build_network", refuse)
    monkeypatch.setattr(timed_evaluations, "build_network", refuse)
    monkeypatch.setattr("harness.planning.network_checks.build_network", refuse)
    monkeypatch.setattr("harness.sampling.network.build_network", refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)


def lines_of(suite: str, results: Path, address: str | None = None, **options: Any) -> list[str]:
    return list(plan_lines(suite, options.pop("settings", None), None, None, address, results, **options))


@pytest.mark.usefixtures("no_network")
def test_a_plan_of_networks_of_the_zoo_builds_none(tmp_path: Path) -> None:
    lines = lines_of("quick", tmp_path)
    summary, basis = next((one, two) for one, two in itertools.pairwise(lines) if " to do · " in one)
    assert summary.startswith("22 to do · about ")
    assert "trains" not in summary  # all weights come from the zoo
    assert basis.startswith("from counted FLOPs at an assumed ")
    assert "not known" not in basis


def test_what_no_zoo_has_counted_is_counted_on_shapes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's meta device nothing is computed and no weights have memory."""
    build = flops_guess.build_network
    devices = []

    def build_and_look(*given: Any) -> Any:
        network = build(*given)
        devices.extend(parameter.device.type for parameter in network.parameters())
        return network

    monkeypatch.setattr(flops_guess, "build_network", build_and_look)
    monkeypatch.setattr(timed_evaluations, "build_network", None)
    suite = toys.suite_file(tmp_path)
    lines = lines_of(suite, tmp_path, settings=["dataset=digits", "network=unet-tiny", "n_images=200"])
    assert set(devices) == {"meta"}
    assert any("trains unet-tiny " in line for line in lines)


def test_a_network_is_timed_only_where_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    monkeypatch.setattr(verb, "time_evaluations", lambda plan, finished: timed.append(plan.suite.name) or {})
    suite = toys.suite_file(tmp_path)
    lines_of(suite, tmp_path)
    assert timed == []
    lines_of(suite, tmp_path, measure=True)
    assert timed == ["toy"]


@pytest.mark.parametrize("given", ["head:6379", None])
def test_a_cluster_is_no_work_here_whether_it_is_given_or_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """Its machines may be of this device class too: then this one's load and speed say nothing of them."""
    suite = toys.suite_file(tmp_path)
    plan = api.plan(suite)
    monkeypatch.setenv("RAY_ADDRESS", "" if given else "head:6379")
    monkeypatch.setattr(api, "plan_with_devices", lambda *_, **__: (plan, 4, 2))
    for here in ("measure_machine_load", "time_evaluations"):
        monkeypatch.setattr(verb, here, lambda *_: pytest.fail("this machine is measured"))
    lines = lines_of(suite, tmp_path, given, measure=True)
    assert any("on 4 cores of the cluster" in line for line in lines)
    assert any("and the run is on another: nothing was timed" in line for line in lines)


def test_an_evaluation_is_timed_once_a_network() -> None:
    plan = api.plan("quick", only="unet-16")
    found = timed_evaluations.time_evaluations(plan, ())
    assert [key.rpartition("-")[0] for key in found] == ["unet-16"]
    assert 0 < found.popitem()[1] < 60
    assert timed_evaluations.time_evaluations(plan, {planned.id for planned in plan.trials}) == {}


def test_missing_things_are_named_and_the_command_is_well(tmp_path: Path) -> None:
    settings = [
        "extractor=inception-v3-compat",
        f"networks.uvit-s-2.weights={tmp_path / 'nnet.safetensors'}",
        "quality.targets={}",
    ]
    lines = lines_of("cifar10", tmp_path, settings=settings)
    missing = [line for line in lines if line.startswith("missing: ")]
    assert len(missing) == 3
    assert lines[:3] == missing  # before a hundred trials
    assert "give its path as extractor_weights" in missing[0]
    assert "set ONECLOCK_DATA to the folder that holds cifar10/" in "".join(missing)
    assert "set networks.uvit-s-2.weights to its path" in "".join(missing)
    (summary,) = [line for line in lines if " to do · about " in line]
    assert summary.startswith("cannot run yet, see what is missing at the top · ")
    assert "trains unet-32 " in summary
    assert "uvit-s-2" not in summary  # its weights are given, be they there or not


def test_a_busy_machine_and_broken_rates_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = toys.suite_file(tmp_path)
    before = lines_of(suite, tmp_path)
    monkeypatch.setattr(verb, "measure_machine_load", lambda: MachineLoad("others are at work", 2.0))
    (tmp_path / "rates.json").write_text("{")
    after = lines_of(suite, tmp_path)
    assert "note: others are at work" in after
    assert any(line.startswith(f"note: {tmp_path / 'rates.json'} cannot be read") for line in after)
    assert not any("others are at work" in line for line in before)


def test_a_time_that_is_not_known_is_no_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops_guess.EvaluationFlops, "of", lambda *_: None)
    suite = toys.suite_file(tmp_path)
    lines = lines_of(suite, tmp_path, settings=["dataset=digits", "network=unet-tiny", "n_images=200"])
    assert lines[0].split()[:3] == ["to", "do", "unknown"]
    (summary,) = [line for line in lines if " to do · " in line]
    assert " to do · more than " in summary
    assert summary.endswith("trains unet-tiny for an unknown time")


def test_kept_rates_are_the_basis(tmp_path: Path) -> None:
    suite = toys.suite_file(tmp_path)
    plan = api.plan(suite)
    rates = {"start": 1.0, "report": 1.0, "sample": 1.0}
    add_run_rates(tmp_path, plan.device_class, rates)
    assert any("the rates of 1 earlier run on such a device" in line for line in lines_of(suite, tmp_path))


@pytest.mark.parametrize("width", [80, 160])
def test_lines_fit_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(verb, "terminal_width", lambda: width)
    lines = lines_of("digits", tmp_path)
    assert max(map(len, lines)) <= width
    assert len({line for line in lines if line.startswith("to do ")}) > 200


def test_a_long_name_keeps_its_steps() -> None:
    (line,) = fit_lines(iter([("to do  ", "unet-8:" + "x" * 60 + "@cosine-10")]), 40)
    assert len(line) == 40
    assert line.startswith("to do  unet-8:xxx")
    assert line.endswith("@cosine-10")
    assert "…" in line


def test_elsewhere_than_on_a_terminal_nothing_is_cut() -> None:
    assert list(fit_lines(iter([("to do  ", "x" * 500)]), None)) == ["to do  " + "x" * 500]
    assert list(wrap_lines(["word " * 99], None)) == ["word " * 99]
    assert all(len(line) <= 30 for line in wrap_lines(["word " * 99], 30))


def test_what_is_done_wholly_takes_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = toys.suite_file(tmp_path)
    ids = {planned.id: "VALID" for planned in api.plan(suite).trials}
    monkeypatch.setattr(verb, "_read_verdicts", lambda folder: ids)
    lines = lines_of(suite, tmp_path)
    assert lines[:2] == ["done       VALID  analytic:ddim-2", "0 to do · all 1 are done"]
    assert [path.name for path in tmp_path.iterdir()] == ["toy.toml"]  # a plan writes nothing
