"""A suite's settings of fidelity: whether it is measured, and with which backbone LPIPS is."""

from __future__ import annotations

from pydantic import model_validator

from harness.specs.base import Closed


class FidelitySettings(Closed):
    """How images of accelerated trials are compared with those of the same sampler without acceleration."""

    measure: bool = True
    """Whether they are; what they are compared with is sampled, once, where the suite has no such row."""
    lpips_backbone: str | None = None
    """The file of torchvision's AlexNet, for LPIPS; without it there is none."""

    @model_validator(mode="after")
    def _reads_its_backbone(self) -> FidelitySettings:
        if self.lpips_backbone is not None and not self.measure:
            raise ValueError(
                f'lpips_backbone is "{self.lpips_backbone}" and measure false; expected one of them, so leave one out'
            )
        return self
