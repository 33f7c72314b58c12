"""A detector that a training goes on from: initial weights, and the stain that they know."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch import nn

from mitosieve.errors import RecipeError, plural
from mitosieve.models.learned_cases import LearnedCases, called, learned_cases
from mitosieve.patch.view import View
from mitosieve.sieve.detector import Detector, Stage

Shape = tuple[BaseModel, View]
"""Configuration of a network, and what it sees of a place."""

_TRAINING_ALONE = frozenset({"batch_norm_decay", "dropout"})
"""Values of a network that its training alone knows: the recipe's hold."""

_REMEDY = "name a recipe of the networks that the detector has, or a detector that this recipe made"


@dataclass(frozen=True, kw_only=True)
class Start:
    """A detector whose networks are trained on.

    Attributes:
        named: as the user named it.
        detector: loaded.
        learned: cases that its networks have learned from, those of all that it went on from among them; as its folder
            said when it was loaded, for that may be gone before the training ends.
    """

    named: str
    detector: Detector
    learned: LearnedCases

    @classmethod
    def load(cls, named: str) -> "Start":
        """Of the package or a folder, as `Detector.load` takes it.

        Raises:
            DetectorError: there is no whole detector.
        """
        return cls(named=named, detector=Detector.load(named), learned=learned_cases(named))

    @property
    def words(self) -> str:
        """What it is called, and from how many cases it has learned."""
        known = self.learned
        more = "" if known.all_known else (" and others that are not known" if known.cases else "")
        cases = plural(len(known.cases), "case") if known.cases else "nobody can tell of which cases"
        return f"{called(self.named)} ({cases}{more})"

    def keep_learned(self, run: Path, provenance: Mapping[str, Any]) -> LearnedCases:
        """What a training that goes on from it has learned from, kept in its run; what stands there already stays.

        Args:
            run: folder of the training.
            provenance: of its run.json.
        """
        known = LearnedCases.load(run)
        if known is None:
            known = self.learned.joined(LearnedCases.of_run(provenance))
            known.save(run)
        return known

    def check(self, shapes: Mapping[str, Shape], *, mpp: float, stain: str) -> None:
        """Refuse a recipe whose networks are not those of the detector.

        Args:
            shapes: network and view of each stage that the recipe trains, by its name.
            mpp: of the recipe's frames.
            stain: what they are brought to.

        Raises:
            RecipeError: naming the stage and what differs.
        """
        config = self.detector.config
        if (mpp, stain) != (config.frame.mpp, config.frame.stain):
            raise self._refusal(
                f"its frames have {config.frame.mpp:g} um/px and stain {config.frame.stain}, those of the recipe "
                f"{mpp:g} um/px and {stain}"
            )
        stages = {one.name: (one, nets) for one, nets in zip(config.stages, self.detector.networks, strict=True)}
        if set(stages) != set(shapes):
            raise self._refusal(f"has the stages {', '.join(stages)}, and the recipe trains {', '.join(shapes)}")
        for name, (network, view) in shapes.items():
            stage, networks = stages[name]
            difference = _difference(stage, len(networks), network, view, mpp)
            if difference:
                raise self._refusal(f"stage {name}: {difference}")

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Its thresholds as settings of a recipe, for a training without validation cases."""
        stages = self.detector.config.stages
        gate = (f"thresholds.gate={stages[0].threshold}",) if len(stages) > 1 else ()
        return (*gate, f"thresholds.operating={self.detector.config.threshold}")

    def _refusal(self, what: str) -> RecipeError:
        return RecipeError(what, where=self.named, remedy=_REMEDY)

    def give(self, lesson: str, network: nn.Module) -> bool:
        """Put the weights of the stage called like a lesson into its network; False where no stage is."""
        for stage, networks in zip(self.detector.config.stages, self.detector.modules, strict=True):
            if stage.name == lesson:
                network.load_state_dict(networks[0].state_dict())
                return True
        return False


def _difference(stage: Stage, networks: int, network: BaseModel, view: View, frame_mpp: float) -> str:
    """What of a stage is not as a recipe has it; empty where all is."""
    if networks != 1:
        return f"the detector has {networks} networks there, and a training goes on from one"
    ours, theirs = network.model_dump(), stage.network.model_dump()
    keys = sorted(key for key in {*ours, *theirs} - _TRAINING_ALONE if ours.get(key) != theirs.get(key))
    if keys:
        told = "; ".join(f"{key} is {theirs.get(key)}, in the recipe {ours.get(key)}" for key in keys)
        return f"another network ({told})"
    seen = [(one.views, one.patch_px, one.mpp_in(frame_mpp)) for one in (stage.view, view)]
    return "" if seen[0] == seen[1] else f"it sees patches of {seen[0]}, the recipe's of {seen[1]} (views, px, um/px)"
