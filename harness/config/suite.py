"""A suite: which configurations to run, read from TOML into typed, closed models.

A part is a name, a table `{name = "...", parameter = value}`, or a list of those; steps are one number or a list.
A `[[trials]]` entry stands for every combination of what it lists. `base` makes a suite of another one, see
harness.config.base_suite. `--set KEY=VALUE` changes any entry by its path.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    field_validator,
    model_validator,
)

from harness.config.base_suite import resolve_base
from harness.config.network_card import OWN_NETWORK
from harness.config.toml_files import read_toml, validated
from harness.errors import UsageError, did_you_mean
from harness.identity import check_name
from harness.specs.base import Closed, Json
from harness.specs.limits import DEADLINE_SECONDS
from harness.specs.row import Expectation
from harness.specs.time import Tier

SUITES = Path(__file__).resolve().parents[1] / "suites"


class PartEntry(BaseModel):
    """One part of a sampler by name, with its parameters as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def params(self) -> dict[str, Any]:
        """Return the parameters as written."""
        return dict(self.model_extra or {})


Parts = str | PartEntry | list[str | PartEntry]
Steps = PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)]
Names = str | Annotated[list[str], Field(min_length=1)]


Classes = Literal["none", "uniform", "frequency", "balanced"] | Annotated[int, Field(ge=0)]


class Guidance(Closed):
    """Classifier-free guidance of a trial; see `methods.parts.DenoiserParams`."""

    scale: float = Field(ge=0)
    interval: tuple[float, float] | None = None
    channels: PositiveInt | None = None

    def params(self) -> dict[str, Any]:
        """Return it as parameters of a denoiser."""
        given = {"guidance": self.scale, "guidance_interval": self.interval, "guided_channels": self.channels}
        return {name: value for name, value in given.items() if value is not None}


def wrapped_parts(given: Any) -> dict[str, Any]:
    """Return the parts, and of a pipeline the network, that stand for a user's function in a table; none without one.

    ValueError for a table that names what the function owns. A pipeline's network has the name of its file.
    """
    kinds = [kind for kind in ("sampler", "pipeline") if isinstance(given, dict) and isinstance(given.get(kind), str)]
    if not kinds:
        return {}
    owned: tuple[str, ...] = ("schedule", "solver", "executor")
    if "pipeline" in kinds:
        owned = ("sampler", "network", "denoiser", "guidance", *owned)
    if both := [part for part in owned if part in given]:
        raise ValueError(f"a wrapped {kinds[-1]} owns {', '.join(owned)}; leave out {', '.join(both)}")

    target = given[kinds[-1]]
    if kinds[-1] == "sampler":
        return {"schedule": "own", "solver": "own", "executor": {"name": "wrapped", "python": target}}
    stem = re.sub(r"[^a-z0-9]+", "-", Path(target.rpartition(":")[0]).stem.lower()).strip("-")
    parts = dict.fromkeys(("denoiser", "schedule", "solver"), "own")
    return {
        **parts,
        "network": f"{OWN_NETWORK}{stem or 'own'}",
        "executor": {"name": "wrapped-pipeline", "python": target},
    }


class TrialEntry(Closed):
    """One `[[trials]]` table: every combination of what it lists becomes a trial."""

    dataset: Names | None = None
    network: Names | None = None
    sampler: str | None = None
    """Your own sampler(network, noise, steps) as FILE.py:NAME, in place of schedule, solver and executor."""
    pipeline: str | None = None
    """Your own pipeline(noise, steps) as FILE.py:NAME, in place of the network too."""
    denoiser: Parts = "full"
    schedule: Parts = "edm"
    solver: Parts = "ddim"
    executor: Parts = "serial"
    steps: Steps
    guidance: float | Guidance | list[float | Guidance] | None = None
    """Of every denoiser listed, in place of its own parameters; see `Guidance`."""
    label: str | None = None
    control_of: Names | None = None
    """The method, or a list of methods, by display name, that must beat these trials on the same data and steps.

    They stand on the same network; "METHOD @ NETWORK" names one on another.
    """
    trainings: PositiveInt | None = None
    """Only in the first so many trainings of the suite, as where rows cost much and hardly depend on the weights."""
    optional: bool = False
    """Left out, with one sentence, where the cluster has fewer devices than one sample needs at once."""

    @model_validator(mode="before")
    @classmethod
    def _wrap_sampler(cls, given: Any) -> Any:
        """Turn `sampler` or `pipeline` into the parts that wrap it, labelled by the function's name."""
        parts = wrapped_parts(given)
        if not parts:
            return given
        target = given.get("sampler") or given["pipeline"]
        return {"label": target.rpartition(":")[2].replace("_", "-"), **given, **parts}


