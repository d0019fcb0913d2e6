"""The verb `reference`: what it writes and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kit.cli_kit import Command

from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.metrics.extractors import extractor_spec, load_extractor
from harness.metrics.statistics_file import read_statistics


def test_a_file_says_how_it_was_made(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "digits.npz"
    said = command("reference", "digits", "--out", out)
    assert (said.code, said.out) == (0, f"{out}\n")
    found, split, spec = (
        read_statistics(out, "it"),
        load_split(load_card("digits"), "train"),
        extractor_spec("digits-cnn"),
    )
    assert found.stated == {
        "extractor": "digits-cnn", "layer": "hidden", "resize": "none", "extractor_sha256": spec.sha256,
        "dataset": "digits", "split": "train", "pixels_sha256": split.fingerprint,
    }  # fmt: skip
    assert found.n == len(split.images)
    assert found.features is not None
    import torch

    whole = load_extractor("digits-cnn")(torch.from_numpy(split.images.copy())).numpy()
    np.testing.assert_allclose(found.features, whole, rtol=1e-5, atol=1e-6)


def test_the_feature_network_may_be_chosen(command: Command, tmp_path: Path) -> None:
    assert command("reference", "gaussian", "--out", tmp_path / "a.npz", "--extractor", "pixels").code == 0
    found = read_statistics(tmp_path / "a.npz", "it")
    assert (found.stated["extractor"], len(found.mean)) == ("pixels", 16)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("digits", "--out", "digits.npy"), "expected a name that ends in .npz"),
        (("digits", "--out", "taken.npz"), "exists and is left as it is"),
        (("digits", "--out", "nowhere/digits.npz"), "found no folder nowhere"),
        (("digit", "--out", "a.npz"), 'did you mean "digits"'),
        (("digits", "--out", "a.npz", "--extractor", "cifar10-cnn"), "was made for 32x32 pictures"),
        (("digits", "--out", "a.npz", "--extractor", "dinov2"), "needs its weights file, dinov2_vitl14_pretrain.pth"),
        (("digits", "--out", "a.npz", "--extractor", "dinov2:absent.pth"), "absent.pth: no such file"),
        (("celeba64", "--out", "a.npz"), "no feature network here takes 64x64 pictures"),
        (("cifar10", "--out", "a.npz"), "neither ONECLOCK_DATA nor `path` is set"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_sentence(
    words: tuple[str, ...], sentence: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    Path("taken.npz").write_text("kept")
    said = command("reference", *words)
    assert said.code == 2
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken.npz"]
