"""What all tests share: one Ray for those marked `ray`, and how they are dealt to two processes.

`make test` runs two pytest processes. The tests of a file stay together, those marked `ray` all in one process.
"""

import logging
import os
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ONECLOCK_CACHE"] = str(Path(__file__).with_name("no-cache"))  # what a user fetched is not seen

import pytest
from kit.python_path import prepended


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Group tests for `--dist loadgroup`."""
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def fast_runs():
    """Short runs, with units of 100 evaluations, so that small trials have several."""
    from kit.fast_runs import make_runs_fast

    make_runs_fast()


@pytest.fixture(scope="session")
def noted_pools():
    from kit.open_pools import note_opened_pools

    note_opened_pools()


@pytest.fixture(autouse=True)
def closed_pools(noted_pools):
    """Close the pools in this process that a test leaves open."""
    from kit.open_pools import closing_pools

    with closing_pools():
        yield


@pytest.fixture
def logged():
    """What the harness logs for people while a test runs: `logged.messages`.

    Not pytest's `caplog`: pytest adds its handlers to DeepSpeed's logger too, where our trainer sets them to ERROR.
    """
    from kit.log_kit import Logged

    logger, handler = logging.getLogger("oneclock"), Logged("INFO")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(scope="module")
def one_thread():
    """One thread for torch, as in a worker: bytes and times are those of a worker then."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory):
    """The PYTHONPATH by which a process finds the plug-in `faulty`."""
    from kit.faulty import register

    return register(tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="session")
def ray_pool(plugin_path, request):
    """Workers on a Ray of this machine: two, or four where slow tests run too; they ask the pool how many."""
    cores = 2 if "not slow" in request.config.option.markexpr else 4
    import ray

    from harness.pools.cluster import connect
    from harness.pools.ray import RayPool

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", prepended(plugin_path))
        patch.setattr("psutil.Process.cpu_affinity", lambda self: list(range(cores)))
        connect(None)
        patch.undo()
    try:
        pool = RayPool(progress_seconds=0)  # short tests hear all of it
        yield pool
        pool.close()
    finally:
        ray.shutdown()


@pytest.fixture
def faulty_known(plugin_path):
    """This process knows the plug-in `faulty` while a test runs."""
    from kit.faulty import known_here

    with known_here(plugin_path):
        yield
