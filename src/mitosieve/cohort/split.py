"""A split: named folds of cases, made once, written to one file, read by every job.

Knows cases and nothing finer: a slide can never be on two sides.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.jsonfile import loads
from mitosieve.cohort.table import read_table, read_text
from mitosieve.errors import FormatError, SplitError, plural, some
from mitosieve.run.folder import write_json

_REMEDY = 'expected {"folds": {NAME: {"train": [cases], "validation": [...], "test": [...]}}}'
PARTS = ("train", "validation", "test")
_LEFT_OUT = "left out"
"""What files call cases that a fold does not touch; a fold that touches all does not mention it."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Cases of one fold, each part sorted; parts are disjoint. `validation` may be empty: then nothing is chosen.

    Attributes:
        train, validation, test: the parts.
        left_out: labelled cases that the fold does not touch: such as patients of the scanner that it tests.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """Every case that the fold speaks of."""
        return (*self.train, *self.validation, *self.test, *self.left_out)

    @property
    def parts(self) -> dict[str, list[str]]:
        """Cases of each part by its name, as a run says what it was trained on; those left out are none of its."""
        return {part: list(self.part(part)) for part in PARTS}

    def part(self, name: str) -> tuple[str, ...]:
        if name not in PARTS:
            raise SplitError(f"there is no part '{name}'", remedy=f"choose one of {', '.join(PARTS)}")
        cases: tuple[str, ...] = getattr(self, name)
        return cases


