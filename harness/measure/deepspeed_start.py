"""Loads DeepSpeed so that it prints nothing on stdout, compiles nothing, and joins a process group of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from types import ModuleType
from typing import Any

import torch

from harness.errors import HarnessError
from harness.specs.limits import DEEPSPEED_START_SECONDS

_SHARED_MEMORY_OP = "deepspeed_shm_comm"  # a faster all-reduce; a C++ build of two minutes on first use


def load_deepspeed(device_type: str | None = None) -> ModuleType:
    """Return the deepspeed package for "cpu" or "cuda" (by default what the machine has), quiet and uncompiled."""
    wanted = device_type or ("cuda" if torch.cuda.is_available() else "cpu")
    if "deepspeed" not in sys.modules:
        os.environ.setdefault("DS_ACCELERATOR", wanted)
    with stdout_to_stderr():
        import deepspeed
        from deepspeed.utils.logging import set_log_level_from_string

        set_log_level_from_string("error")

    operators = getattr(getattr(deepspeed, "ops", None), "__compatible_ops__", {})  # private: absent is fine
    if _SHARED_MEMORY_OP in operators:
        operators[_SHARED_MEMORY_OP] = False

    runs_on = deepspeed.accelerator.get_accelerator().device_name()
    if device_type is not None and runs_on != wanted:
        raise HarnessError(f'DeepSpeed runs on "{runs_on}" in this process; expected "{wanted}", so start a new one')
    return deepspeed


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what libraries print to stderr: stdout is for results."""
    with redirect_stdout(sys.stderr):
        yield


class ProcessGroup:
    """Membership of one rank in a group, joined on construction, with the variables that DeepSpeed reads."""

    def __init__(self, rank: int, world_size: int, address: str, port: int, device: torch.device) -> None:
        self.rank, self.world_size = rank, world_size
        self._own = not torch.distributed.is_initialized()
        self._before = _set_variables(rank, world_size, address, port, device)
        if self._own:
            _join(rank, world_size, address, port, device)
        elif (torch.distributed.get_rank(), torch.distributed.get_world_size()) != (rank, world_size):
            self.close()
            raise HarnessError(f"this process is already in another group; expected to be rank {rank} of {world_size}")

    def close(self) -> None:
        """Leave the group if it was joined here, and restore the environment."""
        if self._own and torch.distributed.is_initialized():
            import deepspeed.comm

            if deepspeed.comm.comm.cdb is not None:
                deepspeed.comm.destroy_process_group()
                deepspeed.comm.comm.cdb = None  # a later group gets its own
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._own, self._before = False, {}


def _join(rank: int, world_size: int, address: str, port: int, device: torch.device) -> None:
    how: dict[str, Any] = {
        "rank": rank,
        "world_size": world_size,
        "timeout": timedelta(seconds=DEEPSPEED_START_SECONDS),
    }
    if world_size == 1:
        how["store"] = torch.distributed.HashStore()  # no port needed
    else:
        how["init_method"] = f"tcp://{address}:{port}"
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", **how)


def _set_variables(rank: int, world_size: int, address: str, port: int, device: torch.device) -> dict[str, str | None]:
    """Set what DeepSpeed reads from the environment; return what was there."""
    values = {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(device.index or 0),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    return before
