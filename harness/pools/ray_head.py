"""A Ray cluster of this machine, in a process of its own: started, named on standard output, ended with its input.

Usage: ray_head.py CORES, by `harness.pools.local_ray`. It ends when its standard input does, so also with its parent.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Start the cluster, print its address, and hold it until standard input ends."""
    import ray

    ray.init(
        address="local",
        num_cpus=int(sys.argv[1]),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=False,
    )
    print(f"address {ray.get_runtime_context().gcs_address}", flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
