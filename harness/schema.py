"""The tables a run leaves behind: every column with its type, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1

Row = dict[str, str | int | float | bool | None]
"""Values of a row by column; a column that is not among them is empty."""

TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True)
class Column:
    """One column: name (with its unit, where it has one), Arrow type, and one sentence."""

    name: str
    type: pa.DataType
    sentence: str


TRIALS = (
    Column("trial_id", TEXT, "SHA-256 of everything that decides the result."),
    Column("attempt", WHOLE, "Which attempt at the trial this row is, from 1."),
    Column("suite", TEXT, "The suite that asked for the trial."),
    Column("dataset", TEXT, "Name of the data set card."),
    Column("network", TEXT, "Name of the network card."),
    Column(
        "network_like",
        TEXT,
        "The card that the suite changed into this network, or the same name.",
    ),
    Column("method", TEXT, "Display name of the combination of the four parts."),
    Column("denoiser", TEXT, "Which part decides how much of the network runs."),
    Column("schedule", TEXT, "Which part decides the noise levels."),
    Column("solver", TEXT, "Which part takes a step."),
    Column("executor", TEXT, "Which part orders the steps and places them on devices."),
    Column("params_json", TEXT, "Resolved parameters of the four parts, canonical JSON."),
    Column("steps", WHOLE, "Steps of the solver."),
    Column("nfe", REAL, "Network evaluations per image, counted at the network's boundary."),
    Column("nfe_critical_path", REAL, "Evaluations per image along the longest chain of dependent ones."),
    Column("nfe_speculative", REAL, "Evaluations per image, of those in nfe, that no result used."),
    Column("iterations", REAL, "Refinements per image of an iterative executor, mean; empty for a serial one."),
    Column("iterations_most", WHOLE, "Refinements of the image that took most."),
    Column(
        "distance_to_serial",
        REAL,
        "Relative RMS distance of a parallel executor's first batch to the serial one's, from the same noise.",
    ),
    Column("bytes_sent_per_image", REAL, "Bytes that devices sent each other per image; empty for a serial executor."),
    Column("seed_set", WHOLE, "Which disjoint set of initial noises was used."),
    Column("n_images", WHOLE, "Generated images that were scored."),
    Column("fid", REAL, "Frechet distance of the named extractor's features to the reference set."),
    Column("fid_low", REAL, "Lower end of the 95 % interval of fid (delete-a-group jackknife, t)."),
    Column("fid_high", REAL, "Upper end of the 95 % interval of fid."),
    Column("fid_floor", REAL, "Bias floor b/N of fid: what a perfect sampler would still show at these N."),
    Column("fid_difference", REAL, "fid minus that of the trial named in baseline_trial_id, paired by image."),
    Column("fid_difference_low", REAL, "Lower end of the paired 95 % interval."),
    Column("fid_difference_high", REAL, "Upper end of the paired 95 % interval."),
    Column("kid", REAL, "Kernel distance over all pairs (cubic polynomial kernel), unbiased, may be negative."),
    Column("kid_se", REAL, "Jackknife standard error of kid."),
    Column("precision", REAL, "Share of generated images inside the reference manifold (k = 3)."),
    Column("recall", REAL, "Share of reference images inside the generated manifold (k = 3)."),
    Column(
        "truncation_error",
        REAL,
        "Relative RMS distance to the exact solution from the same noise; where that is not known and the suite asks "
        "for it, to a fine solution of the whole network before any tuning.",
    ),
    Column("truncation_error_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
    Column("truncation_error_high", REAL, "Upper end of the 95 % interval of truncation_error."),
    Column("truncation_images", WHOLE, "Images, the first ones, over which truncation_error was taken."),
    Column(
        "own_truncation_error",
        REAL,
        "Relative RMS distance to a fine solution of the network that the denoiser was tuned to, from the same noise, "
        "over the same images; empty where nothing was tuned or what was tuned has no flow of its own.",
    ),
    Column("own_truncation_error_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
    Column("own_truncation_error_high", REAL, "Upper end of the 95 % interval of own_truncation_error."),
    Column("extractor", TEXT, "Feature network and layer of every quality figure of the row."),
    Column("extractor_sha256", TEXT, "SHA-256 of the feature network's weights."),
    Column("reference", TEXT, "Reference set: data set, split and the SHA-256 of its decoded pixels."),
    Column("reference_n", WHOLE, "Images in the reference set."),
    Column("latency_seconds", REAL, "Median seconds for one image alone (batch 1), noise in, uint8 out."),
    Column("latency_low_seconds", REAL, "Lower end of the distribution-free 95 % interval of the median."),
    Column("latency_high_seconds", REAL, "Upper end of the distribution-free 95 % interval of the median."),
    Column("throughput_images_per_second", REAL, "Images a second at the stated batch, from the median repetition."),
    Column("batch", WHOLE, "Sampling batch; also the batch of the throughput figure."),
    Column("serial_latency_seconds", REAL, "The same of the same parts under the serial executor, timed in one block."),
    Column("speedup_over_serial", REAL, "Serial latency over latency, median over pairs; parallel rows only."),
    Column("speedup_over_serial_low", REAL, "Lower end of the 95 % bootstrap interval of speedup_over_serial."),
    Column("speedup_over_serial_high", REAL, "Upper end of the 95 % bootstrap interval of speedup_over_serial."),
    Column(
        "virtual_latency_seconds",
        REAL,
        "Virtual: a model's time on the row's own devices, replayed from measured calls and hops, never ranked.",
    ),
    Column("speedup", REAL, "Time of clock_trial_id's trial over this one's, median over interleaved pairs."),
    Column("speedup_low", REAL, "Lower end of the 95 % bootstrap interval of speedup."),
    Column("speedup_high", REAL, "Upper end of the 95 % bootstrap interval of speedup."),
    Column("flops_per_image", REAL, "Floating-point operations (2 per multiply-add) per image, for what really ran."),
    Column("flops_critical_path_per_image", REAL, "The same along the longest chain of dependent evaluations."),
    Column("flop_coverage", REAL, "Share of matrix and convolution parameters whose layers the counter saw run."),
    Column("parameters", WHOLE, "Parameters of the network."),
    Column(
        "peak_memory_bytes",
        WHOLE,
        "Peak memory in one batch: allocated on a GPU, resident set on a CPU.",
    ),
    Column("energy_joules_per_image", REAL, "Energy of the device per image, where the device tells."),
    Column("network_time_share", REAL, "Share of the workers' sampling time spent inside the network."),
    Column("prepare_seconds", REAL, "Device-seconds that the training and preparing which the trial needs cost."),
    Column("prepare_flops", REAL, "Floating-point operations that training and preparing cost."),
    Column(
        "weights",
        TEXT,
        "Where the network's weights come from: zoo:NAME (its price is what its card says), a file (price unknown, "
        "counted as 0), trained (here, kept for all suites) or exact (none).",
    ),
    Column(
        "returned",
        TEXT,
        "What preparing returned where it was to make something else, `the untuned network`; or empty.",
    ),
    Column("weights_sha256", TEXT, "SHA-256 of the given weights file; empty for weights trained here."),
    Column("devices", WHOLE, "Devices that one sample used at once."),
    Column("device_name", TEXT, "Device that was timed."),
    Column("timing_tier", TEXT, "Under which rule of repetitions the times were taken."),
    Column("precision_dtype", TEXT, "Number format of the network."),
    Column("images_sha256", TEXT, "SHA-256 over the generated uint8 images in index order."),
    Column("torch_version", TEXT, "Version of torch."),
    Column("harness_version", TEXT, "Version of this project."),
    Column("git_sha", TEXT, "Commit of the source tree, where it is one."),
    Column("git_dirty", FLAG, "Whether the source tree differed from that commit."),
    Column("started_at", TEXT, "UTC time stamp, informative only."),
    Column("duration_seconds", REAL, "Device-seconds of sampling, scoring and timing this trial."),
    Column("is_baseline", FLAG, "Whether the row is a point of the suite baseline's quality-time curve."),
    Column("baseline_trial_id", TEXT, "The suite baseline's trial at the same NFE, where there is one."),
    Column(
        "clock_trial_id",
        TEXT,
        "The trial whose time every speedup is relative to; its own row is the A/A row.",
    ),
    Column(
        "control_of_trial_id",
        TEXT,
        "The trial for which the suite names this one as a control; of several, all their ids with spaces between.",
    ),
    Column("status", TEXT, "finished or failed."),
    Column("verdict", TEXT, "VALID or INVALID; only VALID rows rank."),
    Column("reasons", TEXT, "Why the row is INVALID or failed; empty when VALID."),
)

STEPS = (
    Column("trial_id", TEXT, "The trial."),
    Column("attempt", WHOLE, "Its attempt."),
    Column("step", WHOLE, "Step of the solver, from 0 at the highest noise."),
    Column("sigma", REAL, "Noise level at the start of the step."),
    Column("sigma_next", REAL, "Noise level at its end."),
    Column(
        "t",
        REAL,
        "Diffusion time of sigma, 0 at the data, by which methods decide what runs: that of the process the network "
        "was trained in; for a network without one, of the VP process with beta(t) = 0.1 + 19.9 t.",
    ),
    Column("t_next", REAL, "Diffusion time of sigma_next."),
    Column("nfe", REAL, "Network evaluations per image in the step."),
    Column("flops_per_image", REAL, "Floating-point operations per image in the step."),
    Column("network_share", REAL, "Share of the full network's operations that ran, per evaluation."),
    Column("units_json", TEXT, "How often each unit (exit layer, width, ...) ran, over all images, canonical JSON."),
)

TIMINGS = (
    Column("trial_id", TEXT, "The trial whose timing block this repetition belongs to."),
    Column("attempt", WHOLE, "Its attempt."),
    Column("kind", TEXT, "latency (batch 1) or throughput (the sampling batch)."),
    Column(
        "role",
        TEXT,
        "trial; baseline: the suite's clock in the same block on the same device; or, where the trial's executor is "
        "parallel, serial: its parts under the serial executor, alone on the first device.",
    ),
    Column("round", WHOLE, "Which round of the block; trial, baseline and serial of one round are pairs."),
    Column("order", WHOLE, "Position within the block, from 0."),
    Column("batch", WHOLE, "Images in the call."),
    Column("seconds", REAL, "Wall-clock seconds of the call, device synchronised at both ends."),
    Column("process_seconds", REAL, "CPU seconds of the process in the call."),
    Column("device_seconds", REAL, "Seconds by the device's own events, where it has them."),
    Column("sm_clock_mhz", REAL, "Clock of the device after the call, where it tells."),
    Column("temperature_celsius", REAL, "Temperature of the device after the call, where it tells."),
)

QUALITY = (
    Column("trial_id", TEXT, "The trial."),
    Column("attempt", WHOLE, "Its attempt."),
    Column("group", WHOLE, "Jackknife group of image indices that was left out, from 0."),
    Column("fid", REAL, "Frechet distance without that group."),
    Column("kid", REAL, "Kernel distance without that group."),
    Column(
        "truncation_error",
        REAL,
        "Truncation error without that group of the truncation_images images it was taken over.",
    ),
)

SEARCHES = (
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
)

CALIBRATION = (
    Column("trial_id", TEXT, "The trial whose preparation compared what its method predicts of itself with the truth."),
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
)

VIRTUAL = (
    Column("trial_id", TEXT, "The trial whose refinements were replayed. Virtual: a model's time, never ranked."),
    Column("attempt", WHOLE, "Its attempt."),
    Column("devices", WHOLE, "Devices of the replay."),
    Column("is_real", FLAG, "Whether the trial itself ran on this many devices, so that its time was measured too."),
    Column("iterations", REAL, "Refinements per image, mean over the timed ones."),
    Column("call_seconds", REAL, "Measured seconds of one evaluation at batch 1 while the other devices wait."),
    Column(
        "crowded_call_seconds",
        REAL,
        "The same while all devices of the trial evaluate at once; empty where there is one device.",
    ),
    Column("hop_seconds", REAL, "Measured seconds of one state from one device to another; empty where there is one."),
    Column("serial_seconds", REAL, "Measured median seconds of one image under the serial executor."),
    Column(
        "virtual_latency_seconds",
        REAL,
        "Virtual: a model's time for one image on these devices, replayed, never ranked; median over the timed images.",
    ),
    Column("measured_latency_seconds", REAL, "Measured median seconds of one image; empty unless is_real."),
)

REFINEMENTS = (
    Column("trial_id", TEXT, "The trial whose first batch was looked at refinement by refinement."),
    Column("attempt", WHOLE, "Its attempt."),
    Column("refinement", WHOLE, "How many refinements are done; 0 is the estimate before the first."),
    Column("distance_to_serial", REAL, "Relative RMS distance of the final states to those of the serial executor."),
    Column("change", REAL, "Mean absolute change of the open images' final states, on the scale [-1, 1]."),
    Column("images_open", WHOLE, "Images that had not stopped before this refinement; the others keep their states."),
    Column("images", WHOLE, "Images of the batch."),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "trials": TRIALS,
    "steps": STEPS,
    "timings": TIMINGS,
    "quality": QUALITY,
    "searches": SEARCHES,
    "calibration": CALIBRATION,
    "virtual": VIRTUAL,
    "refinements": REFINEMENTS,
}


def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table; sentences travel as field metadata, the version as schema metadata."""
    fields = [pa.field(c.name, c.type, metadata={"sentence": c.sentence}) for c in TABLES[table]]
    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION), "table": table})
