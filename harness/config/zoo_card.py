"""Cards of the zoo: per trained network a folder with `weights.safetensors` and `card.toml`, checked when read.

The card holds the SHA-256 of the weights. A file unlike its card is damage (exit 4); a card that does not fit the
request is a usage error (exit 2). Weights may be stored in half precision; they are widened when read.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from harness.config.network_card import NetworkCard
from harness.config.toml_files import read_toml, validated
from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.identity import check_name, file_sha256
from harness.specs.base import Price
from harness.storage.disk import TEMP_PREFIX, is_temp, swapped_folder

_ZOO = Path(__file__).resolve().parents[2] / "methods" / "networks" / "zoo"
ZOO_VARIABLE = "ONECLOCK_ZOO"
"""Names another folder of trained networks than the shipped one, for trainings that are to leave that as it is."""
PREFIX = "zoo:"
"""What `weights` of a network begins with where it names an entry of the zoo."""
WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "card.toml"
LARGEST_WEIGHTS_BYTES = 2_000_000
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainedOn(_Closed):
    """The data: the training pixels, and the held-out pixels for evaluation."""

    name: str
    split: str
    pixels: Sha256
    """Fingerprint of the training pixels, as every identity has it."""
    variant: str
    images: Count
    held_out_split: str
    held_out_pixels: Sha256
    held_out_images: Count
    """How many images of that split were evaluated, evenly spaced."""


class Leg(_Closed):
    """One uninterrupted stretch of a training: the optimiser's moments start from zero with each."""

    first_image: Count
    last_image: Count
    seconds: Annotated[float, Field(ge=0)]
    device: str
    started_on: str
    """The day, as YYYY-MM-DD."""
    libraries: dict[str, str]


class Trained(_Closed):
    """How the training went. Counts and prices include all up to the stored weights."""

    command: str
    seed: Count
    steps: Count
    images_seen: Count
    seconds: Annotated[float, Field(ge=0)]
    flops: Annotated[float, Field(ge=0)] | None = None
    """Absent where a call's work depends on its input."""
    sigma_low: Positive
    sigma_high: Positive
    """Between them lie 99.8 % of the noise levels drawn in training."""
    finished: bool
    stopped: str
    """Why the training ended, or that it goes on."""
    legs: list[Leg] = Field(min_length=1)


class Judged(_Closed):
    """Evaluation of the averaged weights, as stored."""

    held_out_loss: float
    """Mean training loss of held-out images, over fixed noise levels and noise; of the whole network."""
    held_out_draws: Count
    limit_fid: float
    """FID of the network in many steps: no sampler of it can be expected to do better."""
    limit_fid_low: float
    limit_fid_high: float
    """95 % interval by the delete-a-group jackknife: noise of the images, not of another training."""
    limit_fid_float32: float
    """The same of the float32 weights, before rounding."""
    limit_floor: float
    """Bias floor of the FID: what samples of the reference's own distribution would show at this N."""
    limit_solver: str
    limit_steps: Count
    limit_images: Count
    extractor: str
    extractor_sha256: Sha256
    copy_rate: float
    """Share of the limit's images nearer to a training image than 99 % of held-out images are."""
    copy_rate_highest: float
    """The copy rate that chance exceeds once in a hundred where nothing is copied."""
    copy_distance: float
    """That distance, over all pixels in [-1, 1]."""
    nearest_median: float
    """Median distance of the limit's images to their nearest training image."""
    nearest_median_held_out: float


class ZooCard(_Closed):
    """The card of one trained network."""

    name: str
    sha256: Sha256
    """Of the bytes of weights.safetensors."""
    dtype: Literal["float32", "float16", "bfloat16"]
    network: NetworkCard
    data: TrainedOn
    training: Trained
    judged: Judged

    def price(self) -> Price:
        """Return the training's price, as outputs of training tasks hold it."""
        return Price(seconds=self.training.seconds, flops=self.training.flops)


def zoo_folder() -> Path:
    """Return the folder that holds one folder per trained network."""
    return Path(os.environ.get(ZOO_VARIABLE) or _ZOO)


def zoo_names() -> list[str]:
    """Return the names of the trained networks, sorted; temporary folders of a killed process are left out."""
    return sorted(path.name for path in zoo_folder().glob("*/") if not is_temp(path.name))


def load_zoo_card(name: str) -> ZooCard:
    """Return a card by its name; UsageError for an unknown one, StoreDamagedError if card and weights do not match."""
    card = read_zoo_card(name)
    weights = weights_path(name)
    found = file_sha256(weights) if weights.is_file() else "none, the file is missing"
    if found != card.sha256:
        raise StoreDamagedError(
            f"{weights}: found SHA-256 {found}; its card expects {card.sha256}, restore the file from the repository"
        )
    return card


def read_zoo_card(name: str) -> ZooCard:
    """Return a card by its name without reading the weights; errors as `load_zoo_card`, which compares the two."""
    known = zoo_names()
    if name not in known:
        raise UsageError(f'zoo network "{name[:80]}" is unknown{did_you_mean(name, known)} (see `oneclock ls zoo`)')

    path = zoo_folder() / name / CARD_FILE
    try:
        card = validated(ZooCard, read_toml(path), str(path))
    except UsageError as error:
        raise StoreDamagedError(f"{error}; restore the file from the repository") from None
    if card.name != name:
        raise StoreDamagedError(f'{path}: name is "{card.name}"; expected "{name}", restore it from the repository')
    return card


def weights_path(name: str) -> Path:
    """Return the path of a zoo network's weights."""
    return zoo_folder() / name / WEIGHTS_FILE


def zoo_entry_name(network: str, seed: int) -> str:
    """Return the zoo name of a network trained with a seed."""
    if re.search(r"-seed\d+$", network):
        raise UsageError(f'the network is called "{network}"; expected another name, since the zoo marks seeds so')
    return check_name(network if seed == 0 else f"{network}-seed{seed}", "zoo name")


def write_zoo_entry(card: ZooCard, weights: bytes) -> Path:
    """Write weights and card into the zoo, replacing an entry of that name atomically; return the folder."""
    if len(weights) > LARGEST_WEIGHTS_BYTES:
        raise UsageError(
            f"the weights of {card.name} take {len(weights):,} bytes as {card.dtype}; expected at most "
            f"{LARGEST_WEIGHTS_BYTES:,}, choose a smaller network"
        )

    final = zoo_folder() / card.name
    final.parent.mkdir(parents=True, exist_ok=True)
    for left_over in final.parent.glob(f"{TEMP_PREFIX}{card.name}-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    with swapped_folder(final) as fresh:
        (fresh / WEIGHTS_FILE).write_bytes(weights)
        (fresh / CARD_FILE).write_text(zoo_card_text(card), encoding="utf-8")
    return final


def zoo_card_text(card: ZooCard) -> str:
    """Return a card as TOML without the fields that are None."""
    head = f"# Written by `{card.training.command}`. Do not edit: the SHA-256 is checked against the weights.\n"
    return head + tomli_w.dumps(card.model_dump(mode="json", exclude_none=True))
