"""What a built denoiser does on its network: its output, the units that it counts, its memory."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.check.built_parts import BuiltParts
from harness.check.outcome import CheckOutcome, conclude
from harness.measure.flops import count_flops
from harness.sampling.call_counts import CallCounts
from harness.sampling.sampler import Sampler
from methods.parts import BuiltDenoiser, Denoiser

_IMAGES = 3


def check_denoiser_output(made: BuiltParts) -> CheckOutcome:
    """Call the denoiser once at the first level, and look at what comes back."""
    with made.built() as sampler, torch.inference_mode():
        built, x = sampler.denoiser, sampler.initial_state(range(_IMAGES))
        before = x.clone()
        returned = built(x, _levels(sampler, _IMAGES), 0, *_memory(built))
    faults = list(_describe_faults(returned, x))
    if not torch.equal(before, x):
        faults.append("it wrote into its state x")
    expected = f"a new finite state {list(before.shape)} {before.dtype}, and whole counts of units"
    to_do = "return (D, {unit: count}), the count an int or an int tensor [batch]"
    return conclude(not faults, "; ".join(faults) or f"a state of {_IMAGES} images and its units", expected, to_do)


def check_units(made: BuiltParts) -> CheckOutcome:
    """Compare the units that a trajectory counts with those that `units()` names, and run each of these once."""
    counts = CallCounts()
    with made.built() as sampler:
        sampler.run(range(_IMAGES), counts)
        named = sampler.denoiser.units()
        x, sigma = sampler.initial_state([0]), _levels(sampler, 1)
        with torch.inference_mode():
            flops = {name: count_flops(call, x, sigma) for name, call in named.items()}

    counted = {name for units in counts.units.values() for name in units}
    unknown = sorted(counted - set(named))
    found = f"{len(counted)} counted of {len(named)} named, of {_range(list(flops.values()))} FLOPs"
    if unknown:
        found = f"counted {', '.join(unknown)}, which units() does not name"
    return conclude(
        not unknown and bool(counted),
        found,
        "every counted unit is named, and each runs alone",
        "let units() have a call for each name that __call__ counts: its FLOPs are those of the row",
    )


def check_denoiser_memory(made: BuiltParts) -> CheckOutcome:
    """Compare the memory of the built denoiser with what its class declares."""
    denoiser = made.parts["denoiser"]
    assert isinstance(denoiser, Denoiser)
    with made.built() as sampler:
        found = sampler.denoiser.has_memory
    return conclude(
        found == denoiser.has_memory,
        f"has_memory = {found} after build()",
        f"{denoiser.has_memory}, as the class declares",
        "set has_memory on both: by the class, parallel executors are refused",
    )


def _describe_faults(returned: object, x: Tensor) -> list[str]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        return [f"it returned {type(returned).__name__}, not (state, units)"]
    state, units = returned
    faults = []
    if not isinstance(state, Tensor) or (state.shape, state.dtype) != (x.shape, x.dtype):
        got = f"{list(state.shape)} {state.dtype}" if isinstance(state, Tensor) else type(state).__name__
        faults.append(f"its state is {got}")
    elif not torch.isfinite(state).all():
        faults.append("its state holds NaN or infinity")

    # counts of units
    for name, count in dict(units).items():
        whole = type(count) is int or (isinstance(count, Tensor) and not count.is_floating_point())
        if not whole or (isinstance(count, Tensor) and count.shape != (len(x),)):
            faults.append(f"the count of {name} is {count!r}")
        elif bool((torch.as_tensor(count) < 0).any()):
            faults.append(f"the count of {name} is below 0")
    return faults


def _levels(sampler: Sampler, rows: int) -> Tensor:
    return torch.full((rows,), float(sampler.sigmas[0]), dtype=torch.float64)


def _memory(built: BuiltDenoiser) -> tuple[object, ...]:
    return (built.init_memory(_IMAGES),) if built.has_memory else ()


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
