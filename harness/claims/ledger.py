"""The ledger of published figures: what was claimed, by whom, and in which setting exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from harness.config.suite import DecoderEntry, PartEntry, ReferenceSettings
from harness.config.toml_files import read_toml, validated
from harness.errors import UsageError, did_you_mean
from harness.identity import check_name
from harness.specs.base import Closed, Json
from harness.specs.time import Tier

LEDGER = Path(__file__).with_name("ledger.toml")
Protocol = Literal["exact", "one-run", "minimum-of-three"]


class ClaimSetting(Closed):
    """The setting of a figure, in the words of a suite with one trial."""

    dataset: str
    network: str
    networks: dict[str, Json] = Field(default_factory=dict)
    extractor: str
    reference: ReferenceSettings | None = None
    n_images: PositiveInt
    batch: PositiveInt = 50
    classes: str | int | None = None
    precision: str = "float32"
    decoder: DecoderEntry | None = None
    denoiser: str | PartEntry = "full"
    schedule: str | PartEntry = "edm"
    solver: str | PartEntry = "ddim"
    steps: PositiveInt
    tier: Tier = "quick"
    """The rules of timing, which decide nothing of a figure."""


class Claim(Closed):
    """One published FID."""

    name: str
    title: str
    figure: PositiveFloat
    """The FID as printed."""
    decimals: int = Field(ge=0, le=6)
    protocol: Protocol
    nfe: PositiveInt | None = None
    """Evaluations of the network per image, where known; a run of another number is another setting."""
    source: str
    needs_gpu: bool = False
    suite: ClaimSetting | None = None
    unmeasured: str = ""
    """Why the setting cannot be had here, where it cannot."""

    @field_validator("name")
    @classmethod
    def _may_be_a_folder(cls, name: str) -> str:
        try:
            return check_name(name, "name")
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _is_measured_or_says_why_not(self) -> Claim:
        if (self.suite is None) != bool(self.unmeasured):
            raise ValueError(f'claim "{self.name}" has both or none of suite and unmeasured; expected one of them')
        if self.suite is not None and self.nfe is None:
            raise ValueError(f'claim "{self.name}" has a suite and no nfe; expected the evaluations of the figure')
        return self


class _Ledger(Closed):
    claims: list[Claim] = Field(min_length=1)


def load_claims(ledger: Path | None = None) -> dict[str, Claim]:
    """Return the claims of a ledger by name, the shipped one by default; UsageError if it is wrong."""
    path = ledger or LEDGER
    if not path.is_file():
        raise UsageError(f"found no ledger {path}; expected a TOML file with [[claims]], so check the path")
    raw: dict[str, Any] = read_toml(path)
    claims = validated(_Ledger, raw, f"ledger {path.name}").claims
    found = {claim.name: claim for claim in claims}
    if len(found) < len(claims):
        raise UsageError(f"ledger {path.name} has two claims of one name; expected one of each, so rename them")
    return found


def choose_claims(name: str, ledger: Path | None = None) -> list[Claim]:
    """Return the claim of a name, or all whose names begin with it and a hyphen, such as both of edm-cifar10."""
    known = load_claims(ledger)
    chosen = [known[name]] if name in known else [known[one] for one in known if one.startswith(f"{name}-")]
    if not chosen:
        raise UsageError(f'no claim is called "{name}"{did_you_mean(name, known)} (see `oneclock reproduce --list`)')
    return chosen
