"""What a detector knows of the slides it was made of, and how far another slide is from them.

A few numbers a slide, no pixels and no names. A slide's distance is that to the nearest of them, in spreads; what is
far is told by the slides themselves, each judged by those of other cases, so that a new patient of the same laboratory
rarely warns (Mahalanobis distances and several neighbours were no better: bench/familiarity.py).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import DetectorError
from mitosieve.familiarity import Familiarity, Likeness
from mitosieve.run.folder import write_json
from mitosieve.sieve.score_counts import called_share
from mitosieve.sieve.traits import SlideTraits

REFERENCE_FORMAT = 1

LIMIT_QUANTILE = 0.99
"""Share of the training's slides that a trait's limit lets pass."""

MOST_SLIDES = 1000
"""Slides that are kept of a larger training, evenly spaced: a file of some 100 KB."""

SYNTHETIC = "phantom"
"""How the names of domains of synthetic tissue begin."""

_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Trait:
    """How one trait is compared.

    Attributes:
        tolerance: of each of its numbers: a difference that says nothing, and the least spread that is taken.
        least: the least limit, in spreads: slides that are all alike must not make every other one strange.
    """

    tolerance: tuple[float, ...]
    least: float


TRAITS: dict[str, Trait] = {
    "stain": Trait(tolerance=(*(0.01,) * 6, 0.05, 0.05), least=1.0),
    "sharpness": Trait(tolerance=(0.1,), least=0.25),
    "resolution": Trait(tolerance=(math.log(1.15),), least=1.0),
    "scores": Trait(tolerance=(0.25,), least=1.0),
}
"""In the order that they are told. Tolerances are ours: 0.01 of a unit stain vector, 5 % of a stain's strength, 10 % of
the Laplacian's variance, 15 % of a resolution, a quarter of the places that are taken for figures."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One trait of the slides of a training.

    Attributes:
        values: (N, D), a row a slide.
        case: (N,) number of each slide's case.
        spread: (D,) scaled median absolute deviation of the slides, at least the trait's tolerance.
        limit: distance that is still within the training's.
    """

    values: NDArray[np.float64]
    case: NDArray[np.int64]
    spread: NDArray[np.float64]
    limit: float

    @classmethod
    def of(cls, values: NDArray[np.float64], case: NDArray[np.int64], trait: Trait) -> "Known":
        """Spread and limit of slides; a single case's slides are judged by one another."""
        middle = np.median(values, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(values - middle), axis=0), trait.tolerance).round(_DIGITS)
        apart = case if len(np.unique(case)) > 1 else np.arange(len(case))
        left_out = np.concatenate(
            [_nearest(values[apart == one], values[apart != one], spread) for one in np.unique(apart)]
        )
        limit = max(trait.least, float(np.quantile(left_out, LIMIT_QUANTILE, method="higher")))
        return cls(values=values, case=case, spread=spread, limit=round(limit, _DIGITS))

    def distance(self, vector: Sequence[float]) -> float:
        """Of a slide, (D,), to the nearest one here."""
        return float(_nearest(np.array([vector]), self.values, self.spread)[0])

    def to_json(self) -> dict[str, Any]:
        return {
            "values": self.values.tolist(),
            "case": self.case.tolist(),
            "spread": self.spread.tolist(),
            "limit": self.limit,
        }


