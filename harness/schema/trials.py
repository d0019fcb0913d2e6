"""The table `trials`: a row for every attempt at a trial."""

from __future__ import annotations

from harness.schema import metrics
from harness.schema.column import FLAG, REAL, TEXT, WHOLE, Column, StoredTable

TRIALS = StoredTable(
    name="trials",
    columns=(
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
        Column(
            "prepared",
            TEXT,
            "Which of the four parts were tuned or searched, with spaces between; a schedule that is not among "
            "them costs nothing.",
        ),
        Column("training", WHOLE, "Which training of the network, with its searches and tunings, from 0."),
        Column("steps", WHOLE, "Steps of the solver."),
        Column(
            "nfe",
            REAL,
            "Network evaluations per image, counted at the network's boundary; empty for a wrapped pipeline.",
        ),
        Column("nfe_critical_path", REAL, "Evaluations per image along the longest chain of dependent ones."),
        Column("nfe_speculative", REAL, "Evaluations per image, of those in nfe, that no result used."),
        Column("iterations", REAL, "Refinements per image of an iterative executor, mean; empty for a serial one."),
        Column("iterations_most", WHOLE, "Refinements of the image that took most."),
        Column(
            "distance_to_serial",
            REAL,
            "Relative RMS distance of a parallel executor's first batch to the serial one's, from the same noise.",
        ),
        Column(
            "bytes_sent_per_image", REAL, "Bytes that devices sent each other per image; empty for a serial executor."
        ),
        Column(
            "classes",
            TEXT,
            "Law of the images' classes (uniform, frequency, balanced, or one number); empty where they have none.",
        ),
        Column("guidance", REAL, "Scale of classifier-free guidance, 1 for the class alone; empty without classes."),
        Column("seed_set", WHOLE, "Which disjoint set of initial noises was used."),
        Column("n_images", WHOLE, "Generated images that were scored."),
        *metrics.FID.columns,
        Column("fid_difference", REAL, "fid minus that of the trial named in baseline_trial_id, paired by image."),
        Column("fid_difference_low", REAL, "Lower end of the paired 95 % interval."),
        Column("fid_difference_high", REAL, "Upper end of the paired 95 % interval."),
        *metrics.KID.columns,
        *metrics.PRECISION.columns,
        *metrics.RECALL.columns,
        *metrics.TRUNCATION_ERROR.columns,
        Column("truncation_images", WHOLE, "Images, the first ones, over which truncation_error was taken."),
        *metrics.OWN_TRUNCATION_ERROR.columns,
        *metrics.PSNR.columns,
        *metrics.SSIM.columns,
        *metrics.LPIPS.columns,
        Column("lpips_sha256", TEXT, "SHA-256 of the file of AlexNet's weights that lpips was taken with."),
        Column(
            "partner",
            TEXT,
            "The trial without acceleration that psnr, ssim and lpips compare with: same noise, network before tuning, "
            "schedule, solver and steps, the whole network, one step after the other; empty where there is none.",
        ),
        Column(
            "network_limit_fid",
            REAL,
            "FID of the network solved out, from its zoo card, where that was taken with the same feature network and "
            "as many images; else empty.",
        ),
        Column("network_limit_fid_low", REAL, "Lower end of its 95 % interval (delete-a-group jackknife, t)."),
        Column("network_limit_fid_high", REAL, "Upper end of its 95 % interval."),
        Column("fid_targets", TEXT, "FID targets of the suite for the data set, JSON list, loosest first."),
        Column("equivalence_margin", REAL, "Difference of FID within which the suite counts two rows as equal."),
        Column("more_steps_in", TEXT, "A suite that has the method at more step counts, where the suite names one."),
        Column(
            "factors_json",
            TEXT,
            "Level of each factor of the suite's factorial design, JSON in the suite's order; empty for other rows.",
        ),
        Column(
            "extractor",
            TEXT,
            "Feature network, layer and, where it resizes pictures, how, of every quality figure of the row.",
        ),
        Column("extractor_sha256", TEXT, "SHA-256 of the feature network's weights."),
        Column(
            "extractor_resize", TEXT, "How it brings pictures to its own size; none where it takes them as they are."
        ),
        Column("extractor_dtype", TEXT, "Number format of the feature network; statistics of features are float64."),
        Column("extractor_batch", WHOLE, "Pictures that it took at once."),
        Column(
            "reference",
            TEXT,
            "Reference set: data set, split and the SHA-256 of its decoded pixels; or `statistics`, the SHA-256 "
            "of their file, and where it comes from.",
        ),
        Column(
            "reference_n", WHOLE, "Images in the reference set; empty where a file of statistics does not state it."
        ),
        Column("latency_seconds", REAL, "Median seconds for one image alone (batch 1), noise in, uint8 out."),
        Column("latency_low_seconds", REAL, "Lower end of the distribution-free 95 % interval of the median."),
        Column("latency_high_seconds", REAL, "Upper end of the distribution-free 95 % interval of the median."),
        Column(
            "throughput_images_per_second", REAL, "Images a second at the stated batch, from the median repetition."
        ),
        Column("batch", WHOLE, "Sampling batch, of the scored images."),
        Column("throughput_batch", WHOLE, "Images in a call of the throughput that was measured."),
        Column(
            "serial_latency_seconds", REAL, "The same of the same parts under the serial executor, timed in one block."
        ),
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
        Column("latency_ratio", REAL, "Latency over that of clock_trial_id's trial, median over interleaved pairs."),
        Column("latency_ratio_low", REAL, "Lower end of the 95 % bootstrap interval of latency_ratio."),
        Column("latency_ratio_high", REAL, "Upper end of the 95 % bootstrap interval of latency_ratio."),
        Column("clock_latency_seconds", REAL, "Median seconds of the clock for one image alone, in the same block."),
        Column("clock_seconds_per_image", REAL, "Median seconds per image of the clock at throughput_batch, there."),
        Column(
            "clock_batch_ratio",
            REAL,
            "Seconds of the clock's call at throughput_batch over its latency, median over rounds: equal work in "
            "every block, so its spread over blocks shows their drift.",
        ),
        Column("clock_batch_ratio_low", REAL, "Lower end of the 95 % bootstrap interval of clock_batch_ratio."),
        Column("clock_batch_ratio_high", REAL, "Upper end of the 95 % bootstrap interval of clock_batch_ratio."),
        Column(
            "flops_per_image", REAL, "Floating-point operations (2 per multiply-add) per image, for what really ran."
        ),
        Column("flops_critical_path_per_image", REAL, "The same along the longest chain of dependent evaluations."),
        Column(
            "decode_flops_per_image",
            REAL,
            "Operations of decoding one image from its final latent state, in no other column; empty for pixels.",
        ),
        Column(
            "decode_seconds_per_image",
            REAL,
            "Median seconds per image of decoding at throughput_batch, by itself; latency and throughput contain it.",
        ),
        Column("flop_coverage", REAL, "Share of matrix and convolution parameters whose layers the counter saw run."),
        Column("parameters", WHOLE, "Parameters of the network; of a wrapped pipeline, of its modules that ran."),
        Column(
            "peak_memory_bytes",
            WHOLE,
            "Peak memory in one batch: allocated on a GPU, resident set on a CPU.",
        ),
        Column(
            "peak_reserved_bytes",
            WHOLE,
            "Peak that torch held on a GPU for tensors in that batch, used or not; empty on a CPU.",
        ),
        Column(
            "device_memory_bytes",
            WHOLE,
            "Memory of the GPU in use after that batch, by all processes, libraries included; empty on a CPU.",
        ),
        Column("warm_up_memory_bytes", WHOLE, "Peak memory of the warm-up, compiling included, as peak_memory_bytes."),
        Column(
            "energy_joules_per_image",
            REAL,
            "Energy of the board or processor per image, idle power included, where it tells; not that of the system.",
        ),
        Column("idle_watts", REAL, "Power of the same device at rest, before the first timing of the process."),
        Column("network_time_share", REAL, "Share of the workers' sampling time spent inside the network."),
        Column(
            "load_seconds",
            REAL,
            "Seconds to build the sampler on its device from weights in memory; empty for a wrapped pipeline.",
        ),
        Column(
            "compile_seconds",
            REAL,
            "Seconds that the timing process spent on compiling the network, for all shapes so far; less where the "
            "compiler's cache on disk knew it. Empty where nothing is compiled.",
        ),
        Column("prepare_seconds", REAL, "Device-seconds that the training and preparing which the trial needs cost."),
        Column("prepare_flops", REAL, "Floating-point operations that training and preparing cost."),
        Column(
            "weights",
            TEXT,
            "Where the network's weights come from: zoo:NAME (its price is what its card says), a file (price unknown, "
            "counted as 0), trained (here, kept for all suites), exact (none) or own (a wrapped pipeline's).",
        ),
        Column(
            "returned",
            TEXT,
            "What preparing returned where it was to make something else, `the untuned network`; or empty.",
        ),
        Column("state_shape", TEXT, "Channels, height and width of a state; for latents not those of a picture."),
        Column("decoder", TEXT, "What makes pictures of final latent states; empty where states are pictures."),
        Column("decoder_sha256", TEXT, "SHA-256 of the decoder's weights."),
        Column("decode_batch", WHOLE, "States that are decoded at once."),
        Column("weights_sha256", TEXT, "SHA-256 of the given weights file; empty for weights trained here."),
        Column("devices", WHOLE, "Devices that one sample used at once."),
        Column("device_name", TEXT, "Device that was timed."),
        Column("timing_tier", TEXT, "Under which rule of repetitions the times were taken."),
        Column(
            "timing_mode",
            TEXT,
            "Kernels of sampling, scored and timed alike: reproducible (IEEE float32, deterministic, not compiled; so "
            "are rows without this) or deployed (TF32 and cuDNN's fastest on a GPU, compiled networks).",
        ),
        Column(
            "timed_alone",
            TEXT,
            "What the timing had to itself: node, its whole host; or device, its GPU alone while others of the host "
            "may work.",
        ),
        Column(
            "neighbours_load",
            REAL,
            "Share of time, 0 to 1, in which the host's other GPUs worked while it was timed, by NVML; empty where "
            "there are none or it is not known.",
        ),
        Column(
            "clock_over_alone",
            REAL,
            "Where timed_alone is device: the clock's seconds in this block over those of the A/A row, which has the "
            "node to itself; the larger of both kinds of call.",
        ),
        Column(
            "foreign_check",
            TEXT,
            "How other processes on the GPU were looked for: processes, memory and idle load, memory, or none.",
        ),
        Column("foreign_share", REAL, "Share of the readings of the timing block that found another process there."),
        Column("gpu_sharing", TEXT, "MIG or MPS where the device is a share of a GPU, else empty."),
        Column("throttled_share", REAL, "Share of the same readings that found the GPU throttled by heat or a fault."),
        Column("sm_clock_mhz", REAL, "Clock of the GPU after the timed calls, median."),
        Column("temperature_celsius", REAL, "Temperature of the GPU after the timed calls, the highest."),
        Column("power_watts", REAL, "Power of the GPU's board after the timed calls, median."),
        Column("power_limit_watts", REAL, "Limit of that power which held."),
        Column("power_capped_share", REAL, "Share of the timed calls after which that limit slowed the GPU."),
        Column(
            "clock_trial_drift",
            REAL,
            "By which share the clock trial's seconds moved from the first half of the timing block to the second; "
            "empty below 11 rounds. On a GPU more than 0.03 voids the block.",
        ),
        Column("threads", WHOLE, "Threads that torch computed with on the host."),
        Column("usable_cores", WHOLE, "Cores that the timing process might use."),
        Column("timing_rounds", WHOLE, "Rounds of the timing block that really ran."),
        Column("timing_block_seconds", REAL, "Seconds from the start of the first round to the end of the last."),
        Column(
            "timing_blocks",
            WHOLE,
            "Timing blocks that ran: a disturbed one is repeated. The first undisturbed one counts, else the least "
            "disturbed; all figures are those of the one that counts.",
        ),
        Column(
            "cpu_share",
            REAL,
            "Own CPU seconds over wall seconds in the timed calls, median: its share of a core; 1 at most.",
        ),
        Column(
            "disturbed",
            TEXT,
            "How other work disturbed the timing block; empty where it did not. On a CPU the interval of every time "
            "and ratio is then the hull of that of wall seconds and that of own CPU seconds.",
        ),
        Column("warm_up_calls", WHOLE, "Untimed calls before the rounds, of the kind of call that had fewest."),
        Column("warm_up_seconds", REAL, "Seconds of all these calls, of trial and clock."),
        Column(
            "warm_up_steady",
            FLAG,
            "Whether the times of every kind of call were steady when the rounds began; empty in the tier smoke, which "
            "does not judge it.",
        ),
        Column("precision_dtype", TEXT, "Number format of the network."),
        Column(
            "copy_rate", REAL, "Share of images nearer to a reference image than all but 1 % of those are to others."
        ),
        Column("images_sha256", TEXT, "SHA-256 over the generated uint8 images in index order."),
        Column("torch_version", TEXT, "Version of torch."),
        Column("harness_version", TEXT, "Version of this project."),
        Column("git_sha", TEXT, "Commit of the source tree, where it is one."),
        Column("git_dirty", FLAG, "Whether the source tree differed from that commit."),
        Column("started_at", TEXT, "UTC time stamp, informative only."),
        Column("duration_seconds", REAL, "Device-seconds of sampling, scoring and timing this trial itself."),
        Column("is_baseline", FLAG, "Whether the row is a point of the suite baseline's quality-time curve."),
        Column("baseline_trial_id", TEXT, "The suite baseline's trial at the same NFE, where there is one."),
        Column(
            "clock_trial_id",
            TEXT,
            "The trial whose time every speedup is relative to; its own row is the A/A row.",
        ),
        Column(
            "differs_from_clock",
            TEXT,
            "Settings of the sampler that are others than those of clock_trial_id's, each as NAME own for the clock's.",
        ),
        Column(
            "timed_trial_id",
            TEXT,
            "The trial whose timing block gave the times: this one, or the same of training 0 where the work does not "
            "depend on the weights.",
        ),
        Column(
            "control_of_trial_id",
            TEXT,
            "The trial for which the suite names this one as a control; of several, all their ids with spaces between.",
        ),
        Column("status", TEXT, "finished or failed."),
        Column("verdict", TEXT, "VALID or INVALID; only VALID rows rank."),
        Column("reasons", TEXT, "Why the row is INVALID or failed; empty when VALID."),
        Column("not_measured", TEXT, "Figures that the row lacks, each with the reason; empty where it has all."),
        Column("not_audited", TEXT, "Rules that could not be tried, each with the reason; empty where all were."),
    ),
)
