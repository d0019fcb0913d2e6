"""One clock for accelerated diffusion sampling.

Quality, time and work of samplers, measured side by side.

The story of a run, a module each:

    config.suite         a suite: trials, data, networks, rules of timing
    planning.plan        trials, and the tasks that they share, each with an identity
    driver.loop          starts tasks on a pool of workers, keeps their results, commits rows
    pools.ray            one worker per device; pools.worker runs there
    tasks.sample         images of a trial; tasks.score and tasks.time their quality and time
    sampling.sampler     makes one batch; methods.parts names the four parts
    metrics.quality      FID with its interval; measure.device the clock
    rows.row             builds the rows of the tables from the tasks' outputs
    storage.store        the tables, committed trial by trial
    report.build         leaderboard, figures and pages, from the tables alone
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.version import VERSION as __version__

if TYPE_CHECKING:
    from harness.api import load, make_sampler, plan, run
    from harness.cli.wrap import wrap

__all__ = ["__version__", "load", "make_sampler", "plan", "run", "wrap"]


def __getattr__(name: str) -> Any:
    """Import the Python interface at first use, so that importing one module loads no other."""
    if name not in __all__:
        raise AttributeError(f'module "harness" has no attribute "{name}"')
    if name == "wrap":
        from harness.cli.wrap import wrap

        return wrap
    from harness import api

    return getattr(api, name)
