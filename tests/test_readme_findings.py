"""Every figure that README's findings quote stands in a committed table: the sentences are made here from the tables.

A finding that no longer holds, or that the tables say otherwise, fails. `python -P tests/test_readme_findings.py`
prints the sentences as the tables give them.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import harness

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
TRAININGS = ("", "-seed1", "-seed2")


@cache
def trials(suite: str) -> pd.DataFrame:
    return harness.load(REFERENCE / suite).trials


def row(method: str, network: str, steps: int, suite: str = "digits") -> pd.Series:
    """Return the one VALID row of a method, a network and a step count."""
    table = trials(suite)
    found = table[(table["method"] == method) & (table["network"] == network) & (table["steps"] == steps)]
    assert len(found) == 1, f"{len(found)} rows of {method} @ {network} at {steps} steps in {suite}"
    (one,) = (r for _, r in found.iterrows())
    assert one["verdict"] == "VALID"
    return one


def values(method: str, network: str, steps: int, column: str = "fid") -> list[float]:
    """Return a figure in all three trainings of a network."""
    return [float(row(method, f"{network}{training}", steps)[column]) for training in TRAININGS]


def ratios(method: str, other: str, network: str, steps: int, column: str) -> list[float]:
    pairs = zip(values(method, network, steps, column), values(other, network, steps, column), strict=True)
    return [one / two for one, two in pairs]


def listed(numbers: Iterable[float], digits: int = 1) -> str:
    *firsts, last = (f"{number:.{digits}f}" for number in numbers)
    return f"{', '.join(firsts)} and {last}"


def compared(method: str, other: str, network: str, steps: int) -> list[Mapping[str, float]]:
    """Return the stored comparison of two methods in all three trainings: a difference of FID with its interval."""
    table = pd.read_csv(REFERENCE / "digits" / "comparisons.csv")
    found = []
    for training in TRAININGS:
        name = f"{network}{training}"
        mine = table[(table["method"] == method) & (table["network"] == name) & (table["steps"] == steps)]
        mine = mine[(mine["other_method"] == other) & (mine["kind"] == "control")]
        assert len(mine) == 1, f"{len(mine)} comparisons of {method} with {other} @ {name} at {steps} steps"
        found.append(mine.iloc[0])
    return found


def lower(method: str, other: str, network: str, steps: int) -> int:
    """Return in how many of the three trainings the FID is lower by more than the paired interval."""
    return sum(pair["fid_difference_high"] < 0 for pair in compared(method, other, network, steps))


def span(numbers: Iterable[float], digits: int = 1) -> str:
    """Return least and greatest of some figures, or the one that they round to."""
    ordered = sorted(numbers)
    ends = [f"{number:.{digits}f}" for number in (ordered[0], ordered[-1])]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


TUNED, LEVELS, BOUND = "few-step/ddim@few-step", "ddim@few-step", "ddim@few-step(objective=bound)"
TRAINED_ON = "few-step(tune_jitter=1.0,tune_objective=data)/ddim@few-step"
ON_DATA, ROUNDS = "few-step(tune_objective=data)/ddim@few-step", "few-step/ddim@few-step(rounds=2)"
STEEP, WHOLE = "early-exit(schedule=steep)/dpmpp-2m", "early-exit(schedule=full)/dpmpp-2m"
REVERSED, GATE = "early-exit(reverse=True,schedule=steep)/dpmpp-2m", "adadiff/dpmpp-2m"
MEANS, WIDTH = "adadiff(rule=mean-depth)/dpmpp-2m", "ddsm(widths=[0.75])/ddim"
SEARCHES = ("ddsm-w20", "ddsm-w20-search1", "ddsm-w20-search2")


def solvers() -> str:
    floor = row("ddim", "unet-8", 10)["fid_floor"]
    return (
        f"On networks that are trained out, more accurate sampling is better: from 10 to 40 steps DDIM comes from FID "
        f"{listed(values('ddim', 'unet-8', 10))} to {listed(values('ddim', 'unet-8', 40))}, and 2M has "
        f"{listed(values('dpmpp-2m', 'unet-8', 10))} at 10. A perfect sampler would show {floor:.1f} at this N: below "
        f"that, differences are the noise of 1,200 images."
    )


def levels() -> str:
    cosine = [lower(LEVELS, "ddim@cosine", "unet-8", steps) for steps in (5, 7, 10)]
    assert (cosine, lower(LEVELS, BOUND, "unet-8", 5)) == ([3, 1, 0], 3)
    return (
        f"Where five Euler steps are put costs nothing and decides much: FID {listed(values('ddim', 'unet-8', 5))} on "
        f"EDM's levels, {listed(values('ddim@gits', 'unet-8', 5))} on GITS's, "
        f"{listed(values('ddim@cosine', 'unet-8', 5))} on the cosine's, {listed(values(LEVELS, 'unet-8', 5))} on those "
        f"of `few-step`. Against the cosine's it is better in all three trainings at 5 steps, in one at 7, in none at "
        f"10; against its own bound without the contraction in all three at 5."
    )


def tuning() -> str:
    for steps in (5, 10):
        assert lower(TUNED, LEVELS, "unet-8", steps) == 3
    for control in (TRAINED_ON, ON_DATA):
        assert lower(TUNED, control, "unet-8", 5) == 3
    rounds = row(ROUNDS, "unet-8", 5)
    assert pd.isna(rounds["returned"])
    return (
        f"Tuning the network at these levels on the solver's own steps lowers the FID of five steps to "
        f"{listed(values(TUNED, 'unet-8', 5))}; trained on as before for as long it has "
        f"{listed(values(TRAINED_ON, 'unet-8', 5))}, tuned there on the data {listed(values(ON_DATA, 'unet-8', 5))}. "
        f"Both phases in two rounds, run on the first training, come to {rounds['fid']:.1f}. At 10 steps tuning beats "
        f"the levels alone in all three trainings too."
    )


def early_exit() -> str:
    pairs = {steps: compared(STEEP, WHOLE, "uvit-8", steps) for steps in (7, 10, 14)}
    shown = {steps: sum(pair["fid_difference_low"] > 0 for pair in found) for steps, found in pairs.items()}
    assert shown == {7: 0, 10: 0, 14: 3}
    assert lower(STEEP, REVERSED, "uvit-8", 10) == 3
    reversed_ = [-pair["fid_difference"] for pair in compared(STEEP, REVERSED, "uvit-8", 10)]
    return (
        f"Early exit costs no FID that could be shown at 7 and 10 steps against the whole network tuned as long, in "
        f"{span((pair['time_ratio'] for found in pairs.values() for pair in found), 2)} of its time; at 14 steps it "
        f"loses {span(pair['fid_difference'] for pair in pairs[14])}, in all three trainings. The same depths in "
        f"reversed order, at equal FLOPs, are worse by {span(reversed_)}."
    )


def adadiff() -> str:
    gate = [pair for steps in (7, 10, 14) for pair in compared(GATE, MEANS, "uvit-8", steps)]
    assert sum(pair["fid_difference_high"] < 0 for pair in gate) == 1
    whole = compared(GATE, WHOLE, "uvit-8", 10)
    assert all(pair["fid_difference_low"] > 0 for pair in whole)
    return (
        f"AdaDiff's gate beats its own mean depths run without a gate in one of nine comparisons, and takes "
        f"{span((pair['time_ratio'] for pair in gate), 2)} times their time. Against the whole network tuned as long "
        f"it loses {span(pair['fid_difference'] for pair in whole)} at 10 steps for "
        f"{span(pair['flops_ratio'] for pair in whole)} of the FLOPs."
    )


def ddsm() -> str:
    found = [row(search, "slim-8", 10)["fid"] for search in SEARCHES]
    table = pd.read_csv(REFERENCE / "digits" / "comparisons.csv")
    blind = table[table["other_method"] == "ddsm-w20-blind"]
    first, others = blind[blind["network"] == "slim-8"], blind[blind["network"] != "slim-8"]
    assert len(first) == len(SEARCHES)
    assert (first["fid_difference_high"] >= 0).all()
    assert len(others) == len(TRAININGS) - 1
    assert (others["fid_difference_high"] < 0).all()
    assert lower("ddsm-w20", WIDTH, "slim-8", 10) == 0
    flops = ratios("ddsm-w20", WIDTH, "slim-8", 10, "flops_per_image")
    return (
        f"DDSM's search depends on its luck: on the first training three searches from other seeds end "
        f"{max(found) - min(found):.1f} FID apart, none below a blind search of equal size; on the other two one "
        f"search each ends {listed(sorted(-others['fid_difference']))} below it, at {span(others['flops_ratio'])} "
        f"times its FLOPs. In no training is it below the fixed width 0.75 ("
        f"{listed(values('ddsm-w20', 'slim-8', 10))} against {listed(values(WIDTH, 'slim-8', 10))}), at {span(flops)} "
        f"of its FLOPs."
    )


def continuous() -> str:
    time = []
    for training in TRAININGS:
        table = pd.read_csv(REFERENCE / "digits" / "comparisons.csv")
        found = table[(table["network"] == f"cunet-8{training}") & (table["kind"] == "control")]
        (pair,) = (one for _, one in found.iterrows())
        assert pair["fid_difference_low"] < 0 < pair["fid_difference_high"]
        time.append(pair["time_ratio"])
        parameters, flops = pair["parameters_ratio"], pair["flops_ratio"]
    return (
        f"The continuous U-Net has {parameters:.1f} of the U-Net's parameters and no other FID that could be shown, at "
        f"{flops:.1f} times its FLOPs and {span(time)} times its time."
    )


def overlapping() -> str:
    rows = [row("ddim/srds", "unet-8", steps) for steps in (16, 25, 36)]
    return (
        f"Parareal returns the serial images of 16 to 36 steps to its tolerance, but on one device takes "
        f"{span(1 / r['speedup_over_serial'] for r in rows)} times the serial time."
    )


def loosened() -> str:
    fast = [row("ddim/srds(tolerance=0.1)", "unet-8", steps, "parallel") for steps in (64, 100)]
    usual = [row("ddim/srds", "unet-8", steps, "parallel") for steps in (64, 100)]
    assert all(r["speedup_over_serial_low"] > 1 for r in fast)
    assert all(r["speedup_over_serial_high"] < 1 for r in usual)
    return (
        f"`parallel`, one training: loosened to a tolerance of 0.1 Parareal makes the serial images of 64 and 100 "
        f"steps {listed(r['speedup_over_serial'] for r in fast)} times as fast on one device, at a relative distance "
        f"of {listed((r['distance_to_serial'] for r in fast), 2)}; to its own tolerance it is "
        f"{listed(r['speedup_over_serial'] for r in usual)} times as fast, which is slower."
    )


def schedules() -> str:
    def at(method: str) -> list[float]:
        return [float(row(method, "unet-8", steps, "schedules")["fid"]) for steps in (4, 6, 10)]

    euler = [at(f"ddim@{name}") for name in ("few-step", "cosine", "ld3")]
    apart = max(max(found) - min(found) for found in zip(*euler, strict=True))
    table = trials("schedules")
    plain = table[(table["denoiser"] == "full") & table["steps"].isin([4, 6, 10])]
    best = [float(found["fid"].min()) for _, found in plain[plain["solver"] == "dpmpp-2m"].groupby("steps")]
    ld3, few = at("dpmpp-2m@ld3(solver=dpmpp-2m)"), at("dpmpp-2m@few-step")
    assert best == [ld3[0], *few[1:]]
    return (
        f"`schedules`, one training: which schedule is best changes with the solver and the steps. Under Euler those "
        f"of `few-step`, LD3 and the cosine lie within {apart:.1f} of each other at 4, 6 and 10 steps, far below EDM's "
        f"({listed(at('ddim'))}); under 2M LD3 has {ld3[0]:.1f} at 4 steps and `few-step` {few[1]:.1f} and "
        f"{few[2]:.1f} at 6 and 10, where EDM's has {listed(at('dpmpp-2m'))}."
    )


SENTENCES = (solvers, levels, tuning, early_exit, adadiff, ddsm, continuous, overlapping, loosened, schedules)


def section() -> str:
    """Return README's findings as one line of text."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start = readme.index("What `digits` found")
    return " ".join(readme[start : readme.index("## Look further")].split())


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda sentence: sentence.__name__)
def test_readme_quotes_the_committed_tables(sentence: Callable[[], str]) -> None:
    assert sentence() in section()


def test_readme_quotes_no_other_figure() -> None:
    rest = section()
    for sentence in SENTENCES:
        rest = rest.replace(sentence(), "")
    assert re.findall(r"\d+(?:\.\d+)?", rest) == []


if __name__ == "__main__":
    for sentence in SENTENCES:
        print("\n".join(textwrap.wrap(f"- {sentence()}", 118, subsequent_indent="  ", break_on_hyphens=False)))
