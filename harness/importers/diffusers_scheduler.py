"""The process of a diffusers model, read from its scheduler's configuration: betas and what the network predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import UsageError
from harness.importers.diffusers_folder import ModelFolder, check_values, close_fields, read_json
from harness.importers.origins import UNSTATED, find_licence, table_range

_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")
"""Those whose fields have the defaults below."""
_PROCESS = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}
"""Fields that decide D, with the defaults of diffusers 0.42.1."""
_OF_SAMPLERS = (
    "clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio", "sample_max_value",
    "variance_type", "steps_offset", "timestep_spacing", "skip_prk_steps", "set_alpha_to_one",
)  # fmt: skip
"""Fields that D does not read."""
_SCHEDULES = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}
_PREDICTS = {"epsilon": None, "sample": "x0", "v_prediction": "v"}


@dataclass(frozen=True)
class FoundProcess:
    """A process as a card's parameters have it, and what origin.json says about it."""

    params: dict[str, Any]
    config: dict[str, Any]
    defaulted: list[str]
    sigma_range: tuple[float, float]


def read_scheduler(path: Path) -> FoundProcess:
    """Return the process of a scheduler_config.json; UsageError where it is absent or has an unsupported value."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist; expected the scheduler's configuration, which alone has the betas")
    config = read_json(path)
    if config.get("_class_name") not in _SCHEDULERS:
        raise UsageError(f"{path}: _class_name is {config.get('_class_name')!r}; supported: {', '.join(_SCHEDULERS)}")

    # closed fields
    known = {key: value for key, value in config.items() if key not in _OF_SAMPLERS}
    fields, defaulted = close_fields(known, _PROCESS, path)
    check_values(
        fields,
        {
            "beta_schedule": tuple(_SCHEDULES),
            "prediction_type": tuple(_PREDICTS),
            "trained_betas": (None,),
            "rescale_betas_zero_snr": (False,),
        },
        path,
    )

    betas = _betas(fields, path)
    params: dict[str, Any] = {"preconditioning": "vp-discrete", **({"betas": betas} if betas else {})}
    predicts = _PREDICTS[fields["prediction_type"]]
    return FoundProcess(
        params=params | ({"predicts": predicts} if predicts else {}),
        config=config,
        defaulted=defaulted,
        sigma_range=table_range(_beta_values(fields)),
    )


def _betas(fields: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Return the table `betas` of a card, or None for DDPM's, the family's default."""
    start, end, steps = fields["beta_start"], fields["beta_end"], fields["num_train_timesteps"]
    schedule = _SCHEDULES[fields["beta_schedule"]]
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise UsageError(f"{path}: num_train_timesteps is {steps!r}; expected a whole number above 1")
    for key, value in (("beta_start", start), ("beta_end", end)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise UsageError(f"{path}: {key} is {value!r}; expected a number between 0 and 1")

    if schedule == "cosine":  # it has neither start nor end
        return {"schedule": schedule, "steps": steps}
    if (start, end, schedule, steps) == (1e-4, 0.02, "linear", 1000):
        return None
    return {"start": start, "end": end, "schedule": schedule, "steps": steps}


def _beta_values(fields: dict[str, Any]) -> torch.Tensor:
    """Return the betas, float64 [steps]."""
    start, end, steps = fields["beta_start"], fields["beta_end"], fields["num_train_timesteps"]
    if fields["beta_schedule"] == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    if fields["beta_schedule"] == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    times = torch.arange(steps + 1, dtype=torch.float64) / steps
    alphas = ((times + 0.008) / 1.008 * torch.pi / 2).cos() ** 2
    return (1 - alphas[1:] / alphas[:-1]).clamp(max=0.999)


def describe_model(
    folder: ModelFolder, process: FoundProcess, defaulted: Sequence[str], stated: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a record of origin says of a model and its scheduler: settings, defaults, process, what is stated."""
    return {
        "config": {"model": folder.config, "scheduler": process.config},
        "defaulted": [*defaulted, *(f"scheduler.{key}" for key in process.defaulted)],
        "weights": stated.get("weights", UNSTATED),
        "licence": find_licence(folder.source, stated),
        "sigma_range": list(process.sigma_range),
        "process": process.params,
    }
