"""Columns that say what a trial is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.identity import canonical_json
from harness.specs.row import RowSpec
from harness.specs.sampler import PartSpec, SamplerSpec

if TYPE_CHECKING:
    from harness.schema import Row


FEATURE_DTYPE = "float32"
"""Number format of all feature networks, on every device; statistics of features are float64."""


def _class_columns(sampler: SamplerSpec) -> Row:
    """Return the law of the images' classes and the guidance to them; nothing where they have none."""
    if sampler.classes is None:
        return {}
    law = str(sampler.classes.one) if sampler.classes.law == "one" else sampler.classes.law
    scale = sampler.denoiser.params.get("guidance", 1.0)
    assert isinstance(scale, int | float)
    return {"classes": law, "guidance": float(scale)}


def _shown_name(part: PartSpec) -> str:
    """Return a part's name; what hands everything to a wrapped sampler runs on one device, as the serial executor."""
    return "serial" if part.name in ("wrapped", "wrapped-pipeline") else part.name


def name_columns(spec: RowSpec) -> Row:
    """Return the columns that say what a trial is, and which others it is compared with."""
    sampler, data = spec.sampler, spec.sampler.model.data

    # the sampler
    row: Row = {
        "suite": spec.suite,
        "dataset": data.name,
        "network": spec.network,
        "network_like": spec.network_like,
        "method": spec.method,
        **{name: _shown_name(part) for name, part in sampler.parts().items()},
        "prepared": " ".join(name for name, part in sampler.parts().items() if part.artifact_id is not None),
        "training": spec.training,
        "params_json": canonical_json({name: part.params for name, part in sampler.parts().items()}),
        # levels, classes and noise
        "steps": sampler.steps,
        **_class_columns(sampler),
        "seed_set": sampler.seed_set,
        "n_images": spec.n_images,
        "batch": sampler.batch,
    }

    # what it is measured by and compared with
    return row | {
        "extractor": spec.extractor.title,
        "extractor_sha256": spec.extractor.sha256,
        "extractor_resize": spec.extractor.resize,
        "extractor_dtype": FEATURE_DTYPE,
        "extractor_batch": spec.extractor.batch,
        # how it is timed, on what, against what
        "timing_tier": spec.tier,
        "timing_mode": sampler.mode,
        "precision_dtype": sampler.model.precision,
        "devices": sampler.devices,
        "reference": f"{data.name} {_reference_name(spec)}",
        "weights": spec.weights,
        "state_shape": "x".join(map(str, data.state_shape)),
        **_decoder_columns(sampler),
        **_goal_columns(spec),
        "factors_json": json.dumps(spec.factors) if spec.factors else None,
        **spec.relations.model_dump(),
    }


def _reference_name(spec: RowSpec) -> str:
    data = spec.sampler.model.data
    return f"{data.reference} {data.pixels}" if spec.statistics is None else spec.statistics.title


def _decoder_columns(sampler: SamplerSpec) -> Row:
    """Return what makes pictures of the states; nothing where states are pictures."""
    decoder = sampler.decoder
    if decoder is None:
        return {}
    return {"decoder": decoder.name, "decoder_sha256": decoder.sha256, "decode_batch": decoder.batch}


def _goal_columns(spec: RowSpec) -> Row:
    """Return what a FID is compared with: the network's limit, the suite's targets and its margin."""
    limit = spec.network_limit
    return {
        "network_limit_fid": limit.fid if limit else None,
        "network_limit_fid_low": limit.low if limit else None,
        "network_limit_fid_high": limit.high if limit else None,
        "fid_targets": canonical_json(list(spec.fid_targets)) if spec.fid_targets else None,
        "equivalence_margin": spec.equivalence_margin,
        "more_steps_in": spec.more_steps_in,
    }
