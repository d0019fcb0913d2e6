"""Synthetic tables with the shape of a real run: laws of FID and time chosen by hand, so true answers are known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from pandas import DataFrame

from harness.schema import TABLES

GROUPS = 20
CLOCK = ("ddim", 20)
FULL_FLOPS = 4.6e7  # per evaluation and image
SECONDS = 0.0012  # per evaluation and image, batch 1

# method -> (schedule, solver, FID at one evaluation, power by which it falls, relative cost of an evaluation)
SOLVERS: dict[str, tuple[str, str, float, float, float]] = {
    "ddpm": ("uniform", "ddpm", 210.0, 0.85, 1.06),
    "ddim": ("uniform", "ddim", 120.0, 1.05, 1.0),
    "heun": ("uniform", "heun", 190.0, 1.45, 1.02),
    "dpmpp-2m": ("uniform", "dpmpp-2m", 150.0, 1.62, 1.03),
    "ipndm": ("uniform", "ipndm", 140.0, 1.55, 1.02),
    "unipc": ("uniform", "unipc", 150.0, 1.72, 1.05),
    "ddim karras": ("karras", "ddim", 160.0, 1.25, 1.0),
    "ddim logsnr": ("logsnr", "ddim", 135.0, 1.15, 1.0),
}
NFE = (5, 8, 12, 20)
BASELINE_NFE = (*NFE, 40, 80)


def trial_id(*parts: object) -> str:
    """Return a stable made-up identity."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def empty_row() -> dict:
    """Return a row of `trials` in which nothing was measured."""
    return {column.name: None for column in TABLES["trials"].columns}


def row(method: str, nfe: float, fid: float, relative_time: float, **changes: object) -> dict:
    """Return one finished VALID trial; relative_time is its time over the clock trial's."""
    clock = trial_id(*CLOCK)
    seconds = SECONDS * CLOCK[1] * relative_time
    width, wobble = 0.04 * fid, 0.01 + 0.002 * (len(method) % 4)
    base = {
        "trial_id": trial_id(method, int(nfe)), "attempt": 1, "suite": "quick", "dataset": "digits",
        "network": "unet-small", "method": method, "denoiser": "full", "schedule": "uniform", "solver": "ddim",
        "executor": "serial", "params_json": "{}", "steps": int(nfe), "nfe": float(nfe), "seed_set": 0,
        "n_images": 1797, "fid": fid, "fid_low": fid - width, "fid_high": fid + width, "fid_floor": 0.21,
        "kid": 0.004 * (fid - 0.5), "kid_se": 0.002, "precision": 0.81, "recall": 0.63, "extractor": "digits-cnn:pool",
        "extractor_sha256": hashlib.sha256(b"weights").hexdigest(),
        "reference": "digits train " + hashlib.sha256(b"pixels").hexdigest(), "reference_n": 1437,
        "latency_seconds": 2.1 * seconds, "latency_low_seconds": 2.05 * seconds, "latency_high_seconds": 2.2 * seconds,
        "throughput_images_per_second": 1 / seconds, "batch": 64, "speedup": 1 / relative_time,
        "speedup_low": (1 - wobble) / relative_time, "speedup_high": (1 + wobble) / relative_time,
        "flops_per_image": FULL_FLOPS * nfe, "flops_critical_path_per_image": FULL_FLOPS * nfe, "flop_coverage": 1.0,
        "parameters": 412_000, "peak_memory_bytes": 310_000_000, "network_time_share": 0.93, "prepare_seconds": 95.0,
        "prepare_flops": 2.4e13, "devices": 1, "device_name": "Example CPU (1 thread)", "timing_tier": "quick",
        "precision_dtype": "float32", "images_sha256": trial_id("images", method, int(nfe)), "torch_version": "2.15.0",
        "harness_version": "0.1.0", "git_sha": "0" * 40, "git_dirty": False, "started_at": "2026-01-01T00:00:00Z",
        "duration_seconds": 9.0, "is_baseline": False, "baseline_trial_id": trial_id("ddim", int(nfe)),
        "clock_trial_id": clock, "status": "finished", "verdict": "VALID", "reasons": "",
    }  # fmt: skip
    return {**empty_row(), **base, **changes}