@dataclass(frozen=True, kw_only=True)
class Split:
    """Named folds. Check it against its cohort before use."""

    folds: dict[str, Fold]

    @classmethod
    def load(cls, path: str | Path) -> "Split":
        """Read a split file.

        Raises:
            SplitError: missing, not JSON, or a case stands in two parts of a fold or is tested in two folds.
        """
        path = Path(path)
        if not path.exists():
            raise SplitError("there is no such split file", where=path, remedy="make one with: mitosieve split")
        try:
            content = loads(read_text(path, error=SplitError), where=path, remedy=_REMEDY)
            folds = {
                str(name): Fold(
                    **{part: _names(parts[part]) for part in PARTS}, left_out=_names(parts.get(_LEFT_OUT, []))
                )
                for name, parts in content["folds"].items()
            }
        except FormatError as error:
            raise SplitError(f"is not a split file ({error.what})", where=error.where, remedy=_REMEDY) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise SplitError(
                f"is not a split file ({type(error).__name__}: {error})", where=path, remedy=_REMEDY
            ) from error
        split = cls(folds=folds)
        split._check_disjoint(path)
        return split

    @classmethod
    def from_table(cls, path: str | Path) -> "Split":
        """Read a CSV with the columns fold, case, part; a row is one case's part in one fold, or "left out" of it.

        Raises:
            SplitError: a column is missing, a value empty, a part unknown, or a case stands in two parts of a fold
                or is tested in two folds.
        """
        path = Path(path)
        dealt: dict[str, dict[str, list[str]]] = {}
        for row in read_table(path, required=("fold", "case", "part"), error=SplitError):
            fold, case, part = (row.values[name] for name in ("fold", "case", "part"))
            if not fold or not case:
                raise SplitError("has no fold or no case", where=row.where, remedy="give each row fold,case,part")
            known = (*PARTS, _LEFT_OUT)
            if part not in known:
                raise SplitError(f"unknown part '{part}'", where=row.where, remedy=f"choose one of {', '.join(known)}")
            dealt.setdefault(fold, {name: [] for name in known})[part].append(case)
        split = cls(folds={name: _fold_of(dealt[name]) for name in sorted(dealt)})
        split._check_disjoint(path)
        return split

    @classmethod
    def by_case(cls, cohort: Cohort, *, folds: int, generator: np.random.Generator, validation: bool = True) -> "Split":
        """Folds in which every labelled case is tested once; the next fold's test cases are this fold's validation.

        Without validation, as CHS-NET's five folds are (Ma et al. 2018, section 4.2.1), all that is not tested is
        trained on; the test cases of a fold are the same either way.

        Cases are dealt largest first (by figures, ties by a random order) to the fold that has fewest cases of their
        domain, then fewest figures, so that folds are alike in both. Unlabelled cases are always in train.

        Raises:
            SplitError: fewer labelled cases than folds, or fewer than three folds, two without validation (train would
                be empty or leak).
        """
        labelled = sorted({entry.case_id for entry in cohort.slides if entry.labelled})
        fewest = 3 if validation else 2
        if folds < fewest:
            raise SplitError(f"{folds} folds leave nothing to train on", remedy=f"use at least {fewest} folds")
        if len(labelled) < folds:
            raise SplitError(
                f"{plural(len(labelled), 'labelled case')} cannot be dealt to {folds} folds",
                where=cohort.folder,
                remedy="use fewer folds, or import more cases",
            )
        groups = _deal(cohort, labelled, folds, generator)
        unlabelled = set(cohort.cases) - set(labelled)
        names = [chr(ord("A") + i) if folds <= 26 else f"{i:03d}" for i in range(folds)]
        made: dict[str, Fold] = {}
        for i, name in enumerate(names):
            test, held = groups[i], groups[(i + 1) % folds] if validation else []
            train = (set(labelled) - set(test) - set(held)) | unlabelled
            made[name] = Fold(train=tuple(sorted(train)), validation=tuple(sorted(held)), test=tuple(sorted(test)))
        return cls(folds=made)

    def with_unlabelled(self, cohort: Cohort) -> "Split":
        """This split with the cohort's unlabelled cases that no fold names in train of every fold, as in `by_case`.

        A case that some fold names stays where it stands: whoever names it in one fold leaves it out of the others.
        """
        labelled = {entry.case_id for entry in cohort.slides if entry.labelled}
        new = set(cohort.cases) - labelled - self.cases
        return Split(folds={name: replace(f, train=tuple(sorted({*f.train, *new}))) for name, f in self.folds.items()})

    def without_validation(self) -> "Split":
        """This split with each fold's validation cases in its train part."""
        return Split(
            folds={
                name: replace(f, train=tuple(sorted((*f.train, *f.validation))), validation=())
                for name, f in self.folds.items()
            }
        )

    def require_validation(
        self, names: Iterable[str], *, why: str, remedy: str, where: str | Path | None = None
    ) -> None:
        """Refuse folds that have no validation case.

        Args:
            names: of the folds that are to have one.
            why: what asks for it, as the end of a sentence.
            remedy: what can be done.
            where: what is at fault.

        Raises:
            SplitError: naming the folds; or there is no such fold.
        """
        bare = [name for name in names if not self.fold(name).validation]
        if bare:
            word = "fold" if len(bare) == 1 else "folds"
            raise SplitError(f"no validation case in {word} {some(bare)}, and {why}", where=where, remedy=remedy)

    @property
    def cases(self) -> frozenset[str]:
        """Every case that some fold names."""
        return frozenset(case for fold in self.folds.values() for case in fold.named)

    def save(self, path: Path) -> Path:
        return write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        def parts(fold: Fold) -> dict[str, list[str]]:
            return {**fold.parts, **({_LEFT_OUT: list(fold.left_out)} if fold.left_out else {})}

        return {"folds": {name: parts(fold) for name, fold in self.folds.items()}}

    def fold(self, name: str) -> Fold:
        """One fold by name.

        Raises:
            SplitError: no such fold.
        """
        if name not in self.folds:
            raise SplitError(f"there is no fold '{name}'", remedy=f"choose one of {', '.join(self.folds)}")
        return self.folds[name]

    def check(self, cohort: Cohort, *, where: str | Path | None = None, judged: bool = True) -> None:
        """Refuse a split that does not fit the cohort: an unknown case, a labelled case that a fold misses,
        an unlabelled case outside train, an empty train or test part, or a part without a single figure.

        A fold without validation cases passes: whether that will do is its recipe's affair (`require_validation`).

        Args:
            cohort: that it is of.
            where: its file, where it is known.
            judged: whether every fold must have test cases.

        Raises:
            SplitError: naming fold, part and case.
        """
        known = set(cohort.cases)
        labelled = {entry.case_id for entry in cohort.slides if entry.labelled}
        for name, fold in self.folds.items():
            listed = set(fold.named)
            strangers = sorted(listed - known)
            if strangers:
                raise SplitError(
                    f"fold {name} names cases that the cohort has not: {some(strangers)}",
                    where=where,
                    remedy="make the split from this cohort",
                )
            missed = sorted(labelled - listed)
            if missed:
                raise SplitError(
                    f"fold {name} misses the labelled cases {some(missed)}",
                    where=where,
                    remedy='give every labelled case a part in every fold (or "left out"), or make the split anew',
                )
            for part in PARTS if judged or fold.test else ("train",):
                self._check_part(cohort, name, part, where)

    def _check_part(self, cohort: Cohort, name: str, part: str, where: str | Path | None) -> None:
        cases = self.folds[name].part(part)
        if not cases and part == "validation":
            return
        if not cases:
            raise SplitError(f"fold {name} has no {part} case", where=where, remedy=f"give {part} at least one case")
        part_of = cohort.of_cases(cases)
        unlabelled = sorted(set(cases) - set(part_of.labelled.cases))
        if part != "train" and unlabelled:
            raise SplitError(
                f"fold {name} has the unlabelled cases {some(unlabelled)} in its {part} part",
                where=where,
                remedy="nothing can be scored on them: move them to train",
            )
        if not len(part_of.known_figures):
            raise SplitError(
                f"fold {name} has no mitotic figure in its {part} part",
                where=where,
                remedy="F1 is undefined there: move a case with figures into it, or use fewer folds",
            )

    def _check_disjoint(self, path: Path) -> None:
        if not self.folds:
            raise SplitError("holds no fold", where=path, remedy="make it anew with: mitosieve split")
        for name, fold in self.folds.items():
            everything = list(fold.named)
            twice = sorted({case for case in everything if everything.count(case) > 1})
            if twice:
                raise SplitError(
                    f"fold {name} has the case {some(twice)} in more than one place",
                    where=path,
                    remedy="a case belongs to exactly one part of a fold: remove it from the others",
                )
        tested: dict[str, str] = {}
        for name, fold in self.folds.items():
            for case in fold.test:
                if case in tested:
                    raise SplitError(
                        f"the folds {tested[case]} and {name} both test the case {case}",
                        where=path,
                        remedy="test each case in one fold at most: pooled scores would count it twice",
                    )
                tested[case] = name


