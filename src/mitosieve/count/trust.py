"""What a reader must know of a detector before its counts: what it learnt from, how well it did where that was tested,
and what speaks against trusting it. Knows no files; whoever reads cards or runs gives the facts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LOW_THRESHOLD = 0.2
"""Ours: networks that learnt something give figures scores above one half; a threshold below this calls places figures
that they believe to be none."""

COARSER = 1.15
"""A slide is coarser than a network by more than this factor: the tolerance of resolutions in `sieve.reference`."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """A detector as the people see it who get its counts.

    Attributes:
        detector: its name.
        learnt_from: data, patients and figures, in words; empty where nobody recorded it.
        is_synthetic: whether it learnt from synthetic tissue; None where nobody recorded it.
        f1: by the official rule, on patients that it did not learn from, or, where `tested_on` says so, of a like
            training without them; None where that was not measured.
        f1_interval: 95 %, both ends; None where it is not known.
        tested_on: the patients and figures, in words.
        mpp: um per px of the finest picture that its networks see.
        threshold: operating threshold in use.
        own_threshold: that the detector came with.
        start_is_synthetic: whether it began with what was learnt from synthetic tissue; None where nobody recorded it.
    """

    detector: str
    learnt_from: str
    is_synthetic: bool | None
    f1: float | None
    f1_interval: tuple[float, float] | None
    tested_on: str
    mpp: float
    threshold: float
    own_threshold: float
    start_is_synthetic: bool | None = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What holds for every slide, a sentence each."""
        told: list[str] = []
        if self.is_synthetic:
            told.append("learnt from synthetic tissue: its counts on real slides mean nothing")
        elif self.start_is_synthetic:
            told.append("began with what was learnt from synthetic tissue: only what it learnt since speaks for it")
        if self.threshold < self.own_threshold:
            told.append(
                f"low threshold: {self.threshold:.3g}, the detector's own is {self.own_threshold:.3g}: "
                "more of what is called a figure is none"
            )
        elif self.threshold < LOW_THRESHOLD:
            told.append(f"low threshold: {self.threshold:.3g}: scores below one half say that a place is no figure")
        return tuple(told)

    def of_slide(self, mpp_xy: tuple[float, float]) -> tuple[str, ...]:
        """What holds for a slide of this resolution, a sentence each."""
        mpp = max(mpp_xy)
        if mpp <= COARSER * self.mpp:
            return ()
        return (
            f"slide coarser than the network: {mpp:.3g} um/px, the network looks at {self.mpp:.3g}: "
            "figures are blurred and may be missed",
        )

    @property
    def f1_words(self) -> str:
        """F1 with its interval and where it was measured; that it was not."""
        if self.f1 is None:
            return "not measured"
        ends = "" if self.f1_interval is None else f" [{self.f1_interval[0]:.3f}, {self.f1_interval[1]:.3f}]"
        return f"{self.f1:.3f}{ends}{f' on {self.tested_on}' if self.tested_on else ''}"

    @property
    def line(self) -> str:
        """All but the warnings in one line."""
        return f"{self.detector}: learnt from {self.learnt_from or 'unknown slides'}; test F1 {self.f1_words}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Trust":
        """What `to_json` gave."""
        facts: dict[str, Any] = {name: value for name, value in content.items() if name != "warnings"}
        ends: list[float] | None = facts["f1_interval"]
        facts["f1_interval"] = None if ends is None else (ends[0], ends[1])
        return cls(**facts)
