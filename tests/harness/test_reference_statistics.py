"""A file of statistics in place of the reference pictures: runs against it, and what their rows say and lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import harness
from harness import api
from harness.cli.reference import write_reference
from harness.config.suite import Suite
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.errors import UsageError
from harness.planning.plan import make_plan
from harness.planning.unread_pictures import NOT_READ

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "methods/networks/zoo/unet-8/weights.safetensors"
SUITE: dict[str, Any] = {
    "name": "small", "title": "t", "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn",
    "n_images": 80, "batch": 40, "baseline": {"clock_steps": 2}, "timing": {"tier": "smoke"},
    "networks": {"unet-8": {"weights": str(WEIGHTS)}}, "trials": [{"steps": 2}],
}  # fmt: skip
FID = ["fid", "fid_low", "fid_high", "fid_floor"]
COMPARED = ["kid", "kid_se", "precision", "recall", "copy_rate"]
STATED = {"extractor": "digits-cnn", "resize": "none"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `oneclock reference`."""
    return write_reference("digits", tmp_path_factory.mktemp("reference") / "digits.npz", None)


@pytest.fixture(scope="module")
def of_the_field(ours: Path) -> Path:
    """Mean and covariance alone."""
    path = ours.with_name("mu-sigma.npz")
    with np.load(ours) as arrays:
        np.savez(path, mu=arrays["mu"], sigma=arrays["sigma"])
    return path


def suite(**changes: Any) -> Suite:
    return Suite.model_validate({**SUITE, **changes})


def run(folder: Path, **changes: Any) -> api.Tables:
    return harness.run(suite(**changes), results=folder, in_process=True, quiet=True, report=False)


def row(tables: api.Tables) -> dict[str, Any]:
    (found,) = json.loads(tables.trials.to_json(orient="records", double_precision=15))
    assert found["verdict"] == "VALID", found["reasons"]
    result: dict[str, Any] = found
    return result


@pytest.fixture(scope="module")
def with_pictures(tmp_path_factory: pytest.TempPathFactory) -> api.Tables:
    return run(tmp_path_factory.mktemp("pictures"))


def test_a_file_with_features_gives_every_figure_bit_for_bit(
    ours: Path, with_pictures: api.Tables, tmp_path: Path
) -> None:
    expected, tables = row(with_pictures), run(tmp_path, reference={"statistics": str(ours)})
    found = row(tables)
    for name in (*FID, *COMPARED, "reference_n", "images_sha256", "not_measured", "not_audited"):
        assert found[name] == expected[name], name
    assert all(expected[name] is not None for name in (*FID, *COMPARED))
    replicates, those_of_pictures = (
        one.quality.drop(columns=["trial_id", "attempt"]).dropna(axis=1, how="all") for one in (tables, with_pictures)
    )
    assert len(replicates) == 20
    pd.testing.assert_frame_equal(replicates, those_of_pictures, check_exact=True)
    assert found["reference"].startswith("digits statistics ")
    assert found["reference"].endswith(" (digits train, oneclock reference)")
    assert expected["reference"].startswith("digits train ")


def test_mean_and_covariance_give_fid_and_say_what_they_cannot_give(
    of_the_field: Path, with_pictures: api.Tables, tmp_path: Path
) -> None:
    expected = row(with_pictures)
    reference = {"statistics": str(of_the_field), "source": "authors", "n": 1500, **STATED}
    found = row(run(tmp_path, reference=reference))
    for name in FID:
        assert found[name] == pytest.approx(expected[name], rel=1e-9), name
    assert [found[name] for name in COMPARED] == [None] * len(COMPARED)
    reason = "the reference is a file of mean and covariance, which holds no features of images"
    assert f"no KID: {reason}" in found["not_measured"]
    assert f"no precision and recall: {reason}" in found["not_measured"]
    assert "no bias floor" not in found["not_measured"]
    for rule in ("copies-training-images", "nears-training-images"):
        assert f"{rule}: the reference is a file of mean and covariance, so no image was" in found["not_audited"]
    assert found["reference"].endswith(" (authors)")
    assert found["reference_n"] == 1500


def test_without_a_number_of_images_there_is_no_floor(of_the_field: Path, tmp_path: Path) -> None:
    found = row(run(tmp_path, reference={"statistics": str(of_the_field), **STATED}))
    assert found["fid"] > 0
    assert found["fid_low"] < found["fid"] < found["fid_high"]
    assert (found["fid_floor"], found["reference_n"]) == (None, None)
    assert "no bias floor of FID: the number of reference images is not stated" in found["not_measured"]
    (tmp_path / "small" / "log.txt").unlink()
    text = Path(next(path for path in api.report(tmp_path / "small") if path.suffix == ".md")).read_text()
    assert "N = not stated, so there is no FID floor." in text


CARD = """\
name = "pictures"
title = "Pictures that are elsewhere"
reader = "image-folder"
arguments = { path = "elsewhere" }
resolution = 8
channels = 1
splits.train = { n = 1500 }
licence = "none"
"""


