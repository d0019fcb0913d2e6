"""One finding of a release check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReleaseFinding:
    """A check's outcome: its name, a sentence on what was found, and what to do where it failed."""

    part: str
    sentence: str
    remedy: str = ""
    """Empty where the check holds."""

    @property
    def failed(self) -> bool:
        """Tell whether the check failed."""
        return bool(self.remedy)

    def line(self) -> str:
        """Return the finding as one line."""
        end = f"; {self.remedy}" if self.failed else ""
        return f"{'failed' if self.failed else 'ok':7} {self.part:10} {self.sentence}{end}"
