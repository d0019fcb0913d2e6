"""Its presence puts this folder on the import path, so that tests share `tables`, the synthetic rows.

All tests marked `ray` share one Ray of four cores and one pool on it.
"""

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory):
    """The PYTHONPATH by which a process finds the plug-in `faulty`."""
    from faulty import register

    return register(tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="session")
def ray_pool(plugin_path):
    """Four workers on a Ray of this machine."""
    import ray

    from harness.pools.ray import RayPool, connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", plugin_path)
        patch.setattr("psutil.Process.cpu_affinity", lambda self: [0, 1, 2, 3])
        connect(None)
        patch.undo()
    try:
        pool = RayPool()
        yield pool
        pool.close()
    finally:
        ray.shutdown()


@pytest.fixture
def faulty_known(plugin_path):
    """This process knows the plug-in `faulty` while a test runs."""
    from faulty import known_here

    with known_here(plugin_path):
        yield
