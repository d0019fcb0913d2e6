"""The arguments and options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RESULTS = Path("results")

SuiteName = Annotated[str, typer.Argument(help="A suite's name (see `oneclock ls suites`) or the path of a TOML file.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster, for example auto or head:6379; default RAY_ADDRESS, else here.")
]
Results = Annotated[Path, typer.Option(help="Folder that holds one folder per suite.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change one entry of the suite: KEY=VALUE.")]
Only = Annotated[
    str | None,
    typer.Option(help="Only the trial of this printed name, or those whose name, part or network it matches."),
]
Seeds = Annotated[int | None, typer.Option(help="Use the first K disjoint seed sets.")]
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", help="Take so many GPUs of the cluster or this machine; by default all of one class."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help='Take devices of one class, by words of its name: "H100"; each MIG slice is a class too.'
    ),
]
