"""The history of one training: legs, checks, the best weights, and which rule ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from harness.config.zoo_card import Leg
from harness.zoo.recipes import Rules

_BEST = "best/"


@dataclass(frozen=True)
class Check:
    """One check of the averaged weights.

    Images and seconds so far, held-out loss, share of copies.
    """

    images: int
    seconds: float
    held_out_loss: float
    copy_rate: float


@dataclass(frozen=True)
class LegStart:
    """Where the current leg began, and its steps of warm-up."""

    warmup_steps: int
    step: int = 0
    """The trainer's step, which decides the images that are drawn."""
    images: int = 0
    steps: int = 0
    """Steps of all legs before. Differs from `step` where their batch size differed."""
    seconds: float = 0.0
    day: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())


@dataclass
class History:
    """One training up to now. `seconds` count training alone, before the current process."""

    leg: LegStart
    highest_copy_rate: float
    """Share of images, in [0, 1]; above it the network copies more than chance allows."""
    legs: list[Leg] = field(default_factory=list)
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    best_weights: dict[str, np.ndarray] = field(default_factory=dict)
    published_images: int = 0
    """The zoo was last written to after so many images."""
    devices: list[str] = field(default_factory=list)
    """Devices of the current leg; several where its working state was moved to another machine."""
    libraries: dict[str, str] = field(default_factory=dict)
    """Library versions of its latest steps."""

    @property
    def best(self) -> Check | None:
        """Return the check with the lowest held-out loss and an allowed copy rate, or None.

        Of equal ones it is the first.
        """
        sound = [check for check in self.checks if check.copy_rate <= self.highest_copy_rate]
        return min(sound, key=lambda check: check.held_out_loss, default=None)

    def add_check(self, check: Check, weights: Mapping[str, np.ndarray]) -> None:
        """Append a check; copy the weights if it is the best."""
        self.checks.append(check)
        if self.best is check:
            self.best_weights = {name: value.copy() for name, value in weights.items()}

    def find_reason_to_end(self, rules: Rules) -> str | None:
        """Return the rule that ends the training after its latest check, or None."""
        last, best, allowed = self.checks[-1], self.best, self.highest_copy_rate

        if last.copy_rate > allowed:
            return (
                f"the copy rate of {100 * last.copy_rate:.1f} % after {last.images:,} images is above the "
                f"{100 * allowed:.1f} % that chance allows where nothing is copied"
            )
        if best is not None and self.checks.index(best) + rules.patience < len(self.checks):
            return f"held-out loss did not fall for {rules.patience} checks of {rules.check_images:,} images"
        if last.images >= rules.images:
            return f"the aim of {rules.images:,} images is reached"
        return None

    def note_device(self, device: str, libraries: Mapping[str, str]) -> None:
        """Record device and library versions of the latest steps."""
        if device not in self.devices:
            self.devices.append(device)
        self.libraries = dict(libraries)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the best weights with a prefix to each name."""
        return {_BEST + name: value for name, value in self.best_weights.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the best weights as plain JSON."""
        return {
            "leg": asdict(self.leg),
            "highest_copy_rate": self.highest_copy_rate,
            "published_images": self.published_images,
            "devices": self.devices,
            "libraries": self.libraries,
            "legs": [leg.model_dump(mode="json") for leg in self.legs],
            "checks": [asdict(check) for check in self.checks],
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any], seconds: float) -> History:
        """Return the history that `tensors` and `as_dict` wrote."""
        return cls(
            leg=LegStart(**metadata["leg"]),
            highest_copy_rate=metadata["highest_copy_rate"],
            published_images=metadata["published_images"],
            devices=list(metadata["devices"]),
            libraries=dict(metadata["libraries"]),
            legs=[Leg(**leg) for leg in metadata["legs"]],
            seconds=seconds,
            checks=[Check(**check) for check in metadata["checks"]],
            best_weights={n.removeprefix(_BEST): value for n, value in tensors.items() if n.startswith(_BEST)},
        )
