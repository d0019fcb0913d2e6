"""The shipped ledger: every claim is a suite that plans, or says why it is not measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.claims.claim_suite import changed_conditions, claim_suite
from harness.claims.ledger import choose_claims, load_claims
from harness.errors import UsageError


def test_the_published_figures_are_there_with_setting_and_source() -> None:
    known = load_claims()
    edm = known["edm-cifar10-uncond"]
    assert (edm.figure, edm.nfe, edm.protocol) == (1.97, 35, "minimum-of-three")
    assert known["ddim-cifar10-100"].figure == 4.16
    figures = {
        name: known[f"diff-sampler-cifar10-{name}"].figure for name in ("dpmpp-3m-10", "unipc-3-6", "unipc-3-10")
    }
    assert figures == {"dpmpp-3m-10": 3.00, "unipc-3-6": 11.14, "unipc-3-10": 2.89}
    assert known["diff-sampler-imagenet64-unipc-3-10"].figure == 5.53
    for claim in known.values():
        assert claim.source
        assert (claim.suite is None) == bool(claim.unmeasured)


def test_every_claim_with_a_setting_is_a_suite_of_one_row() -> None:
    for claim in load_claims().values():
        if claim.suite is not None:
            suite = claim_suite(claim)
            assert suite.name == f"reproduce-{claim.name}"
            assert len(suite.trials) == 1
            assert suite.baseline.clock_steps == claim.suite.steps
            assert changed_conditions(claim, suite) == []


def test_heun_with_a_last_denoising_makes_the_evaluations_of_edm() -> None:
    suite = claim_suite(load_claims()["edm-cifar10-cond"])
    assert suite.trials[0].steps == 17  # two evaluations each, and one at the end: 35
    assert suite.model_dump()["trials"][0]["schedule"]["final"] == "denoise"


def test_another_n_another_reference_and_other_steps_are_named() -> None:
    claim = load_claims()["edm-cifar10-cond"]
    settings = ["n_images=500", "reference.source=mine", "trials.0.steps=9", "batch=10"]
    found = changed_conditions(claim, claim_suite(claim, settings))
    assert found[1] == "n_images is 500, and the claim's is 50,000"
    assert [sentence.partition(" ")[0] for sentence in found] == ["reference", "n_images", "trials"]
    moved = claim_suite(claim, ["reference.statistics=elsewhere.npz"])
    assert changed_conditions(claim, moved) == []


def test_the_first_words_of_several_choose_them_all() -> None:
    assert [claim.name for claim in choose_claims("edm-cifar10")] == ["edm-cifar10-cond", "edm-cifar10-uncond"]
    assert [claim.name for claim in choose_claims("edm-cifar10-cond")] == ["edm-cifar10-cond"]
    with pytest.raises(UsageError, match='did you mean "edm-cifar10-cond"'):
        choose_claims("edm-cifar10-con")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", 'the key "claims" is missing'),
        ('[[claims]]\nname = "a"\nfigures = 2\n', 'unknown key "claims.0.figures"'),
        (
            '[[claims]]\nname="a"\ntitle="A"\nfigure=2.0\ndecimals=1\nprotocol="exact"\nnfe=4\nsource="s"\n',
            "both or none of suite and unmeasured",
        ),
    ],
)
def test_a_ledger_that_is_wrong_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"ledger\.toml") as caught:
        load_claims(path)
    assert sentence in str(caught.value)


def test_a_ledger_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found no ledger"):
        load_claims(tmp_path / "none.toml")
