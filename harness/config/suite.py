"""A suite: which configurations to run, read from TOML into typed, closed models.

A part is a name, a table `{name = "...", parameter = value}`, or a list of those; steps are one number or a list.
A `[[trials]]` entry stands for every combination of what it lists. `base` makes a suite of another one, see
harness.config.base_suite. `--set KEY=VALUE` changes any entry by its path.
"""

from __future__ import annotations

import re
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
from harness.config.factorial_settings import FactorialSettings, Halved
from harness.config.fidelity_settings import FidelitySettings
from harness.config.network_card import OWN_NETWORK
from harness.config.settings import apply_settings, describe_settings
from harness.config.toml_files import read_toml, validated
from harness.errors import UsageError, did_you_mean
from harness.identity import check_name
from harness.specs.base import Closed, Json
from harness.specs.limits import DEADLINE_SECONDS
from harness.specs.row import Expectation
from harness.specs.sampler import Mode
from harness.specs.time import Alone, Tier

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
Precision = Literal["float32", "float64", "bfloat16", "float16"]
Precisions = Precision | Annotated[list[Precision], Field(min_length=1)]


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
    precision: Precisions | None = None
    """Number formats of the network, in place of the suite's; a method's name ends in one that is not the suite's."""
    half_of: tuple[Halved, ...] = ()
    """Fields, each a list of two, of whose combinations half are trials: an even number of them has its second item."""
    label: str | None = None
    control_of: Names | None = None
    """The method, or a list of methods, by display name, that must beat these trials on the same data and steps.

    They stand on the same network; "METHOD @ NETWORK" names one on another. "METHOD-STEPS" names one of other steps,
    as for a control of a cache at equal FLOPs: fewer steps of the whole network.
    """
    trainings: PositiveInt | None = None
    """Only in the first so many trainings of the suite, as where rows cost much and hardly depend on the weights."""
    optional: bool = False
    """Left out, with one sentence, where the cluster has fewer devices than one sample needs at once."""

    @model_validator(mode="after")
    def _halves_lists_of_two(self) -> TrialEntry:
        for name in self.half_of:
            listed = getattr(self, name)
            if not isinstance(listed, list) or len(listed) != 2:
                raise ValueError(f'half_of names "{name}", which is no list of two; expected fields with two values')
        if len(set(self.half_of)) != len(self.half_of) or len(self.half_of) == 1:
            raise ValueError(f"half_of names {', '.join(self.half_of)}; expected two fields or more, each once")
        return self

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
    mode: Mode = "reproducible"
    """Which kernels all trials run on, the baseline too, both where they are scored and where they are timed.

    reproducible: IEEE float32, deterministic, not compiled. deployed: TF32 and cuDNN's fastest on a GPU, and compiled
    networks; `precision` stays the suite's. Rows of different modes never share a ranking.
    """
    alone: Alone | None = None
    """What a timing has to itself: its whole node, or its GPU alone; without it the node on CPUs, else the device.

    The clock's own timing always has the node: others are compared with it.
    """


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
    precision: Precision = "float32"
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
    fidelity: FidelitySettings = FidelitySettings()
    factorial: FactorialSettings | None = None
    networks: dict[str, Json] = Field(default_factory=dict)
    trials: list[TrialEntry] = Field(min_length=1)
    expect: list[Expectation] = Field(default_factory=list)
    _file: str = PrivateAttr(default="")
    _settings: tuple[str, ...] = PrivateAttr(default=())

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
    def settings_given(self) -> tuple[str, ...]:
        """Return the settings, KEY=VALUE, that changed what its file says."""
        return self._settings

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

    suite = validated(Suite, raw, f"suite {path.name}", describe_settings(settings or []))
    suite._file = path.name
    suite._settings = (*(settings or ()), *(() if seeds is None else (f"seed_sets={raw['seed_sets']}",)))
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
