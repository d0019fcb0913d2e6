"""Which devices of a cluster are taken: what is refused, and the sentence that says how many of how many."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.pools.cluster_devices import ClusterDevices, Placement
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice, DeviceUse, check_one_class, no_such_device

H100, A100 = "cuda:NVIDIA H100 80GB HBM3", "cuda:NVIDIA A100-SXM4-40GB"
SLICE = f"{A100} MIG 1g.5gb"


def use(**changes: Any) -> DeviceUse:
    fields: dict[str, Any] = {
        "kind": "GPU", "name": "NVIDIA H100 80GB HBM3", "taken": 4, "total": 16, "nodes": 1, "all_nodes": 2,
        "usable": 16, "usable_nodes": 2, "others": {},
    }  # fmt: skip
    return DeviceUse(**{**fields, **changes})


@pytest.mark.parametrize(
    ("words", "device_class", "is_chosen"),
    [
        (None, H100, True),
        ("H100", H100, True),
        ("nvidia h100", H100, True),
        ("H100", A100, False),
        ("a100", A100, True),
        ("a100 1g.5gb", SLICE, True),
        ("1g.5gb", A100, False),
        ("1g.5gb", f"{A100} MIG 2g.10gb", False),
        ("cuda", "cpu:AMD EPYC", False),
        ("h1", H100, False),
        ("100", H100, False),
        ("5gb", SLICE, False),
        ("1g.5gb", f"{A100} MIG 1g.5gb+me", False),
        ("1g.5gb+me", f"{A100} MIG 1g.5gb+me", True),
        ("(140 GiB)", "cuda:NVIDIA H200 (140 GiB)", True),
    ],
)
def test_a_class_is_chosen_by_words_of_its_name(words: str | None, device_class: str, is_chosen: bool) -> None:
    assert DeviceChoice(device=words).matches(device_class) is is_chosen


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"gpus": 0}, "--gpus is 0; expected 1 or more"), ({"gpus": -1}, "-1"), ({"device": " "}, "--device is empty")],
)
def test_what_is_no_choice_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        DeviceChoice(**given)


def test_nothing_given_is_no_choice() -> None:
    assert not ALL_DEVICES.is_given
    assert DeviceChoice(gpus=1).is_given
    assert DeviceChoice(device="H100").is_given


def test_a_choice_travels_as_words_of_a_command_line() -> None:
    assert ALL_DEVICES.words() == []
    assert DeviceChoice(gpus=4).words() == ["--gpus", "4"]
    assert DeviceChoice(gpus=4, device="A100 1g.5gb").words() == ["--gpus", "4", "--device", "A100 1g.5gb"]


def test_too_few_gpus_or_none_are_refused_and_enough_are_not() -> None:
    wanted = DeviceChoice(gpus=4)
    wanted.check_count("GPU", 4, "the cluster")
    ALL_DEVICES.check_count("CPU", 2, "the cluster")
    with pytest.raises(UsageError, match="--gpus is 4; the cluster has 3 GPUs: ask for as many or fewer"):
        wanted.check_count("GPU", 3, "the cluster")
    with pytest.raises(UsageError, match="the cluster has 1 GPU: "):
        wanted.check_count("GPU", 1, "the cluster")
    with pytest.raises(UsageError, match="--gpus is 4; this machine has no GPU: leave --gpus out to run on CPU cores"):
        wanted.check_count("CPU", 64, "this machine")


def test_a_machine_without_what_is_chosen_says_what_it_has() -> None:
    DeviceChoice(gpus=2, device="h100").check_here(H100, 8)
    with pytest.raises(UsageError, match='--device is "A100"; this machine runs on NVIDIA H100 80GB HBM3: leave'):
        DeviceChoice(device="A100").check_here(H100, 8)
    with pytest.raises(UsageError, match="this machine has no GPU"):
        DeviceChoice(gpus=2).check_here("cpu:AMD EPYC", 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "this run uses 4 of 16 GPUs of the cluster: NVIDIA H100 80GB HBM3 on 1 of 2 nodes"),
        (
            {"taken": 16, "nodes": 2},
            "this run uses all 16 GPUs of the cluster: NVIDIA H100 80GB HBM3 on 2 of 2 nodes; --gpus N takes fewer",
        ),
        ({"total": 4, "all_nodes": 1, "taken": 1}, "this run uses 1 of 4 GPUs of the cluster: NVIDIA H100 80GB HBM3"),
        (
            {"others": {"NVIDIA A100-SXM4-40GB": 1}},
            "this run uses 4 of 16 GPUs of the cluster: NVIDIA H100 80GB HBM3 on 1 of 2 nodes; left out, as they are "
            "of another class: NVIDIA A100-SXM4-40GB",
        ),
        (
            {"kind": "CPU", "name": "AMD EPYC", "taken": 1, "total": 1, "all_nodes": 1},
            "this run uses all 1 CPU core of the cluster: AMD EPYC",
        ),
    ],
)
def test_the_sentence_says_how_many_of_how_many_are_taken(changes: dict[str, Any], sentence: str) -> None:
    assert use(**changes).sentence("the cluster") == sentence


def test_unequal_devices_are_refused_until_one_class_is_chosen() -> None:
    check_one_class([H100, H100])
    for classes in ([H100, A100], [A100, SLICE], [SLICE, f"{A100} MIG 2g.10gb"]):
        with pytest.raises(UsageError, match=r"several kinds, .* and .*: choose it with --device"):
            check_one_class(classes)


def test_a_class_that_no_device_has_names_those_that_there_are() -> None:
    error = no_such_device(DeviceChoice(device="V100"), [H100, A100])
    assert '--device is "V100"; the cluster has NVIDIA A100-SXM4-40GB and NVIDIA H100 80GB HBM3: ' in str(error)


def test_nodes_of_one_word_of_ray_are_alike_and_nodes_without_a_word_are_not() -> None:
    by_node = {"a": 8, "b": 8, "c": 4, "d": 2, "e": 2}
    found = ClusterDevices("GPU", by_node, {"a": "H100", "b": "H100", "c": "A100", "d": "", "e": ""})
    assert found.total == 24
    assert found.alike("a") == {"a", "b"}
    assert found.alike("d") == {"d"}
    assert found.without({"a", "b"}).by_node == {"c": 4, "d": 2, "e": 2}


def test_actors_are_kept_from_nodes_that_are_left_out() -> None:
    gpus, cores = Placement("GPU"), Placement("CPU")
    assert gpus.options() == {"num_cpus": 1, "num_gpus": 1}
    assert cores.options() == {"num_cpus": 1, "num_gpus": 0}
    assert gpus.options({"b", "a"}) == {"num_cpus": 1, "num_gpus": 1, "label_selector": {"ray.io/node-id": "!in(a,b)"}}


@pytest.mark.parametrize(("count", "by_node"), [(2, {"a": 4}), (8, {"a": 4, "b": 4}), (4, {"a": 4, "b": 4, "c": 1})])
def test_nothing_is_reserved_on_one_node_nor_where_all_is_taken(count: int, by_node: dict[str, int]) -> None:
    """Ray is not there, so what asks it for a group fails; the last case does, as "c" is no class of its own."""
    placement = Placement("GPU")
    devices = ClusterDevices("GPU", by_node, dict.fromkeys(by_node, ""))
    if len(by_node) == 3:
        devices = devices.without({"b", "c"})
    placement.reserve(count, devices)
    assert not placement.is_reserved
