"""The verbs over results that are stored: show them, compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS, Results

app = typer.Typer()


@app.command(epilog="Example: oneclock show quick unet-16:ddim-10")
def show(
    where: Annotated[str, typer.Argument(help="A suite whose results are in --results, or a folder of results.")],
    row: Annotated[
        str | None,
        typer.Argument(
            help="NETWORK:METHOD-STEPS, a part of it or a method, where one row has it; or 4 or more digits of its id."
        ),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Show a leaderboard, or all that is known of one row.

    On a terminal tables fit its width. With a row: figures with intervals, parameters, controls, pictures, and the
    command that measures it again. Nothing is written.
    """
    from harness.cli.stored_results import find_folder, show_results

    show_results(find_folder(where, results), row)


@app.command(epilog="Example: oneclock compare before/quick results/quick --fail-if 'fid > 1.05'")
def compare(
    names: Annotated[
        list[str], typer.Argument(help="Two results folders or suites; or one of them and two of its rows.")
    ],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with code 1 where it holds for a row and the difference is shown: fid, time, speedup or flops, "
            "<, <=, > or >=, and a ratio of the second over the first."
        ),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Compare two results folders, or two rows.

    Says which differences are real. Those of FID are paired where both were sampled from the same noise. Times are
    those over the clock. Of two folders, rows of one name are compared, and Holm's correction decides what is shown.
    """
    from harness.cli.compare import compare_two

    lines, failed = compare_two(names, results, fail_if or [])
    for line in lines:
        typer.echo(line)
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: oneclock paper quick --top 6 --columns fid,time")
def paper(
    where: Annotated[
        str, typer.Argument(help="A suite whose results are in --results, or a folder of results.")
    ] = "quick",
    to: Annotated[
        Path | None, typer.Option(help="The folder to write; paper/ in the folder of results by default.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Show so many methods in each table, and the baseline.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="Columns of the tables, with commas: fid, fid_10, time, over_baseline, rank, latency and more."
        ),
    ] = "",
    results: Results = RESULTS,
) -> None:
    """Write what a paper needs of a results folder.

    Tables (booktabs) and figures (PDF) as wide as a column or a page, numbers as macros, BibTeX, a paragraph on
    methods, a script that measures it again, and main.tex, which reads them all. Only VALID rows enter. The same rows
    have the same bytes.
    """
    from harness.cli.paper import write_paper
    from harness.cli.stored_results import find_folder

    for path in write_paper(find_folder(where, results), to, top, columns):
        typer.echo(path)


@app.command(epilog="Example: oneclock merge mine/quick theirs/quick --into both/quick")
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders, each of one suite.")],
    into: Annotated[Path, typer.Option(help="A new folder, or a results folder to add to.")],
) -> None:
    """Put several results folders into one.

    Rows and pictures are copied byte by byte. Of a trial that several have, the first row stays; one that contradicts
    it is named, goes to `conflicts/` below the new folder, and makes exit code 1. The report is built anew.
    """
    from harness.cli.merge import merge_into

    if merge_into(folders, into):
        raise typer.Exit(1)


@app.command(epilog="Example: oneclock site alice/quick bob/quick --to site")
def site(
    folders: Annotated[list[Path], typer.Argument(help="Results folders, or folders that hold some.")],
    to: Annotated[Path, typer.Option(help="A new folder, or a site of this program, which is replaced.")],
) -> None:
    """Write a static site of results folders.

    Boards per data set and network, a page per row, the tables as Parquet, how to submit. No server, no script. Of a
    trial that several have, the first row stays. Folders in which `doctor` finds a problem are left out and listed.
    """
    from harness.cli.site import write_site
    from harness.report.site.addresses import FRONT

    count = write_site(folders, to)
    typer.echo(f"site: {to / FRONT} ({count} pages)")


@app.command(epilog="Example: oneclock retime quick --only 'unipc*'")
def retime(
    suite: Annotated[str, typer.Argument(help="A suite's name (see `oneclock ls suites`) or the path of a TOML file.")],
    only: Annotated[str | None, typer.Option(help="Only trials of this printed name, or that match it.")] = None,
    results: Results = RESULTS,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change one entry of the suite.")] = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="One worker in this process, without Ray.")] = False,
) -> None:
    """Time a suite again, with the images that it has.

    For rows that were disturbed, or another state of the machine. Each trial gets a further row; the latest counts.
    """
    from harness import api
    from harness.screen.ending import show_end

    tables = api.run(
        suite, only=only, settings=settings, results=results, in_process=in_process, retime=True, quiet=False
    )
    show_end(tables)
    if not tables.all_valid:
        raise typer.Exit(1)


@app.command(epilog="Example: oneclock prune quick --stale")
def prune(
    where: Annotated[str, typer.Argument(help="A suite whose results are in --results, or a folder of results.")],
    stale: Annotated[bool, typer.Option("--stale", help="Move the rows that its latest plan does not have.")] = False,
    results: Results = RESULTS,
) -> None:
    """List rows of other plans, or move them to quarantine.

    Such rows are of other code, settings or seeds. Nothing is deleted: the folder `quarantine/` holds them.
    """
    from harness.cli.prune import prune_folder
    from harness.cli.stored_results import find_folder

    for line in prune_folder(find_folder(where, results), stale):
        typer.echo(line)
