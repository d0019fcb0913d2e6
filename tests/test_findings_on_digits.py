"""Every figure of docs/digits.md stands in a committed table: the sentences are made here from the tables.

A finding that no longer holds, or that the tables say otherwise, fails. `python -P tests/test_findings_on_digits.py`,
with tests/ on the path, prints the sentences as the tables give them.
"""

from __future__ import annotations

from kit.findings_kit import (
    TRAININGS,
    check_section,
    difference,
    faster,
    listed,
    lower,
    pair,
    print_sentences,
    reached,
    row,
    span,
    table,
    trials,
    undecided,
    values,
)

TUNED, LEVELS, BOUND = "few-step/ddim@few-step", "ddim@few-step", "ddim@few-step(objective=bound)"
TRAINED_ON = "few-step(tune_jitter=1.0,tune_objective=data)/ddim@few-step"
ON_DATA, ROUNDS = "few-step(tune_objective=data)/ddim@few-step", "few-step/ddim@few-step(rounds=2)"
STEEP, WHOLE = "early-exit(schedule=steep)/dpmpp-2m", "early-exit(schedule=full)/dpmpp-2m"
REVERSED, GATE = "early-exit(reverse=True,schedule=steep)/dpmpp-2m", "adadiff/dpmpp-2m"
CACHES = ("deep-cache/dpmpp-2m", "step-cache(indicator=first-block)/dpmpp-2m", "taylor-cache/dpmpp-2m")
MEANS, WIDTH = "adadiff(rule=mean-depth)/dpmpp-2m", "ddsm(widths=[0.75])/ddim"
SEARCHES, BLIND = ("ddsm-w20", "ddsm-w20-again"), "ddsm-w20-blind"


def verdicts() -> str:
    rows = table("comparisons")
    family = rows[(rows["kind"] == "control") & rows["p_holm"].notna()]
    once = family["trainings"] == 1
    assert (family.loc[~once, "trainings"] == len(TRAININGS)).all()
    assert set(family.loc[once, "method"]) == set(CACHES)

    # what is shown, over trainings and within one
    shown, alone = (family[family[p] <= 0.05] for p in ("p_holm", "p"))
    over = shown[shown["trainings"] > 1]
    assert (over["method"].tolist(), over["other_method"].tolist(), over["steps"].tolist()) == (
        [TUNED], [TRAINED_ON], [5],
    )  # fmt: skip
    worse = shown[shown["trainings"] == 1]
    assert (worse["method"].tolist(), worse["steps"].tolist()) == (list(CACHES[:2]), [20, 20])
    assert (worse["fid_difference"] > 0).all()
    deep, first_block = (f"{one:.1f}" for one in worse["fid_difference"])
    return (
        f"The {len(family)} differences of FID from controls are one family, {int(once.sum())} of them of one "
        "training. Holm's rule shows one over three trainings, five tuned steps against training on, and two in one "
        f"training: at 20 steps of 2M DeepCache and the first-block cache have a FID {deep} and {first_block} higher "
        f"than as many FLOPs without a cache. {len(alone)} leave out 0 by themselves, at 95 %. The intervals below are "
        "these, by themselves."
    )


def solvers() -> str:
    floor = row("ddim", "unet-8", 10)["fid_floor"]
    return (
        f"On networks that are trained out, more accurate sampling is better: from 10 to 40 steps DDIM comes from FID "
        f"{listed(values('ddim', 'unet-8', 10))} to {listed(values('ddim', 'unet-8', 40))}, and 2M has "
        f"{listed(values('dpmpp-2m', 'unet-8', 10))} at 10. Fresh images like the reference's would show "
        f"{floor:.1f} at this N; a FID below that says nothing more of the sampler."
    )


def quality_times() -> str:
    target = 2.93
    plain, cosine, ipndm, unipc, multistep, tuned = (
        reached(f"unet-8:{name}", target) for name in ("ddim", "ddim@cosine", "ipndm", "unipc", "dpmpp-2m", TUNED)
    )
    assert cosine["throughput_costless"] == "unet-8:ddim@cosine"
    assert str(tuned["throughput_steps"]).startswith("3")  # the smallest that was run; in one training it takes more
    ends = (1e3 * plain[f"throughput_seconds{end}"] for end in ("", "_low", "_high"))
    value, low, high = (f"{end:.1f}" for end in ends)
    return (
        f"To FID {target}, twice the floor, DDIM takes {value} [{low}, {high}] ms an image. The best schedule that "
        f"costs nothing, the cosine's, is {faster(cosine)} times as fast, iPNDM {faster(ipndm)}, UniPC "
        f"{faster(unipc)}, 2M {faster(multistep)}, and DDIM on a tuned network {faster(tuned)}."
    )


