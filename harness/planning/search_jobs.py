"""Searches as tasks: a method proposes jobs from the finished ones, round by round.

Each job is a task.

A job's identity holds all that decides its result and nothing of the search that proposed it. So
searches share equal jobs, and a killed search continues where it was: its jobs are proposed again,
and those that are kept do not run again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from harness.identity import canonical_json, spec_id
from harness.integrity.guard import TamperedError, process_guard
from harness.registry import registry
from harness.sampling.network import network_params
from harness.specs.base import Output
from harness.specs.prepare import FinishedJob, PrepareOutput, PrepareSpec
from harness.task import Task, Unit
from methods.parts import Artifact, Done, Job

_LOG = logging.getLogger("oneclock.planning.search_jobs")


class FinishedResults(Protocol):
    """What a search needs of a run's results; the driver's results have it. No call blocks."""

    def is_done(self, task_id: str) -> bool: ...

    def output(self, task_id: str) -> Output: ...

    def add_task(self, task: Task) -> None: ...


class SearchJobs:
    """The jobs of every searching preparation, in the order in which its method proposed them.

    The driver calls it when it looks for tasks to start, in its own process.
    """

    def __init__(self, results: FinishedResults) -> None:
        self._results = results
        self._jobs: dict[str, list[Task]] = {}

    def is_search(self, task: Task) -> bool:
        """Tell whether a task is a preparation that searches."""
        return isinstance(task.spec, PrepareSpec) and task.spec.jobs is not None

    def unfinished_jobs(self, task: Task) -> list[Task]:
        """Return the unfinished jobs of the current round.

        None when the preparation itself may run. A job's label counts the jobs proposed so far.
        """
        jobs, is_done = self._jobs_of(task), self._results.is_done
        while all(is_done(job.id) for job in jobs):
            known = {job.id for job in jobs}
            fresh = [job for job in self._propose_jobs(task) if job.id not in known]
            if not fresh:
                return []

            total = len(jobs) + len(fresh)
            for job in fresh:
                numbered = replace(job, label=f"{job.label}, search job {len(jobs) + 1} of {total}")
                _LOG.debug("%s: %s", numbered.label, canonical_json(_job_of(job)))
                self._results.add_task(numbered)
                jobs.append(numbered)
        return [job for job in jobs if not is_done(job.id)]

    def with_finished_jobs(self, unit: Unit) -> Unit:
        """Return the unit with the finished jobs of its search.

        Unchanged if its task does not search.
        """
        task = unit.task
        if not self.is_search(task):
            return unit
        done = tuple(FinishedJob(job=dict(_job_of(job)), task_id=job.id) for job in self._jobs_of(task))
        return Unit(replace(task, spec=task.spec.model_copy(update={"done": done})))

    def count_jobs(self, task: Task) -> int:
        """Return how many jobs a search has proposed so far; 0 for a task that does not search."""
        return len(self._jobs_of(task)) if self.is_search(task) else 0

    def _jobs_of(self, task: Task) -> list[Task]:
        return self._jobs.setdefault(task.id, [])

    def _propose_jobs(self, task: Task) -> list[Task]:
        """Return the jobs of the next round as tasks, each once."""
        spec = task.spec
        assert isinstance(spec, PrepareSpec)
        assert spec.steps is not None
        method = registry().make(spec.part, spec.method.name, spec.params())
        done = [Done(_job_of(job), self._read_artifact(job)) for job in self._jobs_of(task)]
        with process_guard().watching() as tampering:
            proposed = method.next_jobs(spec.steps, network_params(spec.model.network), done)
        if tampering:
            raise TamperedError(tampering.sentence(f"{spec.part}/{spec.method.name}"))
        return list({job.id: job for job in (_job_task(task, spec, dict(job)) for job in proposed)}.values())

    def _read_artifact(self, job: Task) -> Artifact:
        """Return the artifact of a finished job; its arrays do not come to the driver."""
        output = self._results.output(job.id)
        assert isinstance(output, PrepareOutput)
        return Artifact(facts=output.artifact)


def _job_of(task: Task) -> Job:
    """Return the job that a task does."""
    assert isinstance(task.spec, PrepareSpec)
    assert task.spec.job is not None
    return task.spec.job


def _job_task(task: Task, search: PrepareSpec, job: Job) -> Task:
    """Return a job as a task, whose identity is that of the job alone."""
    assert search.jobs is not None
    spec = search.jobs.model_copy(update={"job": dict(job)})
    return replace(task, id=spec_id(spec), spec=spec)
