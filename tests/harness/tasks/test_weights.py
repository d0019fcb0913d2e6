"""Given weights: taken as they are if they fit exactly, refused in one sentence if not; foreign ones never are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.faulty import measure, suite
from safetensors.torch import save

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.pools.worker import Worker
from harness.sampling.network import build_network
from harness.specs.base import Price
from harness.specs.weights import WeightsSpec

SMALL = {"params": {"depth": 2, "width": 8, "heads": 1, "preconditioning": "vp"}}


def answer(data: bytes, path: str, changes: dict[str, Any] = SMALL) -> Any:
    """Return the result of the task for a file of these bytes."""
    card = load_network_card("uvit-8", changes)
    spec = WeightsSpec(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        price=Price(),
        network=card.spec(),
        data=load_card("digits").spec(),
    )
    return [*Worker().run(spec, {path: np.frombuffer(data, np.uint8)})][-1]


def network(changes: dict[str, Any] = SMALL) -> torch.nn.Module:
    return build_network(load_network_card("uvit-8", changes), load_card("digits").shape())


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_safetensors_are_taken_as_they_are(kind: torch.dtype) -> None:
    state = {name: value.to(kind) for name, value in network().state_dict().items()}
    result = answer(save(state), "w.safetensors")
    assert result.tensors.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(result.tensors[name], value.float().numpy())
    assert result.output.counters_agree


def test_another_width_is_one_sentence() -> None:
    wider = {"params": {**SMALL["params"], "width": 16}}
    with pytest.raises(
        UsageError, match=r'w.safetensors: decoder_pred.weight is \[4, 16\]; the network "uvit-8" expects \[4, 8\]'
    ):
        answer(save(network(wider).state_dict()), "w.safetensors")


def test_missing_and_surplus_tensors_are_named() -> None:
    state = dict(network().state_dict())
    del state["norm.bias"]
    with pytest.raises(UsageError, match=r"norm\.bias is no such tensor"):
        answer(save(state), "w.safetensors")
    state |= {"norm.bias": torch.zeros(8), "uem.0": torch.zeros(1)}
    with pytest.raises(UsageError, match=r'uem\.0 is .*; the network "uvit-8" expects no such tensor'):
        answer(save(state), "w.safetensors")


@pytest.mark.parametrize("name", ["w.pth", "W.PT", "w.bin", "w.ckpt", "w.pkl"])
def test_files_of_other_programs_are_refused_with_the_command_that_imports_them(name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"{name} holds weights of another program; .*`oneclock import network {name}`"
    ):
        answer(save(network().state_dict()), name)


def test_torn_files_are_refused() -> None:
    with pytest.raises(UsageError, match=r"w\.safetensors is no safetensors file"):
        answer(save(network().state_dict())[:-3], "w.safetensors")


@pytest.mark.parametrize("kept", ["norm.bias", None])
def test_a_run_with_weights_that_do_not_fit_ends_with_one_sentence(tmp_path: Path, kept: str | None) -> None:
    state = dict(network().state_dict())
    if kept is not None:
        state[kept] = torch.zeros(9)
    (tmp_path / "w.safetensors").write_bytes(save(state))
    changes = {"uvit-8": {**SMALL, "weights": str(tmp_path / "w.safetensors")}}
    wanted = suite([], dataset="digits", network="uvit-8", precision="float32", networks=changes, n_images=70)
    if kept is None:
        (row,) = measure(wanted, tmp_path / "results").values()
        assert row["status"] == "finished"  # untrained weights make no good images, but they do sample
        return
    with pytest.raises(UsageError, match=r"w\.safetensors: norm\.bias is \[9\]; the network \"uvit-8\" expects \[8\]"):
        measure(wanted, tmp_path / "results")
    assert not (tmp_path / "results" / "tiny" / "log").exists() or not list((tmp_path / "results/tiny/log").iterdir())
