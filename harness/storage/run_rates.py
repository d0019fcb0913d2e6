"""Rates of earlier runs in one small file of the results root: seconds per unit of work, by class of device and key.

They decide no result. A run adds its own when it ends; a newer run weighs more. A file that is broken or of another
version is named in one sentence, ignored, and written anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.storage.disk import read_regular, replace

RATES_FILE = "rates.json"
OLD_WEIGHT = 0.5
"""What all earlier runs together weigh falls by this factor with each run."""
_MOST_KEYS = 4_000
"""Keys kept for a class of device; of more, those that were not seen for longest go."""


class Rate(BaseModel):
    """What is known of one key, over the runs that saw it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    value: float = Field(gt=0)
    """Seconds per unit of work; a geometric mean."""
    spread: float = Field(default=0.0, ge=0)
    """Standard deviation of its logarithm between runs; 0 after one run."""
    weight: float = Field(default=1.0, gt=0)
    last_run: int = Field(default=0, ge=0)
    """Number of the last run that saw it."""

    def updated(self, value: float, run: int) -> Rate:
        """Return it with the rate of another run added."""
        old = self.weight * OLD_WEIGHT
        before, now = math.log(self.value), math.log(value)
        mean = (old * before + now) / (old + 1.0)
        variance = (old * (self.spread**2 + (before - mean) ** 2) + (now - mean) ** 2) / (old + 1.0)
        return Rate(value=math.exp(mean), spread=math.sqrt(variance), weight=old + 1.0, last_run=run)


class DeviceRates(BaseModel):
    """The rates of one class of device, and how many runs gave them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: int = Field(default=0, ge=0)
    rates: dict[str, Rate] = Field(default_factory=dict)

    def updated(self, found: Mapping[str, float]) -> DeviceRates:
        """Return them with those of one more run, by key; values that are no positive numbers are left out."""
        run, rates = self.runs + 1, dict(self.rates)
        for key, value in found.items():
            if math.isfinite(value) and value > 0:
                known = rates.get(key)
                rates[key] = Rate(value=value, last_run=run) if known is None else known.updated(value, run)
        latest = sorted(rates, key=lambda key: (-rates[key].last_run, key))[:_MOST_KEYS]
        return DeviceRates(runs=run, rates={key: rates[key] for key in sorted(latest)})


class _RatesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    devices: dict[str, DeviceRates] = Field(default_factory=dict)


@dataclass(frozen=True)
class KeptRates:
    """What the file holds, by class of device, and what is wrong with it."""

    devices: Mapping[str, DeviceRates] = field(default_factory=dict)
    problem: str = ""
    """One sentence about a broken file, else empty."""


def read_rates(results: Path) -> KeptRates:
    """Return the rates kept in a results root; none where there is no file, or none that can be read."""
    path = results / RATES_FILE
    try:
        found = _RatesFile.model_validate_json(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        return KeptRates()
    except (OSError, ValidationError, ValueError) as error:
        reason = f"{error.error_count()} wrong entries" if isinstance(error, ValidationError) else type(error).__name__
        return KeptRates(problem=f"{path} cannot be read ({reason}); it is ignored, and the next run writes it anew")
    return KeptRates(found.devices)


def add_run_rates(results: Path, device_class: str, found: Mapping[str, float], is_new_run: bool = True) -> None:
    """Add one run's rates by key to the file of a results root, atomically. Of two writers at once the last wins.

    With `is_new_run` false they belong to the run that was added last. Raises OSError or HarnessError if the file
    cannot be written.
    """
    kept = dict(read_rates(results).devices)
    before = kept.get(device_class, DeviceRates())
    after = before.updated(found)
    kept[device_class] = after if is_new_run else after.model_copy(update={"runs": max(before.runs, 1)})
    text = json.dumps(_RatesFile(devices=kept).model_dump(mode="json"), indent=1, sort_keys=True)
    replace(results / RATES_FILE, f"{text}\n".encode())
