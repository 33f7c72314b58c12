"""Mining regimes: which negatives of a scored pool a network learns from, and which regime did best on validation.

Knows ids, scores and kinds: no pixels, no networks. The search is our reconstruction of the abstract of Lafarge and
Koelzer (arXiv 2301.01079), which says that regimes were searched and that the best used 19.6 % of the training patches;
the axes and their values are ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

REGIMES_FORMAT = 1
"""Version of the record of a search, regimes.json."""

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Repeats = Annotated[int, Field(ge=0, le=100)]


class Regime(BaseModel):
    """One way of choosing negatives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labelled: Fraction = 1.0
    """Share kept of the background candidates of labelled slides, hardest first; 1 keeps all."""
    unlabelled: Fraction = 1.0
    """Share kept of the candidates of unlabelled slides, hardest first; 0 keeps none."""
    cap: Fraction = 1.0
    """Unlabelled candidates with a score of this or more are dropped: they may be figures that nobody marked."""
    imposter_weight: Repeats = 1
    """How many times an imposter counts when negatives are drawn; 0 leaves imposters out."""
    choice: Literal["hardest", "random"] = "hardest"
    """Which are kept: those of the highest score, or (a control) as many at random, whatever their score."""

    @property
    def name(self) -> str:
        """For files and tables; different regimes have different names."""
        shares = f"l{_short(self.labelled)}-u{_short(self.unlabelled)}-c{_short(self.cap)}"
        text = f"{shares}-w{self.imposter_weight}"
        return text if self.choice == "hardest" else f"{text}-{self.choice}"


def _short(share: float) -> str:
    """Six digits where they tell the share exactly, else all: trials of two regimes must not share a name."""
    text = f"{share:.6g}"
    return text if float(text) == share else repr(share)


class RegimeGrid(BaseModel):
    """Which regimes are tried, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labelled: tuple[Fraction, ...] = Field(
        default=(1.0, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02, 0.01), min_length=1
    )
    """Shares of labelled background."""
    unlabelled: Literal["same"] | tuple[Fraction, ...] = "same"
    """Shares of unlabelled candidates; "same" takes the labelled share of each regime."""
    caps: tuple[Fraction, ...] = Field(default=(0.5,), min_length=1)
    """Score caps on unlabelled candidates."""
    imposter_weights: tuple[Repeats, ...] = Field(default=(1,), min_length=1)
    seeds: int = Field(default=3, ge=1, le=100)
    """Trainings of each regime; their mean is compared."""
    rounds: Literal[1, 2] = 1
    """2: score the pool again by networks of the best regime, and try the shares between it and its neighbours."""
    keep: bool = False
    """Whether the best regime of each labelled share of the first round is kept as a detector, `detector-share_S`: so
    that shares can be compared on test cases."""

    @model_validator(mode="after")
    def _differ(self) -> "RegimeGrid":
        lists = {"labelled": self.labelled, "caps": self.caps, "imposter_weights": self.imposter_weights}
        if self.unlabelled != "same":
            lists["unlabelled"] = self.unlabelled
        for name, values in lists.items():
            if len(set(values)) < len(values) or not values:
                raise ValueError(f"{name} must list different values, at least one")
        if self.labelled == (0.0,) and self.unlabelled in ("same", (0.0,)):
            raise ValueError("labelled keeps no background at all: list a share above 0")
        return self

    def regimes(self, *, unlabelled: bool, imposters: bool) -> tuple[Regime, ...]:
        """All regimes of the grid; axes that have nothing to choose from collapse, so none is tried twice.

        Args:
            unlabelled: whether there are unlabelled candidates.
            imposters: whether there are imposters.
        """
        found: dict[str, Regime] = {}
        same = self.unlabelled == "same"
        shares: tuple[float, ...] = (-1.0,) if same or not unlabelled else tuple(self.unlabelled)  # type: ignore[arg-type]
        for labelled, share, cap, weight in product(self.labelled, shares, self.caps, self.imposter_weights):
            of_unlabelled = (labelled if same else share) if unlabelled else 0.0
            regime = Regime(
                labelled=labelled,
                unlabelled=of_unlabelled,
                cap=cap if of_unlabelled > 0 else 1.0,
                imposter_weight=weight if imposters else 1,
            )
            if labelled > 0 or of_unlabelled > 0:
                found.setdefault(regime.name, regime)
        return tuple(found.values())

    def around(self, best: Regime) -> tuple[Regime, ...]:
        """The second round: the best regime and those halfway (geometric mean) to its neighbours' labelled share.

        Where the unlabelled share goes with the labelled one it moves along.
        """
        ladder = sorted(share for share in self.labelled if share > 0)
        at = ladder.index(best.labelled) if best.labelled in ladder else -1
        if at < 0:
            return (best,)
        near = [ladder[i] for i in (at - 1, at + 1) if 0 <= i < len(ladder)]
        found = [best]
        for share in (math.sqrt(best.labelled * other) for other in near):
            along = {"unlabelled": share} if self.unlabelled == "same" and best.unlabelled > 0 else {}
            found.append(best.model_copy(update={"labelled": share, **along}))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Negatives that may be chosen; imposters are not among them.

    Attributes:
        is_unlabelled: (N,) bool, from a slide without marks.
        score: (N,) 0..1 by networks that have not trained on the candidate's slide.
        is_peak: (N,) bool, no candidate of higher score is near on its slide. Others come after all peaks, so that
            near-duplicates do not flood the choice; with a share of 1 they are all in.
    """

    is_unlabelled: NDArray[np.bool_]
    score: NDArray[np.floating]
    is_peak: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.is_unlabelled) == len(self.score) == len(self.is_peak):
            raise ValueError("candidates need columns of one length")
        if not np.isfinite(self.score).all():
            raise ValueError("a candidate has no score")

    def capped(self, cap: float) -> NDArray[np.bool_]:
        """Which unlabelled candidates a cap drops, (N,)."""
        return self.is_unlabelled & (np.asarray(self.score) >= cap) if cap < 1 else np.zeros(len(self.score), np.bool_)