def known_figures(cohort: Cohort) -> Counter[str]:
    """How many figures each case has that are learned from and scored (`Cohort.known_marks`); 0 for any other name."""
    case_of = cohort.case_of
    return Counter(case_of[str(slide)] for slide in cohort.known_figures.slide_id)


def _fold_of(dealt: dict[str, list[str]]) -> Fold:
    """A fold from the cases of each part as a table names them."""
    parts = {part.replace(" ", "_"): tuple(sorted(cases)) for part, cases in dealt.items()}
    return Fold(**parts)


def _names(cases: object) -> tuple[str, ...]:
    """A part as read from JSON, sorted."""
    if not isinstance(cases, list) or not all(isinstance(case, str) and case for case in cases):
        raise TypeError("a part is a list of case names")
    return tuple(sorted(cases))


def _deal(cohort: Cohort, cases: list[str], folds: int, generator: np.random.Generator) -> list[list[str]]:
    """Cases to folds, greedily: each to the fold with fewest of its domain, then fewest figures, then fewest cases."""
    domain = {entry.case_id: entry.domain for entry in cohort.slides}
    figures = known_figures(cohort)
    shuffled = [cases[i] for i in generator.permutation(len(cases))]
    groups: list[list[str]] = [[] for _ in range(folds)]
    for case in sorted(shuffled, key=lambda c: -figures[c]):

        def load(i: int, case: str = case) -> tuple[int, int, int]:
            same = sum(domain[other] == domain[case] for other in groups[i])
            return same, sum(figures[other] for other in groups[i]), len(groups[i])

        groups[min(range(folds), key=load)].append(case)
    return groups