def test_a_run_needs_no_pictures(of_the_field: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures.toml").write_text(CARD)
    changes = {"dataset": str(tmp_path / "pictures.toml"), "n_images": 70}
    with pytest.raises(UsageError, match="found no folder"):
        run(tmp_path / "results", **changes)
    found = row(run(tmp_path / "results", **changes, reference={"statistics": str(of_the_field), **STATED}))
    assert found["fid"] > 0
    assert found["dataset"] == "pictures"


def test_what_learns_still_needs_its_pictures(of_the_field: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures.toml").write_text(CARD)
    changes = {"dataset": str(tmp_path / "pictures.toml"), "reference": {"statistics": str(of_the_field), **STATED}}
    for learning in ({"networks": {}}, {"trials": [{"steps": 2}, {"steps": 2, "schedule": "few-step"}]}):
        with pytest.raises(UsageError, match="found no folder"):
            run(tmp_path / "results", **changes, **learning)


def plan_of(reference: dict[str, Any] | None, **changes: Any) -> Any:
    return make_plan(suite(reference=reference, **changes), "cpu:a chip", "a chip")


def ids_of(reference: dict[str, Any] | None) -> tuple[str, set[str]]:
    """Return the identities of the trial and of its scores."""
    made = plan_of(reference)
    return made.trials[0].id, {task.id for task in made.tasks.values() if task.kind == "score"}


def test_identities_hold_the_file_and_its_statements_but_not_its_path(of_the_field: Path, tmp_path: Path) -> None:
    stated = {"statistics": str(of_the_field), **STATED}
    known = ids_of(stated)
    copy = tmp_path / "copy.npz"
    copy.write_bytes(of_the_field.read_bytes())
    assert ids_of({**stated, "statistics": str(copy)}) == known
    for change in ({"n": 1500}, {"source": "elsewhere"}):
        assert ids_of(stated | change)[0] != known[0]
        assert not ids_of(stated | change)[1] & known[1]
    with np.load(of_the_field) as arrays:
        np.savez(copy, mu=arrays["mu"] + 1e-9, sigma=arrays["sigma"])
    assert not ids_of({**stated, "statistics": str(copy)})[1] & known[1]


def test_images_are_made_once_for_two_files_of_statistics(of_the_field: Path, ours: Path) -> None:
    one, other = (
        {task.id for task in plan_of(reference).tasks.values() if task.kind == "sample"}
        for reference in ({"statistics": str(of_the_field), **STATED}, {"statistics": str(ours)})
    )
    assert one == other


def test_nothing_of_the_pictures_is_in_the_identity_where_nothing_reads_them(of_the_field: Path) -> None:
    data = plan_of({"statistics": str(of_the_field), **STATED}).trials[0].trial.data
    assert (data.pixels, data.training_pixels) == (NOT_READ, NOT_READ)
    learnt = plan_of({"statistics": str(of_the_field), **STATED}, networks={}).trials[0].trial.data
    assert (learnt.pixels, learnt.training_pixels) == (
        NOT_READ,
        load_split(load_card("digits"), "train").fingerprint,
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"extractor": None}, "does not say which extractor made it"),
        ({"resize": None}, "does not say which resize made it"),
        ({"extractor": "inception-v3-compat"}, 'made with extractor = "inception-v3-compat" and the suite measures'),
        ({"resize": "tf1-bilinear-299"}, 'made with resize = "tf1-bilinear-299" and the suite measures with "none"'),
        ({"n": 64}, "found 64 reference images for the 64 features"),
        ({"statistics": "stats.pkl"}, r"\.pkl files can hold programs"),
        ({"statistics": "cache-stat-fid-2048.pt"}, r"\.pt files can hold programs"),
        ({"statistics": "absent.npz"}, "found no file absent.npz"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(changes: dict[str, Any], sentence: str, of_the_field: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan_of({"statistics": str(of_the_field), **STATED, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"extractor": "pixels"}, 'reference.extractor is "pixels" and .* says "digits-cnn"'),
        ({"n": 3}, "holds 1,500 images and reference.n is 3"),
    ],
)
def test_statements_against_those_of_our_file_are_refused(changes: dict[str, Any], sentence: str, ours: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan_of({"statistics": str(ours), **changes})


def test_statistics_of_other_features_or_data_are_refused(ours: Path, of_the_field: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(UsageError, match="is of 3 features; expected the 64 of digits-cnn"):
        plan_of({"statistics": str(few), **STATED})
    with pytest.raises(UsageError, match='made with extractor = "digits-cnn" and the suite measures with "pixels"'):
        plan_of({"statistics": str(ours)}, extractor="pixels", n_images=70)
    with pytest.raises(UsageError, match="statistics is of one data set"):
        plan_of({"statistics": str(of_the_field), **STATED}, dataset=["digits", "gaussian"])
    with np.load(ours) as arrays:
        other = {name: arrays[name] for name in arrays.files}
    np.savez(few, **{**other, "dataset": np.array("faces")})
    with pytest.raises(UsageError, match='is of the data set "faces"; expected "digits"'):
        plan_of({"statistics": str(few)})
    np.savez(few, **{**other, "extractor_sha256": np.array("0" * 64)})
    with pytest.raises(UsageError, match="made with extractor_sha256"):
        plan_of({"statistics": str(few)})


def test_a_plan_goes_on_without_the_file() -> None:
    reference = {"statistics": "absent.npz", **STATED}
    made = make_plan(suite(reference=reference), "cpu:a chip", "a chip", data_may_be_absent=True)
    assert made.absent == (
        "reference.statistics: found no file absent.npz; expected an npz with mu and sigma, so put it "
        "there, or set reference.statistics to its path",
    )
