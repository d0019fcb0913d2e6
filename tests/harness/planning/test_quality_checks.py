"""Plans whose rows could have no FID are refused before anything runs, in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from kit import toys
from kit.plan_kit import SUITE, leave_no_pixels, plan, with_train

from harness.config.suite import Suite, load_suite
from harness.errors import UsageError
from harness.metrics.cifar10_16_network import Cifar10At16Network
from harness.metrics.cifar10_network import Cifar10Network
from harness.metrics.digits_network import DigitsNetwork
from harness.metrics.extractors import _KINDS, extractor_names, load_extractor
from harness.metrics.picture_shapes import find_extractors, picture_shape
from harness.planning.network_checks import check_networks
from harness.planning.plan import make_plan
from harness.planning.quality_checks import feature_count

DIGITS: dict[str, Any] = {**with_train(steps=1), "extractor": "digits-cnn"}


def refusal(**changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(**changes)
    text = str(caught.value)
    assert "\n" not in text
    return text


# counts of images


def test_as_many_images_as_features_are_too_few_and_one_more_is_enough() -> None:
    assert refusal(**DIGITS, n_images=64) == (
        'every row on "digits" would be INVALID: found n_images = 64 for the 64 features of digits-cnn, and FID needs '
        "more images than features; set n_images to 65 or more"
    )
    assert plan(**DIGITS, n_images=65).suite.n_images == 65


def test_pixels_are_counted_as_features() -> None:
    made = plan()
    values = feature_count(made.trials[0].row.extractor, made.trials[0].trial.dataset)
    assert values == 16
    assert "for the 16 features of pixels" in refusal(n_images=values)
    assert plan(n_images=values + 1).suite.n_images == 17


def test_a_small_reference_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    card = plan(**DIGITS).trials[0].trial.dataset
    small = card.model_copy(
        update={"splits": {**card.splits, card.reference: card.splits["train"].model_copy(update={"n": 60})}}
    )
    monkeypatch.setattr("harness.planning.plan.load_card", lambda _: small)
    leave_no_pixels(monkeypatch)
    with pytest.raises(UsageError, match="found 60 reference images for the 64 features of digits-cnn"):
        plan_of_absent_data()


def plan_of_absent_data() -> None:
    from kit.plan_kit import SUITE

    from harness.config.suite import Suite
    from harness.planning.plan import make_plan

    make_plan(Suite.model_validate({**SUITE, **DIGITS}), "cpu:a chip", "a chip", data_may_be_absent=True)


def test_what_was_not_chosen_is_refused_too() -> None:
    assert "INVALID" in refusal(n_images=16, only="analytic:ddim-3")


# shapes of pictures


@pytest.mark.parametrize(
    ("changes", "found", "fitting"),
    [
        ({"extractor": "digits-cnn"}, '8x8 pictures, and those of "gaussian" are 4x4', "dinov2 or inception-v3-compat"),
        ({**DIGITS, "extractor": "cifar10-cnn"}, '32x32 pictures, and those of "digits" are 8x8', "digits-cnn or"),
        ({**DIGITS, "extractor": "cifar10-16-cnn"}, '16x16 pictures, and those of "digits" are 8x8', "digits-cnn or"),
    ],
    ids=["digits-cnn", "cifar10-cnn", "cifar10-16-cnn"],
)  # fmt: skip
def test_a_feature_network_made_for_another_size_is_refused(changes: dict[str, Any], found: str, fitting: str) -> None:
    sentence = refusal(**changes)
    assert f"was made for {found}" in sentence
    assert f"so set extractor to {fitting}" in sentence


@pytest.mark.parametrize("name", [name for name, kind in _KINDS.items() if not kind.published])
@pytest.mark.parametrize("side", [4, 8, 16, 32])
def test_declared_sizes_are_those_that_the_feature_network_takes(name: str, side: int) -> None:
    images = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    if name in find_extractors(side):
        assert len(load_extractor(name)(images)) == 2
    else:
        with pytest.raises(UsageError, match=f"found {side}x{side} images"):
            load_extractor(name)(images)


def test_every_feature_network_declares_a_shape() -> None:
    networks = {"digits-cnn": DigitsNetwork, "cifar10-cnn": Cifar10Network, "cifar10-16-cnn": Cifar10At16Network}
    assert {name: picture_shape(name).side for name in extractor_names()} == {
        **dict.fromkeys(extractor_names()),
        **{name: network.size for name, network in networks.items()},
    }


@pytest.mark.parametrize(("network", "side"), [("unet-32", 4), ("uvit-s-2", 7), ("cunet-64", 8), ("dit-8", 3)], ids=str)
def test_a_network_that_cannot_take_the_pictures_is_refused(
    monkeypatch: pytest.MonkeyPatch, network: str, side: int
) -> None:
    card = plan(**DIGITS).trials[0].trial.dataset.model_copy(update={"resolution": side})
    monkeypatch.setattr("harness.planning.plan.load_card", lambda _: card)
    leave_no_pixels(monkeypatch)
    suite = {**SUITE, "dataset": "digits", "network": network, "networks": {network: {"train": {"steps": 1}}}}
    made = make_plan(Suite.model_validate(suite), "cpu:a chip", "a chip", data_may_be_absent=True)
    with pytest.raises(UsageError) as caught:
        check_networks(made)
    assert f'network "{network}": resolution {side} is not divisible by' in str(caught.value)
    assert f'the pictures of "digits" are {side}x{side}' in str(caught.value)


# searches, workers, known answers


def test_a_search_that_scores_by_too_few_images_is_refused() -> None:
    denoiser = {"name": "ddsm", "search_images": 64, "population": 4, "generations": 1}
    changes = {
        "dataset": "digits", "network": "slim-8", "extractor": "digits-cnn",
        "trials": [{"steps": 2}, {"steps": 2, "denoiser": denoiser, "label": "searched"}],
    }  # fmt: skip
    assert "slim-8:searched-2 scores its candidates by search_images = 64 images for the 64 features" in refusal(
        **changes
    )
    assert plan(**{**changes, "trials": [{"steps": 2}, {"steps": 2, "denoiser": {**denoiser, "search_images": 65}}]})


def test_a_trial_of_more_devices_than_workers_is_refused_unless_it_is_optional() -> None:
    two = {"steps": 4, "executor": {"name": "srds", "form": "pipelined", "devices": 2}}
    assert "needs 2 devices at once, and the suite has workers = 1" in refusal(workers=1, trials=[{"steps": 2}, two])
    assert plan(workers=2, trials=[{"steps": 2}, two])
    assert plan(workers=1, trials=[{"steps": 2}, {**two, "optional": True}])


def expected(column: str) -> dict[str, Any]:
    return {"method": "ddim", "steps": 2, "column": column, "value": 1.0, "source": "s"}


def test_a_known_answer_in_a_column_that_will_be_empty_is_refused() -> None:
    asked = {**DIGITS, "expect": [{"dataset": "digits", **expected("truncation_error")}]}
    assert 'the network "unet-tiny" has no exact solution and the suite no [truncation]' in refusal(**asked)
    assert plan(**asked, truncation={"steps": 8})
    assert plan(expect=[{"dataset": "gaussian", **expected("truncation_error")}])
    assert 'the executor "serial" overlaps no steps' in refusal(
        expect=[{"dataset": "gaussian", **expected("distance_to_serial")}]
    )


def test_the_example_of_a_toy_suite_is_not_refused(tmp_path: Path) -> None:
    assert make_plan(load_suite(toys.suite_file(tmp_path)), "cpu:a chip", "a chip").trials
