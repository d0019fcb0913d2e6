"""What workers record so that a row can be audited: the rules of `harness.rows.rules` read it."""

from __future__ import annotations

from pydantic import Field

from harness.specs.base import Closed


class ImagesWork(Closed):
    """What ran for some images, summed over them."""

    evaluations: int | None
    """None with several ranks: one of them does not see what the others ran."""
    units: dict[str, int]
    iterations: dict[int, int]
    """Images by their number of refinements, of an executor that has any."""


class BatchWork(Closed):
    """What ran for one batch of scored images."""

    first: int
    """Index of the first image."""
    images: int
    work: ImagesWork


class TimedWork(Closed):
    """Calls of the trial in a timing that did the same work and, in a batch, made the same images."""

    kind: str
    """"latency", "throughput", or "untimed": a scored batch, made once more where timed ones have another size."""
    first: int
    """Index of the first image; of calls with one image, that of the first call."""
    images: int
    work: ImagesWork
    calls: int
    images_sha256: str
    """Over the SHA-256 of the images in their order; empty where they are no scored batch, so bytes may differ."""
    differences: list[float]
    """Mean absolute difference, in grey levels, of its images to the same image of a scored batch.

    Empty where these are compared by their bytes; an image that was made in no such batch is left out.
    """


class CountedWork(Closed):
    """What ran by the counts of the network's boundary, and what an independent counter of operators saw of it."""

    units: dict[str, int]
    operator_flops: dict[str, int]
    """By the number format of the results; without those of decoding."""
    decoded: int = 0
    """Images whose pictures were made from their final states."""
    decoding_flops: dict[str, int] = Field(default_factory=dict)
    """What operators did meanwhile."""


class Probe(Closed):
    """A few scored images, made again in other company while an independent counter watched every operator.

    The images are drawn after they were scored. Differences are relative RMS of final states, one for each image.
    """

    indices: list[int]
    reordered: list[float]
    """To the scored states, in another batch and order."""
    noise_change: float
    """Relative RMS by which the initial noise was changed."""
    changes: list[float]
    """Of the final states by that change, to those without it."""
    estimate_change: float
    """By which all estimates of the network were changed."""
    estimate_changes: list[float]
    """Of the final states by that change, to those without it."""
    work: CountedWork | None
    """Of the call with all of these images; None where no counter watched."""
    scored_errors: list[float]
    """Relative distances of scored final states to a solution of the flow; of the first probe of a trial."""
    fresh_errors: list[float]
    """The same of images whose noise was drawn for the probe."""


class RepeatedCalls(Closed):
    """Calls of a pipeline with new images, and again with images that it has made."""

    new_flops: int
    """Of a call with new images, by a counter of operators."""
    repeated_flops: int
    """Of the same call again."""
    new_seconds: float
    """The least of calls with new images."""
    timed_seconds: float
    """The least of calls with timed images, made in turn with these."""


class TimeLooks(Closed):
    """Seconds of a few calls around a timing. On a CPU they are CPU seconds, ended child processes included."""

    new_images: dict[str, float]
    """By kind of call: of the last one of the warm-up, whose images were never made before."""
    units: dict[str, float]
    """The least of a call with a whole batch, of each unit that ran, by itself."""
    network: float
    """The same of the whole network."""
    decoder: float = 0.0
    """The same of the decoder; 0 where states are pictures."""
    repeats: dict[str, RepeatedCalls] = Field(default_factory=dict)
    """By kind of call, of a pipeline whose network is not seen."""


class CopyFigures(Closed):
    """How many of the generated images are nearer to a reference image than reference images are to each other."""

    rate: float
    highest: float
    """The rate above which images are copies: a sound network stays below it."""
    median_ratio: float = 1.0
    """Median distance to the nearest reference image, over the distance of that one to its own nearest neighbour."""
    images: int
    """How many generated images were compared."""
