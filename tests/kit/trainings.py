"""Figures of several trainings with known truths, and their replicates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas import DataFrame

from kit import tables


def leave_one_out(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means [...] of group figures [..., groups] and the means without each group [..., groups]."""
    total, count = groups.sum(axis=-1, keepdims=True), groups.shape[-1]
    return groups.mean(axis=-1), (total - groups) / (count - 1)


def over_trainings(
    fids: dict[str, list[float]], wobbles: dict[str, float] | None = None, **changes: dict[str, object]
) -> dict[str, DataFrame]:
    """Return tables of methods at 20 steps in several trainings; `fids` lists each method's FIDs by training.

    `wobbles` says how far replicates swing about the FID; `changes` are further columns by method.
    """
    rows = []
    for method, values in fids.items():
        for training, fid in enumerate(values):
            names = {"trial_id": tables.trial_id(method, 20, training), "training": training, "denoiser": method}
            weights = {"weights": f"zoo:net-seed{training}", "weights_sha256": f"{training:064d}"}
            rows.append({**tables.row(method, 20, fid, 1.0), **names, **weights, **changes.get(method, {})})
            if "control_of" in rows[-1]:
                rows[-1]["control_of_trial_id"] = tables.trial_id(rows[-1].pop("control_of"), 20, training)
    quality = [
        DataFrame({
            "trial_id": row["trial_id"], "attempt": 1, "group": range(20),
            "fid": row["fid"] + (wobbles or {}).get(row["method"], 0.001) * np.tile([1.0, -1.0], 10),
        })
        for row in rows
    ]  # fmt: skip
    return {"trials": DataFrame(rows), "quality": pd.concat(quality, ignore_index=True)}
