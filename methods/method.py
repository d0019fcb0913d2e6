"""The base class of methods: name, part, parameters, fitting networks, preparation and search."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from methods.networks.base import NetworkParams
from methods.preparing import Artifact, Done, Job, PrepareContext


class Params(BaseModel):
    """Parameters of a method: typed, validated, and without extra keys, so that a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(ABC):
    """One method.

    The registry finds it in its module; it is built wherever it is needed, in driver and workers.

    Class attributes are read while a suite is planned. `device_group`, `refusal`, `fixed_work`,
    `begins_with` and `next_jobs` run in the driver and must be fast. `do` and `prepare` run on workers, in no
    timing, and may take minutes.
    """

    part: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `ls methods`: what it is, with author and year."""
    method_family: ClassVar[str] = ""
    """The family under which reports group it; each of the four parts has its usual one.

    Such as "early exit". It decides no result.
    """
    claim: ClassVar[str] = ""
    """What its paper claims, with its figure, in one sentence; empty where there is none. It decides no result."""
    families: ClassVar[tuple[str, ...]] = ("*",)
    """Network families that it fits; `*` is any."""
    prepares: bool = False
    """Whether `prepare` is called before the first image; may depend on the parameters."""
    prepares_for: tuple[str, ...] = ()
    """Which of `steps`, `schedule` and `solver` the preparation depends on.

    Trials equal in these share it.
    """
    sampling_only: tuple[str, ...] = ()
    """Parameters that the preparation does not depend on.

    Methods that differ only in these share it.
    """
    learns_from_images: bool = False
    """Whether its preparation reads the training images; may depend on the parameters.

    Data whose states are latents have none: such a method is refused there before anything runs.
    """
    train_batch: int | None = None
    """Rows of a step of what `prepare` trains by `PrepareContext.train`; None where it trains nothing.

    May depend on the parameters. Such a preparation runs on several devices where there are.
    """
    sampling_params: ClassVar[tuple[str, ...]] = ()
    """Parameters that all methods of a part have, and on which no preparation depends."""
    scores: bool = False
    """Whether the preparation measures FID, and so depends on the feature network and the reference set.

    A parameter called `search_images` is then how many images a candidate is scored by.
    """
    jobs_for: tuple[str, ...] | None = None
    """As `prepares_for`, for the search's jobs; the same if None, else the jobs measure no FID."""
    search_only: tuple[str, ...] = ()
    """Parameters that decide which jobs a search needs, but not a job's result.

    Searches share equal jobs.
    """
    check_params: ClassVar[Mapping[str, Any]] = {}
    """Parameters with which `oneclock check` runs it, unless the caller sets them.

    For a preparation that takes minutes by default: the smallest that uses all of its code.
    """
    Params: ClassVar[type[Params]] = Params
    """Its parameters.

    One called `seed` seeds the preparation: training k of a suite prepares with `seed` + k.
    """
    artifact: Artifact | None = None
    """Result of `prepare`.

    The engine sets it on every worker before the first image; None if not prepared.
    """

    def __init__(self, **params: Any) -> None:
        self.params: Any = self.Params(**params)

    def device_group(self) -> int:
        """Return how many devices one sample needs at once. Called while a suite is planned."""
        return 1

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        """Return in one sentence why this method does not fit these parts, steps and network.

        None if it does.

        Called while a suite is planned, before anything runs.
        """
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        """Return whether an image takes the same work whatever the weights are and whatever preparing finds.

        Where all parts of a trial do, a suite of several trainings times one of them. Called while
        a suite is planned. A row of other FLOPs than the timed one is INVALID.
        """
        return not self.prepares

    def begins_with(self) -> Method | None:
        """Return the method of the same part whose artifact this preparation starts from, or None.

        Its artifact becomes `PrepareContext.base_artifact`. Called while a suite is planned.
        """
        return None

    def next_jobs(self, steps: int, network: NetworkParams, done: Sequence[Done]) -> Sequence[Job]:
        """Return the jobs that a search needs next, given the facts of those done.

        None when `prepare` can conclude.

        A pure function of its arguments: it runs in the driver, and again after a restart. The
        returned jobs run in parallel, on any workers.
        """
        return ()

    def do(self, context: PrepareContext, job: Job) -> Artifact:
        """Do one job of the search, on a worker, possibly in parallel with others of the same round."""
        raise NotImplementedError(f'method "{self.name}" asks for jobs that it cannot do')

    def prepare(self, context: PrepareContext) -> Artifact:
        """Train, tune or conclude the search, on a worker.

        Called only if `prepares`, after the last job is done.
        """
        return Artifact()
