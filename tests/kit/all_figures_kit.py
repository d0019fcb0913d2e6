"""Made-up tables for which every figure of a report has something to show, with any number of rows and any names."""

from __future__ import annotations

import itertools
import json

import numpy as np
from pandas import DataFrame

from harness.report.facts import MethodFacts
from kit import tables
from kit.target_kit import TARGETS

LONG = "reverse=True,schedule=steep,tune_steps=0"
FACTS = tuple(
    MethodFacts(part, name, family, "", "", "")
    for part, name, family in (
        ("denoiser", "early-exit", "early exit"), ("denoiser", "gate", "AdaDiff"), ("denoiser", "widths", "DDSM"),
        ("executor", "srds", "parallel in time"), ("schedule", "learnt", "few-step"), ("network", "cunet", "Missing U"),
        ("denoiser", "cache", "AdaDiff"),
    )
)  # fmt: skip


def row(method: str, steps: int, fid: float, time: float, network: str = "unet-small", **changes: object) -> dict:
    """Return a row with an identity of its own, a truncation error and the targets of the suite."""
    made = tables.row(method, steps, fid, time, network=network, **changes)
    error = 0.4 * fid / 10
    return {
        **made, "trial_id": tables.trial_id(method, steps, network), "fid_targets": json.dumps(TARGETS),
        "truncation_error": error, "truncation_error_low": 0.8 * error, "truncation_error_high": 1.3 * error,
        "network_limit_fid": 1.4, "network_limit_fid_low": 1.2, "network_limit_fid_high": 1.6,
        "clock_trial_id": tables.trial_id("ddim", 20, "unet-small"),
    }  # fmt: skip


def solver_rows(networks: int, variants: int, name: str) -> list[dict]:
    """Return lines of solvers, schedules and exits on several networks, each with so many variants."""
    rows = [row("ddim", n, 0.6 + 120 / n, n / 20, is_baseline=True) for n in (5, 8, 12, 20, 40)]
    for k in range(networks):
        network = "unet-small" if k == 0 else f"{name or 'net'}-{k}"
        for v in range(variants):
            spelled = f"(order={v},{name})" if name else f"({v})"
            for n in (5, 8, 12):
                scale = 1.0 + 0.07 * v + 0.2 * k
                rows += [
                    row(f"heun{spelled}", n, 0.5 + scale * 90 / n**1.4, scale * n / 20, network, solver=f"heun{v}"),
                    row(f"ddim@learnt{spelled}", n, 0.5 + scale * 80 / n**1.3, n / 20.5, network, schedule="learnt",
                        params_json=json.dumps({"schedule": {"v": v}})),
                    row(f"ddim@edm{spelled}", n, 0.5 + scale * 85 / n**1.3, n / 20.2, network, schedule=f"edm{v}"),
                    row(f"early-exit{spelled}/ddim", n, 0.7 + scale * 70 / n, 0.8 * scale * n / 20, network,
                        denoiser="early-exit"),
                ]  # fmt: skip
    return rows


def special_rows(name: str) -> tuple[list[dict], list[dict], list[dict], list[dict]]:
    """Return rows that search, that predict their error, that overlap steps, and of several training budgets."""
    label = f"({name})" if name else ""
    widths = [row(f"widths{label}/ddim{k}", 8, 5.0 + k, 0.3, denoiser="widths", solver=f"s{k % 2}") for k in range(4)]
    gates = [row(f"gate{label}/ddim", n, 4.0 + 8 / n, 0.03 * n, denoiser="gate") for n in (8, 12)]
    overlapped = [
        row(f"ddim/srds(tolerance={tolerance},devices={devices}){label}", steps, 4.0, 0.5 + 1 / devices,
            executor="srds", devices=devices, latency_seconds=0.1 / devices * (1 - tolerance),
            serial_latency_seconds=0.12, iterations=4.0 - 10 * tolerance, iterations_most=6,
            distance_to_serial=tolerance,
            params_json=json.dumps({"executor": {"tolerance": tolerance, "devices": devices}}))
        for tolerance in (0.001, 0.01, 0.1) for devices in (1, 2) for steps in (16, 64)
    ]  # fmt: skip
    trained = [
        row("ddim", 20, 5.0 - budget / 40, 1.0, f"cunet-{budget}{label}", network_like="cunet", prepare_seconds=budget)
        for budget in (15.0, 60.0)
    ]
    return widths, gates, overlapped, trained


