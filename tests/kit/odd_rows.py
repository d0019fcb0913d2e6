"""Tables with one thing odd in them, by name: values that no run should write and that some folder will hold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pandas as pd
from kit import tables
from pandas import DataFrame

from harness.schema import TABLES

Tables = dict[str, DataFrame]
ODD_NUMBERS = (0.0, -1.0, math.nan, math.inf, -math.inf, 1e300, 1e-300)
MEASURED = (
    "nfe", "flops_per_image", "latency_seconds", "throughput_images_per_second", "fid", "fid_low", "speedup",
    "speedup_low", "steps", "kid", "devices", "batch", "n_images", "reference_n", "prepare_seconds", "fid_floor",
    "parameters", "seed_set", "training", "attempt",
)  # fmt: skip
ODD_PARAMETERS = (
    "", "null", "not JSON", "[1,2", "[]", "3", '"x"', "NaN", '{"schedule": null}', '{"schedule": [1]}',
    '{"denoiser": {"seed": "x"}}', '{"executor": {"tolerance": "x"}}', "{" * 2000, "[" * 100_000,
    json.dumps({"solver": {"a": {"b": [1, {"c": "<script>alert(1)</script>"}]}}}),
    json.dumps({"solver": {"x": r"\input{/etc/passwd} $x^2$ % & #"}}),
    json.dumps({"schedule": {"k": "y" * 200_000}}),
)  # fmt: skip
ODD_TEXTS = (
    "<script>alert(1)</script>", "a\"b'c`d", "naïve ✓ 方法 🤖", "x" * 3000, "", "a@b:c-10", "a|b\n|c", r"$\frac{1}{0$",
    "{{7*7}}", "%s %d {0}", "\x00\x07",
)  # fmt: skip
ODD_TARGETS = ("", "[]", "null", "[1]", "[3,2,1]", "[0,-1]", "[NaN]", '["a"]', "{}", "[1e999, 1]", "x", "[[1]]")
TEXTS = (
    "dataset", "reasons", "device_name", "extractor", "solver", "schedule", "denoiser", "executor", "prepared",
    "weights", "reference", "timing_tier", "returned", "more_steps_in", "suite", "trial_id",
)  # fmt: skip


@cache
def _base() -> Tables:
    few = tables.trials()
    kept = few["method"].isin(("ddim", "missing-u", "ddsm", "srds(4) over ddim"))
    kept |= few["method"].isin(("unipc", "heun", "early-exit + dpmpp-2m")) & few["nfe"].between(8, 13)
    few = few[kept & few["nfe"].ne(80)]
    targets = {"fid_targets": "[40, 8, 3]", "equivalence_margin": 1.0}
    return tables.tables(lambda _: few.assign(**targets))


def base() -> Tables:
    """Return a dozen trials: the baseline's curve, two solvers, an early exit, one parallel, one INVALID, two failed."""
    return {name: frame.copy() for name, frame in _base().items()}


def changed(change: Callable[[DataFrame], Any]) -> Tables:
    """Return the tables after a change of `trials` in place, or to the frame that it returns."""
    found = base()
    trials = found["trials"].astype(object)
    returned = change(trials)
    found["trials"] = trials if returned is None else returned
    return found


def with_values(every: bool = True, **values: Any) -> Tables:
    """Return the tables with these values in all rows, or in every third."""

    def change(trials: DataFrame) -> None:
        for name, value in values.items():
            trials.loc[trials.index if every else trials.index[::3], name] = value

    return changed(change)


