"""Suites in which every shipped method runs once, prepared as little as it can be."""

HEAD = """
name = "honest"
title = "Every shipped method once"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 200
batch = 50
baseline = {{ solver = "ddim", schedule = "edm", clock_steps = 5 }}
{networks}
timing.tier = "smoke"
truncation = {{ images = 50, steps = 32 }}

[[trials]]
steps = 5
"""
SOLVERS_AND_SCHEDULES = """
[[trials]]
solver = ["heun", "dpmpp-2m", "dpmpp-3m", "deis", "ipndm", "unipc", "ddpm", "heun-churn", "pfdiff", "sa-solver"]
steps = 6

[[trials]]
solver = { name = "dpm-v3", states = 32, cells = 30 }
steps = 6

[[trials]]
schedule = ["uniform-t", "quadratic-t", "cosine", "logsnr", "arctan", "uniform-sigma", "flow-uniform"]
steps = 6

[[trials]]
schedule = "whole-calls"
steps = 6

[[trials]]
schedule = [
    { name = "ddim-uniform", betas.end = 0.012 },
    { name = "ddim-quadratic", betas.end = 0.012, final = "denoise" },
    { name = "edm", final = "denoise" },
]
steps = 9

[[trials]]
schedule = [
    "dmn",
    { name = "gits", teacher_steps = 12, noises = 8, batch = 8 },
    { name = "ays", images = 8, batch = 8 },
    { name = "ld3", teacher_steps = 8, train_noises = 4, validation_noises = 4, rounds = 1 },
    { name = "few-step", grid = 32, noises = 8, validation = 8 },
]
steps = 5
"""
EXECUTORS = """
[[trials]]
executor = [
    { name = "srds", form = "batched" }, { name = "srds", form = "vanilla" }, { name = "srds", form = "pipelined" },
    "paradigms",
]
steps = 9
"""
DENOISERS = """
[[trials]]
denoiser = { name = "few-step", tune_steps = 10, tune_batch = 16 }
steps = 5

[[trials]]
denoiser = ["deep-cache", { name = "deep-cache", interval = 2, centre = 2 }]
steps = 6

[[trials]]
network = "uvit-8"
denoiser = [
    { name = "early-exit", schedule = "steep", tune_steps = 0 },
    { name = "early-exit", schedule = "steep", tune_steps = 10, tune_batch = 16 },
    { name = "early-exit", schedule = "steep", tune_steps = 0, reverse = true },
    { name = "adadiff", tune_steps = 20, tune_batch = 16 },
    { name = "taylor-cache", interval = 2 },
    { name = "taylor-cache", interval = 3, order = 0, anchor = "end" },
    "step-cache",
    { name = "step-cache", indicator = "first-block" },
    { name = "step-cache", indicator = "spectral", most_in_a_row = 2 },
    "smooth-cache",
    { name = "smooth-cache", alpha = 0.3, per = "block" },
    { name = "l2c", tune_steps = 20, tune_batch = 16, trajectories = 16 },
]
solver = "dpmpp-2m"
steps = 6

[[trials]]
network = "slim-8"
denoiser = [
    { name = "ddsm", widths = [0.5] },
    { name = "ddsm", population = 4, generations = 1, search_images = 100 },
]
steps = 5

[[trials]]
network = "cunet-8"
denoiser = ["full", "missing-u"]
solver = "dpmpp-2m"
steps = 5
"""
COMPOSITIONS = """
[[trials]]
network = "uvit-8"
schedule = { name = "few-step", grid = 32, noises = 8, validation = 8 }
solver = ["dpmpp-2m", "unipc"]
denoiser = [
    { name = "taylor-cache", interval = 2 },
    { name = "step-cache", indicator = "first-block", threshold = 0.5 },
    { name = "smooth-cache", alpha = 0.6 },
    { name = "l2c", tune_steps = 20, tune_batch = 16, trajectories = 16 },
]
steps = 6

[[trials]]
schedule = { name = "few-step", grid = 32, noises = 8, validation = 8 }
solver = ["dpmpp-2m", "unipc"]
denoiser = { name = "deep-cache", interval = 2 }
steps = 6
"""
"""Caches under multistep solvers over levels of a few-step search."""
SETTINGS = {
    "few steps": ["trials.0.steps=[1, 2, 3, 5]"],
    "bfloat16": ['precision="bfloat16"'],
    "float64": ['precision="float64"'],
    "a rest": ["n_images=230"],
    "timed in another batch": ["timing.batch=20"],
    "one large batch": ["batch=200", "timing.batch=50"],
    "fewer images than a batch": ["n_images=100", "batch=200"],
    "two seed sets": ["seed_sets=[0, 7]"],
    "two trainings": ["trainings=2"],
}
"""Changes of the suite that holds the baseline alone, by what they are."""


def suite_of(trials: str = "") -> str:
    """Return the text of a suite of the baseline and other trials."""
    used = [name for name in ("unet-8", "uvit-8", "slim-8", "cunet-8") if f'network = "{name}"' in HEAD + trials]
    return HEAD.format(networks="\n".join(f'networks.{name}.weights = "zoo:{name}"' for name in used)) + trials
