"""The verbs for clusters: submit a suite as a job, attach to it again."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS, Device, Gpus, Only, Results, Seeds, Settings, SuiteName
from harness.errors import UsageError
from harness.pools.device_choice import DeviceChoice

app = typer.Typer()
Dashboard = Annotated[str, typer.Option(help="The cluster's dashboard, for example http://head:8265.")]


@app.command(epilog="Example: RAY_AUTH_MODE=token oneclock submit cifar10 --address http://head:8265")
def submit(
    suite: SuiteName,
    address: Dashboard = "",
    results: Results = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    gpus: Gpus = None,
    device: Device = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the job keeps tables, artifacts and checkpoints: s3://, gs://, abfs:// or a shared folder; "
            "a later job goes on from there."
        ),
    ] = None,
) -> None:
    """Run a suite as a Ray job and bring its results back.

    Follows the log of the job. Without --storage the rows come home through it.
    """
    from harness.cli.submit import submit_suite

    _check_dashboard_given(address, "submit")
    code = submit_suite(suite, address, results, settings or [], only, seeds, storage, DeviceChoice(gpus, device))
    if code:
        raise typer.Exit(code)


@app.command(epilog="Example: oneclock attach oneclock-0123456789abcdef --address http://head:8265")
def attach(
    job: Annotated[
        str | None, typer.Argument(help="The job's id; without one, those that are known are named.")
    ] = None,
    address: Dashboard = "",
    results: Results = RESULTS,
) -> None:
    """Follow a submitted job again and bring its results back.

    Also one that has ended, and from another machine.
    """
    from harness.cli.attach import attach_job

    _check_dashboard_given(address, "attach")
    code = attach_job(job, address, results)
    if code:
        raise typer.Exit(code)


def _check_dashboard_given(address: str, verb: str) -> None:
    if not address:
        raise UsageError(
            "no cluster is named; expected --address http://HOST:8265 "
            f"(in a clone also: make {verb} ADDRESS=http://HOST:8265)"
        )