def odd_tables() -> Iterator[tuple[str, Callable[[], Tables]]]:
    """Yield a name and what makes the tables."""
    yield from _few()
    yield from _equal()
    for column in MEASURED:
        for value in ODD_NUMBERS:
            for every in (True, False):
                name = f"{column}={value}{'' if every else ' in some'}"
                yield name, lambda c=column, v=value, e=every: with_values(e, **{c: v})
    for text in ODD_PARAMETERS:
        yield f"params {text[:24]}", lambda t=text: with_values(params_json=t)
    for text in ODD_TARGETS:
        yield f"targets {text}", lambda t=text: with_values(fid_targets=t)
    yield from _named()
    for column in TABLES["trials"].columns:
        yield f"without {column.name}", lambda c=column.name: changed(lambda t: t.drop(columns=c))
    for table in ("steps", "timings", "quality"):
        for value in (0.0, math.nan, math.inf, -1.0):
            yield f"{table} {value}", lambda t=table, v=value: _with_numbers(t, v)
        yield f"without table {table}", lambda t=table: {k: v for k, v in base().items() if k != t}


def _few() -> Iterator[tuple[str, Callable[[], Tables]]]:
    yield "no table", dict
    yield "no row", lambda: {name: frame.iloc[:0] for name, frame in base().items()}
    yield "one row", lambda: changed(lambda t: t[(t.method == "ddim") & (t.nfe == 20)])
    yield "one row, no baseline", lambda: changed(lambda t: t[(t.method == "unipc")].iloc[:1])
    yield "one step count", lambda: changed(lambda t: t[t.nfe == 12])
    yield "one point of the baseline", lambda: changed(lambda t: t[(t.method != "ddim") | (t.nfe == 20)])
    yield "all INVALID", lambda: with_values(verdict="INVALID", reasons="nan-samples")
    lost = dict.fromkeys(("fid", "fid_low", "fid_high", "speedup", "nfe", "latency_seconds", "params_json"))
    yield "all failed", lambda: with_values(status="failed", verdict="INVALID", **lost)
    yield "no baseline", lambda: with_values(is_baseline=False)
    yield "baseline's rows gone", lambda: changed(lambda t: t[t.method != "ddim"])
    yield "no clock", lambda: with_values(clock_trial_id=None)
    yield "clock's row gone", lambda: with_values(clock_trial_id="ab")
    yield "ids alone", lambda: changed(lambda t: t[["trial_id", "attempt"]])
    yield "rows three times", lambda: {name: pd.concat([frame] * 3) for name, frame in base().items()}
    yield "same rows under other ids", lambda: changed(
        lambda t: pd.concat([t, t.assign(trial_id="f" * 8 + t["trial_id"].str[8:])])
    )


def _equal() -> Iterator[tuple[str, Callable[[], Tables]]]:
    fids = {"fid": 5.0, "fid_low": 5.0, "fid_high": 5.0}
    times = dict.fromkeys(("speedup", "speedup_low", "speedup_high", "throughput_images_per_second"), 1.0)
    times |= dict.fromkeys(("latency_seconds", "latency_low_seconds", "latency_high_seconds"), 1.0)
    yield "equal FIDs", lambda: with_values(**fids)
    yield "equal FIDs and replicates", lambda: with_values(**fids) | {"quality": base()["quality"].assign(fid=5.0)}
    yield "equal times", lambda: with_values(**times)
    yield "all equal", lambda: with_values(**fids, **times) | {"quality": base()["quality"].assign(fid=5.0)}
    yield "turned intervals", lambda: with_values(fid_low=9.0, fid_high=1.0, speedup_low=9.0, speedup_high=0.1)


def _named() -> Iterator[tuple[str, Callable[[], Tables]]]:
    for text in ODD_TEXTS:
        short = text[:24]
        yield f"methods {short}", lambda x=text: changed(lambda t: t.assign(method=x + t["method"]))
        yield f"one method {short}", lambda x=text: with_values(method=x)
        yield f"network {short}", lambda x=text: with_values(network=x)
        for column in TEXTS:
            yield f"{column} {short}", lambda x=text, c=column: with_values(**{c: x})


def _with_numbers(table: str, value: float) -> Tables:
    found = base()
    reals = {column.name for column in TABLES[table].columns if pd.api.types.is_float_dtype(found[table].get(column.name))}
    found[table] = found[table].assign(**dict.fromkeys(reals, value))
    return found
