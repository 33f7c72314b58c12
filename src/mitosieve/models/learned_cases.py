"""Which cases a detector's networks have learned from: by its folder, card or run, and all that it went on from."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitosieve.cohort.case_id import alike, tissues_of
from mitosieve.errors import FormatError, RunFolderError, plural, some
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

    def among(self, cases: Collection[str], slides: Iterable[tuple[str, str]]) -> list[str]:
        """Those of some cases that were learned from, in whatever way they are written there (`case_id.alike`), sorted;
        one that is written otherwise with how.

        Args:
            cases: of a cohort.
            slides: slide_id and case_id of its slides.
        """
        groups = alike({*self.cases, *cases}, tissues_of(slides))
        also = {case: sorted(self.cases & set(group)) for group in groups for case in group if self.cases & set(group)}
        return [
            case if case in self.cases else f"{case} (there {', '.join(also[case])})"
            for case in sorted({*cases} & (self.cases | set(also)))
        ]

    def describe(self) -> str:
        """For people: how many, which, and whether there may be others."""
        if not self.cases:
            return (
                "Which cases it learned from is not known: its folder does not say, and lies in no run that this "
                "version reads."
            )
        more = "." if self.all_known else ", and others that are not known."
        return f"{plural(len(self.cases), 'case')}: {some(sorted(self.cases), most=40)}{more}"

    def save(self, folder: Path) -> Path:
        """Write it into a folder of a run or a detector; equal content gives equal bytes."""
        return write_json(folder / layout.LEARNED, {"cases": sorted(self.cases), "all_known": self.all_known})

    @classmethod
    def load(cls, folder: Path) -> "LearnedCases | None":
        """What `save` wrote there; None where it wrote nothing.

        Raises:
            FormatError: it is broken.
        """
        path = folder / layout.LEARNED
        if not path.exists():
            return None
        content: Any = read_json(path, {})
        cases, all_known = (content.get(key) for key in ("cases", "all_known")) if isinstance(content, dict) else (0, 0)
        if (
            not isinstance(cases, list)
            or not all(isinstance(case, str) for case in cases)
            or type(all_known) is not bool
        ):
            raise FormatError(
                "does not say which cases were learned from", where=path, remedy="copy it from its run again"
            )
        return cls(cases=frozenset(cases), all_known=all_known)


def learned_cases(named: str | Path) -> LearnedCases:
    """Of a detector: one of the package, a folder, or that of a run, as `Detector.load` takes it.

    Where nobody can tell - a folder that was copied out of its run, a run of another version, one of before that went
    on from another - it says so, with the cases that are known.

    Raises:
        DetectorError: as `detector_folder` and `read_card`.
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
    try:
        is_run = kind_of(run) is layout.Kind.TRAIN
    except RunFolderError:  # of another version, or broken: its detector can be used all the same
        is_run = False
    if not is_run:
        return LearnedCases(cases=frozenset(), all_known=False)
    kept = LearnedCases.load(run)
    if kept is not None:
        return kept
    provenance = RunFolder(run).read_mark().provenance
    is_its_own = "start" not in provenance and not (folder / layout.ADAPTED).exists()
    return LearnedCases.of_run(provenance).joined(LearnedCases(cases=frozenset(), all_known=is_its_own))


def called(named: str | Path) -> str:
    """What a detector is called without the way to it: by its name in the package, its run's, or its folder's.

    Raises:
        DetectorError: as `detector_folder`.
    """
    folder = detector_folder(named).resolve()
    return folder.parent.name if folder.name == layout.DETECTOR else folder.name
