"""All checks of one method, in phases: its class, its part's calls, small suites, images made again, rules of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.check import built_denoiser, class_contract, convergence, made_again, rules_of_runs, schedule_contract
from harness.check import solver_contract as solver
from harness.check.built_parts import BuiltParts, PartsByHand
from harness.check.candidate import EXACT_DATASET, Candidate
from harness.check.finished_trial import FinishedTrial, run_suite
from harness.check.outcome import CheckOutcome, conclude, name_of, not_applicable, run_check
from harness.check.remedies import find_remedy
from harness.check.small_suites import exact_suite, trained_suite
from harness.check.two_workers import check_scored_images, check_two_workers
from harness.config.suite import Suite
from harness.integrity.guard import process_guard

OF_CLASS = (
    class_contract.check_name_and_summary,
    class_contract.check_parameters,
    class_contract.check_declarations,
)
OF_PART: dict[str, tuple[Callable[[Candidate], CheckOutcome], ...]] = {
    "denoiser": (),
    "schedule": (schedule_contract.check_level_grid, schedule_contract.check_impossible_ranges),
    "solver": (
        solver.check_step,
        solver.check_evaluations_per_step,
        solver.check_noise,
        solver.check_memory,
        convergence.check_order,
    ),
    "executor": (),
}
"""Checks before anything is run, by part."""
OF_BUILT_PART: dict[str, tuple[Callable[[BuiltParts], CheckOutcome], ...]] = {
    "denoiser": (
        built_denoiser.check_denoiser_output,
        built_denoiser.check_units,
        built_denoiser.check_denoiser_memory,
    ),
    "schedule": (schedule_contract.check_prepared_levels,),
    "solver": (),
    "executor": (made_again.check_serial_images, made_again.check_parallel_trace),
}
"""Checks of what workers build, by part."""
OF_SAMPLER = (made_again.check_batch_independence, made_again.check_repeatability)
OF_SCORED_IMAGES = (check_scored_images, check_two_workers)


@dataclass(frozen=True)
class CheckPhase:
    """Some checks that are run one after another, and what they do in words."""

    words: str
    run: Callable[[], Iterable[CheckOutcome]]
    shows_itself: bool = False
    """Whether it reports its own progress, since it may take minutes."""


class MethodCheck:
    """All checks of a candidate; suites are run into a folder, which the caller removes."""

    def __init__(self, candidate: Candidate, folder: Path) -> None:
        self.candidate = candidate
        self._folder = folder
        self._finished: list[FinishedTrial] = []

    def phases(self) -> Iterator[CheckPhase]:
        """Yield the phases in their order; run each before the next is taken."""
        candidate = self.candidate
        yield CheckPhase("reading the class", self._of_class)
        if not candidate.prepares:
            yield CheckPhase("making a few images", lambda: self._of_built(PartsByHand(candidate)))

        # what every run applies
        yield CheckPhase(f"running a suite on {EXACT_DATASET}", self._run_exact)
        words = f"running a suite on {candidate.network}, {candidate.dataset}"
        yield CheckPhase(words, self._run_trained, shows_itself=candidate.prepares)
        yield CheckPhase("making images again", self._of_finished)
        yield CheckPhase("reading the rules of every run", lambda: rules_of_runs.read_rules(self._finished))

    def _of_class(self) -> Iterator[CheckOutcome]:
        for check in (*OF_CLASS, *OF_PART[self.candidate.part]):
            yield _run_watched(check, self.candidate)

    def _run_exact(self) -> Iterator[CheckOutcome]:
        name = "runs-on-exact-data"
        if refusal := self.candidate.exact_refusal():
            yield replace(not_applicable(refusal), name=name)
        else:
            yield run_check(lambda: self._run(exact_suite(self.candidate)), name=name)

    def _run_trained(self) -> Iterator[CheckOutcome]:
        name = f"runs-on-{self.candidate.dataset}"
        yield run_check(lambda: self._run(trained_suite(self.candidate)), name=name)

    def _run(self, suite: Suite) -> CheckOutcome:
        """Run a suite and keep its trial for the checks that follow; one that prepares shows how far it is."""
        trial = run_suite(suite, self._folder, quiet=not self.candidate.prepares)
        self._finished.append(trial)
        return rules_of_runs.check_finished(trial)

    def _of_built(self, made: BuiltParts) -> Iterator[CheckOutcome]:
        for check in (*OF_BUILT_PART[self.candidate.part], *OF_SAMPLER):
            yield _run_watched(check, made)

    def _of_finished(self) -> Iterator[CheckOutcome]:
        """Check what workers built, by the last suite whose trial has images."""
        sampled = [trial for trial in self._finished if trial.is_sampled]
        if not sampled:
            yield replace(not_applicable("no suite ended with images, see above"), name=name_of(check_two_workers))
            return
        if self.candidate.prepares:
            yield from self._of_built(sampled[-1])
        for check in OF_SCORED_IMAGES:
            yield run_check(check, sampled[-1])


def _run_watched(check: Callable[..., CheckOutcome], subject: object) -> CheckOutcome:
    """Return the outcome of a check that runs a method's code in this process; what that changed is restored."""
    with process_guard().watching() as tampering:
        found = run_check(check, subject)
    if not tampering:
        return found
    expected = "nothing changed but the method's own objects"
    return replace(conclude(False, tampering.sentence("it"), expected, find_remedy("tampered")), name=found.name)