def cache_rows(name: str) -> list[dict]:
    """Return caches by interval and order at two step counts, each with its distance to the run without."""
    label = f"({name})" if name else ""
    return [
        row(f"cache(interval={n},order={m}){label}/ddim", steps, 4.0 + n, 0.1 * steps / n, denoiser="cache",
            flops_per_image=tables.FULL_FLOPS * steps / n, psnr=40.0 - 4 * n + m, psnr_low=39.0 - 4 * n + m,
            psnr_high=41.0 - 4 * n + m, params_json=json.dumps({"denoiser": {"interval": n, "order": m}}))
        for steps in (8, 12) for n in (2, 3, 5) for m in (0, 1)
    ]  # fmt: skip


def factorial_rows(name: str) -> list[dict]:
    """Return the runs of a factorial design of three factors, on a network of its own."""
    every = itertools.product(("8", "20"), ("ddim", "unipc"), ("full", f"cache({name})"))
    return [
        row(f"run {'/'.join(levels)}", int(levels[0]), 30.0 / (1 + k), 0.1 * int(levels[0]), "unet-runs",
            factors_json=json.dumps(dict(zip(("steps", "solver", "denoiser"), levels, strict=True))))
        for k, levels in enumerate(every)
    ]  # fmt: skip


def all_tables(networks: int = 1, variants: int = 1, name: str = "") -> dict[str, DataFrame]:
    """Return tables of so many networks, and variants of each method on each; methods have `name` in their names."""
    widths, gates, overlapped, trained = special_rows(name)
    others = [*widths, *gates, *overlapped, *trained, *cache_rows(name), *factorial_rows(name)]
    rows = [*solver_rows(networks, variants, name), *others]
    trials = DataFrame(rows).drop_duplicates("trial_id")
    return {
        "trials": trials,
        "quality": tables.quality(trials),
        "steps": _steps(trials),
        "searches": DataFrame([tried for one in widths for tried in _search(one)]),
        "calibration": DataFrame([measured for one in gates for measured in _calibration(one)]),
        "refinements": DataFrame([done for one in overlapped for done in _refinements(one)]),
        "virtual": DataFrame([replay for one in overlapped for replay in _virtual(one)]),
    }


def all_pictures(trials: DataFrame) -> dict[str, np.ndarray]:
    """Return eight random grey pictures of 8 x 8 pixels per trial."""
    random = np.random.default_rng(0)
    return {one: random.integers(0, 256, (8, 1, 8, 8), dtype=np.uint8) for one in trials["trial_id"]}


def _steps(trials: DataFrame) -> DataFrame:
    """Return the steps of the trials, with the widths that ran where they have any."""
    widths = (0.25, 0.5, 1.0, 0.75, 0.5, 0.5, 0.75, 1.0)
    found = tables.steps(trials)
    varies = found["trial_id"].isin(trials.loc[trials["denoiser"] == "widths", "trial_id"])
    units = [json.dumps({f"width-{widths[int(step) % 8]:g}": 40}) for step in found["step"]]
    found = found.assign(units_json=found["units_json"].where(~varies, units))
    cached = found["trial_id"].isin(trials.loc[trials["denoiser"] == "cache", "trial_id"])
    calls = [json.dumps({"full": 40} if step % 3 == 0 else {"full": 10, "cached": 30}) for step in found["step"]]
    return found.assign(units_json=found["units_json"].where(~cached, calls))


def _search(one: dict) -> list[dict]:
    base = {"trial_id": one["trial_id"], "attempt": 1, "part": "denoiser", "round": 0, "n_images": 64}
    candidates = [(f"c{k}", 1e7 * (k + 1), 20.0 / (k + 1) + one["fid"]) for k in range(8)]
    tried = [
        {**base, "candidate_json": name, "fid": fid, "flops_per_image": flops, "objective": fid, "is_final": final,
         "is_chosen": final}
        for final, shown in ((False, candidates), (True, candidates[3:4])) for name, flops, fid in shown
    ]  # fmt: skip
    return tried


def _calibration(one: dict) -> list[dict]:
    return [
        {"trial_id": one["trial_id"], "attempt": 1, "part": "denoiser", "block": block, "sigma": sigma,
         "predicted": 0.1 * block / sigma**0.2, "true": 0.12 * block / sigma**0.25}
        for block in (1, 2, 3, 4) for sigma in (0.1, 1.0, 10.0)
    ]  # fmt: skip


def _refinements(one: dict) -> list[dict]:
    return [
        {"trial_id": one["trial_id"], "attempt": 1, "refinement": float(p), "distance_to_serial": 0.2 * 0.1**p}
        for p in range(4)
    ]


def _virtual(one: dict) -> list[dict]:
    return [
        {"trial_id": one["trial_id"], "attempt": 1, "devices": devices, "is_real": devices == one["devices"],
         "serial_seconds": 0.12, "virtual_latency_seconds": 0.12 / devices**0.5}
        for devices in (1, 2, 4)
    ]  # fmt: skip
