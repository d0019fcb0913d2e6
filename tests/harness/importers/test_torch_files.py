"""Files of weights: torn, foreign, hostile, not finite or quantised ones are refused in one sentence."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import UsageError
from harness.importers.torch_files import (
    count_up,
    drop_prefixes,
    find_state,
    read_safetensors,
    read_torch_file,
    tensor_names,
    widen_tensors,
)

STATE = {"a.weight": torch.arange(600.0).reshape(20, 30), "a.bias": torch.ones(20)}


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_both_formats_of_torch_are_read(tmp_path: Path, is_zip: bool) -> None:
    file = tmp_path / "w.pt"
    nest = {"ema": STATE, "args": argparse.Namespace(model="DiT-S/2"), "opt": {"lr": 1e-4}}
    torch.save(nest, file, _use_new_zipfile_serialization=is_zip)
    found = find_state(read_torch_file(file), file, {})
    assert torch.equal(found.tensors["a.weight"], STATE["a.weight"])
    assert (found.weights, found.arguments) == ("ema", {"model": "DiT-S/2"})
    assert tensor_names(file) == STATE.keys()


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 40, 0.3, 0.9])
def test_torn_files_are_one_sentence(tmp_path: Path, is_zip: bool, kept: float) -> None:
    file = tmp_path / "w.pt"
    torch.save(STATE, file, _use_new_zipfile_serialization=is_zip)
    data = file.read_bytes()
    file.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(UsageError, match=r"w\.pt does not load as tensors alone") as caught:
        read_torch_file(file)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"ema": STATE, "args": Trap(tmp_path / "struck")}, file)
    with pytest.raises(UsageError, match="does not load as tensors alone"):
        read_torch_file(file)
    assert not (tmp_path / "struck").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(file))
    with pytest.raises(UsageError, match="is a TorchScript program"):
        read_torch_file(file)


def test_torn_safetensors_are_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(STATE, file)
    assert read_safetensors(file).keys() == STATE.keys()
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UsageError, match="is no whole safetensors file"):
        read_safetensors(file)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(kind: torch.dtype) -> None:
    found, formats = widen_tensors({"a": torch.tensor([1.5]).to(kind), "b": torch.ones(1).double()}, Path("w"))
    assert [value.dtype for value in found.values()] == [torch.float32, torch.float64]
    assert float(found["a"]) == 1.5
    assert formats == sorted([str(kind).removeprefix("torch."), "float64"])


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn, torch.int64, torch.complex64])
def test_other_formats_are_refused(kind: torch.dtype) -> None:
    value = torch.ones(3).to(kind)
    with pytest.raises(UsageError, match=rf"w: a\.b is of type {str(kind).removeprefix('torch.')}; expected float32"):
        widen_tensors({"a.b": value}, Path("w"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"w: a holds values that are not finite"):
        widen_tensors({"a": torch.tensor([1.0, value])}, Path("w"))


def test_tensors_that_share_memory_are_parted() -> None:
    whole = torch.arange(6.0)
    found, _ = widen_tensors({"a": whole, "b": whole, "c": whole.reshape(2, 3).T}, Path("w"))
    assert len({value.data_ptr() for value in found.values()}) == 3
    assert all(value.is_contiguous() for value in found.values())


def test_prefixes_go_only_if_all_names_have_them() -> None:
    one = torch.ones(1)
    assert drop_prefixes({"module._orig_mod.a": one, "module._orig_mod.b": one}).keys() == {"a", "b"}
    assert drop_prefixes({"_orig_mod.module.a": one}).keys() == {"a"}
    assert drop_prefixes({"module.a": one, "b": one}).keys() == {"module.a", "b"}


def test_nests_that_are_not_known_are_refused(tmp_path: Path) -> None:
    for nest in ([1, 2], {"state_dict": STATE}, {}, 5, {"ema": [1]}):
        with pytest.raises(UsageError, match="holds no state dict"):
            find_state(nest, tmp_path, {})
    with pytest.raises(UsageError, match="holds no averaged weights"):
        find_state({"model": STATE, "ema": None}, tmp_path, {})
    assert find_state({"model": STATE, "ema": {}}, tmp_path, {"weights": "raw"}).weights == "raw"


def test_numbers_are_counted_by_their_names() -> None:
    assert count_up(["blocks.0.a", "blocks.1.a", "blocks.1.b", "blocksome.7", "blocks.x"], "blocks.") == 2
