"""Effects of a factorial design by least squares, with effect coding; which effects a fraction cannot tell apart.

Box, Hunter, Hunter 2005, "Statistics for Experimenters", chapters 5 and 6. A factor of L levels has L - 1 columns that
add up to 0 over its levels, so the effect of a factor is its mean over the levels of all others. Terms enter from main
effects to interactions of all factors. One whose columns the runs have in common with terms before it is left out of
the fit and is their alias: what is found for them is the sum of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Term = tuple[str, ...]
"""Factors whose interaction it is, in the order of the design; one factor alone is its main effect, none the mean."""
Levels = Mapping[str, str]
"""A level of each factor."""

_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Alias:
    """A term that the runs cannot tell, or cannot tell in full, from terms that are fitted."""

    term: Term
    others: tuple[Term, ...]
    is_whole: bool
    """Whether all of it is in the others; of a part the runs would allow more, and it is left out too."""


class Design:
    """The runs of a design and what they can tell."""

    def __init__(self, runs: Sequence[Levels], references: Levels | None = None) -> None:
        """`runs` hold a level of each factor, `references` the level that others are compared with.

        Without the latter, or where no run has it, that is the level of the first run. A factor
        of one level is none.
        """
        given = {} if references is None else references
        self.levels: dict[str, list[str]] = {}
        for factor in runs[0]:
            found = list(dict.fromkeys(run[factor] for run in runs))
            if len(found) > 1:
                self.levels[factor] = sorted(found, key=lambda level: (level != given.get(factor), found.index(level)))
        self._runs = runs
        self.terms: list[Term] = [()]
        self.aliases: list[Alias] = []
        self._fit_terms()

    @property
    def combinations(self) -> int:
        """Return how many combinations of levels there are."""
        return int(np.prod([len(levels) for levels in self.levels.values()]))

    def weights(self, changes: Mapping[str, str], given: Levels | None = None) -> npt.NDArray[np.float64]:
        """Return what the value of each run counts in an effect, [runs].

        `changes` are factors and the levels that replace their references; of several it is the
        interaction, the difference of differences. Other factors are averaged over, but for those
        in `given`, which have these levels.

        Raises KeyError for an interaction that is not fitted.
        """
        given = {} if given is None else given
        inner = tuple(factor for factor in self.levels if factor in changes)
        if inner not in self.terms:
            raise KeyError(f"the interaction {inner} is not fitted")

        # the combination of coefficients
        parts = [np.zeros(self._width(term)) for term in self.terms]
        for place, term in enumerate(self.terms):
            if set(inner) <= set(term) <= {*inner, *given}:
                parts[place] = self._combine([self._code(factor, changes, given) for factor in term])
        found: npt.NDArray[np.float64] = np.concatenate(parts) @ np.linalg.pinv(self._columns)
        return found

    def aliases_of(self, term: Term) -> tuple[Term, ...]:
        """Return the terms that the runs cannot tell from a fitted one."""
        return tuple(alias.term for alias in self.aliases if term in alias.others)

    @cached_property
    def _columns(self) -> npt.NDArray[np.float64]:
        return np.concatenate([self._term_columns(term) for term in self.terms], axis=1)

    def _fit_terms(self) -> None:
        """Take in every term whose columns the runs can tell from those before it."""
        fitted = self._term_columns(())
        names: list[Term] = [()]
        for size in range(1, len(self.levels) + 1):
            for term in itertools.combinations(self.levels, size):
                columns = self._term_columns(term)
                shares = np.linalg.pinv(fitted) @ columns
                rest = columns - fitted @ shares
                rank = np.linalg.matrix_rank(rest, tol=_TOLERANCE)
                if rank == columns.shape[1]:
                    fitted, names = np.concatenate([fitted, columns], axis=1), [*names, *[term] * columns.shape[1]]
                    self.terms.append(term)
                    continue

                # in which of those before it is it
                places = np.flatnonzero(np.abs(shares).max(axis=1) > _TOLERANCE)
                others = tuple(dict.fromkeys(names[place] for place in places))
                self.aliases.append(Alias(term, others, rank == 0))

    def _term_columns(self, term: Term) -> npt.NDArray[np.float64]:
        """Return the columns [runs, width] of a term."""
        return np.stack([self._combine([self._effect_code(f, run[f]) for f in term]) for run in self._runs])

    def _width(self, term: Term) -> int:
        return int(np.prod([len(self.levels[factor]) - 1 for factor in term]))

    def _code(self, factor: str, changes: Mapping[str, str], given: Levels) -> npt.NDArray[np.float64]:
        if factor in changes:
            return self._effect_code(factor, changes[factor]) - self._effect_code(factor, self.levels[factor][0])
        return self._effect_code(factor, given[factor])

    def _effect_code(self, factor: str, level: str) -> npt.NDArray[np.float64]:
        """Return the code of a level: 1 in its own column, -1 in all for the first; each column adds up to 0."""
        levels = self.levels[factor]
        place = levels.index(level)
        return -np.ones(len(levels) - 1) if place == 0 else np.eye(len(levels) - 1)[place - 1]

    @staticmethod
    def _combine(codes: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Return the products of codes, one of each factor; 1 for none."""
        found = np.ones(1)
        for code in codes:
            found = np.outer(found, code).ravel()
        return found
