"""A run in this process: without Ray, in the main thread, with the images and the quality of a run on Ray."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit import in_process
from kit.faulty import Counting, complete
from kit.python_path import prepended
from kit.toys import registered, suite_file, trial

import harness
from harness import api
from harness.errors import UsageError
from harness.planning.fit import check_single_device, drop_unplaceable_trials
from harness.pools import process_state
from harness.pools.process_state import fresh_process_state

ROOT = Path(__file__).resolve().parents[2]
ON_DIGITS = """
name = "small"
title = "A trained network, one of its schedules prepared"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 80
batch = 40
baseline = { solver = "ddim", schedule = "edm", clock_steps = 2 }
networks.unet-8.weights = "zoo:unet-8"
timing.tier = "smoke"

[[trials]]
steps = 2

[[trials]]
solver = "dpmpp-2m"
schedule = { name = "gits", teacher_steps = 6, noises = 8, batch = 8 }
steps = 3
"""
QUALITY = ["method", "images_sha256", "fid", "fid_low", "fid_high", "kid", "precision", "truncation_error"]


def on_digits(folder: Path) -> str:
    (folder / "small.toml").write_text(ON_DIGITS)
    return str(folder / "small.toml")


def quality(tables: api.Tables) -> list[dict[str, Any]]:
    """Return the quality of each row, exactly."""
    assert tables.all_valid, tables.trials["reasons"].tolist()
    rows: list[dict[str, Any]] = json.loads(
        tables.trials.sort_values("method")[QUALITY].to_json(orient="records", double_precision=15)
    )
    assert all(row["images_sha256"] and row["fid"] for row in rows)
    return rows


SCRIPT = """
import json, sys
import harness
tables = harness.run(sys.argv[1], results=sys.argv[2], in_process=True, report=False)
assert tables.all_valid
loaded = [name for name in sys.modules if name.partition(".")[0] == "ray"]
print(json.dumps([loaded, sys.argv[2]]))
"""


def run_in_a_process(suite: str, results: Path, **variables: str) -> list[str]:
    """Run a suite in a process of its own, without Ray; return the modules of Ray that it imported."""
    environment = {**os.environ, "RAY_ADDRESS": "10.255.255.1:6379", **variables}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, suite, str(results)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stdout.splitlines()[-1])[0]
    return loaded


@pytest.fixture
def odd_settings():
    """Settings as a notebook may have them, which would change every number if a unit kept them."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.set_grad_enabled(False)
    yield
    torch.set_num_threads(before[0])
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision(before[1])
    torch.set_grad_enabled(True)


def settings() -> list[Any]:
    return [
        torch.get_num_threads(), torch.get_default_dtype(), torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(), torch.get_rng_state().tolist(), str(np.random.get_state()),
        Path.cwd(), os.environ.get("MKL_NUM_THREADS"), threading.getprofile(), signal.getsignal(signal.SIGINT),
    ]  # fmt: skip


def test_ray_is_not_imported_whatever_its_address(tmp_path: Path) -> None:
    assert run_in_a_process(suite_file(tmp_path), tmp_path / "results") == []


@pytest.mark.slow
def test_images_and_quality_are_those_of_a_fresh_process_whatever_is_set_here(
    tmp_path: Path, odd_settings: None
) -> None:
    suite = on_digits(tmp_path)
    assert run_in_a_process(suite, tmp_path / "fresh", OMP_NUM_THREADS="1") == []
    before = settings()
    here = harness.run(suite, results=tmp_path / "here", in_process=True, report=False)
    assert settings() == before
    assert quality(here) == quality(api.load(tmp_path / "fresh" / "small"))


@pytest.mark.ray
def test_images_and_quality_are_those_of_ray_bit_for_bit(tmp_path: Path, ray_pool: Any) -> None:
    suite = on_digits(tmp_path)
    complete(ray_pool)
    on_ray = harness.run(suite, results=tmp_path / "ray", pool=lambda: Counting(ray_pool), report=False)
    here = harness.run(suite, results=tmp_path / "here", in_process=True, report=False)
    assert quality(here) == quality(on_ray)
    assert list(here.trials["trial_id"]) == list(on_ray.trials["trial_id"])
    complete(ray_pool)
    again = harness.run(suite, results=tmp_path / "ray", in_process=True, report=False)  # nothing is left to do
    assert list(again.trials["attempt"]) == list(on_ray.trials["attempt"])


def test_units_run_in_the_main_thread(tmp_path: Path) -> None:
    in_process.Threads.seen.clear()
    with registered(in_process.Threads):
        suite = suite_file(tmp_path, trial(solver="toy-threads", steps=2))
        harness.run(suite, results=tmp_path / "results", in_process=True, report=False)
    assert in_process.Threads.seen == {threading.main_thread()}


def test_an_exception_fails_its_trial_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    with registered(in_process.Breaks):
        suite = suite_file(tmp_path, trial(solver="toy-breaks", steps=2))
        tables = harness.run(suite, results=tmp_path / "results", in_process=True, report=False)
    assert not tables.all_valid
    log = (tmp_path / "results/toy/log.txt").read_text()
    assert "Traceback (most recent call last)" in log
    assert "in_process.py" in log
    assert "broken after 41" in log


