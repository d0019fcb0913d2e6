"""Feature networks: names, hashes, determinism, and refusals that name what was found and what was expected."""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

import harness.metrics.extractors as extractors
from harness.data.cards import load_card
from harness.data.readers.base import DATA_SETTING, Pixels
from harness.data.splits import load_split
from harness.errors import StoreDamagedError, UsageError
from harness.identity import file_sha256
from harness.metrics.extractors import Extractor, extractor_names, extractor_spec, list_extractors, load_extractor
from harness.metrics.frechet import ReferenceMoments, frechet_distance
from harness.metrics.moments import Moments
from harness.metrics.small_cnn import blur

SHIPPED = {"digits-cnn": (8, 64), "cifar10-cnn": (32, 128), "cifar10-16-cnn": (16, 64)}  # pixels a side, features
PHOTOGRAPHS = {"cifar10-cnn": ("cifar10", 0.6), "cifar10-16-cnn": ("cifar10-16", 0.6)}  # data card, least accuracy
PICTURES = 4000


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return torch.from_numpy(load_split(load_card("digits"), "test").images.copy())


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of CIFAR-10's first test pictures: decoding all of them would take a normal test too long."""
    folder = Path(os.environ.get(DATA_SETTING, "absent")) / "cifar10"
    files = sorted(folder.glob("**/test-*.parquet"))
    if not files:
        pytest.skip(f"no Parquet files of CIFAR-10 at hand: {DATA_SETTING} does not hold cifar10/test-*.parquet")
    file = tmp_path_factory.mktemp("few") / "few.parquet"
    with pq.ParquetFile(files[0]) as table:
        pq.write_table(pa.Table.from_batches([next(table.iter_batches(PICTURES))]), file)
    return file


@pytest.fixture(scope="module")
def pictures(few: Path) -> dict[str, Pixels]:
    """The first pictures of CIFAR-10's test split as each feature network of photographs takes them."""
    return {name: read_few(few, card) for name, (card, _) in PHOTOGRAPHS.items()}


def read_few(file: Path, name: str) -> Pixels:
    card = load_card(name)
    reader = card.arguments.model_copy(update={"path": str(file.parent)})
    return reader.read(replace(card.wanted_split("test"), source=file.name, n=PICTURES))


