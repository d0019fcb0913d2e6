"""A network that knows classes, with guidance, from the suite to the table."""

from __future__ import annotations

from pathlib import Path

import torch
from kit.block_kit import network
from safetensors.torch import save_file

import harness
from harness.config.suite import Suite


def test_guidance_is_swept_and_counted(tmp_path: Path) -> None:
    weights = tmp_path / "conditional.safetensors"
    sizes = {"depth": 2, "width": 16, "heads": 2, "patch": 2, "preconditioning": "vp", "classes": 10}
    sizes |= {"mlp_ratio": 4.0, "time_scale": 1.0}
    save_file(network("uvit", depth=2, classes=10).state_dict(), weights)
    suite = Suite.model_validate(
        {
            "name": "conditional",
            "title": "conditional",
            "dataset": "digits",
            "network": "uvit-8",
            "networks": {"uvit-8": {"weights": str(weights), "params": sizes}},
            "extractor": "pixels",
            "n_images": 100,
            "batch": 20,
            "classes": "balanced",
            "baseline": {"clock_steps": 3},
            "timing": {"tier": "smoke"},
            "truncation": {"images": 20, "steps": 16},
            "trials": [
                {"steps": 3},
                {"steps": 3, "solver": "heun", "guidance": [1.0, 2.0]},
                {"steps": 9, "executor": "srds", "guidance": 2.0},
            ],
        }
    )
    trials = harness.run(suite, results=tmp_path, in_process=True, report=False).trials
    broken = trials.loc[trials["verdict"] != "VALID", ["method", "reasons"]]
    assert broken.empty, broken.to_dict("records")

    rows = trials.set_index("method")
    plain, guided = rows.loc["heun"], rows.loc["full(guidance=2.0)/heun"]
    assert (plain["nfe"], guided["nfe"]) == (6, 12)
    assert guided["flops_per_image"] == 2 * plain["flops_per_image"]
    assert (plain["guidance"], guided["guidance"], guided["classes"]) == (1.0, 2.0, "balanced")
    parallel = rows.loc["full(guidance=2.0)/ddim/srds"]
    assert parallel["distance_to_serial"] < 1e-2
    assert parallel["nfe_critical_path"] < parallel["nfe"]
    assert torch.isfinite(torch.tensor(guided["truncation_error"]))
