"""What a plan lacks is named with the setting that gives it, and a run refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.plan_kit import SUITE

from harness.config.suite import Suite
from harness.errors import UsageError
from harness.planning.plan import Plan, make_plan

INCEPTION = {"dataset": "cifar10", "network": "unet-32", "extractor": "inception-v3-compat", "n_images": 2100}


def made(may_be_absent: bool = True, **changes: Any) -> Plan:
    suite = Suite.model_validate({**SUITE, **changes})
    return make_plan(suite, "cpu:a chip", "a chip", data_may_be_absent=may_be_absent)


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)


def test_data_and_a_feature_network_are_named() -> None:
    network, data = made(**INCEPTION).absent
    assert network.startswith("the extractor inception-v3-compat needs its weights file, ")
    assert network.endswith("give its path as extractor_weights; `oneclock fetch inception` brings it")
    assert data.startswith('data set "cifar10", split "train": neither ONECLOCK_DATA nor `path` is set')


def test_a_weights_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "net.safetensors"
    (sentence,) = made(dataset="digits", network="unet-8", networks={"unet-8": {"weights": str(missing)}}).absent
    assert sentence == (
        f'network "unet-8": weights {missing} do not exist; expected a safetensors file, so set '
        "networks.unet-8.weights to its path"
    )


def test_a_feature_network_whose_file_is_elsewhere_is_named(tmp_path: Path) -> None:
    found = made(**INCEPTION, extractor_weights=str(tmp_path / "inception.pth")).absent
    assert f"{tmp_path / 'inception.pth'}: no such file" in found[0]
    assert found[0].endswith(
        "; put it there, or set extractor_weights to its path; `oneclock fetch inception` brings it"
    )


def test_nothing_is_named_where_all_is_there() -> None:
    assert made().absent == ()


@pytest.mark.parametrize(
    "changes",
    [INCEPTION, {"dataset": "digits", "network": "unet-8", "networks": {"unet-8": {"weights": "none.safetensors"}}}],
)
def test_a_run_refuses_what_is_absent(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        made(may_be_absent=False, **changes)


def test_an_unknown_feature_network_is_refused_by_a_plan_too() -> None:
    with pytest.raises(UsageError, match="inceptoin"):
        made(extractor="inceptoin")
