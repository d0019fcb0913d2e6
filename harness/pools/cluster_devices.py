"""The whole devices of a cluster, node by node, and how a part of them is reserved: on one node where it fits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from harness.specs.limits import GROUP_SECONDS

_LOG = logging.getLogger("oneclock.pools.cluster_devices")
_NODE, _TYPE = "ray.io/node-id", "ray.io/accelerator-type"
"""Ray's labels of a node: its id, and its word for the accelerators there."""


@dataclass(frozen=True)
class ClusterDevices:
    """The whole devices of one kind on the living nodes of a cluster."""

    kind: str
    """GPU, or CPU for cores."""
    by_node: Mapping[str, int]
    """Nodes that have any."""
    types: Mapping[str, str]
    """Ray's own word for the accelerators of a node; "" where it has none."""

    @property
    def total(self) -> int:
        """Return the number of devices."""
        return sum(self.by_node.values())

    def without(self, nodes: Iterable[str]) -> ClusterDevices:
        """Return the devices of the other nodes."""
        gone = set(nodes)
        left = {node: count for node, count in self.by_node.items() if node not in gone}
        return ClusterDevices(self.kind, left, self.types)

    def alike(self, node: str) -> set[str]:
        """Return a node and those with the same accelerators by Ray's word; itself alone where it has no word."""
        word = self.types.get(node, "")
        return {node, *(other for other in self.by_node if word and self.types.get(other) == word)}


def read_cluster_devices(kind: str | None = None) -> ClusterDevices:
    """Return the devices of the cluster that this process has joined: GPUs where it has any, else cores."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    if kind is None:
        kind = "GPU" if any(node["Resources"].get("GPU", 0) >= 1 for node in alive) else "CPU"
    counts = {node["NodeID"]: int(node["Resources"].get(kind, 0)) for node in alive}
    types = {node["NodeID"]: str(node.get("Labels", {}).get(_TYPE, "")) for node in alive}
    return ClusterDevices(kind, {node: count for node, count in counts.items() if count > 0}, types)


class Placement:
    """Where actors of one device each are created: anywhere but on some nodes, or in a group close to each other."""

    def __init__(self, kind: str) -> None:
        self._bundle = {"CPU": 1, "GPU": 1} if kind == "GPU" else {"CPU": 1}
        self._group: PlacementGroup | None = None

    @property
    def is_reserved(self) -> bool:
        """Tell whether actors are created in a group."""
        return self._group is not None

    def reserve(self, count: int, devices: ClusterDevices, left_out: Iterable[str] = ()) -> None:
        """Reserve `count` devices on one node where it fits, else on few.

        What was reserved before is released. Nothing is reserved for one device, where all are wanted anyway, or
        where not so many are free together: actors then get what becomes free. Blocks for up to twice `GROUP_SECONDS`.
        """
        self.release()
        usable = devices.without(left_out)
        if count < 2 or len(usable.by_node) < 2 or count >= usable.total:
            return
        selector = _other_nodes(left_out)
        fits = max(usable.by_node.values()) >= count
        for strategy in ("STRICT_PACK", "PACK") if fits else ("PACK",):
            bundles = [dict(self._bundle) for _ in range(count)]
            group = placement_group(bundles, strategy=strategy, bundle_label_selector=selector and [selector] * count)
            if group.wait(GROUP_SECONDS):
                self._group = group
                return
            remove_placement_group(group)
        _LOG.info("not all of %d devices are free now: they are taken one by one, wherever they become free", count)

    def options(self, left_out: Iterable[str] = ()) -> dict[str, Any]:
        """Return the options of an actor on one device."""
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": self._bundle.get("GPU", 0)}
        if self._group is not None:
            return {**options, "scheduling_strategy": PlacementGroupSchedulingStrategy(self._group)}
        selector = _other_nodes(left_out)
        return {**options, "label_selector": selector} if selector else options

    def release(self) -> None:
        """Release what is reserved; Ray kills the actors there."""
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None


def _other_nodes(left_out: Iterable[str]) -> dict[str, str] | None:
    """Return Ray's selector of all nodes but some."""
    names = sorted(left_out)
    return {_NODE: f"!in({','.join(names)})"} if names else None
