"""Tables with one thing odd in them, by name: values that no run should write and that some folder will hold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pandas as pd
from pandas import DataFrame

from harness.schema import TABLES
from kit import tables

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
    "weights", "reference", "timing_tier", "returned", "more_steps_in", "suite",
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


def in_turn(columns: Sequence[str], values: Sequence[Any], shift: int = 0) -> Tables:
    """Return the tables with one odd value a row: the next of the columns, the next of the values."""

    def change(trials: DataFrame) -> None:
        for number, row in enumerate(trials.index):
            place = number + shift
            trials.loc[row, columns[place % len(columns)]] = values[place % len(values)]

    return changed(change)


def odd_tables() -> Iterator[tuple[str, Callable[[], Tables]]]:
    """Yield a name and what makes the tables."""
    yield from _few()
    yield from _equal()
    yield from _numbers()
    for column, texts in (("params_json", ODD_PARAMETERS), ("fid_targets", ODD_TARGETS)):
        for shift in range(0, len(texts), 9):
            yield f"{column} from {shift}", lambda c=column, t=texts, s=shift: in_turn([c], t, s)
    for text in ("null", "[NaN]", '["a"]'):
        yield f"targets {text}", lambda t=text: with_values(fid_targets=t)
    yield from _named()

    # tables of older versions
    names = [column.name for column in TABLES["trials"].columns]
    for start in range(0, len(names), 8):
        some = names[start : start + 8]
        yield f"without {some[0]} to {some[-1]}", lambda c=some: changed(lambda t: t.drop(columns=c))
    for column in ("steps", "method", "nfe", "devices", "verdict", "is_baseline"):
        yield f"without {column}", lambda c=column: changed(lambda t: t.drop(columns=c))
    for table in ("steps", "timings", "quality"):
        yield f"table {table} is missing", lambda t=table: {k: v for k, v in base().items() if k != t}
    for value in (0.0, math.nan, math.inf, -1.0):
        yield f"all other numbers {value}", lambda v=value: _with_numbers(v)


def _numbers() -> Iterator[tuple[str, Callable[[], Tables]]]:
    for value in ODD_NUMBERS:
        for shift in (0, 11):
            yield f"numbers {value} from {shift}", lambda v=value, s=shift: in_turn(MEASURED, [v], s)
    for column in MEASURED[:11]:
        for value in (0.0, math.nan):
            yield f"all {column} {value}", lambda c=column, v=value: with_values(**{c: v})


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
    yield (
        "same rows under other ids",
        lambda: changed(lambda t: pd.concat([t, t.assign(trial_id="f" * 8 + t["trial_id"].str[8:])])),
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
    yield "odd methods", lambda: in_turn(["method"], ODD_TEXTS)
    yield "odd networks", lambda: in_turn(["network"], ODD_TEXTS)
    for text in ODD_TEXTS:
        yield f"texts {text[:24]}", lambda x=text: with_values(**dict.fromkeys(TEXTS, x))
        yield f"one method {text[:24]}", lambda x=text: with_values(method=x, network=x)
    yield "odd texts", lambda: in_turn(TEXTS, ODD_TEXTS)


def _with_numbers(value: float) -> Tables:
    """Return the tables with a number in every real column but those of the trials."""
    found = base()
    for table in ("steps", "timings", "quality"):
        frame = found[table]
        known = [column.name for column in TABLES[table].columns if column.name in frame]
        reals = [name for name in known if pd.api.types.is_float_dtype(frame[name])]
        found[table] = frame.assign(**dict.fromkeys(reals, value))
    return found
