"""A suite under a storm: half of the nodes are lost again and again, the driver is killed twice, the head is lost once.

    python -P tests/faults/stress.py FOLDER --minutes 10 --every 60

Nodes are Ray's own processes on this machine, each with one worker. New ones come for those that were lost. A driver
that ends is started again, as `make benchmark` would be. At the end one driver runs undisturbed, and what the folder
holds is compared with the plan. Prints a line for each event, then a JSON answer; exit code 1 if rows were lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# worker_niceness is 15 by default: then workers hardly start on a machine that others use
os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from kit.faulty import faulty, register, suite
from kit.python_path import prepended

ROOT = Path(__file__).resolve().parents[2]
NODES = 4
KILLS = (0.25, 0.55)
"""When the driver is killed, as shares of the storm."""
HEAD = 0.75
"""When the head is lost, with all nodes."""
CALM_SECONDS = 600.0
"""So long the last driver may take."""
STEPS = 300
"""Evaluations of an image: those of the exact network take a fraction of a millisecond."""
TWINS_PER_MINUTE = 12
"""Trials per minute of storm: about as many as two cores finish under it."""


@dataclass
class Storm:
    """What happened, and what is left."""

    preempted: int = 0
    preemptions: int = 0
    drivers_killed: int = 0
    heads_lost: int = 0
    driver_ends: list[int] = field(default_factory=list)
    """Exit codes of drivers that ended by themselves, in turn."""
    rows_before_calm: int = 0
    planned: int = 0
    rows: int = 0
    missing: int = 0
    twice: int = 0
    invalid: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    images: int = 0
    """Number of different images_sha256; all trials make the same images."""
    seconds: float = 0.0

    def sentence(self) -> str:
        """Return what was lost in one sentence."""
        if self.is_whole:
            return f"all {self.planned} rows are there, once each, with the same images"
        return (
            f"of {self.planned} rows {self.missing} are missing, {self.twice} are there twice, {len(self.invalid)} are "
            f"INVALID, {len(self.damage)} files are damaged, and there are {self.images} different sets of images"
        )

    @property
    def is_whole(self) -> bool:
        """Tell whether every row of the plan is there, once, VALID, with the images of all others."""
        lost = self.missing or self.twice or self.invalid or self.damage
        return not lost and self.rows == self.planned and self.images == 1


def wanted(trials: int) -> Any:
    """Return the suite: trials that differ in a name alone, of so many evaluations that each takes seconds."""
    twins = [faulty("none", steps=STEPS, twin=twin) for twin in range(1, trials)]
    return suite(twins, name="storm", n_images=200, batch=10, precision="float32")


def drive(results: Path, address: str, trials: int) -> None:
    """Run the suite on a cluster until it ends, as the command line does."""
    import run_children

    import harness.cli.app as app
    from harness.pools.cluster import connect
    from harness.pools.ray import RayPool

    connect(address)
    app.app = lambda standalone_mode: run_children._run(results, wanted(trials), RayPool)
    run_children.command_line()


class Scene:
    """A cluster on this machine and the driver on it."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials, self.storm = folder, trials, Storm()
        self.began = time.monotonic()
        self.path = register(folder / "plugin")
        self.random = random.Random(1)
        self.start_cluster()
        self.start_driver()

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", file=sys.stderr, flush=True)

    def start_cluster(self) -> None:
        """Start a head without workers, and nodes with one each."""
        from ray.cluster_utils import Cluster

        os.environ["PYTHONPATH"] = prepended(self.path)
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.nodes = [self.cluster.add_node(num_cpus=1, wait=False) for _ in range(NODES)]
        self.say(f"a cluster of {NODES} nodes at {self.cluster.address}")

    def start_driver(self) -> None:
        """Start a driver on the cluster that is there."""
        words = [sys.executable, "-P", __file__, str(self.folder), "--drive", self.cluster.address]
        with (self.folder / "driver.log").open("a") as log:
            self.driver = subprocess.Popen(
                [*words, "--trials", str(self.trials)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def look(self) -> None:
        """Start a driver for one that has ended."""
        code = self.driver.poll()
        if code is not None:
            self.say(f"the driver ended with {code}; {self.count_rows()} rows")
            self.storm.driver_ends.append(code)
            self.start_driver()

    def preempt(self) -> None:
        """Lose half of the nodes without a word; as many new ones come seconds later."""
        lost = self.random.sample(self.nodes, len(self.nodes) // 2)
        for node in lost:
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.remove(node)
        time.sleep(2)
        self.nodes += [self.cluster.add_node(num_cpus=1, wait=False) for _ in lost]
        self.storm.preempted += len(lost)
        self.storm.preemptions += 1
        self.say(f"{len(lost)} of {len(self.nodes)} nodes were lost, and came anew; {self.count_rows()} rows")

    def kill_driver(self) -> None:
        """Kill the driver as the power switch would."""
        self.driver.kill()
        self.driver.wait()
        self.storm.drivers_killed += 1
        self.say(f"the driver was killed; {self.count_rows()} rows")
        self.start_driver()

    def lose_head(self) -> None:
        """Lose the head and with it the cluster; the driver ends by itself, and another cluster comes."""
        self.cluster.remove_node(self.cluster.head_node, allow_graceful=False)
        self.storm.heads_lost += 1
        code = self.driver.wait(120)
        self.say(f"the head was lost, and the driver ended with {code}; {self.count_rows()} rows")
        self.storm.driver_ends.append(code)
        self.cluster.shutdown()
        self.start_cluster()
        self.start_driver()

    def count_rows(self) -> int:
        """Return the number of trials that have a row; failed ones are measured again."""
        from harness.storage.store import Store

        folder = self.folder / "results" / "storm"
        return len(Store(folder).snapshot().finished()) if folder.exists() else 0

    def end(self) -> None:
        """Let drivers run undisturbed until one ends with 0; three at most, of which two may find rows to mend."""
        self.storm.rows_before_calm = self.count_rows()
        for _ in range(3):
            code = self.driver.wait(CALM_SECONDS)
            self.storm.driver_ends.append(code)
            self.say(f"undisturbed, the driver ended with {code}; {self.count_rows()} rows")
            if code == 0:
                return
            self.start_driver()

    def close(self) -> None:
        """End the driver and the cluster."""
        self.driver.kill()
        self.driver.wait()
        self.cluster.shutdown()


def weather(scene: Scene, seconds: float, every: float) -> None:
    """Let the storm blow so long, with a loss of nodes after each `every` seconds."""
    events = [(every * turn, scene.preempt) for turn in range(1, int(seconds / every) + 1)]
    events += [(share * seconds, scene.kill_driver) for share in KILLS] + [(HEAD * seconds, scene.lose_head)]
    began = time.monotonic()
    for at, event in sorted(events, key=lambda one: one[0]):
        while time.monotonic() - began < at:
            scene.look()
            time.sleep(0.2)
        event()


def judge(scene: Scene) -> Storm:
    """Compare what the folder holds with the plan."""
    from harness.storage.planned import read_planned
    from harness.storage.store import Store

    storm, store = scene.storm, Store(scene.folder / "results" / "storm")
    planned = read_planned(store.folder) or ()
    attempts = store.snapshot().read("trials")
    finished = attempts[attempts["status"] == "finished"]
    latest = store.snapshot().latest()

    storm.planned, storm.rows = len(planned), len(latest)
    storm.missing = len(set(planned) - set(latest["trial_id"]))
    storm.twice = int(finished.duplicated("trial_id").sum())
    storm.invalid = sorted(set(latest.loc[latest["verdict"] != "VALID", "reasons"]))
    storm.damage = [str(one) for one in store.check() if one.is_damage]
    slow = latest[latest["method"].str.contains("faulty")]
    storm.images = slow["images_sha256"].nunique()
    storm.seconds = round(time.monotonic() - scene.began, 1)
    return storm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the storm")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two losses of half the nodes")
    parser.add_argument("--trials", type=int, help="by default so many that the storm meets them all along")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    given = parser.parse_args()

    trials = given.trials or max(10, int(TWINS_PER_MINUTE * given.minutes))
    if given.drive:
        drive(given.folder / "results", given.drive, trials)
        return 0
    given.folder.mkdir(parents=True, exist_ok=True)
    scene = Scene(given.folder, trials)
    try:
        weather(scene, given.minutes * 60, given.every)
        scene.end()
    finally:
        scene.close()
    storm = judge(scene)
    print(storm.sentence(), file=sys.stderr)
    print(json.dumps(asdict(storm)))
    return 0 if storm.is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
