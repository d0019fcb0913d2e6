"""The columns that the analysis adds to those of harness.schema.TRIALS, each with its meaning."""

from __future__ import annotations

from harness.report.analysis.saved_work import LEAST_SAVING

DERIVED = {
    "family": "Family of the row: its parallel executor's, else its denoiser's, its network's or its schedule's own; "
    '"solver" where it differs from the baseline in the solver alone.',
    "seed_sets": "Seed sets averaged into the row.",
    "fid_by_seed_set": "FID of each of these seed sets; a bar stands between trainings.",
    "trainings": "Trainings of the network averaged into the row, with their searches and tunings. Of two or more, "
    "figures are means and intervals Student's t over trainings, widened by the noise of images that they share "
    "(they start from the same noise); so are those of network_limit_fid, and kid_se is the error over trainings.",
    "fid_by_training": "FID of each of these trainings.",
    "relative_time": "Time of the trial over that of the clock trial: 1 / speedup.",
    "relative_time_low": "Lower end of its 95 % interval, drift between timing blocks included.",
    "relative_time_high": "Upper end of its 95 % interval, drift included.",
    "relative_latency": "Latency of the trial over that of the clock trial: latency_ratio.",
    "relative_latency_low": "Lower end of its 95 % interval, drift included.",
    "relative_latency_high": "Upper end of its 95 % interval, drift included.",
    "pooled_latency_seconds": "Latency that compares across timing blocks: latency_ratio times the clock's latency, "
    "its median over all blocks. Where no ratio is stored, latency_seconds.",
    "pooled_latency_seconds_low": "Lower end of its 95 % interval: of the ratio, of drift and of the clock's median.",
    "pooled_latency_seconds_high": "Upper end of its 95 % interval.",
    "pooled_seconds_per_image": "Seconds per image at throughput_batch that compare across timing blocks: "
    "relative_time times the clock's seconds per image, their median over all blocks.",
    "pooled_seconds_per_image_low": "Lower end of its 95 % interval: of the ratio, of drift and of the clock's median.",
    "pooled_seconds_per_image_high": "Upper end of its 95 % interval.",
    "equal_quality_speedup": "Time in which the baseline reaches the row's FID, over the row's time. The baseline's "
    "curve is its running best, log time linear in log FID, never extrapolated.",
    "equal_quality_speedup_low": "Lower end of its 95 % interval, or of the bound's: read in draws of all FIDs "
    "(paired noise of images, Student's t over trainings), and timing intervals, combined in log space.",
    "equal_quality_speedup_high": "Upper end of its 95 % interval, or of the bound's.",
    "equal_quality_speedup_at_least": "Lower bound, where the row's FID is better than any of the baseline's; its "
    "interval's end is in _low.",
    "equal_quality_speedup_at_most": "Upper bound, where the row's FID is worse than any of the baseline's; its "
    "interval's end is in _high.",
    "equal_quality_speedup_note": "Why the ratio or its interval is empty or bounded.",
    "tie_group": "Rows whose FID cannot be told from that of the group's best (paired 95 % interval); 1 is best.",
    "pareto_time": "Whether no row of the class has both a lower FID and a lower time.",
    "pareto_flops": "Whether no row of the class has both a lower FID and fewer FLOPs.",
    "pareto_time_probability": "Share of draws in which the row is on that front of FID and time: FIDs are drawn "
    "together (paired noise of images, Student's t over trainings), times from their intervals.",
    "pareto_flops_probability": "The same of FID and FLOPs; FLOPs are exact.",
    "clock_tie": "Whether the speed-up cannot be told from 1: its own interval holds 1, or it lies inside the A/A "
    "floor, the clock's interval against itself. Both include drift.",
    "flops_to_time_yield": "Share of the saved arithmetic that became saved time: (1 - time ratio) / (1 - FLOPs "
    "ratio), both relative to the clock trial; above 1 where time fell more than arithmetic. Empty where less than "
    f"{LEAST_SAVING:.0%} of the arithmetic was saved.",
    "flops_to_time_yield_note": "Why it is empty.",
    "break_even_images": "Images after which preparation beyond the baseline's has paid for itself: its device-seconds "
    "over those saved per image against the baseline at equal quality. Empty unless the lower end of that speed-up's "
    "interval shows a gain.",
    "break_even_images_note": "Why it is empty.",
    "reproduced": "Of the method: which published figure was reproduced here, by `oneclock reproduce`; else empty.",
}
