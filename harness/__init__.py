"""One clock for accelerated diffusion sampling: quality, time and work of samplers, measured side by side.

The story of a run, a module each:

    config.suite         what is asked: trials, data, networks, how it is timed
    planning.plan        trials, and the tasks that they share, each with an identity
    driver.loop          feeds a pool of workers, keeps what comes back, commits rows
    pools.ray            one worker per device; pools.worker is what runs there
    tasks.sample         images of a trial; tasks.score and tasks.time their quality and time
    sampling.sampler     how one batch is made: methods.parts names the four parts
    metrics.quality      FID with its interval; measure.device the clock
    rows.row             from outputs to the rows of the tables
    storage.store        the tables, committed trial by trial
    report.build         leaderboard, figures and pages, from the tables alone
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.version import VERSION as __version__

if TYPE_CHECKING:
    from harness.api import load, make_sampler, plan, run

__all__ = ["__version__", "load", "make_sampler", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Import the Python face when it is first asked for: whoever wants a module alone waits for nothing else."""
    if name not in __all__:
        raise AttributeError(f'module "harness" has no attribute "{name}"')
    from harness import api

    return getattr(api, name)
