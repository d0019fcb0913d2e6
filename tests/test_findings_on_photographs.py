"""Every figure of the findings stands in a committed table: the sentences are made here from the tables.

A finding that no longer holds, or that the tables say otherwise, fails. With tests/ on the path,
`python -P tests/test_findings_on_photographs.py` prints the sentences as the tables give them.
"""

from __future__ import annotations

from functools import partial

from kit import findings_kit
from kit.findings_kit import (
    TRAININGS,
    check_section,
    difference,
    faster,
    listed,
    lower,
    print_sentences,
    span,
    table,
    trials,
    undecided,
)

SUITE = "photos"
row = partial(findings_kit.row, suite=SUITE)
values = partial(findings_kit.values, suite=SUITE)
pair = partial(findings_kit.pair, suite=SUITE)
of_one = partial(findings_kit.pair, suite=SUITE, trainings=1)
reached = partial(findings_kit.reached, suite=SUITE)
EXIT, GATE, WHOLE, MEANS = "early-exit-steep", "adadiff", "whole-tuned", "adadiff-mean-depth"
SEARCHED, WIDTH = "ddsm-w20", "ddsm(widths=[0.75])/dpmpp-2m"
TUNED, LEVELS = "few-step-tuned", "ddim@few-step"


def verdicts() -> str:
    rows = table("comparisons", SUITE)
    family = rows[(rows["kind"] == "control") & (rows["trainings"] == len(TRAININGS))]
    found = sorted(zip(family["method"], family["steps"], strict=True))
    assert found == [(GATE, 10), (EXIT, 10), (TUNED, 5)]
    assert (family["p_holm"] <= 0.05).all()
    return (
        "Three methods met their controls in three trainings: AdaDiff and early exit at 10 steps, the tuned few-step "
        "network at 5. Holm's rule shows all three differences. All other comparisons are of one training."
    )


def solvers() -> str:
    found = {name: values(name, "unet-16", 10) for name in ("ddim", "dpmpp-2m", "unipc")}
    limits = values("dpmpp-2m", "unet-16", 10, "network_limit_fid")
    assert all(fid < limit for fid, limit in zip(found["unipc"], limits, strict=True))
    slow = row("ddim", "unet-16", 20)["fid"]
    return (
        f"The solver decides most: 10 evaluations give FID {listed(found['ddim'])} by DDIM, "
        f"{listed(found['dpmpp-2m'])} by 2M, {listed(found['unipc'])} by UniPC, and DDIM still has {slow:.1f} at 20. "
        f"Solved out the networks have {listed(limits)}: the good rows lie below that, since errors of sampler and "
        "network cancel."
    )


def quality_times() -> str:
    ipndm, unipc, plain = (reached(f"unet-16:{name}", 20.57) for name in ("ipndm", "unipc", "dpmpp-2m"))
    value, low, high = (f"{1e3 * plain[f'throughput_seconds{end}']:.1f}" for end in ("", "_low", "_high"))
    return (
        f"To FID 20.57 2M takes {value} [{low}, {high}] ms an image; UniPC is {faster(unipc)} times as fast, iPNDM "
        f"{faster(ipndm)}, in one training."
    )


def early_exit() -> str:
    whole = pair(EXIT, WHOLE, "uvit-16", 10)
    short, long = (of_one(EXIT, WHOLE, "uvit-16", steps) for steps in (7, 14))
    assert whole["fid_difference_low"] > 0
    return (
        f"Early exit at 10 steps raises FID by {difference(whole)} against the whole U-ViT tuned as long, in "
        f"{whole['time_ratio']:.2f} of its time; in one training by {difference(short)} at 7 steps and "
        f"{difference(long)} at 14."
    )


def adadiff() -> str:
    whole, means = pair(GATE, WHOLE, "uvit-16", 10), of_one(GATE, MEANS, "uvit-16", 10)
    assert undecided(means)
    assert whole["fid_difference_low"] > 0
    return (
        f"AdaDiff's gate raises it by {difference(whole)}, in {whole['time_ratio']:.2f} of the time. Against its own "
        f"mean depths without a gate it is {difference(means)} in one training, so no gain of the gate is shown."
    )


def tuning() -> str:
    assert lower(pair(TUNED, LEVELS, "unet-16", 5))
    return (
        f"Tuning the network at five levels on the solver's own steps brings DDIM from FID "
        f"{listed(values(LEVELS, 'unet-16', 5))} at these levels to {listed(values(TUNED, 'unet-16', 5))}."
    )


def ddsm() -> str:
    found = [of_one(SEARCHED, WIDTH, "slim-16", steps) for steps in (7, 10, 14)]
    assert all(one["fid_difference_high"] < 0 for one in found)
    flops = listed(one["flops_ratio"] for one in found)
    return (
        f"DDSM's searched widths change FID by {difference(found[0])}, {difference(found[1])} and "
        f"{difference(found[2])} at 7, 10 and 14 steps against the fixed width 0.75, at {flops} of its FLOPs, in one "
        "training."
    )


def continuous() -> str:
    found = [of_one("dpmpp-2m", "dpmpp-2m", "cunet-16", steps) for steps in (7, 10, 14)]
    assert all(one["fid_difference_low"] > 0 for one in found)
    return (
        f"The continuous U-Net has {found[0]['parameters_ratio']:.1f} of the U-Net's parameters, "
        f"{found[0]['flops_ratio']:.1f} times its FLOPs and a FID {span(one['fid_difference'] for one in found)} "
        "higher at 7 to 14 steps, in one training."
    )


def overlapping() -> str:
    rows = [row("srds-batched", "unet-16", steps) for steps in (10, 20)]
    return (
        f"Parareal returns the serial images of 10 and 20 steps to its tolerance, at "
        f"{listed((one['speedup_over_serial'] for one in rows), 2)} of the serial speed on one device."
    )


SENTENCES = (verdicts, solvers, quality_times, early_exit, adadiff, tuning, ddsm, continuous, overlapping)
OF_README = (verdicts, solvers, quality_times, early_exit, tuning)


def test_the_page_quotes_the_committed_tables_and_nothing_else() -> None:
    assert trials(SUITE)["verdict"].eq("VALID").all()
    check_section("docs/photos.md", "What `photos` found", "", SENTENCES)


def test_readme_quotes_some_of_them_and_nothing_else() -> None:
    check_section("README.md", "What `photos` found", "## How to read a row", OF_README)


if __name__ == "__main__":
    print_sentences(SENTENCES)
