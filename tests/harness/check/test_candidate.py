"""Which method a name means, and the parts and the network that it is checked with."""

from __future__ import annotations

import pytest

from harness.check.candidate import find_candidate, usual_parts
from harness.errors import UsageError
from harness.registry import registry
from methods.parts import PARTS


def test_a_name_means_the_method_of_its_part_with_the_usual_parts_on_a_network_of_the_zoo() -> None:
    found = find_candidate("heun", [], None, 7)
    assert (found.part, found.method.name, found.network, found.dataset, found.steps) == (
        "solver", "heun", "unet-8", "digits", 7,
    )  # fmt: skip
    assert found.companions == {part: name for part, name in usual_parts().items() if part != "solver"}
    assert not found.prepares


def test_parameters_and_network_are_set() -> None:
    found = find_candidate("arctan", ["c=0.2"], "zoo:cunet-8", 10)
    assert (found.method.params.c, found.network) == (0.2, "cunet-8")


def test_a_long_preparation_is_checked_with_its_small_parameters_unless_they_are_set() -> None:
    small, own = find_candidate("ddsm", [], None, 10), find_candidate("ddsm", ["population=9"], None, 10)
    assert (small.method.params.population, small.method.params.generations) == (4, 2)
    assert (own.method.params.population, own.method.params.generations) == (9, 2)


def test_a_name_of_two_parts_is_told_apart_by_the_part() -> None:
    with pytest.raises(UsageError, match="expected denoiser/few-step or schedule/few-step"):
        find_candidate("few-step", [], None, 5)
    assert find_candidate("schedule/few-step", [], None, 5).part == "schedule"


def test_other_parts_and_networks_are_found_where_the_usual_ones_do_not_fit() -> None:
    assert find_candidate("ddsm", [], None, 10).network == "slim-8"
    assert find_candidate("missing-u", [], None, 10).network == "cunet-8"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("eulr", [], None, 10), 'method "eulr" is unknown'),
        (("dimm", [], None, 10), 'did you mean "ddim"'),
        (("weather/ddim", [], None, 10), '"weather" is no part of a sampler'),
        (("solver/ddimm", [], None, 10), 'solver "ddimm" is unknown'),
        (("ddim", ["eta=1"], None, 10), 'solver "ddim" has no parameter "eta"'),
        (("ddim", [], "unet-9", 10), 'zoo network "unet-9" is unknown'),
        (("ddim", [], None, 0), "--steps is 0"),
        (("missing-u", [], "unet-8", 10), 'fits networks of family continuous-unet, not "unet"; tried unet-8'),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(words: tuple[str, list[str], str | None, int], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_candidate(*words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_shipped_method_finds_a_network_and_parts() -> None:
    for method in registry().methods():
        if method.__module__.startswith("methods."):
            assert set(find_candidate(f"{method.part}/{method.name}", [], None, 10).parts) == set(PARTS)
