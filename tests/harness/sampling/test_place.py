"""Models cached at a place: one whose weights are others by now is made anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.sampling.place import ModelCache


def made() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2, dtype=torch.float64)).eval()


def change_buffer(model: nn.Module) -> None:
    model[1].running_mean[2] += 1e-3  # type: ignore[index, union-attr, operator]


def change_weight(model: nn.Module) -> None:
    with torch.no_grad():
        model[0].weight[1, 0, 2, 2] *= 1.001  # type: ignore[index, union-attr, operator]


def change_double(model: nn.Module) -> None:
    with torch.no_grad():
        model[2].bias[0] *= 1 + 1e-9  # type: ignore[index, union-attr, operator]


def replace_weight(model: nn.Module) -> None:
    model[0].weight = nn.Parameter(torch.zeros(4, 1, 3, 3))  # type: ignore[index, union-attr]


def add_weight(model: nn.Module) -> None:
    model.register_parameter("extra", nn.Parameter(torch.zeros(1)))


@pytest.mark.parametrize("change", [change_buffer, change_weight, change_double, replace_weight, add_weight])
def test_a_changed_model_is_made_anew_and_said(change: object) -> None:
    cache = ModelCache()
    first = cache.get("model", made)
    assert cache.get("model", made) is first
    assert not cache.drop_changed()
    change(first)  # type: ignore[operator]
    assert cache.get("model", made) is not first
    assert (cache.drop_changed(), cache.drop_changed()) == (True, False)


def test_what_is_no_module_is_kept() -> None:
    cache, thing = ModelCache(), object()
    assert cache.get("thing", lambda: thing) is cache.get("thing", object) is thing
    assert not cache.drop_changed()