def blocks(side: int, n: int = 100) -> torch.Tensor:
    """Return made-up colour images [n, 3, side, side] of two by two random blocks."""
    colours = torch.randint(0, 256, (n, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return colours.repeat_interleave(side // 2, 2).repeat_interleave(side // 2, 3)


def test_every_name_is_described_in_one_line() -> None:
    names = ("cifar10-16-cnn", "cifar10-cnn", "digits-cnn", "dinov2", "inception-v3-compat", "pixels")
    assert extractor_names() == names
    assert [name for name, _ in list_extractors()] == list(extractor_names())
    assert all("\n" not in line for _, line in list_extractors())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_facts_are_those_of_the_loaded_network(name: str) -> None:
    extractor, spec = load_extractor(name), extractor_spec(name)
    size, dim = SHIPPED[name]
    features = extractor(blocks(size))
    assert (spec.layer, spec.dim, spec.sha256) == (extractor.layer, extractor.dim, extractor.sha256)
    assert features.shape == (100, dim) == (100, extractor.dim)
    assert features.dtype == torch.float32
    assert (features.std(0) > 0).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_facts_file_pins_the_weights(name: str) -> None:
    stem = extractors._WEIGHTS / name.replace("-", "_")
    facts = tomllib.loads(stem.with_suffix(".toml").read_text(encoding="utf-8"))
    weights = stem.with_suffix(".safetensors")
    assert (facts["name"], facts["file"], facts["sha256"]) == (name, weights.name, file_sha256(weights))
    assert weights.stat().st_size < 1.9e6


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_facts_of_photographs_name_the_copy_of_the_data_and_the_floor(name: str) -> None:
    card, accuracy = PHOTOGRAPHS[name]
    path = extractors._WEIGHTS / f"{name.replace('-', '_')}.toml"
    facts = tomllib.loads(path.read_text(encoding="utf-8"))
    variant = load_card(card).variants[facts["training"]["variant"]]
    for split in ("train", "test"):
        assert facts["training"][f"{split}_pixels_sha256"] == variant.sha256[split]
    assert facts["training"]["test_accuracy"] > accuracy
    assert facts["floor"]["test_to_train"] > 0


@pytest.mark.parametrize("name", SHIPPED)
def test_features_do_not_depend_on_the_batch(name: str) -> None:
    extractor, images = load_extractor(name), blocks(SHIPPED[name][0], 300)
    whole = extractor(images)
    for size in (1, 7, 64):
        parts = torch.cat([extractor(part) for part in images.split(size)])
        assert (parts - whole).abs().max() < 1e-6 * whole.abs().max()
    assert torch.equal(extractor(images), whole)


def test_digits_features_name_the_digit() -> None:
    split = load_split(load_card("digits"), "test")
    assert split.labels is not None
    extractor = load_extractor("digits-cnn")
    network = extractor._network.network  # the head is for training only
    logits = network(torch.from_numpy(split.images.copy()).float())[0]
    assert (logits.argmax(1).numpy() == split.labels).mean() > 0.95


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_features_of_photographs_name_the_class(name: str, pictures: dict[str, Pixels]) -> None:
    network, found = load_extractor(name)._network.network, pictures[name]
    logits = network(torch.from_numpy(found.images[:1000]).float())[0]
    assert found.labels is not None
    assert (logits.argmax(1).numpy() == found.labels[:1000]).mean() > PHOTOGRAPHS[name][1]


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_features_of_photographs_react_to_the_faults_of_samplers(name: str, pictures: dict[str, Pixels]) -> None:
    """Classes on average: halves of 2000 have a high floor, under which a single one (cat, bird) nearly drowns.

    Leaving out as many pictures at random gives 1.06 times the floor; 10,000 against 50,000 show every class.
    """
    extractor, found = load_extractor(name), pictures[name]
    reference, rest = (torch.from_numpy(half) for half in np.split(found.images, 2))
    features = extractor(rest).numpy()
    to = ReferenceMoments.of(_moments(extractor, reference))
    floor = frechet_distance(to, Moments.of(features))
    noise = 10 * torch.randn(rest.shape, generator=torch.Generator().manual_seed(0))
    noisy = (rest + noise).clamp(0, 255).round().byte()
    soft = blur(rest.float(), torch.full((len(rest), 1, 1, 1), 0.3), "replicate").round().byte()
    for spoilt in (noisy, soft):
        assert frechet_distance(to, _moments(extractor, spoilt)) > 5 * floor
    assert found.labels is not None
    labels = found.labels[len(reference) :]
    of_nine = [frechet_distance(to, Moments.of(features[labels != absent])) for absent in range(10)]
    assert np.mean(of_nine) > 1.5 * floor


def _moments(extractor: Extractor, images: torch.Tensor) -> Moments:
    return Moments.of(extractor(images).numpy())


@pytest.mark.parametrize("name", SHIPPED)
def test_grey_and_its_three_channel_copy_have_equal_features(name: str) -> None:
    extractor, grey = load_extractor(name), blocks(SHIPPED[name][0])[:, :1]
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))


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


@pytest.mark.parametrize("name", SHIPPED)
def test_other_sizes_and_number_formats_are_refused(name: str) -> None:
    extractor, size = load_extractor(name), SHIPPED[name][0]
    with pytest.raises(UsageError, match=rf"found 9x{size} images.*{name} takes {size}x{size} only"):
        extractor(torch.zeros(1, 1, 9, size, dtype=torch.uint8))
    with pytest.raises(ValueError, match="expected uint8"):
        extractor(blocks(size).float())


def test_unknown_names_and_unwanted_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'"digit-cnn".*did you mean "digits-cnn"'):
        load_extractor("digit-cnn")
    with pytest.raises(UsageError, match="takes none"):
        extractor_spec("pixels", tmp_path / "weights.pth")


@pytest.mark.parametrize("name", SHIPPED)
def test_altered_shipped_weights_are_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, stem = extractor_spec(name).sha256, name.replace("-", "_")
    for file in (f"{stem}.toml", f"{stem}.safetensors"):
        shutil.copy(extractors._WEIGHTS / file, tmp_path)
    weights = tmp_path / f"{stem}.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(extractors, "_WEIGHTS", tmp_path)
    with pytest.raises(StoreDamagedError, match=f"found SHA-256 [0-9a-f]{{64}}; expected {expected}"):
        load_extractor(name)
    weights.unlink()
    with pytest.raises(StoreDamagedError, match="missing"):
        load_extractor(name)


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
    assert extractor.sha256 == extractor_spec("inception-v3-compat", file).sha256


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("name", SHIPPED)
def test_features_on_a_gpu_are_those_of_the_cpu(name: str) -> None:
    images = blocks(SHIPPED[name][0])
    there, here = load_extractor(name, device="cuda")(images).cpu(), load_extractor(name)(images)
    assert (there - here).abs().max() < 1e-5 * here.abs().max()
