"""A sampler in plain values: data, network, four parts, and the noise. Workers build it from these alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.specs.base import Closed, DecidesNothing, DecidesNothingAs, Json

_CODE = DecidesNothing("names code, whose hash is in the identity")

Mode = Literal["reproducible", "deployed"]
"""Kernels of sampling. reproducible: IEEE float32, deterministic, not compiled. deployed: the fastest, compiled."""


class LatentSpec(Closed):
    """The states of a data set whose networks know its pictures as latents: the shape, and their scale."""

    channels: int = Field(gt=0, le=64)
    resolution: int = Field(gt=0, le=1024)
    """Numbers a side."""
    scaling_factor: float = Field(gt=0)
    """States are the encoder's latents times this."""


class DataSpec(Closed):
    """A data set as a result depends on it: its shape, and the pixels by their fingerprint."""

    name: str
    channels: int
    """Of a picture, as `resolution` is."""
    resolution: int
    latent: LatentSpec | None = None
    """None where a state is a picture."""
    labels: int
    splits: dict[str, int]
    """Images of each split."""
    training: str
    """The split that networks and methods learn from."""
    reference: str
    """The split that quality is measured against."""
    pixels: str
    """SHA-256 of the reference split's pixels; "absent" in a plan that does without the data.

    "not read" where a file of statistics stands in their place.
    """
    training_pixels: str
    """The same of the split that is learnt from; "not read" too where nothing learns."""
    variant: str
    distribution: Json = Field(default_factory=dict)
    """The distribution itself, where the data are synthetic."""

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of a state: a picture's, or a latent's."""
        of = self.latent or self
        return of.channels, of.resolution, of.resolution


class NetworkSpec(Closed):
    """An architecture: its family and the family's parameters."""

    name: Annotated[str, DecidesNothing("what the card is called; rows hold it")]
    family: str
    params: Json
    module: Annotated[str, _CODE]


class ModelSpec(Closed):
    """A network with its weights, for a data set, in a number format."""

    data: DataSpec
    network: NetworkSpec
    weights_id: str | None
    """Id of the task that gives the weights; None for a network that needs none."""
    precision: str

    def needs(self) -> tuple[str, ...]:
        """Return the ids of the tasks whose results it is built from."""
        return () if self.weights_id is None else (self.weights_id,)


class ClassesSpec(Closed):
    """By which law an image's class follows from its index; see `harness.sampling.classes`."""

    law: str
    """uniform, frequency, balanced or one."""
    count: int
    """Classes of the network."""
    one: int | None = None
    """The class of every image, under the law one."""
    counts: tuple[int, ...] = ()
    """Training images of each class, under the law frequency."""


class DecoderSpec(Closed):
    """What makes pictures of final latent states."""

    name: Annotated[str, DecidesNothing("what the card is called")]
    params: Json
    """Of `harness.sampling.decoder.DecoderParams`."""
    weights_id: str
    """Id of the task that gives the weights."""
    sha256: str
    """Of the file of weights."""
    batch: int
    """States that are decoded at once."""
    module: Annotated[str, _CODE]


class PartSpec(Closed):
    """One part of a sampler: a method by name with its parameters, and its artifact."""

    name: str
    params: Json
    module: Annotated[str, _CODE]
    artifact_id: str | None = None
    """Id of the task that prepared it; None for a part that needs no preparation."""


class SamplerSpec(Closed):
    """Everything that decides the pixels of an image but its index."""

    model: ModelSpec
    decoder: DecoderSpec | None = None
    """None where states are pictures, and where none are wanted."""
    denoiser: PartSpec
    schedule: PartSpec
    solver: PartSpec
    executor: PartSpec
    serial: PartSpec
    """The executor that a parallel one is compared with."""
    steps: int
    sigma_min: float
    sigma_max: float
    initial_scale: float | None = None
    """Factor on unit noise at which a trajectory begins; None: the schedule's own."""
    classes: ClassesSpec | None = None
    """None: no image has a class."""
    batch: int
    seed_set: int
    device: str
    """Class of the device, such as "cpu:NAME": another chip may round otherwise."""
    devices: int
    """How many devices make one batch together."""
    mode: Annotated[Mode, DecidesNothingAs("reproducible")] = "reproducible"
    """By which kernels: images are scored by those that are timed."""

    @property
    def rounding(self) -> str:
        """Return the number format whose rounding images have: "tf32" for float32 of deployed kernels on a GPU."""
        is_short = self.mode == "deployed" and self.device.startswith("cuda") and self.model.precision == "float32"
        return "tf32" if is_short else self.model.precision

    @property
    def equal_bytes(self) -> bool:
        """Return whether its kernels give equal bytes in every process: not where a GPU chooses them by their speed."""
        return self.mode == "reproducible" or not self.device.startswith("cuda")

    def parts(self) -> dict[str, PartSpec]:
        """Return the four parts by their names."""
        return {
            "denoiser": self.denoiser,
            "schedule": self.schedule,
            "solver": self.solver,
            "executor": self.executor,
        }

    def artifact_ids(self) -> tuple[str, ...]:
        """Return the ids of the tasks that prepared its parts."""
        return tuple(part.artifact_id for part in self.parts().values() if part.artifact_id is not None)

    def needs(self) -> tuple[str, ...]:
        """Return the ids of the tasks whose results it is built from."""
        decoder = () if self.decoder is None else (self.decoder.weights_id,)
        return (*self.model.needs(), *decoder, *self.artifact_ids())


class ExtractorSpec(Closed):
    """A feature network; weights that a user gave are read from `path`."""

    name: str
    layer: str
    resize: str = "none"
    """How it brings pictures to its own size; "none" where it takes them as they are."""
    dim: int | None
    batch: int
    sha256: str
    file: Annotated[str | None, DecidesNothing("its bytes are in sha256")]
    path: Annotated[str | None, DecidesNothing("location of the bytes")] = None

    @property
    def title(self) -> str:
        """Return how rows name it: NAME:LAYER, and how it resizes pictures where it does."""
        return f"{self.name}:{self.layer}" + ("" if self.resize == "none" else f" {self.resize}")

    def files(self) -> tuple[str, ...]:
        """Return the path of the user's weights, if there are any."""
        return () if self.path is None else (self.path,)
