"""How like the slides that a detector learned from a slide is: distances by trait, and a warning in words.

Knows no pixels, detectors or files; whoever measures gives the distances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """One trait of a slide beside that of the training's slides.

    Attributes:
        distance: to the nearest slide of the training, in spreads of its slides; None where the slide has no such
            trait, as a stain that cannot be told.
        limit: below which 99 % of the training's slides are, each judged by those of other cases.
        warning: in words with the numbers; empty where the slide is within the limit.
    """

    distance: float | None
    limit: float
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"distance": self.distance, "limit": self.limit, "warning": self.warning}


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """What is known of a slide beside the training's slides.

    Attributes:
        traits: by name, in the order that they are told; one that neither has is not there.
    """

    traits: Mapping[str, Likeness]

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each trait that is unlike the training's."""
        return tuple(trait.warning for trait in self.traits.values() if trait.warning)

    @property
    def warning(self) -> str:
        """All warnings in one line; empty where there is none."""
        return "; ".join(self.warnings)

    @property
    def strangeness(self) -> float | None:
        """The largest distance in limits: above 1 a trait is unlike the training's; None where nothing was measured."""
        shares = [trait.distance / trait.limit for trait in self.traits.values() if trait.distance is not None]
        return max(shares, default=None)

    def to_json(self) -> dict[str, Any]:
        return {name: trait.to_json() for name, trait in self.traits.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Familiarity":
        """What `to_json` gave."""
        return cls(traits={name: Likeness(**trait) for name, trait in content.items()})
