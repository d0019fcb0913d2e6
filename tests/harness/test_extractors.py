"""Feature networks: names, hashes, determinism, and refusals that name what was found and what was expected."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

import harness.metrics.extractors as extractors
from harness.data.cards import load_card
from harness.data.pixels import load_split
from harness.errors import StoreDamagedError, UsageError
from harness.metrics.extractors import describe, extractor_facts, extractor_names, load_extractor


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return torch.from_numpy(load_split(load_card("digits"), "test").images.copy())


def test_every_name_is_described_in_one_line() -> None:
    assert extractor_names() == ("digits-cnn", "inception-v3-compat", "pixels")
    assert [name for name, _ in describe()] == list(extractor_names())
    assert all("\n" not in line for _, line in describe())


def test_the_facts_are_those_of_the_loaded_network(digits: torch.Tensor) -> None:
    extractor, facts = load_extractor("digits-cnn"), extractor_facts("digits-cnn")
    features = extractor(digits)
    assert (facts["layer"], facts["dim"], facts["sha256"]) == (extractor.layer, extractor.dim, extractor.sha256)
    assert features.shape == (len(digits), 64)
    assert features.dtype == torch.float32


def test_digits_features_do_not_depend_on_the_batch(digits: torch.Tensor) -> None:
    extractor = load_extractor("digits-cnn")
    whole = extractor(digits)
    for size in (1, 7, 64):
        parts = torch.cat([extractor(part) for part in digits.split(size)])
        assert (parts - whole).abs().max() < 1e-6 * whole.abs().max()
    assert torch.equal(extractor(digits), whole)


def test_digits_features_name_the_digit() -> None:
    split = load_split(load_card("digits"), "test")
    assert split.labels is not None
    extractor = load_extractor("digits-cnn")
    network = extractor._network.network  # the head is for training only
    logits = network(torch.from_numpy(split.images.copy()).float())[0]
    assert (logits.argmax(1).numpy() == split.labels).mean() > 0.95


def test_grey_and_its_three_channel_copy_have_equal_features(digits: torch.Tensor) -> None:
    extractor = load_extractor("digits-cnn")
    assert torch.equal(extractor(digits), extractor(digits.repeat(1, 3, 1, 1)))


def test_pixels_are_flattened_by_the_stated_rule(digits: torch.Tensor) -> None:
    features = load_extractor("pixels")(digits)
    expected = digits.numpy().reshape(len(digits), -1).astype(np.float32) / np.float32(127.5) - 1
    np.testing.assert_array_equal(features.numpy(), expected)


def test_settings_of_the_process_come_back(digits: torch.Tensor) -> None:
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    load_extractor("digits-cnn")(digits[:2])
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


def test_autocast_of_the_caller_does_not_reach_the_features(digits: torch.Tensor) -> None:
    extractor = load_extractor("digits-cnn")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = extractor(digits)
    assert torch.equal(inside, extractor(digits))


def test_other_sizes_and_number_formats_are_refused(digits: torch.Tensor) -> None:
    extractor = load_extractor("digits-cnn")
    with pytest.raises(UsageError, match=r"found 9x8 images.*8x8 only"):
        extractor(torch.zeros(1, 1, 9, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="expected uint8"):
        extractor(digits.float())


def test_unknown_names_and_unwanted_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'"digit-cnn".*did you mean "digits-cnn"'):
        load_extractor("digit-cnn")
    with pytest.raises(UsageError, match="takes none"):
        extractor_facts("pixels", tmp_path / "weights.pth")


def test_altered_shipped_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = extractor_facts("digits-cnn")["sha256"]
    for name in ("digits_cnn.toml", "digits_cnn.safetensors"):
        shutil.copy(extractors._WEIGHTS / name, tmp_path)
    weights = tmp_path / "digits_cnn.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(extractors, "_WEIGHTS", tmp_path)
    with pytest.raises(StoreDamagedError, match=f"found SHA-256 [0-9a-f]{{64}}; expected {expected}"):
        load_extractor("digits-cnn")
    weights.unlink()
    with pytest.raises(StoreDamagedError, match="missing"):
        load_extractor("digits-cnn")


def test_inception_asks_for_its_weights_and_checks_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs its weights file"):
        load_extractor("inception-v3-compat")
    with pytest.raises(UsageError, match="no such file"):
        load_extractor("inception-v3-compat", tmp_path / "absent.pth")
    named = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save({}, named)
    with pytest.raises(UsageError, match="starting with 6726825d"):
        load_extractor("inception-v3-compat", named)
    other = tmp_path / "other.pth"
    torch.save({}, other)
    with pytest.raises(UsageError, match="not the weights of inception-v3-compat"):
        load_extractor("inception-v3-compat", other)


class _Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    file, mark = tmp_path / "evil.pth", tmp_path / "mark"
    torch.save({"a": _Code(mark)}, file)
    with pytest.raises(UsageError, match="not a plain file of tensors"):
        load_extractor("inception-v3-compat", file)
    assert not mark.exists()


def test_inception_returns_the_pool_features_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    torch.save({}, file)
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)  # random weights
    extractor = load_extractor("inception-v3-compat", file)
    features = extractor(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8))
    assert features.shape == (2, 2048)
    assert features.dtype == torch.float32
    assert extractor.sha256 == extractor_facts("inception-v3-compat", file)["sha256"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_features_on_a_gpu_are_those_of_the_cpu(digits: torch.Tensor) -> None:
    there, here = load_extractor("digits-cnn", device="cuda")(digits).cpu(), load_extractor("digits-cnn")(digits)
    assert (there - here).abs().max() < 1e-5 * here.abs().max()
