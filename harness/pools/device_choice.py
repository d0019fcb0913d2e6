"""Which devices of a cluster a run takes: how many GPUs, of which class; and the sentence that says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.errors import UsageError

WORDS = {"GPU": ("GPU", "GPUs"), "CPU": ("CPU core", "CPU cores")}
"""Names of the kinds of devices that Ray counts, one and several."""
_WORD = r"(?<![\w.]){}(?![\w.+])"
"""What surrounds a word of a device's name."""


@dataclass(frozen=True)
class DeviceChoice:
    """What a user wants of a cluster's devices; nothing given means all of one class."""

    gpus: int | None = None
    """Take so many GPUs and no more."""
    device: str | None = None
    """Words of the name of the class, such as "H100" or "1g.5gb"."""

    def __post_init__(self) -> None:
        """Raise UsageError for a number that is none, and for a class without a name."""
        if self.gpus is not None and self.gpus < 1:
            raise UsageError(f"--gpus is {self.gpus}; expected 1 or more")
        if self.device is not None and not self.device.split():
            raise UsageError('--device is empty; expected words of a device\'s name, such as "H100"')

    @property
    def is_given(self) -> bool:
        """Tell whether anything is chosen."""
        return self.gpus is not None or self.device is not None

    def words(self) -> list[str]:
        """Return it as words of a command line."""
        gpus = [] if self.gpus is None else ["--gpus", str(self.gpus)]
        return gpus if self.device is None else [*gpus, "--device", self.device]

    def matches(self, device_class: str) -> bool:
        """Tell whether a device's class, such as "cuda:NVIDIA H200 (140 GiB)", has all the words that are wanted.

        As words of it: "A100" is one of "A100-SXM4-40GB", "1g.5gb" none of "1g.5gb+me".
        """
        wanted = (self.device or "").casefold().split()
        return all(re.search(_WORD.format(re.escape(word)), device_class.casefold()) for word in wanted)

    def check_here(self, device_class: str, found: int) -> None:
        """Raise UsageError where this machine's devices, `found` of one class, are not what is wanted."""
        if not self.matches(device_class):
            raise UsageError(
                f'--device is "{self.device}"; this machine runs on {device_class.partition(":")[2]}: leave --device '
                "out, or name a cluster with --address"
            )
        self.check_count("GPU" if device_class.startswith("cuda") else "CPU", found, "this machine")

    def check_count(self, kind: str, found: int, where: str) -> None:
        """Raise UsageError where there are no GPUs, or fewer than wanted. `kind` is that of the devices there."""
        if self.gpus is None or (kind == "GPU" and found >= self.gpus):
            return
        has = f"{found} {_word(kind, found)}" if kind == "GPU" else "no GPU"
        mend = "ask for as many or fewer" if kind == "GPU" else "leave --gpus out to run on CPU cores"
        raise UsageError(f"--gpus is {self.gpus}; {where} has {has}: {mend}")


ALL_DEVICES = DeviceChoice()
"""Nothing is chosen."""


@dataclass(frozen=True)
class DeviceUse:
    """What a run takes of a cluster's devices, or of this machine's."""

    kind: str
    """GPU or CPU."""
    name: str
    """Of the class of devices that it takes."""
    taken: int
    total: int
    """Devices of the cluster, of all classes, whoever uses them."""
    nodes: int
    """Nodes with devices that it takes, and of all with such devices."""
    all_nodes: int
    usable: int
    """Devices on nodes where none of another class was met, and how many nodes these are."""
    usable_nodes: int
    others: Mapping[str, int]
    """Names of other classes that were met, each with the number of devices that were left out."""

    def sentence(self, where: str) -> str:
        """Return how many of how many devices are used; `where` is "this machine" or names the cluster."""
        all_of = "all" if self.taken == self.total else f"{self.taken} of"
        nodes = f" on {self.nodes} of {self.all_nodes} nodes" if self.all_nodes > 1 else ""
        parts = [f"this run uses {all_of} {self.total} {_word(self.kind, self.total)} of {where}: {self.name}{nodes}"]
        if self.taken == self.total and self.kind == "GPU":
            parts.append("--gpus N takes fewer")
        if self.others:
            parts.append(f"left out, as they are of another class: {', '.join(sorted(self.others))}")
        return "; ".join(parts)


def check_one_class(device_classes: Iterable[str]) -> None:
    """Raise UsageError for devices that differ: one run measures one class of device."""
    if len(classes := sorted(set(device_classes))) > 1:
        raise UsageError(
            f"the cluster offers devices of several kinds, {' and '.join(classes)}, which round and clock "
            "differently; expected one kind: choose it with --device, as words of its name"
        )


def no_such_device(choice: DeviceChoice, found: Iterable[str]) -> UsageError:
    """Return the error of a class that no device of the cluster has; `found` are the classes that were met."""
    names = sorted({one.partition(":")[2] for one in found})
    has = f"the cluster has {' and '.join(names)}" if names else "no device of the cluster came to say what it is"
    return UsageError(f'--device is "{choice.device}"; {has}: choose words of one of its names, or leave --device out')


def _word(kind: str, count: int) -> str:
    return WORDS[kind][count != 1]
