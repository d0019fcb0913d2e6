"""What the check ran on: devices, driver, versions and other load, read without touching the GPU's settings."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch
from pydantic import BaseModel, ConfigDict

from harness.measure.device_names import device_name
from harness.measure.machine_load import describe_busy_machine
from harness.measure.usable_cores import usable_cores
from harness.rows.provenance import describe_commit
from harness.specs.limits import CHECK_ANSWER_SECONDS

_LIBRARIES = (
    *("torchvision", "triton", "numpy", "scipy", "pandas", "pyarrow", "ray", "deepspeed", "diffusers"),
    *("torch-fidelity", "torchdiffeq", "pydantic", "safetensors", "altair", "vl-convert-python", "pytest"),
)
_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm,power.limit", "--format=csv,noheader")


class MachineFinding(BaseModel):
    """The machine in words."""

    model_config = ConfigDict(frozen=True)
    devices: list[str]
    driver: list[str]
    """Lines of nvidia-smi, one a GPU; empty where there is none."""
    cores: int
    python: str
    torch: str
    cuda: str
    cudnn: str
    nccl: str
    libraries: dict[str, str]
    """Versions; "absent" for a library that is not installed."""
    commit: str
    busy: str
    """What else used the machine as the check began; "" for nothing much."""


def describe_machine(device: str) -> MachineFinding:
    """Return what there is now, of GPUs or of the CPU."""
    kind = torch.device(device)
    gpus = [torch.device(f"cuda:{index}") for index in range(torch.cuda.device_count())] if device == "cuda" else []
    return MachineFinding(
        devices=[device_name(one) for one in gpus or [kind]],
        driver=_driver_lines() if gpus else [],
        cores=len(usable_cores()),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=str(torch.version.cuda or "none"),
        cudnn=str(torch.backends.cudnn.version() or "none") if gpus else "none",
        nccl=".".join(map(str, torch.cuda.nccl.version())) if gpus else "none",
        libraries={name: _version_of(name) for name in _LIBRARIES},
        commit=describe_commit() or "unknown",
        busy=describe_busy_machine(),
    )


def _driver_lines() -> list[str]:
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=CHECK_ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
