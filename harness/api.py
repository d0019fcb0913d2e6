"""The Python interface: run, plan and load a suite, rebuild its report.

The command line calls these.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.suite import Suite, load_suite
from harness.errors import UsageError, did_you_mean
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice
from harness.runs import workplace
from harness.runs.tables import Tables, load, raise_if_damaged, report
from harness.runs.workplace import Workplace, cluster_address

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.pools.pool import Pool
    from harness.sampling.sampler import Sampler

__all__ = ["RESULTS", "Tables", "load", "make_sampler", "plan", "plan_with_devices", "report", "run"]

RESULTS = "results"


def make_sampler(network: str, **parts: Any) -> Sampler:
    """Return one sampler; see `harness.planning.by_hand.assemble_sampler`.

    UsageError for a name that is no argument of it too, and where `steps` is missing.
    """
    from harness.planning.by_hand import assemble_sampler

    known = list(signature(assemble_sampler).parameters)[1:]
    for name in parts:
        if name not in known:
            raise UsageError(f'make_sampler has no argument "{name}"{did_you_mean(name, known)}')
    if "steps" not in parts:
        raise UsageError("make_sampler has no steps; expected their number, such as steps=10")
    return assemble_sampler(network, **parts)


def plan(
    suite: str | Suite,
    *,
    only: str | None = None,
    settings: list[str] | None = None,
    seeds: int | None = None,
    address: str | None = None,
    gpus: int | None = None,
    device: str | None = None,
) -> Plan:
    """Return the plan of a suite for this machine, or for the cluster at an address.

    Nothing is run or written.
    """
    return plan_with_devices(
        suite, only=only, settings=settings, seeds=seeds, address=address, gpus=gpus, device=device
    )[0]


def plan_with_devices(
    suite: str | Suite,
    *,
    only: str | None = None,
    settings: list[str] | None = None,
    seeds: int | None = None,
    address: str | None = None,
    gpus: int | None = None,
    device: str | None = None,
) -> tuple[Plan, int, int]:
    """Return a plan as `plan` does, with the number of devices that a run has, and of hosts that they are on."""
    from harness.planning.cost.wall_time import count_local_devices
    from harness.planning.fit import spread_trainings
    from harness.planning.network_checks import check_networks
    from harness.planning.plan import make_plan

    choice = DeviceChoice(gpus, device)
    wanted = _suite(suite, settings, seeds, choice)
    if cluster_address(address) is None:
        device_class, name = workplace.this_device()
        workplace.check_choice_here(choice, device_class)
        made = make_plan(wanted, device_class, name, only, data_may_be_absent=True)
        check_networks(made)
        devices = count_local_devices(made)
        return spread_trainings(made, devices, is_here=True), devices, 1

    # a cluster's devices are known only once it is joined
    pool = workplace.make_pool(address, 1, choice)
    try:
        use = pool.use()
        made = make_plan(wanted, pool.device_class, pool.device_name, only, data_may_be_absent=True)
    finally:
        pool.close()
    devices = min(use.usable, wanted.workers or use.usable)
    return spread_trainings(made, devices, is_here=False), devices, min(use.usable_nodes, devices)


def run(
    suite: str | Suite,
    *,
    only: str | None = None,
    settings: list[str] | None = None,
    seeds: int | None = None,
    address: str | None = None,
    gpus: int | None = None,
    device: str | None = None,
    results: str | Path = RESULTS,
    pool: Callable[[], Pool] | None = None,
    in_process: bool = False,
    raise_errors: bool = False,
    quiet: bool | None = None,
    report: bool = True,
    retime: bool = False,
) -> Tables:
    """Run what is missing of a suite, rebuild its report and return its tables.

    `results` holds one folder per suite. `address` names a Ray cluster; else RAY_ADDRESS does,
    else Ray starts here. `gpus` takes so many GPUs and no more, `device` those of one class, by
    words of its name; by default all of one class. With `in_process` one worker runs in this
    process, in the calling thread, without Ray; with `raise_errors` too, what a method raises there
    ends the run, as for a debugger. With `retime` every trial is timed again and gets a further row, the latest of
    which counts; images that are kept are not made anew. `pool` makes other workers, as for tests. Without
    `report` only the tables are written. By default nothing is shown but a bar in a notebook; with `quiet` not
    even that, with `quiet=False` as much as the command line shows. Messages reach the logger "oneclock" and
    `log.txt` in any case. UsageError, before anything is written, for a suite that cannot run;
    StoreDamagedError, at the end, if committed parts are damaged.
    """
    from harness.runs.suite_run import SuiteRun
    from harness.screen.run_screen import Screen

    choice = DeviceChoice(gpus, device)
    wanted = _suite(suite, settings, seeds, choice)
    place = Workplace(address, pool, in_process, raise_errors, choice)
    with Screen(wanted.name, quiet, shares_process=in_process) as screen:
        tables = SuiteRun(wanted, Path(results), place, screen, only, retime).run(report)
    raise_if_damaged(tables, results)
    return tables


def _suite(
    suite: str | Suite, settings: list[str] | None, seeds: int | None, choice: DeviceChoice = ALL_DEVICES
) -> Suite:
    """Return a suite whose workers are at most the chosen GPUs."""
    wanted = suite if isinstance(suite, Suite) else load_suite(suite, settings, seeds)
    if choice.gpus is None:
        return wanted
    return wanted.model_copy(update={"workers": min(choice.gpus, wanted.workers or choice.gpus)})
