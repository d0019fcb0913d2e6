"""The tables other than `trials`: several rows for every attempt."""

from __future__ import annotations

from harness.schema.column import FLAG, REAL, TEXT, WHOLE, Column, StoredTable
from harness.schema.metrics import METRICS

STEPS = StoredTable(
    name="steps",
    order=("step",),
    columns=(
        Column("trial_id", TEXT, "The trial."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("step", WHOLE, "Step of the solver, from 0 at the highest noise."),
        Column("sigma", REAL, "Noise level at the start of the step."),
        Column("sigma_next", REAL, "Noise level at its end."),
        Column(
            "t",
            REAL,
            "Diffusion time of sigma, 0 at the data, by which methods decide what runs: that of the process the "
            "network was trained in; for a network without one, of the VP process with beta(t) = 0.1 + 19.9 t.",
        ),
        Column("t_next", REAL, "Diffusion time of sigma_next."),
        Column("nfe", REAL, "Network evaluations per image in the step."),
        Column("flops_per_image", REAL, "Floating-point operations per image in the step."),
        Column("network_share", REAL, "Share of the full network's operations that ran, per evaluation."),
        Column(
            "units_json", TEXT, "How often each unit (exit layer, width, ...) ran, over all images, canonical JSON."
        ),
    ),
)

TIMINGS = StoredTable(
    name="timings",
    order=("block", "kind", "round", "order", "role"),
    columns=(
        Column("trial_id", TEXT, "The trial whose timing block this repetition belongs to."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("block", WHOLE, "Timing block, from 0; a disturbed one is followed by another, at most twice."),
        Column("is_counted", FLAG, "Whether the row's figures are those of this block."),
        Column("kind", TEXT, "latency (batch 1) or throughput (the sampling batch)."),
        Column(
            "role",
            TEXT,
            "trial; baseline: the suite's clock in the same block on the same device; or, where the trial's executor "
            "is parallel, serial: its parts under the serial executor, alone on the first device.",
        ),
        Column("round", WHOLE, "Which round of the block; trial, baseline and serial of one round are pairs."),
        Column("order", WHOLE, "Position within the block, from 0."),
        Column("batch", WHOLE, "Images in the call."),
        Column("seconds", REAL, "Wall-clock seconds of the call, device synchronised at both ends."),
        Column("process_seconds", REAL, "CPU seconds of the process in the call."),
        Column("device_seconds", REAL, "Seconds by the device's own events, where it has them."),
        Column(
            "slowest_rank",
            WHOLE,
            "Of several ranks that made the call together, that whose seconds these are, the most; else empty.",
        ),
        Column("sm_clock_mhz", REAL, "Clock of the device after the call, where it tells."),
        Column("temperature_celsius", REAL, "Temperature of the device after the call, where it tells."),
        Column("foreign_processes", WHOLE, "Other processes that computed on the GPU after the call, where it tells."),
        Column("throttle", TEXT, "Why the GPU was throttled after the call, where it tells; else empty."),
        Column("power_watts", REAL, "Power of the GPU's board after the call, where it tells."),
        Column("power_capped", FLAG, "Whether its power limit slowed the GPU after the call, where it tells."),
        Column("neighbours_load", REAL, "Share of time in which the host's other GPUs worked of late, where it tells."),
    ),
)

QUALITY = StoredTable(
    name="quality",
    order=("group",),
    columns=(
        Column("trial_id", TEXT, "The trial."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("group", WHOLE, "Jackknife group of image indices that was left out, from 0."),
        *(metric.replicate for metric in METRICS.values() if metric.replicate is not None),
    ),
)

CHECKS = StoredTable(
    name="checks",
    order=("place",),
    columns=(
        Column("trial_id", TEXT, "The trial that was judged."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("place", WHOLE, "Place of the check among those of the trial, from 0."),
        Column("rule", TEXT, "The rule, as reasons name it."),
        Column("holds", FLAG, "Whether it holds; empty where it could not be tried."),
        Column("found", TEXT, "What was found."),
        Column("expected", TEXT, "What was expected."),
    ),
)

SEARCHES = StoredTable(
    name="searches",
    order=("round", "candidate_json"),
    columns=(
        Column("trial_id", TEXT, "The trial whose preparation searched."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("part", TEXT, "Which part of the sampler was searched for."),
        Column("round", WHOLE, "Round of the search in which the candidate was tried, from 0."),
        Column("candidate_json", TEXT, "The candidate, canonical JSON."),
        Column("n_images", WHOLE, "Images by which it was scored."),
        Column("fid", REAL, "FID of those images; of few images, for comparison within the round only."),
        Column("flops_per_image", REAL, "Floating-point operations per image, counted."),
        Column("objective", REAL, "What the search makes small."),
        Column("is_final", FLAG, "Whether it was tried anew, on fresh noise, among the last few."),
        Column("is_chosen", FLAG, "Whether it is what the search found."),
    ),
)

CALIBRATION = StoredTable(
    name="calibration",
    order=("part", "sigma", "block"),
    columns=(
        Column(
            "trial_id", TEXT, "The trial whose preparation compared what its method predicts of itself with the truth."
        ),
        Column("attempt", WHOLE, "Its attempt."),
        Column("part", TEXT, "Which part of the sampler predicts."),
        Column("sigma", REAL, "Noise level of the images."),
        Column("block", WHOLE, "Block of the network after which it was predicted, from 1."),
        Column(
            "predicted",
            REAL,
            "Predicted uncertainty, mean over images under noises that tuning never drew.",
        ),
        Column("true", REAL, "The error that it stands for, the same mean of the same images."),
    ),
)

VIRTUAL = StoredTable(
    name="virtual",
    order=("devices",),
    columns=(
        Column("trial_id", TEXT, "The trial whose refinements were replayed. Virtual: a model's time, never ranked."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("devices", WHOLE, "Devices of the replay."),
        Column(
            "is_real", FLAG, "Whether the trial itself ran on this many devices, so that its time was measured too."
        ),
        Column("iterations", REAL, "Refinements per image, mean over the timed ones."),
        Column("call_seconds", REAL, "Measured seconds of one evaluation at batch 1 while the other devices wait."),
        Column(
            "crowded_call_seconds",
            REAL,
            "The same while all devices of the trial evaluate at once; empty where there is one device.",
        ),
        Column(
            "hop_seconds", REAL, "Measured seconds of one state from one device to another; empty where there is one."
        ),
        Column("serial_seconds", REAL, "Measured median seconds of one image under the serial executor."),
        Column(
            "virtual_latency_seconds",
            REAL,
            "Virtual: a model's time for one image on these devices, replayed, never ranked; median over the timed "
            "images.",
        ),
        Column("measured_latency_seconds", REAL, "Measured median seconds of one image; empty unless is_real."),
    ),
)

REFINEMENTS = StoredTable(
    name="refinements",
    order=("refinement",),
    columns=(
        Column("trial_id", TEXT, "The trial whose first batch was looked at refinement by refinement."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("refinement", WHOLE, "How many refinements are done; 0 is the estimate before the first."),
        Column(
            "distance_to_serial", REAL, "Relative RMS distance of the final states to those of the serial executor."
        ),
        Column("change", REAL, "Mean absolute change of the open images' final states, on the scale [-1, 1]."),
        Column(
            "images_open", WHOLE, "Images that had not stopped before this refinement; the others keep their states."
        ),
        Column("images", WHOLE, "Images of the batch."),
    ),
)
