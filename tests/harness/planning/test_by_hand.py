"""One sampler by hand makes the very images of a suite's row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.errors import UsageError
from harness.sampling.pixels import image_digests
from harness.specs.sample import SampleSpec
from harness.storage.journal import Journal


def test_its_images_are_those_of_a_row(tmp_path: Path) -> None:
    pool = CountingPool()
    suite = suite_file(tmp_path, trial(solver="heun", schedule="logsnr", steps=3))
    tables = harness.run(suite, pool=lambda: pool, results=tmp_path, report=False)
    units = [unit for unit in pool.started if isinstance(unit.task.spec, SampleSpec)]
    first = next(unit for unit in units if unit.task.spec.sampler.steps == 3)
    spec, span = first.task.spec, first.span
    kept = Journal(tables.folder / "tasks").get(first.task.id, f"{span.start}-{span.stop}")
    assert kept is not None
    made = harness.make_sampler(
        "analytic", dataset=spec.sampler.model.data.name, solver="heun", schedule="logsnr", steps=3
    )
    batch = spec.sampler.batch
    assert (image_digests(made.images(range(batch))) == kept[0]["digests"][:batch]).all()


def test_a_network_of_the_zoo_brings_its_data_set() -> None:
    made = harness.make_sampler("zoo:unet-8", solver="dpmpp-2m", steps=4, device="cpu")
    images = made.images(range(3))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (3, 1, 8, 8))
    assert images.float().std() > 50  # digits, not grey
    other = harness.make_sampler("zoo:unet-8", solver="dpmpp-2m", steps=4, seed_set=1, device="cpu")
    assert not torch.equal(other.images(range(3)), images)


def test_parts_take_parameters_as_in_a_suite() -> None:
    plain, curved = (
        harness.make_sampler("zoo:unet-8", steps=4, device="cpu", schedule=schedule)
        for schedule in ("edm", {"name": "edm", "rho": 3.0})
    )
    assert plain.sigmas[0] == curved.sigmas[0]
    assert plain.sigmas[1] != curved.sigmas[1]


@pytest.mark.parametrize(
    ("network", "options", "sentence"),
    [
        ("zoo:unet-9", {}, 'zoo network "unet-9" is unknown; did you mean'),
        ("zoo:unet-8", {"dataset": "gaussian"}, 'was trained on "digits"; found dataset = "gaussian", leave it out'),
        ("unet-8", {}, 'has no weights yet; expected one of the zoo, as "zoo:unet-8"'),
        ("analytic", {}, "is exact for a data set; name one"),
        ("zoo:unet-8", {"schedule": "few-step"}, 'schedule "few-step" must be prepared before its first image'),
        ("zoo:unet-8", {"denoiser": "early-exit"}, "fits networks of family"),
        ("zoo:unet-8", {"solver": "hein"}, 'solver "hein" is unknown; did you mean "heun"'),
        ("zoo:unet-8", {"precision": "float16x"}, 'precision is "float16x"; expected one of'),
        ("zoo:unet-8", {"executor": {"name": "srds", "devices": 2}}, 'executor "srds" runs on several devices'),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(network: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        harness.make_sampler(network, **{"steps": 16, **options})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps is 0; expected a whole number, 1 or more"),
        ({"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ({"step": 3}, 'make_sampler has no argument "step"; did you mean "steps"?'),
        ({}, "make_sampler has no steps"),
        ({"steps": 3, "solver": "srds"}, '"srds" is an executor, not a solver; name it as executor = "srds"'),
    ],
)
def test_arguments_that_cannot_be_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        harness.make_sampler("zoo:unet-8", **options)