def test_with_raise_errors_it_ends_the_run_as_it_was_raised(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    suite = suite_file(tmp_path, trial(solver="toy-breaks", steps=2))
    with registered(in_process.Breaks), pytest.raises(ValueError, match="broken after 41") as caught:
        harness.run(suite, results=tmp_path / "results", in_process=True, raise_errors=True, report=False)
    assert caught.traceback[-1].path.name == "in_process.py"
    assert torch.get_num_threads() == before
    assert not (tmp_path / "results/toy/run.lock").exists()


def command(toy: str, folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Begin `oneclock run` of a suite with a toy, in a process of its own."""
    part = "denoiser" if toy == "Prepares" else "solver"
    entry = {part: getattr(in_process, toy).name, "steps": 2}
    suite = suite_file(folder, trial(**entry))
    script = str(ROOT / "tests/kit/in_process.py")
    line = [sys.executable, script, toy, str(folder), "run", suite, "--results", str(folder / "results"), *words]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "PYTHONPATH": prepended(ROOT, ROOT / "tests"), "PYTHONBREAKPOINT": "pdb.set_trace"}
    return subprocess.Popen(line, env=environment, cwd=ROOT, text=True, **pipes, **options)


@pytest.mark.parametrize(
    ("toy", "number", "code"),
    [("Sleeps", signal.SIGINT, 130), pytest.param("Prepares", signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_ends_a_long_step_within_seconds_and_keeps_what_is_finished(
    tmp_path: Path, toy: str, number: signal.Signals, code: int
) -> None:
    running = command(toy, tmp_path, "--in-process")
    until = time.monotonic() + 120
    while not (tmp_path / "began").exists() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(number)
    began = time.monotonic()
    _, said = running.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert running.returncode == code, said
    assert "stopping; what is finished is kept" in said
    assert "Traceback" not in said
    assert not (tmp_path / "results/toy/run.lock").exists()


@pytest.mark.parametrize(
    ("toy", "words", "typed", "shown"),
    [
        ("Stops", ("--in-process",), "p 6 * 7\nimport os; os._exit(5)\n", "42"),
        pytest.param("Breaks", ("--pdb",), "p secret\nq\n", "41", marks=pytest.mark.slow),
    ],
    ids=["breakpoint", "post-mortem"],
)
def test_the_debugger_works(tmp_path: Path, toy: str, words: tuple[str, ...], typed: str, shown: str) -> None:
    running = command(toy, tmp_path, *words)
    out, err = running.communicate(typed, timeout=120)
    assert re.search(rf"\(Pdb\) {shown}$", out, re.M), (out, err)
    assert running.returncode == (5 if toy == "Stops" else 1), err


def test_what_contradicts_is_one_sentence_before_anything_is_written(tmp_path: Path) -> None:
    suite = suite_file(tmp_path)
    with pytest.raises(UsageError, match="--in-process runs without Ray and --address auto names a Ray cluster"):
        harness.run(suite, results=tmp_path / "results", in_process=True, address="auto")
    with pytest.raises(UsageError, match="a pool; expected one of the two"):
        harness.run(suite, results=tmp_path / "results", in_process=True, pool=lambda: None)  # type: ignore[arg-type, return-value]
    assert not (tmp_path / "results").exists()


PAIR = trial(label="pair", optional=False, steps=4) + 'executor = { name = "srds", form = "vanilla", devices = 2 }\n'


def test_what_needs_several_devices_is_left_out_or_refused(tmp_path: Path, logged: Any) -> None:
    refused = suite_file(tmp_path, PAIR.replace("False", "false"))
    with pytest.raises(UsageError, match=r"pair-4 needs 2 devices at once; a run in one process has 1; .* without"):
        harness.run(refused, results=tmp_path / "results", in_process=True)
    assert not (tmp_path / "results").exists()

    optional = suite_file(tmp_path, PAIR.replace("False", "true"))
    tables = harness.run(optional, results=tmp_path / "results", in_process=True, report=False)
    assert tables.all_valid
    assert [said for said in logged.messages if said.startswith("left out")] == [
        "left out, as they need more devices than the 1 that a run in one process has: analytic:pair-4 (needs 2)"
    ]
    with pytest.raises(UsageError, match="choose others or run without --in-process"):
        drop_unplaceable_trials(api.plan(optional, only="pair"), 1, {}, in_process=True)


def test_a_training_on_several_devices_is_refused_unless_it_is_done() -> None:
    text = ON_DIGITS.replace('networks.unet-8.weights = "zoo:unet-8"', "networks.unet-8.train.workers = 2")
    plan = api.plan(_suite(text))
    with pytest.raises(UsageError, match=r"needs 2 devices at once; .* networks.unet-8.train.workers=1"):
        check_single_device(plan, lambda task_id: False)
    check_single_device(plan, lambda task_id: True)


def _suite(text: str) -> Any:
    import tomllib

    from harness.config.suite import Suite

    return Suite(**tomllib.loads(text))


def test_new_threads_and_libraries_compute_on_one_thread_as_well() -> None:
    before = torch.get_num_threads(), os.environ.get("MKL_NUM_THREADS")
    found: list[int] = []

    def convolve() -> None:
        with torch.no_grad():
            torch.nn.Conv2d(8, 8, 3)(torch.zeros(1, 8, 9, 9))
        info = process_state.ThreadpoolController().info()
        found.extend(one["num_threads"] for one in info if one["user_api"] in ("openmp", "blas"))

    drawn = random.getstate()
    with fresh_process_state():
        random.seed(3)
        thread = threading.Thread(target=convolve)
        thread.start()
        thread.join()
        assert os.environ["MKL_NUM_THREADS"] == "1"
    assert found
    assert set(found) == {1}
    assert (torch.get_num_threads(), os.environ.get("MKL_NUM_THREADS")) == before
    assert random.getstate() == drawn