def trials() -> DataFrame:
    """Return about forty trials: eight solver lines, an early exit, a parallel one, an invalid and a failed one."""
    rows = []
    for method, (schedule, solver, start, power, cost) in SOLVERS.items():
        for nfe in BASELINE_NFE if method == "ddim" else NFE:
            nfe = nfe + 1 - nfe % 2 if solver == "heun" else nfe  # two evaluations a step, one in the last
            fid = 0.6 + start * nfe**-power * (1 + 3 * math.exp(-nfe / 3))
            time = cost * (nfe + 0.4) / (CLOCK[1] + 0.4)
            parts = {"schedule": schedule, "solver": solver, "is_baseline": method == "ddim"}
            rows.append(row(method, nfe, fid, time, **parts))
    for nfe in NFE:
        work = {"flops_per_image": 0.7 * FULL_FLOPS * nfe, "prepare_seconds": 135.0, "prepare_flops": 3.1e13}
        fid = 1.1 + 150.0 * nfe**-1.6
        cheap = {"denoiser": "early-exit", "solver": "dpmpp-2m", **work}
        rows.append(row("early-exit + dpmpp-2m", nfe, fid, 0.82 * nfe / 20, **cheap))
    rows.append(row("srds(4) over ddim", 34, 5.1, 0.41, executor="srds", devices=4))
    rows.append(row("missing-u", 12, 9.0, 0.5, verdict="INVALID", reasons="nan-samples: 3 images, first at index 17"))
    lost = dict.fromkeys(("fid", "fid_low", "fid_high", "speedup"), None) | {"status": "failed", "verdict": "INVALID"}
    rows.append(row("ddsm", 12, 0.0, 0.5, reasons="worker-died, signal 9") | lost)
    rows.append(row("ddim", 8, 0.0, 0.4, reasons="timeout") | lost)
    table = DataFrame(rows)
    first = (table["method"] == "ddim") & (table["reasons"] == "timeout")
    again = (table["method"] == "ddim") & (table["nfe"] == 8) & ~first
    table.loc[again, "attempt"] = 2
    return table


def quality(table: DataFrame, relative_spread: float = 0.004) -> DataFrame:
    """Return jackknife replicates in which trials of equal noise share most of their fluctuation."""
    common = np.random.default_rng(0).standard_normal(GROUPS)
    frames = []
    for position, (_, one) in enumerate(table.dropna(subset=["fid"]).iterrows()):
        own = np.random.default_rng(position + 1).standard_normal(GROUPS)
        fids = one["fid"] * (1 + relative_spread * (0.9 * common + 0.4 * own))
        columns = {"trial_id": one["trial_id"], "attempt": one["attempt"], "group": range(GROUPS), "fid": fids}
        frames.append(DataFrame({**columns, "kid": 0.001 * fids}))
    return pd.concat(frames, ignore_index=True)


def steps(table: DataFrame) -> DataFrame:
    """Return the steps of each trial on a geometric ladder of noise levels."""
    rows = []
    for _, one in table[table["status"] == "finished"].iterrows():
        count = int(one["steps"])
        sigma = [*np.geomspace(80.0, 0.02, count), 0.0]
        for step in range(count):
            share = 0.5 + 0.4 * step / count if one["denoiser"] == "early-exit" else 1.0
            rows.append({
                "trial_id": one["trial_id"], "attempt": one["attempt"], "step": step, "sigma": sigma[step],
                "sigma_next": sigma[step + 1], "t": 1 - step / count, "t_next": 1 - (step + 1) / count, "nfe": 1.0,
                "flops_per_image": FULL_FLOPS * share, "network_share": share, "units_json": "{}",
            })  # fmt: skip
    return DataFrame(rows)


def timings(table: DataFrame) -> DataFrame:
    """Return eleven interleaved pairs of each kind per finished trial."""
    rows = []
    for _, one in table[table["status"] == "finished"].iterrows():
        for kind, seconds, batch in (
            ("latency", one["latency_seconds"], 1),
            ("throughput", 64 / one["throughput_images_per_second"], 64),
        ):
            for order in range(22):
                role, scale = ("trial", 1.0) if order % 2 else ("baseline", 1.5)
                wall = seconds * scale * (1 + 0.01 * math.sin(order))
                rows.append({
                    "trial_id": one["trial_id"], "attempt": one["attempt"], "block": 0, "is_counted": True,
                    "kind": kind, "role": role, "round": order // 2, "order": order, "batch": batch,
                    "seconds": wall, "process_seconds": wall, "device_seconds": None, "sm_clock_mhz": None,
                    "temperature_celsius": None,
                })  # fmt: skip
    return DataFrame(rows)


def tables(change: Callable[[DataFrame], DataFrame] = lambda table: table) -> dict[str, DataFrame]:
    """Return the four tables, after an optional change to `trials`."""
    table = change(trials())
    return {"trials": table, "steps": steps(table), "timings": timings(table), "quality": quality(table)}


def shuffled(source: dict[str, DataFrame], seed: int) -> dict[str, DataFrame]:
    """Return the same rows in another order."""
    return {name: frame.sample(frac=1, random_state=seed).reset_index(drop=True) for name, frame in source.items()}
