"""The command line: all verbs in the order of `oneclock --help`."""

from __future__ import annotations

import typer

from harness.cli.verbs import checks, export, imports, inputs, jobs, new, runs, scores, stored, zoo

app = typer.Typer(
    name="oneclock",
    help="Measure methods that accelerate diffusion sampling under one clock.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for part in (runs, stored, jobs, scores, checks, inputs, new, export, imports, zoo):
    app.add_typer(part.app)
