"""Which cases a detector's networks have learned from: by its folder, card or run, and all that it went on from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitosieve.models.box import detector_folder
from mitosieve.models.card import read_card
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, kind_of, read_json, write_json


@dataclass(frozen=True, kw_only=True)
class LearnedCases:
    """What is known of the cases that a detector's networks have learned from.

    Attributes:
        cases: those that are known.
        all_known: whether there can be no others.
    """

    cases: frozenset[str]
    all_known: bool

    @classmethod
    def of_run(cls, provenance: Mapping[str, Any]) -> "LearnedCases":
        """What a training itself learns from, its start left out."""
        fold, recipe = provenance["fold"], provenance.get("recipe", {})
        more = fold["validation"] if recipe.get("validation") == "learned" else ()  # its thresholds are out of fold
        return cls(cases=frozenset((*fold["train"], *more)), all_known=True)

    def joined(self, other: "LearnedCases") -> "LearnedCases":
        """What one has learned that went on from the other."""
        return LearnedCases(cases=self.cases | other.cases, all_known=self.all_known and other.all_known)

    def save(self, folder: Path) -> Path:
        """Write it into a folder of a run or a detector; equal content gives equal bytes."""
        return write_json(folder / layout.LEARNED, {"cases": sorted(self.cases), "all_known": self.all_known})

    @classmethod
    def load(cls, folder: Path) -> "LearnedCases | None":
        """What `save` wrote there; None where it wrote nothing.

        Raises:
            FormatError: it is broken.
        """
        content: dict[str, Any] = read_json(folder / layout.LEARNED, {})
        if not content:
            return None
        return cls(cases=frozenset(content["cases"]), all_known=bool(content["all_known"]))


def learned_cases(named: str | Path) -> LearnedCases:
    """Of a detector: one of the package, a folder, or that of a run, as `Detector.load` takes it.

    Where nobody can tell - a folder that was copied out of its run, a run of before that went on from another - it says
    so, with the cases that are known.

    Raises:
        DetectorError: as `detector_folder` and `read_card`.
        RunFolderError: it lies in a run of another version.
        FormatError: what was kept of it is broken.
    """
    folder = detector_folder(named)
    kept = LearnedCases.load(folder)
    if kept is not None:
        return kept
    if (folder / layout.CARD_DATA).exists():
        rows = [row for row in read_card(folder / layout.CARD_DATA).data if row.used == "training"]
        patients = frozenset(name for row in rows for name in row.patients)
        return LearnedCases(cases=patients, all_known="unknown" not in patients)
    run = folder.resolve().parent
    if kind_of(run) is not layout.Kind.TRAIN:
        return LearnedCases(cases=frozenset(), all_known=False)
    kept = LearnedCases.load(run)
    if kept is not None:
        return kept
    provenance = RunFolder(run).read_mark().provenance
    is_its_own = "start" not in provenance and not (folder / layout.ADAPTED).exists()
    return LearnedCases.of_run(provenance).joined(LearnedCases(cases=frozenset(), all_known=is_its_own))
