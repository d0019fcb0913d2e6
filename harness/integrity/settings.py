"""Settings of Python and torch that decide figures, and hooks that see every call: how each is read and put back."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch
from torch.utils import _python_dispatch

from harness.integrity.changes import Change

_FREE_SIGNALS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)
"""Signals that cannot be handled, and one that torch's data loader handles from its first use on."""


@dataclass(frozen=True)
class Setting:
    """One setting: its name, how it is read, and how it is written; None if it cannot be."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any] | None


def watched_settings() -> list[Setting]:
    """Return the settings that are watched."""
    return [*_of_torch(), *_of_backends(), *_of_python()]


def _of_torch() -> list[Setting]:
    stacks = ("torch function modes", torch._C._len_torch_function_stack, None)
    autocast = torch.is_autocast_enabled
    return [
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting("torch's default number format", torch.get_default_dtype, torch.set_default_dtype),
        Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("torch's float32 precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Setting("torch's default device", lambda: str(torch.get_default_device()), torch.set_default_device),
        Setting("deterministic algorithms", torch.are_deterministic_algorithms_enabled, _set_deterministic),
        Setting("torch's inference mode", torch.is_inference_mode_enabled, None),
        Setting("torch dispatch modes", _python_dispatch._len_torch_dispatch_stack, _pop_dispatch_modes),
        Setting(*stacks),
        Setting("autocast on the CPU", partial(autocast, "cpu"), partial(torch.set_autocast_enabled, "cpu")),
        Setting("replaced kernels of torch", _replaced_kernels, None),
    ]


def _of_backends() -> list[Setting]:
    mkldnn, cudnn, cuda = torch.backends.mkldnn, torch.backends.cudnn, torch.backends.cuda
    places: list[tuple[str, Any, str]] = [
        *((f"torch.backends.mkldnn.{n}", getattr(mkldnn, n), "fp32_precision") for n in ("matmul", "conv", "rnn")),
        ("torch.backends.cuda.matmul", cuda.matmul, "fp32_precision"),
        ("torch.backends.cudnn.conv", cudnn.conv, "fp32_precision"),  # type: ignore[attr-defined]
        *(("torch.backends.cudnn", cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
        ("torch.backends.mkldnn", mkldnn, "enabled"),
    ]

    # those with functions of their own
    mha = torch.backends.mha
    return [
        *(
            Setting(f"{label}.{name}", partial(getattr, o, name), partial(setattr, o, name))
            for label, o, name in places
        ),
        Setting("torch.backends.mha's fast path", mha.get_fastpath_enabled, mha.set_fastpath_enabled),
        Setting("torch's flash attention", cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        Setting("torch's attention by formula", cuda.math_sdp_enabled, cuda.enable_math_sdp),
        Setting("torch's lean attention", cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    ]


def _of_python() -> list[Setting]:
    is_main = threading.current_thread() is threading.main_thread()
    signals = [
        Setting(
            f"the handler of {number.name}",
            partial(signal.getsignal, number),
            partial(signal.signal, number) if is_main else None,
        )
        for number in sorted(signal.valid_signals())
        if isinstance(number, signal.Signals) and number not in _FREE_SIGNALS
    ]

    # hooks, switches between threads, garbage
    return [
        Setting("sys.settrace", sys.gettrace, sys.settrace),
        Setting("sys.setprofile", sys.getprofile, sys.setprofile),
        Setting("threading.settrace", threading.gettrace, threading.settrace),
        Setting("threading.setprofile", _foreign_profile_hook, threading.setprofile),
        Setting("sys.setswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
        Setting("gc.enable", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        Setting("gc.set_threshold", gc.get_threshold, lambda threshold: gc.set_threshold(*threshold)),
        *signals,
    ]


def _foreign_profile_hook() -> Any:
    """Return the hook of new threads unless it is the one of our pools, which come and go between looks."""
    hook = threading.getprofile()
    return None if getattr(hook, "__module__", None) == "harness.pools.process_state" else hook


def _set_deterministic(on: bool) -> None:
    torch.use_deterministic_algorithms(on)


def _pop_dispatch_modes(length: int) -> None:
    while _python_dispatch._len_torch_dispatch_stack() > length:
        _python_dispatch._pop_mode()


def _replaced_kernels() -> tuple[str, ...]:
    """Return the operators of torch whose kernels Python code replaced, without those that torch replaces late."""
    return _kernels_among(len(torch.library._impls))


_LATE_KERNELS = ("/Meta", "/FuncTorchBatched")
"""Kinds of kernels: of shapes alone, and those of torch.func."""


@lru_cache(maxsize=4)
def _kernels_among(count: int) -> tuple[str, ...]:
    """Return the same of the `count` kernels that are registered now: thousands, and hardly ever another number."""
    return tuple(
        sorted(one for one in torch.library._impls if one.startswith("aten/") and not one.endswith(_LATE_KERNELS))
    )


def read_settings(settings: list[Setting]) -> list[Any]:
    """Return the values of settings, in their order."""
    return [setting.read() for setting in settings]


def changed_settings(settings: list[Setting], then: list[Any]) -> list[Change]:
    """Return the settings that are not as they were."""
    found = []
    for setting, old in zip(settings, then, strict=True):
        now = setting.read()
        if now is not old and not _is_equal(now, old):
            found.append(Change(setting.name, now, partial(_write, setting, old)))
    return found


def _is_equal(now: Any, old: Any) -> bool:
    """Compare plain values by `==`; all others are equal only to themselves."""
    kind = type(old)
    return type(now) is kind and kind in (bool, int, float, str, tuple) and bool(now == old)


def _write(setting: Setting, value: Any) -> None:
    if setting.write is None:
        raise RuntimeError(f"{setting.name} cannot be restored")
    setting.write(value)


def made_by(value: Any) -> str:
    """Return the module whose code defines a value; empty if it has none."""
    function = getattr(value, "__func__", value)
    if isinstance(function, FunctionType):
        return str(function.__globals__.get("__name__", ""))
    found = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
    return str(found)
