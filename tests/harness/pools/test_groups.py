"""What two workers do together: samples, with the bytes of one and no harm if one dies, and searches."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kit.faulty import Counting, Ears, complete, measure, suite

from harness.driver.loop import Engine
from harness.planning.fit import spread_trainings
from harness.planning.plan import make_plan
from harness.storage.store import Store
from harness.task import Failure

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("faulty_known")]


def srds(form, devices, **params):
    """Return a trial of Parareal with blocks for two devices, refined to a fixed depth so that all forms agree."""
    executor = {"name": "srds", "form": form, "devices": devices, "blocks": 3, "tolerance": 0.0, "most": 2, **params}
    return {"solver": "ddim", "steps": 9, "executor": executor, "label": f"{form}-{devices}"}


def test_two_workers_make_together_what_one_makes_alone_and_are_counted_as_one(tmp_path, ray_pool):
    complete(ray_pool)
    trials = [srds(form, devices) for form in ("vanilla", "pipelined") for devices in (1, 2)]
    found = measure(suite(trials, name="groups"), tmp_path, ray_pool)
    rows = {row["method"]: row for row in found.values()}
    assert {row["reasons"] for row in rows.values()} == {""}
    assert len({row["images_sha256"] for row in rows.values() if "-" in row["method"]}) == 1
    assert {name: row["devices"] for name, row in rows.items() if "-" in name} == {
        "vanilla-1": 1, "vanilla-2": 2, "pipelined-1": 1, "pipelined-2": 2,
    }  # fmt: skip
    alone, together = rows["vanilla-1"], rows["vanilla-2"]
    assert alone["nfe"] == together["nfe"] == 3 * 3 + 2 * 3 + (3 - 2)  # sum of (B - p + 1) S, and B - k
    assert alone["nfe_critical_path"] == together["nfe_critical_path"]
    assert alone["iterations"] == together["iterations"] == together["iterations_most"] == 2
    assert alone["bytes_sent_per_image"] == 0 < together["bytes_sent_per_image"]
    assert rows["pipelined-2"]["nfe_critical_path"] < together["nfe_critical_path"]
    virtual = Store(tmp_path / "groups").snapshot().read("virtual")
    for name, devices in (("vanilla-1", [1]), ("vanilla-2", [1, 2, 3]), ("pipelined-2", [1, 2, 3])):
        row, replays = rows[name], virtual[virtual["trial_id"] == rows[name]["trial_id"]]
        assert list(replays["devices"]) == devices
        (own,) = replays[replays["is_real"]].to_dict("records")
        assert own["devices"] == row["devices"]
        assert own["virtual_latency_seconds"] == row["virtual_latency_seconds"] > 0
        assert own["measured_latency_seconds"] == row["latency_seconds"]
        assert own["serial_seconds"] == row["serial_latency_seconds"]
        assert row["speedup_over_serial_low"] <= row["speedup_over_serial"] <= row["speedup_over_serial_high"]
    assert complete(ray_pool)


def test_a_rank_that_is_killed_takes_its_trial_along_at_most_and_leaves_its_device(tmp_path, ray_pool, logged):
    complete(ray_pool)
    killed = []

    def kill_rank_1(unit, progress):
        if unit.task.ranks == 2 and unit.task.kind == "sample" and not killed:
            killed.append(progress.done)
            (group,) = (one for one in ray_pool.running() if one.task.id == unit.task.id)
            os.kill(ray_pool.workers_of(group)[1].pid, signal.SIGKILL)

    found = measure(suite([srds("pipelined", 2)], name="killed"), tmp_path, ray_pool, Ears(kill_rank_1))
    assert killed
    assert any(
        "the worker died during sample" in sentence and "trying again" in sentence for sentence in logged.messages
    )
    assert {row["reasons"] for row in found.values()} == {""}
    assert len(complete(ray_pool)) == ray_pool.size()


class Stopping(Counting):
    """A pool that stops the process of what is to be rank 1 of the first group, before it is told to join."""

    deadline = 16.0
    stopped = None

    def submit(self, unit, inputs):
        if unit.task.ranks == 2 and self.stopped is None:
            unit = replace(unit, task=replace(unit.task, deadline_seconds=self.deadline))
            super().submit(unit, inputs)
            self.stopped, self.began = self._pool.workers_of(unit)[1].pid, time.monotonic()
            os.kill(self.stopped, signal.SIGSTOP)
        else:
            super().submit(unit, inputs)

    def poll(self, seconds):
        events = super().poll(seconds)
        if any(isinstance(told.event, Failure) for told in events):
            self.seconds = time.monotonic() - self.began
        return events


def test_a_rank_that_never_joins_ends_its_trial_within_the_deadline_and_the_devices_serve_on(tmp_path, ray_pool):
    complete(ray_pool)
    pool = Stopping(ray_pool)
    found = measure(suite([srds("pipelined", 2), srds("vanilla", 2)], name="lonely"), tmp_path, pool)
    rows = {row["method"]: row for row in found.values()}
    lonely = rows["pipelined-2"]
    assert (lonely["status"], lonely["verdict"]) == ("failed", "INVALID")
    assert lonely["reasons"].startswith("failed(HarnessError): rank 0 of 2 did not meet the others within 4 s")
    assert pool.seconds < pool.deadline
    assert {name: rows[name]["reasons"] for name in ("ddim", "vanilla-2")} == {"ddim": "", "vanilla-2": ""}
    assert sum(label.startswith("sample analytic:pipelined-2") for label in pool.started) == 1
    assert pool.stopped not in complete(ray_pool)
    assert gone(pool.stopped)


def gone(pid, seconds=20):
    """Wait a while for a process to be there no more."""
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    return not Path(f"/proc/{pid}").exists()


def test_more_devices_than_there_are_is_refused_in_one_sentence(tmp_path, ray_pool):
    from harness.errors import UsageError
    from harness.planning.fit import check_pool_size

    complete(ray_pool)
    wanted = suite([srds("vanilla", ray_pool.size() + 1, blocks=9)], name="large")
    with pytest.raises(UsageError, match=r"needs \d+ devices at once; the cluster offers \d+; choose fewer or"):
        check_pool_size(make_plan(wanted, ray_pool.device_class, ray_pool.device_name), ray_pool.size())


class Ranks(Ears):
    """Remembers on how many devices units of each kind ran."""

    def __init__(self):
        super().__init__()
        self.started = []

    def on_unit_start(self, unit):
        self.started.append((unit.task.kind, unit.task.ranks))


def test_a_run_ends_whose_training_and_preparation_take_both_workers_between_trials_on_one(tmp_path, ray_pool):
    complete(ray_pool)
    tuned = {"name": "few-step", "tune_steps": 4, "tune_batch": 16, "tune_trajectories": 8}
    wanted = suite(
        [{"steps": 2, "denoiser": tuned}, *({"steps": steps} for steps in (3, 4, 5, 6))],
        name="wide", dataset="digits", network="slim-8", precision="float32",
        networks={"slim-8": {"train": {"steps": 3, "batch": 16}}}, devices=2, n_images=80,
    )  # fmt: skip
    made = spread_trainings(make_plan(wanted, ray_pool.device_class, ray_pool.device_name), ray_pool.size(), True)
    store, ears = Store.create_or_open(tmp_path / "wide"), Ranks()
    found = Engine(made, store, tmp_path, ray_pool, ears).run()
    assert [row["reasons"] for row in found] == [""] * 6
    assert {kind for kind, ranks in ears.started if ranks == 2} == {"train", "prepare"}
    assert {kind for kind, ranks in ears.started if ranks == 1} == {"fidelity", "reference", "sample", "score", "time"}
    assert complete(ray_pool)


@pytest.mark.slow
def test_a_search_over_two_workers_finds_what_one_finds(tmp_path, ray_pool):
    complete(ray_pool)
    ddsm = {"name": "ddsm", "population": 5, "generations": 2, "search_images": 80, "finalists": 2}
    changes = {
        "dataset": "digits", "network": "slim-8", "precision": "float32", "n_images": 80,
        "networks": {"slim-8": {"train": {"steps": 3, "batch": 16}}},
    }  # fmt: skip
    found = {}
    for name, pool in (("two", ray_pool), ("one", None)):
        wanted = suite([{"solver": "ddpm", "steps": 3, "denoiser": ddsm}], name=name, **changes)
        rows = measure(wanted, tmp_path / name, pool)
        history = Store(tmp_path / name / name).snapshot().read("searches").drop(columns=["trial_id"])
        found[name] = {row: rows[row]["images_sha256"] for row in rows}, history.to_dict("records")
    assert len(found["one"][1]) == 5 * 2 + 2
    assert found["two"] == found["one"]
