"""Threads and child processes that are still there when a unit has ended: they would slow what is timed next."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import psutil

from harness.integrity.changes import Change
from harness.specs.limits import LEFTOVER_END_SECONDS, LEFTOVER_GRACE_SECONDS, LEFTOVER_POLL_SECONDS

KNOWN_THREADS = ("ray", "torch", "harness", "rich", "tqdm", "deepspeed", "IPython", "ipykernel", "pydevd", "__main__")
"""Packages whose threads may stay: libraries keep theirs for later calls, ours wait or draw, a notebook has its own."""
KNOWN_PROCESSES = ("multiprocessing.resource_tracker", "torch/_inductor/compile_worker", "ray/")
"""Words in the command line of processes that may stay."""

Process = tuple[int, float]
"""Number and start of a process: numbers are used again."""


def running_threads() -> frozenset[int]:
    """Return the threads that run Python code, however they were started, but for this one."""
    return frozenset(sys._current_frames()) - {threading.get_ident()}


def child_processes() -> frozenset[Process]:
    """Return the living processes that this one or its children started."""
    if _has_no_children():
        return frozenset()
    children = psutil.Process().children(recursive=True)
    return frozenset((child.pid, child.create_time()) for child in children if _is_alive(child))


def left_threads(before: frozenset[int]) -> list[Change]:
    """Return the threads that were not there before and did not end within the grace period."""
    if not _await(lambda: not _new_threads(before), LEFTOVER_GRACE_SECONDS):
        return [Change(name, None, partial(_stop_thread, ident)) for ident, name in _new_threads(before).items()]
    return []


def left_processes(before: frozenset[Process]) -> list[Change]:
    """Return the child processes that were not there before and did not end within the grace period."""
    if not _await(lambda: not _new_processes(before), LEFTOVER_GRACE_SECONDS):
        return [Change(name, None, partial(_kill, found)) for found, name in _new_processes(before).items()]
    return []


def _new_threads(before: frozenset[int]) -> dict[int, str]:
    frames = {ident: frame for ident, frame in sys._current_frames().items() if ident not in before}
    frames.pop(threading.get_ident(), None)
    threads = {thread.ident: thread for thread in threading.enumerate()}
    return {
        ident: f"thread {threads[ident].name if ident in threads else ident} running"
        for ident, frame in frames.items()
        if not _is_idle(frame) and _first_module(frame, threads.get(ident)).partition(".")[0] not in KNOWN_THREADS
    }


def _is_idle(frame: FrameType) -> bool:
    """Tell whether a thread of a pool waits for work: torch keeps such pools once it has compiled a module."""
    return frame.f_globals.get("__name__") == "concurrent.futures.thread" and frame.f_code.co_name == "_worker"


def _first_module(frame: FrameType | None, thread: threading.Thread | None) -> str:
    """Return the module of the function that a thread was started with."""
    modules: list[str] = []
    while frame is not None:
        modules.append(str(frame.f_globals.get("__name__", "")))
        frame = frame.f_back
    waits_for = getattr(thread, "function", None)  # of a timer
    return next((name for name in reversed(modules) if name != "threading"), getattr(waits_for, "__module__", ""))


def _stop_thread(ident: int) -> None:
    """Raise SystemExit in a thread and wait for its end; RuntimeError if it does not end."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
    if not _await(lambda: ident not in sys._current_frames(), LEFTOVER_END_SECONDS):
        raise RuntimeError("the thread does not end")


def _has_no_children() -> bool:
    """Tell quickly whether the system knows of no child at all; False if it cannot say."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _new_processes(before: frozenset[Process]) -> dict[Process, str]:
    found = {}
    for process in child_processes() - before:
        try:
            command = " ".join(psutil.Process(process[0]).cmdline())
        except psutil.Error:
            continue
        if not any(word in command for word in KNOWN_PROCESSES):
            found[process] = f"process {process[0]} ({command[:60]}) running"
    return found


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _kill(found: Process) -> None:
    try:
        process = psutil.Process(found[0])
        if process.create_time() == found[1]:
            process.kill()
            process.wait(LEFTOVER_END_SECONDS)
    except psutil.NoSuchProcess:
        return


def _await(is_done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > until:
            return False
        time.sleep(LEFTOVER_POLL_SECONDS)
    return True
