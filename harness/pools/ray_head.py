"""A Ray cluster of this machine, in a process of its own: started, named on standard output, ended with its input.

Usage: ray_head.py CORES, by `harness.pools.local_ray`. It ends when its standard input does, so also with its parent.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Start the cluster, print its address, and hold it until standard input ends, also while it starts."""
    is_up, has_no_parent = threading.Event(), threading.Event()
    threading.Thread(target=_watch_input, args=(is_up, has_no_parent), daemon=True).start()
    import ray

    ray.init(
        address="local",
        num_cpus=int(sys.argv[1]),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=False,
    )
    is_up.set()
    print(f"address {ray.get_runtime_context().gcs_address}", flush=True)
    has_no_parent.wait()
    ray.shutdown()


def _watch_input(is_up: threading.Event, has_no_parent: threading.Event) -> None:
    """Report the end of standard input; while Ray still starts, which may hang, end all processes instead."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    if is_up.is_set():
        has_no_parent.set()
        return

    import psutil

    for process in psutil.Process().children(recursive=True):
        process.kill()
    os._exit(1)


if __name__ == "__main__":
    main()