class Baseline(Closed):
    """The baseline of all trials: a combination, and the step count that is the clock of every speed-up."""

    network: str | None = None
    pipeline: str | None = None
    """Your own pipeline as FILE.py:NAME, where there is nothing else to compare it with."""
    denoiser: str | PartEntry = "full"
    schedule: str | PartEntry = "edm"
    solver: str | PartEntry = "ddim"
    executor: str | PartEntry = "serial"
    clock_steps: PositiveInt
    fid_band: tuple[float, float] | None = None
    """Where the clock trial's FID must lie, else no row of the run is valid (wrong weights, reference or resize)."""

    @model_validator(mode="before")
    @classmethod
    def _wrap_pipeline(cls, given: Any) -> Any:
        """Turn `pipeline` into the parts that wrap it."""
        return {**given, **wrapped_parts(given)} if isinstance(given, dict) and "pipeline" in given else given

    @field_validator("fid_band")
    @classmethod
    def _hold_something(cls, band: tuple[float, float] | None) -> tuple[float, float] | None:
        if band is not None and not 0 <= band[0] < band[1]:
            raise ValueError(f"fid_band is {list(band)}; expected a FID of 0 or more and a larger one")
        return band


class Timing(Closed):
    """The repetition rules: a named tier; tiers never share a ranking."""

    tier: Tier = "quick"
    batch: PositiveInt | None = None