def select(regime: Regime, candidates: Candidates, generator: np.random.Generator) -> NDArray[np.intp]:
    """The candidates that a regime keeps, as ascending rows.

    Of each kind ceil(share * number of that kind) are kept, or all that the cap leaves where those are fewer: peaks by
    falling score, then the others by falling score; equal scores by row. So a smaller share keeps a part of what a
    larger one keeps. At random as many are kept of each kind, but which ones is looked up in no score, so that the cap
    counts and does not choose; a smaller share keeps a part there too if the generator is in the same state.

    Args:
        regime: what to keep.
        candidates: the pool.
        generator: of the random choice; the same numbers are drawn whatever the regime.
    """
    dropped = candidates.capped(regime.cap)
    shuffled = generator.permutation(len(candidates.score))
    kept: list[NDArray[np.intp]] = []
    for is_unlabelled, share in ((False, regime.labelled), (True, regime.unlabelled)):
        of_kind = candidates.is_unlabelled == is_unlabelled
        count = math.ceil(share * int(of_kind.sum()) - 1e-9)
        rows = np.flatnonzero(of_kind & ~dropped)
        if regime.choice == "random":
            count = min(count, len(rows))
            order = shuffled[of_kind[shuffled]]
        else:
            order = rows[np.lexsort((rows, -np.asarray(candidates.score)[rows], ~candidates.is_peak[rows]))]
        kept.append(order[:count])
    return np.sort(np.concatenate(kept)).astype(np.intp)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One network of one regime, judged on validation.

    Attributes:
        regime: what it learned from.
        seed: number of the training, from 1.
        patches: patches it could learn from: figures, imposters, chosen negatives, each once.
        used_fraction: of all patches of the training cases, figures and imposters included.
        f1: best over thresholds on the validation cases.
        threshold: where that is.
        average_precision: of the validation proposals.
    """

    regime: Regime
    seed: int
    patches: int
    used_fraction: float
    f1: float
    threshold: float
    average_precision: float

    def to_json(self) -> dict[str, object]:
        return {**self.__dict__, "regime": self.regime.model_dump()}

    @classmethod
    def from_json(cls, content: dict[str, object]) -> "Trial":
        return cls(**{**content, "regime": Regime.model_validate(content["regime"])})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class RegimeScore:
    """A regime over its seeds.

    Attributes:
        regime: which.
        patches, used_fraction: of its trials; alike for all seeds.
        mean, low, high: of validation F1; lowest and highest seed, which is no confidence interval.
    """

    regime: Regime
    patches: int
    used_fraction: float
    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, object]:
        return {**self.__dict__, "regime": self.regime.model_dump()}


def scored(trials: Sequence[Trial]) -> tuple[RegimeScore, ...]:
    """One row a regime, in the order in which regimes first appear."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.regime.name, []).append(trial)
    return tuple(
        RegimeScore(
            regime=group[0].regime,
            patches=group[0].patches,
            used_fraction=group[0].used_fraction,
            mean=math.fsum(trial.f1 for trial in group) / len(group),
            low=min(trial.f1 for trial in group),
            high=max(trial.f1 for trial in group),
        )
        for group in groups.values()
    )


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of a search.

    Attributes:
        scores: whose scores the candidates were ranked by, in words.
        trials: all of its regimes and seeds.
    """

    scores: str
    trials: tuple[Trial, ...]

    @property
    def regimes(self) -> tuple[RegimeScore, ...]:
        return scored(self.trials)

    @property
    def best(self) -> RegimeScore:
        return best_regime(self.regimes)

    def to_json(self) -> dict[str, object]:
        return {
            "scores": self.scores,
            "trials": [trial.to_json() for trial in self.trials],
            "regimes": [score.to_json() for score in self.regimes],
        }


def best_regime(scores: Sequence[RegimeScore]) -> RegimeScore:
    """The regime of the highest mean F1; of equal means the one that needs fewer patches, then the first.

    Raises:
        ValueError: there is none.
    """
    if not scores:
        raise ValueError("no regime was tried")
    return min(scores, key=lambda score: (-score.mean, score.patches))