def levels() -> str:
    cosine = [pair(LEVELS, "ddim@cosine", "unet-8", steps) for steps in (5, 7, 10)]
    return (
        f"Where five Euler steps are put costs nothing and decides much: FID {listed(values('ddim', 'unet-8', 5))} on "
        f"EDM's levels, {listed(values('ddim@gits', 'unet-8', 5))} on GITS's, "
        f"{listed(values('ddim@cosine', 'unet-8', 5))} on the cosine's, {listed(values(LEVELS, 'unet-8', 5))} on those "
        f"of `few-step`. Against the cosine's they change FID by {difference(cosine[0])} at 5 steps, "
        f"{difference(cosine[1])} at 7, {difference(cosine[2])} at 10; against their own bound without the contraction "
        f"by {difference(pair(LEVELS, BOUND, 'unet-8', 5))} at 5."
    )


def tuning() -> str:
    found = [pair(TUNED, other, "unet-8", 5) for other in (LEVELS, TRAINED_ON, ON_DATA)]
    assert all(lower(one) for one in found)
    return (
        f"Tuning the network at these levels on the solver's own steps lowers the FID of five steps to "
        f"{listed(values(TUNED, 'unet-8', 5))}: a difference of {difference(found[0])} from the levels alone, "
        f"{difference(found[1])} from training on as before for as long, {difference(found[2])} from tuning "
        f"there on the data. Both phases in two rounds come to {listed(values(ROUNDS, 'unet-8', 5))}."
    )


def early_exit() -> str:
    found = {steps: pair(STEEP, WHOLE, "uvit-8", steps) for steps in (7, 10, 14)}
    times = span((one["time_ratio"] for one in found.values()), 2)
    worse = pair(STEEP, REVERSED, "uvit-8", 10)
    return (
        f"Early exit changes FID by {difference(found[7])}, {difference(found[10])} and {difference(found[14])} at 7, "
        f"10 and 14 steps against the whole network tuned as long, in {times} of its time. Against the same depths in "
        f"reversed order, at equal FLOPs, it is {difference(worse)} at 10."
    )


def adadiff() -> str:
    gate = {steps: pair(GATE, MEANS, "uvit-8", steps) for steps in (7, 10, 14)}
    times = span((one["time_ratio"] for one in gate.values()), 2)
    whole = pair(GATE, WHOLE, "uvit-8", 10)
    assert all(undecided(one) for one in gate.values())
    return (
        f"AdaDiff's gate against its own mean depths run without a gate: FID {difference(gate[7])}, "
        f"{difference(gate[10])} and {difference(gate[14])} at 7, 10 and 14 steps, at {times} times their time. "
        f"Against the whole network tuned as long it is {difference(whole)} at 10 steps, for "
        f"{whole['flops_ratio']:.2f} of the FLOPs."
    )


def ddsm() -> str:
    first, again = (values(search, "slim-8", 10) for search in SEARCHES)
    blind = pair(SEARCHES[0], BLIND, "slim-8", 10)
    width = pair(SEARCHES[0], WIDTH, "slim-8", 10)
    assert undecided(blind)
    assert undecided(width)
    return (
        f"DDSM's search depends on its luck: searches from two seeds end at FID {listed(first)}, and {listed(again)}, "
        f"on the same three trainings. Against a blind search of equal size the first is {difference(blind)}, against "
        f"the fixed width 0.75 {difference(width)}, at {width['flops_ratio']:.1f} of its FLOPs."
    )


def continuous() -> str:
    found = pair("dpmpp-2m", "dpmpp-2m", "cunet-8", 10)
    assert undecided(found)
    return (
        f"The continuous U-Net has {found['parameters_ratio']:.1f} of the U-Net's parameters and no other FID that "
        f"could be shown ({difference(found)} under 2M at 10 steps), at {found['flops_ratio']:.1f} times its FLOPs and "
        f"{found['time_ratio']:.1f} times its time."
    )


def overlapping() -> str:
    rows = [row("ddim/srds", "unet-8", steps) for steps in (20, 40)]
    return (
        f"Parareal returns the serial images of 20 and 40 steps to its tolerance, but on one device takes "
        f"{listed(1 / r['speedup_over_serial'] for r in rows)} times the serial time."
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


SENTENCES = (
    verdicts, solvers, quality_times, levels, tuning, early_exit, adadiff, ddsm, continuous, overlapping, loosened,
    schedules,
)  # fmt: skip


def test_the_document_quotes_the_committed_tables_and_nothing_else() -> None:
    check_section("docs/digits.md", "What `digits` found", "", SENTENCES)


if __name__ == "__main__":
    print_sentences(SENTENCES)
