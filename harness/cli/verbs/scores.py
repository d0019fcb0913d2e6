"""The verbs that compare with the outside: images of other code, published figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS, Results, Settings
from harness.errors import UsageError

app = typer.Typer()


@app.command("score", epilog="Example: oneclock score ./samples --dataset cifar10 --extractor inception-v3-compat:FILE")
def score_own_images(
    images: Annotated[Path, typer.Argument(help="A folder of PNG, JPEG, WebP, BMP or TIFF files, or an npz (arr_0).")],
    dataset: Annotated[str, typer.Option(help="The data set that they are compared with: its name or card.")],
    extractor: Annotated[
        str | None,
        typer.Option(help="Feature network, or NAME:PATH with its weights; the shipped one that fits by default."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="File of statistics in place of the reference pictures; mu and sigma alone want --extractor."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score images that any code made, as tables do.

    FID and KID with intervals, precision and recall, against a data set's reference split."""
    from harness.cli.score import describe_score, score_images, score_lines

    score = score_images(images, dataset, extractor, reference)
    for sentence in score.cautions():
        typer.echo(f"oneclock: note: {sentence}", err=True)
    lines = [json.dumps(describe_score(score), indent=2)] if as_json else score_lines(score)
    for line in lines:
        typer.echo(line)


@app.command("reproduce", epilog="Example: oneclock reproduce edm-cifar10")
def reproduce_one(
    claim: Annotated[str | None, typer.Argument(help="A claim, or the first words of several.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the published figures that are known.")] = False,
    results: Results = RESULTS,
    settings: Settings = None,
    ledger: Annotated[Path | None, typer.Option(help="A ledger of your own; the shipped one by default.")] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Say what would be run and what is missing.")] = False,
    in_process: Annotated[bool, typer.Option("--in-process", help="One worker in this process, without Ray.")] = False,
) -> None:
    """Measure a published figure and compare.

    Prints paper, measured, interval and verdict: reproduced, not reproduced, or no verdict with the conditions that
    are not met. A method whose figure was reproduced wears that mark in all tables of the same results.
    """
    from harness.claims.reproduce import list_claims, reproduce_claims
    from harness.cli.listing import in_columns

    if claim is None and not listed:
        raise UsageError("no claim is named; expected one of `oneclock reproduce --list`")
    for line in (
        in_columns(list_claims(ledger))
        if claim is None or listed
        else reproduce_claims(claim, ledger, settings, results, in_process, only_plan)
    ):
        typer.echo(line)