_OF_A_START = ("start", "start_is_synthetic")


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a detector learnt from, in numbers: labelled slides of its training cases.

    Attributes:
        domains: their names, sorted.
        cases: patients.
        slides: labelled ones.
        figures: marked on them.
        start: what the detector that its training went on from had learnt from, in words; empty without one.
        start_is_synthetic: whether synthetic tissue was in that; None where nobody recorded it.
    """

    domains: tuple[str, ...]
    cases: int
    slides: int
    figures: int
    start: str = ""
    start_is_synthetic: bool | None = False

    @property
    def is_synthetic(self) -> bool:
        """Whether a domain of its own is of synthetic tissue (`phantom.scanner` names them so)."""
        return any(name.startswith(SYNTHETIC) for name in self.domains)

    @property
    def words(self) -> str:
        named = ", ".join(name or "(domain not named)" for name in self.domains[:5])
        more = f" and {len(self.domains) - 5} more domains" if len(self.domains) > 5 else ""
        counted = ((self.cases, "patient"), (self.slides, "slide"), (self.figures, "figure"))
        own = f"{named}{more}, " + ", ".join(f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in counted)
        return f"{own}; it went on from {self.start}" if self.start else own


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a detector knows of its slides.

    Attributes:
        known: by the name of the trait; one that fewer than two slides had is not there.
        scores_of: whose scores those of the first stage are: slides that it did not learn from.
        learnt: what it learnt from; None where that was not recorded.
    """

    known: dict[str, Known]
    scores_of: str = "validation"
    learnt: Learnt | None = None

    @classmethod
    def of(
        cls,
        traits: Sequence[tuple[str, SlideTraits]],
        counts: Sequence[tuple[str, NDArray[np.int64]]] = (),
        *,
        scores_of: str = "validation",
    ) -> "Reference":
        """From the slides of a training.

        Args:
            traits: case and traits of each slide.
            counts: case and first-stage scores (`score_counts`) of each slide that the networks did not learn from:
                those of their own slides are too good, and every other slide would be far from them.
            scores_of: which slides `counts` is of, in a word.
        """
        known: dict[str, Known] = {}
        for name, trait in TRAITS.items():
            if name == "scores":
                pairs = [(case, called_share(item)) for case, item in counts]
            else:
                pairs = [(case, item.vector(name)) for case, item in traits]
            measured = [(case, vector) for case, vector in pairs if vector is not None]
            if len(measured) > MOST_SLIDES:
                rows = np.linspace(0, len(measured) - 1, MOST_SLIDES).round().astype(int)
                measured = [measured[row] for row in rows]
            if len(measured) < 2:
                continue
            case = np.unique([case for case, _ in measured], return_inverse=True)[1].astype(np.int64)
            values = np.array([vector for _, vector in measured], dtype=np.float64).round(_DIGITS)
            known[name] = Known.of(values, case, trait)
        return cls(known=known, scores_of=scores_of)

    def compare(self, traits: SlideTraits, counts: NDArray[np.int64]) -> Familiarity:
        """How like the training's slides a slide is.

        Args:
            traits: of the slide; where it has too little tissue, only its resolution is compared.
            counts: first-stage scores of its places.
        """
        found: dict[str, Likeness] = {}
        for name, known in self.known.items():
            vector = called_share(counts) if name == "scores" else traits.vector(name)
            if vector is not None:
                found[name] = _likeness(name, known, vector, self.scores_of)
            elif name == "stain" and traits.sharpness is not None:
                warning = "stain unlike the training's: no haematoxylin and eosin can be told in it"
                found[name] = Likeness(distance=None, limit=_rounded(known.limit), warning=warning)
        return Familiarity(traits=found)

    def save(self, path: Path) -> Path:
        """Write reference.json.

        Raises:
            StorageError: it cannot be written.
        """
        content: dict[str, Any] = {"format": REFERENCE_FORMAT, "scores_of": self.scores_of}
        content["known"] = {name: known.to_json() for name, known in self.known.items()}
        if self.learnt is not None:
            names = _OF_A_START if not self.learnt.start else ()  # a file without a start is as it always was
            content["learnt"] = {name: value for name, value in asdict(self.learnt).items() if name not in names}
        return write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """What `save` wrote.

        Raises:
            DetectorError: it is not a reference, or of another format.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != REFERENCE_FORMAT:
                raise ValueError(f"format {content['format']}, expected {REFERENCE_FORMAT}")
            known = {name: _known_of(name, content["known"][name]) for name in TRAITS if name in content["known"]}
            return cls(known=known, scores_of=str(content["scores_of"]), learnt=_learnt_of(content.get("learnt")))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DetectorError(
                f"does not say what the training's slides are like ({error!r})",
                where=path,
                remedy="copy the whole folder again",
            ) from error


def _learnt_of(content: dict[str, Any] | None) -> Learnt | None:
    if content is None:
        return None
    numbers = {name: int(content[name]) for name in ("cases", "slides", "figures")}
    return Learnt(
        domains=tuple(str(name) for name in content["domains"]),
        **numbers,
        start=str(content.get("start", "")),
        start_is_synthetic={True: True, None: None}.get(content.get("start_is_synthetic", False), False),
    )


def _known_of(name: str, content: dict[str, Any]) -> Known:
    values, case = np.array(content["values"], dtype=np.float64), np.array(content["case"], dtype=np.int64)
    spread, limit = np.array(content["spread"], dtype=np.float64), float(content["limit"])
    width = len(TRAITS[name].tolerance)
    if values.shape != (len(case), width) or len(case) < 2 or spread.shape != (width,):
        raise ValueError(f"{name} has {values.shape} values, spread {spread.shape}")
    if not (np.isfinite(values).all() and (spread > 0).all() and 0 < limit < math.inf):
        raise ValueError(f"{name} holds a number that is none")
    return Known(values=values, case=case, spread=spread, limit=limit)


def _nearest(
    some: NDArray[np.float64], others: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance (N,) of each of some (N, D) to the nearest of others (M, D): the root of the mean square, in spreads."""
    apart = (some[:, None] - others[None]) / spread
    return np.sqrt((apart**2).mean(axis=2)).min(axis=1)


def _likeness(name: str, known: Known, vector: Sequence[float], scores_of: str) -> Likeness:
    distance, limit = _rounded(known.distance(vector)), _rounded(known.limit)
    if distance <= limit:
        return Likeness(distance=distance, limit=limit)
    whose, of_whom = (f"the {scores_of} slides'", scores_of) if name == "scores" else ("the training's", "training")
    way = _way(name, vector, np.median(known.values, axis=0))
    numbers = f"distance {distance:.3g}, of {of_whom} slides 99 % are below {limit:.3g}"
    return Likeness(distance=distance, limit=limit, warning=f"{name} unlike {whose}{way}: {numbers}")


def _way(name: str, vector: Sequence[float], usual: NDArray[np.float64]) -> str:
    """In which way a slide differs, where one word or number says it."""
    if name == "sharpness":
        return " (blurrier)" if vector[0] < usual[0] else " (sharper)"
    if name == "resolution":
        return f" ({math.exp(vector[0]):.3g} um/px, usually {math.exp(usual[0]):.3g})"
    if name == "scores":
        return f" ({math.exp(vector[0]):.2%} of its places look like figures, usually {math.exp(usual[0]):.2%})"
    return ""


def _rounded(value: float) -> float:
    return round(value, 4)
