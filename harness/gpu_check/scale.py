"""How much a check measures: all of it on a GPU, as little as shows that everything runs in a rehearsal on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.specs.limits import (
    CHECK_REHEARSAL_SUITE_SECONDS,
    CHECK_REHEARSAL_TRAINING_SECONDS,
    CHECK_SUITE_SECONDS,
    CHECK_TRAINING_SECONDS,
)
from harness.specs.sampler import Mode
from harness.zoo.recipes import TrainingRecipe

SUITE = "gpu-check"


@dataclass(frozen=True)
class CheckScale:
    """What one check runs, and for how long at most."""

    device: str
    """Kind of the devices, "cuda" or "cpu"."""
    networks: tuple[str, ...]
    """Of the zoo, whose calls are timed."""
    batch: int
    """Images of a timed call."""
    calls: int
    """Timed calls of each variant, after two that warm up."""
    settings: tuple[str, ...] = ()
    """Of the suite, as KEY=VALUE."""
    only: Mapping[Mode, str] = field(default_factory=dict)
    """Which trials of the suite a mode runs, as `oneclock run --only` takes it; all of them without an entry."""
    recipes: tuple[TrainingRecipe, ...] | None = None
    """What is trained in place of the trainings that the zoo lacks."""
    suite_seconds: float = CHECK_SUITE_SECONDS
    """The longest that the suite may take in one mode."""
    training_seconds: float = CHECK_TRAINING_SECONDS
    """All trainings run side by side for so long."""

    @property
    def is_rehearsal(self) -> bool:
        """Tell whether the figures show nothing but that all of it runs."""
        return self.device == "cpu"


ON_GPU = CheckScale("cuda", networks=("unet-16", "uvit-16", "slim-16", "cunet-16"), batch=256, calls=20)
REHEARSAL = CheckScale(
    "cpu",
    networks=("uvit-16",),
    batch=4,
    calls=3,
    settings=("n_images=75", "batch=25", 'timing.tier="smoke"'),
    only={"reproducible": "uvit-16:ddim*", "deployed": "uvit-16:ddim-16"},
    recipes=(TrainingRecipe(dataset="digits", network="unet-tiny", images=1_600, check_images=800, patience=4),),
    suite_seconds=CHECK_REHEARSAL_SUITE_SECONDS,
    training_seconds=CHECK_REHEARSAL_TRAINING_SECONDS,
)


def choose_scale(device: str | None, has_gpu: bool) -> CheckScale:
    """Return the scale for a kind of device, by default a GPU where there is one; UsageError for one that is absent."""
    if device not in (None, "cuda", "cpu"):
        raise UsageError(f'--device is "{device}"; expected cuda or cpu, or leave it out')
    if device == "cuda" and not has_gpu:
        raise UsageError("--device is cuda and torch sees no GPU here; leave it out to rehearse on a CPU")
    return ON_GPU if has_gpu and device != "cpu" else REHEARSAL
