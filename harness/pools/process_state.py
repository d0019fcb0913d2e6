"""Settings of this process that a unit's numbers depend on: those of a fresh worker while a run lasts, then as before.

A worker of Ray has a process of its own, with one thread and torch's defaults. In a notebook others may be set.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def fresh_process_state() -> Iterator[None]:
    """Give the block the settings of a fresh worker; restore those of before, and all random states, after it.

    Call it in the thread that runs the units: torch keeps some settings by thread.
    """
    with ExitStack() as stack:
        stack.enter_context(_one_compute_thread())
        for read, write, fresh in _settings():
            _keep(stack, read, write)
            if read() != fresh:
                write(fresh)

        # generators of random numbers, which workers do not share with anybody
        _keep(stack, torch.get_rng_state, torch.set_rng_state)
        _keep(stack, np.random.get_state, np.random.set_state)
        _keep(stack, random.getstate, random.setstate)
        if torch.cuda.is_available():
            _keep(stack, torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)
        yield


def _keep(stack: ExitStack, read: Callable[[], Any], write: Callable[[Any], Any]) -> None:
    """Read a value now, and write it when the stack is closed."""
    value = read()
    stack.callback(lambda: None if _same(read(), value) else write(value))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and isinstance(one, bool | int | str | torch.dtype) and one == other


def _settings() -> Iterator[tuple[Callable[[], Any], Callable[[Any], Any], Any]]:
    """Yield torch's settings that decide numbers: how each is read, how it is written, and its value in a worker."""
    yield torch.get_default_dtype, torch.set_default_dtype, torch.float32
    yield torch.is_grad_enabled, torch.set_grad_enabled, True
    yield torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, False
    yield _default_device, torch.set_default_device, "cpu"

    # how float32 is multiplied; a GPU's are set before every unit
    mkldnn, cudnn = torch.backends.mkldnn, torch.backends.cudnn
    for place in (mkldnn.matmul, mkldnn.conv, mkldnn.rnn):  # type: ignore[attr-defined]
        yield partial(getattr, place, "fp32_precision"), partial(setattr, place, "fp32_precision"), "none"
    kept = [(torch.backends.cuda.matmul, "fp32_precision"), (cudnn.conv, "fp32_precision")]  # type: ignore[attr-defined]
    for place, name in (*kept, (cudnn, "benchmark"), (cudnn, "deterministic")):
        yield partial(getattr, place, name), partial(setattr, place, name), getattr(place, name)


def _default_device() -> str:
    return str(torch.get_default_device())


@contextmanager
def _one_compute_thread() -> Iterator[None]:
    """Let torch, BLAS and OpenMP compute on one thread; libraries that are loaded meanwhile do so too."""
    before, variables = torch.get_num_threads(), {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    hook, known = threading.getprofile(), {library.filepath for library in ThreadpoolController().lib_controllers}
    limiter = ThreadpoolController().limit(limits=1)
    torch.set_num_threads(1)
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    threading.setprofile(_adopt_thread_count)

    try:
        yield
    finally:
        threading.setprofile(hook)
        for name, value in variables.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        limiter.restore_original_limits()
        torch.set_num_threads(before)

        # libraries that were loaded meanwhile have read the variables
        for library in ThreadpoolController().lib_controllers:
            if library.filepath not in known:
                library.set_num_threads(before)


def _adopt_thread_count(*_: Any) -> None:
    """Give a new Python thread torch's number of threads before its first call: OpenMP keeps one per thread."""
    sys.setprofile(None)
    torch.get_num_threads()
