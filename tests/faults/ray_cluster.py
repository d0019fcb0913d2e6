"""A cluster of two nodes on this machine that loses one node, then all, under its driver.

Usage: ray_cluster.py FOLDER; prints a JSON answer: the driver's exit code and how long it took after the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster


def appears(folder: Path, pattern: str, seconds: float) -> None:
    """Wait until a file is there."""
    until = time.monotonic() + seconds
    while not any(folder.glob(pattern)):
        assert time.monotonic() < until, f"{pattern} did not appear in {folder}"
        time.sleep(0.02)


def main(folder: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    (folder / "address").write_text(cluster.address)
    script = Path(__file__).with_name("run_children.py")
    driver = subprocess.Popen(
        [sys.executable, str(script), "remote", str(folder / "results"), "0"],
        stderr=(folder / "log").open("w"),
        stdout=2,
    )
    try:
        appears(folder, "connected", 150)
        second = cluster.add_node(num_cpus=1)
        (folder / "go").touch()
        appears(folder / "results" / "loses-a-node" / "tasks", "*.arrays", 150)
        time.sleep(0.5)
        cluster.remove_node(second, allow_graceful=False)
        appears(folder / "results" / "loses-all" / "tasks", "*.arrays", 200)
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        ended = time.monotonic()
        code = driver.wait(60)
        print(json.dumps([code, time.monotonic() - ended]))
    finally:
        driver.kill()
        driver.wait()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
