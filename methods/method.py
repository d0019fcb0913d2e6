"""The class that every method is: its name, its part, its parameters, what it fits and what it prepares."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from methods.networks.base import NetworkParams
from methods.preparing import Artifact, Done, Job, PrepareContext


class Params(BaseModel):
    """Parameters of a method: typed, validated, and closed, so that a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(ABC):
    """One method: its name, its part, its parameters, what it fits and needs. Found by the registry by being there."""

    part: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `ls methods`: what it is and whose (author year)."""
    families: ClassVar[tuple[str, ...]] = ("*",)
    """Network families it fits; `*` is any."""
    prepares: bool = False
    """Whether `prepare` has work to do before the first image; may depend on the parameters."""
    prepares_for: tuple[str, ...] = ()
    """What of a trial the preparation depends on, of `steps`, `schedule` and `solver`; trials equal in it share it."""
    sampling_only: tuple[str, ...] = ()
    """Parameters that the preparation does not depend on; methods that differ in nothing else share it."""
    scores: bool = False
    """Whether the preparation measures FID, and so depends on the feature network and the reference set."""
    jobs_for: tuple[str, ...] | None = None
    """What of a trial the search's jobs depend on; as `prepares_for` if None, else they measure no FID either."""
    search_only: tuple[str, ...] = ()
    """Parameters that decide which jobs a search asks for, but not what a job gives; searches share equal jobs."""
    Params: ClassVar[type[Params]] = Params
    artifact: Artifact | None = None
    """What `prepare` left. The engine sets it before the first image, on every worker; None if nothing was prepared."""

    def __init__(self, **params: Any) -> None:
        self.params: Any = self.Params(**params)

    def device_group(self) -> int:
        """Return how many devices one sample needs at once. Asked while a suite is planned."""
        return 1

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        """Return why this method cannot stand in the given combination, on a network of this size; None if it can.

        Asked while a suite is planned, before anything runs.
        """
        return None

    def begins_with(self) -> Method | None:
        """Return the method of the same part whose artifact this one's preparation starts from, if any."""
        return None

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        """Return what a search asks for next, given the facts of what it has; nothing when `prepare` can conclude.

        A pure function of its arguments: it runs in the driver and is asked again after a restart. The jobs of one
        answer run side by side, on any workers.
        """
        return ()

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        """Do one job of the search, on a worker, perhaps beside others of the same round."""
        raise NotImplementedError(f'method "{self.name}" asks for jobs that it cannot do')

    def prepare(self, context: PrepareContext) -> Artifact:
        """Train, tune or conclude the search; called only where `prepares` is true, after the last job is done."""
        return Artifact()
