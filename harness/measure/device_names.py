"""Names of devices: a name is a class of devices that round and clock alike; rows of two names never rank together.

A device's name is in every identity by value, so this module is not (see `harness.sources.LEFT_OUT`). It imports torch
only for GPUs.

For tests of a cluster on one machine the variable ONECLOCK_FAKE_DEVICE gives devices another name, which begins with
"fake"; their units run on a CPU. See docs/sharing.md.
"""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from pathlib import Path
from typing import Any

from harness.measure.arm_names import name_arm_processor

FAKE_DEVICE = "ONECLOCK_FAKE_DEVICE"
"""Variable with the name that devices of this process pretend to have; unset or empty where they are what they are."""
FAKE = "fake "
"""What the name of a fake device begins with."""
_STATES_MEMORY = re.compile(r"\d\s?GB\b", re.IGNORECASE)
_SLICE = re.compile(r"\bMIG\b")


def device_name(device: Any) -> str:
    """Return the name of a torch device: of a GPU the maker's, with its memory or slice where that does not say it."""
    if fake := fake_device_name():
        return fake
    return _gpu_name(device) if device.type == "cuda" else cpu_name()


def fake_device_name() -> str:
    """Return the name of the devices of this process where they are fake, else ""."""
    name = os.environ.get(FAKE_DEVICE, "").strip()
    return f"{FAKE}{name} on {cpu_name()}" if name else ""


def usable_device_type(has_gpu: bool) -> str:
    """Return "cuda" where there is a GPU and devices are what they are, else "cpu"."""
    return "cuda" if has_gpu and not fake_device_name() else "cpu"


@cache
def cpu_name() -> str:
    """Return the processor's model name, of ARM its implementer and part, or else its architecture."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    return name_processor(text, platform.machine(), platform.processor())


def name_processor(cpuinfo: str, machine: str, processor: str = "") -> str:
    """Return a processor's name by the text of `/proc/cpuinfo`, its architecture, and what `platform` knows of it."""
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return name_arm_processor(cpuinfo, machine) or processor or machine


def name_gpu(name: str, memory_bytes: int, multiprocessors: int, is_slice: bool) -> str:
    """Return the name of a GPU's class: GPUs of one name that differ in memory, and slices of one, are other classes.

    `name` is the maker's. Where it states the memory, and of a MIG slice the slice, it stays as it is.
    """
    gibibytes = max(1, round(memory_bytes / 2**30))
    if is_slice and not _SLICE.search(name):
        return f"{name} MIG slice ({multiprocessors} multiprocessors, {gibibytes} GiB)"
    return name if _STATES_MEMORY.search(name) or is_slice else f"{name} ({gibibytes} GiB)"


def is_mig_slice(visible: str | None, index: int) -> bool:
    """Tell whether a visible GPU is a slice of one, by the variable CUDA_VISIBLE_DEVICES."""
    listed = (visible or "").split(",")
    return index < len(listed) and listed[index].strip().startswith("MIG-")


def uses_mps() -> bool:
    """Tell whether processes of this one's GPU share it by the Multi-Process Service, by the pipe of its daemon."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return (Path(folder) / "control").exists()


def name_mps_share(percentage: str | None) -> str:
    """Return what a name ends with where a GPU is shared by MPS; `percentage` is that of its threads, if limited."""
    return " under MPS" + (f" ({percentage} % of its threads)" if percentage else "")


def _gpu_name(device: Any) -> str:
    import torch

    index = torch.cuda.current_device() if device.index is None else device.index
    found = torch.cuda.get_device_properties(index)
    is_slice = bool(_SLICE.search(found.name)) or is_mig_slice(os.environ.get("CUDA_VISIBLE_DEVICES"), index)
    name = name_gpu(found.name, found.total_memory, found.multi_processor_count, is_slice)
    return name + (name_mps_share(os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")) if uses_mps() else "")
