"""The decoder of latents: its batches, its number format, and its FLOPs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kit.imports_kit import draw_weights

from harness.measure import call_times
from harness.measure.device import CallTiming
from harness.measure.flops import CrossCheck, count_flops, deepspeed_macs
from harness.sampling.decoder import LatentDecoder, build_decoder

PARAMS: dict[str, Any] = {
    "latent_channels": 4,
    "out_channels": 1,
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
}


def make_decoder(batch: int = 8, **changes: Any) -> LatentDecoder:
    decoder = build_decoder({**PARAMS, **changes}, batch).eval().requires_grad_(False)
    draw_weights(decoder)
    return decoder


def test_it_decodes_as_many_states_at_once_as_it_says() -> None:
    decoder, sizes = make_decoder(batch=3), list[int]()
    decoder.decoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    assert decoder(torch.ones(8, 4, 4, 4)).shape == (8, 1, 8, 8)
    assert sizes == [3, 3, 2]


def test_states_in_double_precision_are_decoded_in_single_precision() -> None:
    x = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, 4, 4, 4)
    decoder = make_decoder()
    assert decoder(x).dtype == torch.float32
    assert torch.equal(decoder(x), decoder(x.float()))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_every_level_but_one_doubles_the_sides(levels: int) -> None:
    decoder = make_decoder(block_out_channels=[8] * levels)
    side = 4 * decoder.params.enlargement
    assert side == 4 * 2 ** (levels - 1)
    assert decoder(torch.ones(1, 4, 4, 4)).shape == (1, 1, side, side)


def flops_by_hand() -> int:
    """Return the FLOPs of one 4x4x4 state: 2 a multiply-add of convolutions 3x3, matrices and attention."""
    low, high, width = 4 * 4, 8 * 8, 8
    conv = 2 * 9 * width * width
    block = 2 * conv
    attention = 4 * 2 * low * width * width + 2 * 2 * low * low * width
    first = 2 * low * 4 * 4 + 2 * 9 * low * 4 * width
    middle = 2 * low * block + attention
    lower = 2 * low * block + high * conv
    upper = 2 * high * block
    return first + middle + lower + upper + 2 * 9 * high * width


def test_flops_are_those_by_hand_and_of_both_counters() -> None:
    decoder, state = make_decoder(), torch.ones(1, 4, 4, 4)
    found = CrossCheck(count_flops(decoder, state), deepspeed_macs(decoder, state))
    assert found.flops == flops_by_hand()
    assert found.agree


def test_a_replayed_latency_ends_with_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.ones(1, 4, 4, 4)
    clock = iter([5.0, 1.0, 2.0, 9.0, 3.0])

    def timed(call: Any, device: Any) -> tuple[Any, CallTiming]:
        return call(), CallTiming(next(clock), 0.0, None)

    monkeypatch.setattr(call_times, "timed_call", timed)
    replayed = SimpleNamespace(device_group=lambda: 1, device_counts=lambda _: [1], replayed=lambda *_: 10.0)
    trial: Any = SimpleNamespace(
        executor=replayed, sigmas=[1, 0], solver=None, decoder=make_decoder(), device=torch.device("cpu"),
        denoises_last=False, initial_state=lambda _: state, decode=lambda states: states,
    )  # fmt: skip
    timer: Any = SimpleNamespace(mean_seconds=lambda _: 1.0)
    rows = call_times.replay_virtual_times(trial, timer, [2, 2], serial_seconds=20.0, measured=14.0)
    assert [row.virtual_latency_seconds for row in rows] == [13.0]
    trial.decoder = None
    rows = call_times.replay_virtual_times(trial, timer, [2, 2], serial_seconds=20.0, measured=14.0)
    assert [row.virtual_latency_seconds for row in rows] == [10.0]
