"""Effects of factorial designs: known ones are recovered exactly, and aliases are named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.factorial_design import Design

TWO = {"a": "-+", "b": "-+", "c": "-+", "d": "-+"}
MIXED = {"solver": ("ddim", "2m", "unipc"), "cache": ("full", "taylor"), "steps": ("8", "20", "50")}


def runs(levels: dict) -> list[dict[str, str]]:
    return [dict(zip(levels, one, strict=True)) for one in itertools.product(*levels.values())]


def half(keep: int = 1) -> list[dict[str, str]]:
    """Return the eight runs with abcd = 1, or its complement."""
    return [one for one in runs(TWO) if np.prod([1 if level == "+" else -1 for level in one.values()]) == keep]


def value(one: dict[str, str]) -> float:
    """Return a response whose effects are known: main effects of every factor, and one interaction."""
    solver = {"ddim": 2.0, "2m": 0.5, "unipc": 0.1}[one["solver"]]
    cache, steps = float(one["cache"] == "taylor"), {"8": 1.0, "20": 0.3, "50": 0.0}[one["steps"]]
    together = cache * {"8": 0.7, "20": 0.2, "50": 0.0}[one["steps"]]
    return 4.0 + solver - 0.4 * cache + steps + together


def test_known_effects_of_factors_of_any_number_of_levels_are_recovered_exactly() -> None:
    every = runs(MIXED)
    design, found = Design(every), np.array([value(one) for one in every])
    assert design.aliases == []
    assert design.weights({"solver": "2m"}) @ found == pytest.approx(-1.5)
    assert design.weights({"solver": "unipc"}) @ found == pytest.approx(-1.9)
    assert design.weights({"cache": "taylor"}) @ found == pytest.approx(-0.4 + (0.7 + 0.2 + 0.0) / 3)
    assert design.weights({"cache": "taylor", "steps": "50"}) @ found == pytest.approx(-0.7)
    assert design.weights({"cache": "taylor", "solver": "2m"}) @ found == pytest.approx(0.0, abs=1e-12)


def test_an_effect_at_given_levels_is_the_difference_of_these_two_runs() -> None:
    every = runs(MIXED)
    design, random = Design(every), np.random.default_rng(0).normal(size=len(every))
    given = {"solver": "unipc", "steps": "8"}
    plain, cached = (every.index({**given, "cache": level}) for level in MIXED["cache"])
    weights = design.weights({"cache": "taylor"}, given)
    assert weights @ random == pytest.approx(random[cached] - random[plain])
    assert weights[cached] == pytest.approx(1.0)
    assert np.abs(np.delete(weights, [plain, cached])).max() < 1e-12


def test_the_reference_is_the_named_level_and_does_not_depend_on_the_order_of_runs() -> None:
    every = runs(MIXED)
    backwards = every[::-1]
    design = Design(backwards, {"solver": "2m", "cache": "full", "steps": "20"})
    assert [levels[0] for levels in design.levels.values()] == ["2m", "full", "20"]
    found = np.array([value(one) for one in backwards])
    assert design.weights({"solver": "unipc"}) @ found == pytest.approx(-0.4)
    assert Design(every, {"solver": "ddpm"}).levels["solver"][0] == "ddim"


@pytest.mark.parametrize("keep", [1, -1])
def test_a_half_fraction_names_its_aliases(keep: int) -> None:
    """The eight runs with abcd = 1: ab = cd, ac = bd, ad = bc, and each main effect is that of the other three."""
    design = Design(half(keep))
    assert design.terms == [(), ("a",), ("b",), ("c",), ("d",), ("a", "b"), ("a", "c"), ("a", "d")]
    assert design.aliases_of(("a", "b")) == (("c", "d"),)
    assert design.aliases_of(("a", "d")) == (("b", "c"),)
    assert design.aliases_of(("d",)) == (("a", "b", "c"),)
    assert design.aliases_of(()) == (("a", "b", "c", "d"),)
    assert all(alias.is_whole for alias in design.aliases)
    assert (len(half()), design.combinations) == (8, 16)


def test_what_a_fraction_finds_is_the_sum_of_an_effect_and_its_alias() -> None:
    design = Design(half())
    signs = [{factor: 1.0 if level == "+" else -1.0 for factor, level in one.items()} for one in half()]
    found = np.array([0.3 * s["a"] * s["b"] + 0.05 * s["c"] * s["d"] - 1.5 * s["c"] for s in signs])
    assert design.weights({"a": "+", "b": "+"}) @ found == pytest.approx(4 * (0.3 + 0.05))
    assert design.weights({"c": "+"}) @ found == pytest.approx(-3.0)
    with pytest.raises(KeyError, match="is not fitted"):
        design.weights({"c": "+", "d": "+"})


def test_a_combination_that_is_missing_leaves_the_main_effects_and_is_said() -> None:
    """A cache does not go with a parallel executor: their interaction cannot be told."""
    every = [
        {"denoiser": d, "executor": e, "steps": n}
        for d, e, n in itertools.product(("full", "cache"), ("serial", "srds"), ("8", "20"))
        if (d, e) != ("cache", "srds")
    ]
    design = Design(every)
    found = np.array([2.0 + (one["denoiser"] == "cache") * 0.5 + (one["executor"] == "srds") * 0.25 for one in every])
    assert design.weights({"denoiser": "cache"}) @ found == pytest.approx(0.5)
    assert design.weights({"executor": "srds"}) @ found == pytest.approx(0.25)
    assert ("denoiser", "executor") in [alias.term for alias in design.aliases]
    assert ("denoiser", "executor") in design.aliases_of(("denoiser",))


def test_an_interaction_of_which_some_combinations_are_missing_is_left_out_whole() -> None:
    every = [one for one in runs(MIXED) if (one["solver"], one["steps"]) != ("unipc", "50")]
    (alias,) = [alias for alias in Design(every).aliases if alias.term == ("solver", "steps")]
    assert not alias.is_whole


def test_a_factor_of_one_level_is_none() -> None:
    assert Design([{"a": "0", "b": level} for level in "01"]).terms == [(), ("b",)]
