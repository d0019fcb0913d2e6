"""Searches that spread over the workers: a method proposes jobs from what is known so far, each job is a task.

A job's identity holds everything that decides its result and nothing of the search that asked for it, so searches that
ask for the same job share it, and a search that was killed goes on where it was: it is proposed anew, and what is kept
is not done again.
"""

from __future__ import annotations

from dataclasses import replace

from harness.identity import canonical_json, identity
from harness.ledger import Ledger
from harness.network_cards import NetworkCard, network_params
from harness.registry import registry
from harness.tasks import Task
from methods.parts import Artifact, Done, Job


class Spread:
    """The jobs of every preparation that searches, in the order in which its method asked for them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: dict[str, list[Task]] = {}

    def jobs(self, task: Task) -> list[Task]:
        """Return the jobs that a preparation has asked for so far."""
        return self._jobs.setdefault(task.id, [])

    def unfinished(self, task: Task) -> list[Task]:
        """Return the jobs of the current round that are not finished; none when the preparation itself may run."""
        jobs, facts = self.jobs(task), self._ledger.facts
        while all(job.id in facts for job in jobs):
            known = {job.id for job in jobs}
            fresh = [job for job in self._proposed(task) if job.id not in known]
            if not fresh:
                return []
            for job in fresh:
                self._ledger.adopt(job)
            jobs += fresh
        return [job for job in jobs if job.id not in facts]

    def _proposed(self, task: Task) -> list[Task]:
        """Return the next jobs as tasks, each once."""
        spec = task.spec
        method = registry().make(spec["part"], spec["method"]["name"], spec["method"]["params"])
        facts = self._ledger.facts
        done = [Done(job.spec["job"], Artifact(facts=facts[job.id]["artifact"])) for job in self.jobs(task)]
        network = network_params(NetworkCard(**spec["sampler"]["network"]))
        proposed = method.next_jobs(spec["sampler"]["steps"], network, done)
        return list({job.id: job for job in (_as_task(task, dict(job)) for job in proposed)}.values())


def _as_task(task: Task, job: Job) -> Task:
    spec = {key: value for key, value in task.spec.items() if key != "jobs"}
    job_id = identity({"kind": "job", "of": task.spec["jobs"], "job": job})
    return replace(task, id=job_id, label=f"{task.label}: {canonical_json(job)}", spec={**spec, "job": job})
