"""Searches that spread over the workers: a method proposes jobs from what is known so far, each job is a task.

A job's identity holds everything that decides its result and nothing of the search that asked for it, so searches that
ask for the same job share it, and a search that was killed goes on where it was: it is proposed anew, and what is kept
is not done again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from harness.identity import canonical_json, spec_id
from harness.registry import registry
from harness.sampling.network import network_params
from harness.specs.base import Output
from harness.specs.prepare import FinishedJob, PrepareOutput, PrepareSpec
from harness.task import Task, Unit
from methods.parts import Artifact, Done, Job


class Finished(Protocol):
    """What is asked of the results of a run."""

    def is_done(self, task_id: str) -> bool: ...

    def output(self, task_id: str) -> Output: ...

    def add_task(self, task: Task) -> None: ...


class SearchJobs:
    """The jobs of every preparation that searches, in the order in which its method asked for them."""

    def __init__(self, results: Finished) -> None:
        self._results = results
        self._jobs: dict[str, list[Task]] = {}

    def searches(self, task: Task) -> bool:
        """Tell whether a task concludes a search."""
        return isinstance(task.spec, PrepareSpec) and task.spec.jobs is not None

    def unfinished(self, task: Task) -> list[Task]:
        """Return the jobs of the current round that are not finished; none when the preparation itself may run."""
        jobs, is_done = self._of(task), self._results.is_done
        while all(is_done(job.id) for job in jobs):
            known = {job.id for job in jobs}
            fresh = [job for job in self._proposed(task) if job.id not in known]
            if not fresh:
                return []
            for job in fresh:
                self._results.add_task(job)
            jobs += fresh
        return [job for job in jobs if not is_done(job.id)]

    def concluding(self, unit: Unit) -> Unit:
        """Return the unit with the finished jobs of its search, or as it is if its task does not search."""
        task = unit.task
        if not self.searches(task):
            return unit
        done = tuple(FinishedJob(job=dict(_job(job)), task_id=job.id) for job in self._of(task))
        return Unit(replace(task, spec=task.spec.model_copy(update={"done": done})))

    def _of(self, task: Task) -> list[Task]:
        return self._jobs.setdefault(task.id, [])

    def _proposed(self, task: Task) -> list[Task]:
        """Return the next jobs as tasks, each once."""
        spec = task.spec
        assert isinstance(spec, PrepareSpec)
        assert spec.steps is not None
        method = registry().make(spec.part, spec.method.name, spec.params())
        done = [Done(_job(job), self._left(job)) for job in self._of(task)]
        proposed = method.next_jobs(spec.steps, network_params(spec.model.network), done)
        return list({job.id: job for job in (_as_task(task, spec, dict(job)) for job in proposed)}.values())

    def _left(self, job: Task) -> Artifact:
        """Return the facts that a finished job left; its arrays do not come to the driver."""
        output = self._results.output(job.id)
        assert isinstance(output, PrepareOutput)
        return Artifact(facts=output.artifact)


def _job(task: Task) -> Job:
    assert isinstance(task.spec, PrepareSpec)
    assert task.spec.job is not None
    return task.spec.job


def _as_task(task: Task, search: PrepareSpec, job: Job) -> Task:
    assert search.jobs is not None
    spec = search.jobs.model_copy(update={"job": dict(job)})
    return replace(task, id=spec_id(spec), spec=spec, label=f"{task.label}: {canonical_json(job)}")