class QualitySettings(Closed):
    """What FIDs are compared with: absolute targets of each data set, and what counts as equal."""

    targets: dict[str, tuple[PositiveFloat, ...]] = Field(default_factory=dict)
    """FIDs by data set, loosest first: the time to each is read on every method's own curve."""
    equivalence_margin: PositiveFloat | None = None
    """Difference of FID within which two trials count as equal; without it none do."""
    more_steps_in: str | None = None
    """A suite of this project that has the methods at more step counts; tables name it where a method has one here."""

    @field_validator("more_steps_in")
    @classmethod
    def _exist(cls, name: str | None) -> str | None:
        if name is not None and name not in suite_names():
            raise ValueError(f'there is no suite "{name}"{did_you_mean(name, suite_names())}')
        return name

    @field_validator("targets")
    @classmethod
    def _fall(cls, targets: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for dataset, fids in targets.items():
            if len(fids) not in (2, 3):
                raise ValueError(f"the targets of {dataset} are {list(fids)}; expected two or three FIDs")
            if list(fids) != sorted(set(fids), reverse=True):
                raise ValueError(f"the targets of {dataset} are {list(fids)}; expected falling numbers, loosest first")
        return targets


class TruncationSettings(Closed):
    """The reference solution for truncation errors where no closed form is known: a fine solution of each network."""

    images: PositiveInt = 128
    """Number of images, from the first on; all of a trial if it has fewer."""
    steps: PositiveInt = 64
    """Steps of the fine solution, by Heun's method on the schedule edm."""


class ReferenceSettings(Closed):
    """A file of statistics in place of the pictures of the reference split, and what the user states of it.

    Of a file of `oneclock reference` nothing need be stated: it says everything itself.
    """

    statistics: str
    """An npz: the field's, with mu and sigma, or ours, with features too."""
    n: PositiveInt | None = None
    """Pictures behind it; the file of the field does not say."""
    extractor: str | None = None
    """The feature network that made it, by name."""
    resize: str | None = None
    """How that brought pictures to its own size, as `oneclock ls extractors` says it."""
    source: str = ""
    """Where the file comes from; rows show it."""


class DecoderEntry(Closed):
    """What makes pictures of the states of latent data sets."""

    weights: str
    """The safetensors that `oneclock import network` wrote of an autoencoder, with its card beside, or the card."""
    batch: PositiveInt = 8
    """States that are decoded at once."""


LARGEST_SEED_SET = 2**53 - 1
"""Of the whole numbers that tables and pages keep apart."""


class Suite(Closed):
    """A whole suite, validated."""

    name: str
    title: str
    dataset: Names
    network: Names
    extractor: str
    """A feature network by name, or NAME:PATH with the file of its weights."""
    extractor_weights: str | None = None
    reference: ReferenceSettings | Literal["pictures"] | None = None
    """None: the data set's reference split, from the file that ships in place of its pictures where there is one;
    "pictures" reads them in any case."""
    n_images: PositiveInt
    batch: PositiveInt = 50
    trainings: PositiveInt = 1
    """How often every trial is trained, prepared, sampled and scored, each time from other seeds.

    Training k of a network with weights "zoo:NAME" takes the entry NAME-seedk, training 0 NAME itself. One that is
    trained here takes `train.seed` + k. Searches and tunings get other seeds too. An exact network, and weights from
    a file, have one training: their trials run once.
    """
    classes: Classes | None = None
    """The class of each image, for a network that knows classes: a law, one number for all images, or "none".

    uniform and frequency draw each image's by itself, the second as often as training images have it; balanced has
    every class equally often. All trials of a suite make the same classes.
    """
    seed_sets: list[Annotated[int, Field(ge=0, le=LARGEST_SEED_SET)]] = Field(default=[0], min_length=1)
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    workers: PositiveInt | None = None
    """The most devices that the run uses at once; without it all that there are."""
    devices: PositiveInt | None = None
    """Devices of one training or preparation; without it all of this machine, and one of a cluster's.

    Fewer are taken where there are fewer, where they do not divide the batch, or where each would have fewer than 8
    images of it. A card's own `train.workers` comes first. What is learnt depends on it by rounding alone.
    """
    deadline_seconds: PositiveFloat = DEADLINE_SECONDS
    decoder: DecoderEntry | None = None
    baseline: Baseline
    timing: Timing = Timing()
    quality: QualitySettings = QualitySettings()
    truncation: TruncationSettings | None = None
    networks: dict[str, Json] = Field(default_factory=dict)
    trials: list[TrialEntry] = Field(min_length=1)
    expect: list[Expectation] = Field(default_factory=list)
    _file: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _one_file_of_weights(self) -> Suite:
        if ":" in self.extractor and self.extractor_weights is not None:
            raise ValueError(
                f'extractor is "{self.extractor}" and extractor_weights "{self.extractor_weights}"; expected one file, '
                "so leave one of them out"
            )
        return self

    @property
    def feature_network(self) -> tuple[str, Path | None]:
        """Return name and, where the user gives it, the file of weights of the feature network."""
        name, _, path = self.extractor.partition(":")
        given = path or self.extractor_weights
        return name, Path(given) if given else None

    @property
    def where(self) -> str:
        """Return how messages name it: by its file, or by its name where it was made without one."""
        return f"suite {self._file}" if self._file else f'suite "{self.name}"'


def suite_names() -> list[str]:
    """Return the names of the suites that ship with the project."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load_suite(name_or_path: str, settings: list[str] | None = None, seeds: int | None = None) -> Suite:
    """Return a suite by name or path with `KEY=VALUE` settings applied; raise UsageError if it is wrong."""
    path = find_suite(name_or_path)
    raw = resolve_base(read_toml(path), path, _find_shipped)
    apply_settings(raw, settings or [])
    if seeds is not None:
        if seeds < 1:
            raise UsageError(f"--seeds is {seeds}; expected 1 or more")
        raw["seed_sets"] = list(range(seeds))

    suite = validated(
        Suite, raw, f"suite {path.name}", {_key(setting): f"--set {setting}" for setting in settings or []}
    )
    suite._file = path.name
    check_name(suite.name, "suite name")
    for entry in suite.trials:
        if entry.label is not None:
            check_name(entry.label, "label")
    return suite


def _find_shipped(name: str) -> Path | None:
    return SUITES / f"{name}.toml" if name in suite_names() else None


def find_suite(name_or_path: str) -> Path:
    """Return the file of a suite: a path, a shipped suite by its name, or NAME.toml of the current folder."""
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_dir():
            hint = _suite_inside(path) or "; expected the TOML file of a suite"
            raise UsageError(f"suite {name_or_path} is a folder{hint}")
        if not path.is_file():
            hint = _suite_inside(path) or "; expected a TOML file or a known name"
            raise UsageError(f"suite file {name_or_path} does not exist{hint}")
        return path

    if name_or_path not in suite_names():
        here = Path(f"{name_or_path}.toml")
        if here.is_file():
            return here
        if hint := _suite_inside(path):
            raise UsageError(f'suite "{name_or_path}" is a folder{hint}')
        hint = did_you_mean(name_or_path, suite_names())
        raise UsageError(f'suite "{name_or_path}" is unknown{hint} (see `oneclock ls suites`)')
    return SUITES / f"{name_or_path}.toml"


def _suite_inside(folder: Path) -> str:
    """Return a hint at the suite in a folder, as `oneclock new` writes it; "" where there is none."""
    inside = folder / "suite.toml"
    return f'; did you mean "{inside}"?' if inside.is_file() else ""


def apply_settings(raw: dict[str, Any], settings: list[str]) -> None:
    """Change entries of nested tables by KEY=VALUE, the key a dotted path, the value TOML or plain text."""
    for setting in settings:
        _apply(raw, setting)


def _key(setting: str) -> str:
    """Return the dotted path that a setting changes."""
    return setting.partition("=")[0].strip()


def _apply(raw: dict[str, Any], setting: str) -> None:
    key, (_, equals, text) = _key(setting), setting.partition("=")
    if not equals or not key:
        raise UsageError(f'--set is "{setting}"; expected KEY=VALUE, for example --set n_images=200')
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()

    # walk down to the table or list of the last key
    *folders, last = key.split(".")
    place: Any = raw
    for folder in folders:
        place = place[_index(place, folder, setting)] if isinstance(place, list) else place.setdefault(folder, {})
        if not isinstance(place, dict | list):
            raise UsageError(f'--set {setting}: "{folder}" is a single value and holds no "{last}"')
    place[_index(place, last, setting) if isinstance(place, list) else last] = value


def _index(place: list[Any], text: str, setting: str) -> int:
    if not text.isdecimal() or int(text) >= len(place):
        raise UsageError(f'--set {setting}: "{text}" is not an index of a list of {len(place)}')
    return int(text)
