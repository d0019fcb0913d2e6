"""What a plan lacks on this machine, a sentence each with the setting that gives it; and specs that stand in for it."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.fetching.lookup import find_extractor_weights, offer_extractor
from harness.metrics import extractors
from harness.specs.sampler import ExtractorSpec

ABSENT = "absent"
"""Stands for the SHA-256 of bytes that are not on this machine."""


class AbsentThings:
    """Collects what a plan lacks; where nothing may be absent, the first thing is raised instead."""

    def __init__(self, are_allowed: bool) -> None:
        self.are_allowed = are_allowed
        self.sentences: list[str] = []

    def add(self, error: UsageError, remedy: str = "", offer: str = "") -> None:
        """Add what an error says is absent, with the setting that gives it and the command that fetches it.

        Where nothing may be absent, the error is raised, with the offer.
        """
        if not self.are_allowed:
            raise type(error)(f"{error}{offer}")
        sentence = f"{error}{remedy}{offer}"
        if sentence not in self.sentences:
            self.sentences.append(sentence)

    def extractor_spec(self, name: str, weights: Path | None) -> ExtractorSpec:
        """Return the spec of a feature network; one whose weights are absent has no SHA-256.

        Without `weights`, and where they are not there, those that were fetched are taken.

        Raises UsageError for an unknown name, for weights that are not the ones that are wanted, and, where nothing
        may be absent, for absent ones.
        """
        # read here: a function for it there would give every result another identity
        kind = extractors._KINDS.get(name)
        has_own = kind is not None and not kind.user_weights and weights is None
        found = None if has_own else find_extractor_weights(name, weights)

        try:
            return extractors.extractor_spec(name, found)
        except UsageError as error:
            if kind is None or not kind.user_weights or (found is not None and found.is_file()):
                raise

            # an absent one, for a plan
            remedy = "" if weights is None else "; put it there, or set extractor_weights to its path"
            self.add(error, remedy, offer_extractor(name))
            return ExtractorSpec(
                name=name,
                layer=kind.layer,
                resize=kind.resize,
                dim=kind.dim,
                batch=kind.batch,
                sha256=ABSENT,
                file=None,
                path=None,
            )
