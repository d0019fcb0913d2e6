"""A worker owns one device: it runs a unit at a time, caches models, restores its process."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError, Terminated
from harness.integrity.blame import blamed, methods_of
from harness.integrity.changes import Undone, undo
from harness.integrity.guard import Before, TamperedError, Tampering, process_guard
from harness.pools.watched_models import WatchedModels
from harness.sampling.numerics import fix_numerics
from harness.sampling.place import Place
from harness.specs.base import Spec
from harness.task import ALONE, Event, Ranks, Result, Span

_LOG = logging.getLogger("oneclock.pools.worker")


class WorkingFolderGoneError(HarnessError):
    """The working folder of a worker's process was removed, so that what is imported or read there fails."""


class Worker:
    """One device and the models on it. A CPU worker has one thread; float32 means IEEE float32.

    It lives in the worker's process: an actor of Ray, or the driver's process for `LocalPool`.
    """

    def __init__(self, device: str = "cpu", threads: int = 1, is_alone: bool = False) -> None:
        """`is_alone`: nothing but units runs in this process, so what changes between two units is restored too."""
        self.device = torch.device(device)
        self._threads = threads
        self._is_alone = is_alone
        self._models = WatchedModels()
        self._banned: dict[str, str] = {}
        """Methods that may not run again in this process, each with the reason."""
        fix_numerics(self.device, threads)
        self._look = process_guard().adopt()

    def run(
        self, spec: Spec, inputs: Mapping[str, Any], span: Span | None = None, ranks: Ranks = ALONE
    ) -> Iterator[Event]:
        """Yield the events of one unit; the state of the process is restored after it.

        TamperedError in place of the result if the unit changed what decides, see `harness.integrity`.
        WorkingFolderGoneError before the unit begins if this process cannot run any.
        """
        self._raise_if_banned(spec)
        fix_numerics(self.device, self._threads)
        task = importlib.import_module(spec.entry)
        with _restore_process_state():
            look = self._look_before()
            events = task.run(spec, inputs, Place(self.device, self._models, span, ranks))
            yield from self._checked(spec, events, look)

    def _look_before(self) -> Before:
        guard = process_guard()
        guard.trust_loaded()
        if self._is_alone and (late := guard.restore_since(self._look)):
            _LOG.warning("%s", late.sentence("an earlier unit"))
        self._look = guard.look() if self._is_alone else guard.adopt()
        return self._look

    def _checked(self, spec: Spec, events: Iterator[Event], look: Before) -> Iterator[Event]:
        """Yield events; before the result, and where the unit fails or is stopped, look what it changed."""
        undo_names = look.undo_names  # held here: a method may replace what this object finds by name
        result, undone = None, []
        try:
            for event in events:
                if isinstance(event, Result):
                    result = event
                    break
                if not self._is_alone and (undone := undo_names()):
                    break  # before the driver, which shares this process, goes on
                yield event
            if isinstance(events, Generator):
                events.close()

        # failed, or stopped from outside
        except (Exception, SystemExit) as error:
            if (found := self._restore(look, undo_names())) and not isinstance(error, Terminated):
                raise self._tampered(spec, found) from error
            raise
        except BaseException:
            self._restore(look, undo_names())
            raise

        # it ended
        undone += undo_names()
        if found := self._restore(look, undone):
            raise self._tampered(spec, found)
        if result is not None:
            yield result

    def _restore(self, look: Before, undone: list[Undone]) -> Tampering:
        found = process_guard().restore_since(look, undone)
        for change in self._models.code_changes():
            found.note(undo(change))
        if found:
            self._models.clear()
        return found

    def _tampered(self, spec: Spec, found: Tampering) -> TamperedError:
        who = blamed(spec, found.makers)
        sentence = found.sentence(who)
        if found.kept:
            self._banned.update((name, sentence) for name in who.split(" or "))
        return TamperedError(sentence)

    def _raise_if_banned(self, spec: Spec) -> None:
        """TamperedError for a unit of a method that changed this process for good."""
        for name in methods_of(spec):
            if name in self._banned:
                raise TamperedError(f"{name} does not run again in this process: {self._banned[name]}")


@contextmanager
def _restore_process_state() -> Iterator[None]:
    """Restore folder, variables and torch's global settings, which a plug-in may change."""
    folder, variables = _working_folder(), dict(os.environ)
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        os.chdir(folder)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.are_deterministic_algorithms_enabled():  # even switching it off imports modules for seconds
            torch.use_deterministic_algorithms(False)


def _working_folder() -> Path:
    """Return this process's working folder, which on a cluster is Ray's copy of our source; Ray may remove that."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise WorkingFolderGoneError(
            f"the working folder of process {os.getpid()} is gone, removed by another program or with a node"
        ) from None
