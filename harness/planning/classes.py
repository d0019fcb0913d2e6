"""Classes and guidance of a suite's trials: what is refused, and the law of the images' classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.config.network_card import NetworkCard
from harness.config.suite import Classes, Guidance, PartEntry, Suite
from harness.errors import UsageError
from harness.sampling.network import network_params
from harness.specs.sampler import ClassesSpec
from methods.parts import Denoiser, Method

_LAWS = '"uniform", "frequency", "balanced", one number, or "none"'


def guided(denoisers: Sequence[PartEntry], guidance: Any) -> list[PartEntry]:
    """Return every denoiser under every guidance of an entry; the denoisers as they are where it names none."""
    if guidance is None:
        return list(denoisers)
    listed = guidance if isinstance(guidance, list) else [guidance]
    each = [one if isinstance(one, Guidance) else Guidance(scale=one) for one in listed]
    return [PartEntry(name=part.name, **{**part.params, **one.params()}) for part in denoisers for one in each]


def check_classes(suite: Suite, parts: Mapping[str, Method], net: NetworkCard) -> None:
    """Raise UsageError for a network whose classes the suite does not name, and for guidance that is not there."""
    denoiser = parts["denoiser"]
    assert isinstance(denoiser, Denoiser)
    params, asked, led = network_params(net), suite.classes, denoiser.guidance.guidance != 1
    if params.class_count == 0:
        if led:
            raise UsageError(f'guidance is {denoiser.guidance.guidance:g}, but network "{net.name}" knows no classes')
        return

    # what the images' classes are
    count = params.class_count
    if asked is None:
        raise UsageError(f'network "{net.name}" knows {count} classes; set the suite\'s classes to {_LAWS}')
    if isinstance(asked, int) and asked >= count:
        raise UsageError(f'classes is {asked}, but network "{net.name}" knows classes 0 to {count - 1}')
    if asked == "none" and not params.has_null_class:
        raise UsageError(f'classes is "none", but network "{net.name}" cannot be called for no class; set {_LAWS}')
    if asked == "balanced" and suite.n_images % count:
        raise UsageError(
            f'classes is "balanced" and n_images = {suite.n_images:,}, which is no multiple of the {count:,} classes '
            f'of network "{net.name}"; set n_images to one'
        )

    # what guides to them
    if led and (asked == "none" or not params.has_null_class):
        why = 'classes is "none"' if asked == "none" else f'network "{net.name}" cannot be called for no class'
        raise UsageError(f"guidance is {denoiser.guidance.guidance:g}, but {why}; leave the guidance out")
    if led and denoiser.has_memory and denoiser.guidance.guidance_interval is not None:
        raise UsageError(
            f'denoiser "{denoiser.name}" remembers earlier calls, which a guidance_interval makes of other numbers of '
            "rows; guide at all levels"
        )

    # what is prepared is prepared without classes
    for part, method in parts.items():
        if method.prepares and not params.has_null_class:
            raise UsageError(
                f'{part} "{method.name}" is prepared without classes, and network "{net.name}" cannot be called for no '
                "class"
            )


def classes_spec(asked: Classes | None, count: int, load_labels: Callable[[], np.ndarray | None]) -> ClassesSpec | None:
    """Return the law of the images' classes of a network with `count`; None where they have none.

    The labels of the training images decide the law frequency. UsageError where there are none, or other classes.
    """
    if count == 0 or asked in (None, "none"):
        return None
    if isinstance(asked, int):
        return ClassesSpec(law="one", count=count, one=asked)
    if asked != "frequency":
        return ClassesSpec(law=str(asked), count=count)
    labels = load_labels()
    if labels is None or labels.max(initial=0) >= count:
        found = "no labels" if labels is None else f"labels up to {labels.max()} for {count} classes"
        raise UsageError(f'classes is "frequency", but the training images have {found}; set classes to "uniform"')
    counts = np.bincount(labels, minlength=count)
    return ClassesSpec(law="frequency", count=count, counts=tuple(int(one) for one in counts))
