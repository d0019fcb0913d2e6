"""The verb `import`: networks of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="import",
    help="Convert what other programs published, once.",
    no_args_is_help=True,
    epilog="Example: oneclock import network ./ddpm-cifar10-32 --state weights=ema",
)


@app.callback()
def import_one_kind() -> None:
    """Convert what other programs published, once."""


@app.command("network", epilog="Example: oneclock import network DiT-XL-2-256x256.pt --state process=vp-discrete")
def import_one_network(
    source: Annotated[Path, typer.Argument(help="A file of weights or a folder of diffusers, here or fetched.")],
    form: Annotated[str | None, typer.Option("--format", help="Its format, recognised by default.")] = None,
    name: Annotated[str | None, typer.Option(help="The network's name; by default from that of the source.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The new folder; imported/NAME by default, where suites find NAME.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help="State what no file says: KEY=VALUE, such as process=flow or weights=ema; may be repeated."),
    ] = None,
) -> None:
    """Write a card, weights and origin of a published network.

    Formats are diffusers-unet and diffusers-dit (folders), ddim (.ckpt), dit (.pt of DiT and SiT), uvit (.pth),
    guided-diffusion (.pt of ADM), edm (.pkl) and autoencoder-kl (decoders of latents). What is not known for certain is
    refused, with the statement that decides it. Nothing of a pickle is executed. The same import again changes nothing.
    """
    from harness.fetching.lookup import find_file
    from harness.importers.importing import import_network

    for line in import_network(find_file(source), form, name, out, state or []):
        typer.echo(line)
