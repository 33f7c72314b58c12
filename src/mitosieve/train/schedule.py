"""How long one network is trained, and how fast; and with what else it makes a stage of a recipe."""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.network.config import NetworkConfig, map_field_px
from mitosieve.patch.view import View


class TrainConfig(BaseModel):
    """How one network is trained; the defaults are the paper's screening network (section 4.2.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(default=192, ge=2)
    epochs: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Passes over all figure variants (our definition: with sampled ratios the paper's epoch is not defined)."""
    patch_visits: int | None = Field(default=None, gt=0)
    """Length of the training as patches seen; where given, `epochs` is not looked at."""
    rates: tuple[tuple[float, float], ...] = ((0.0, 0.1), (0.2, 0.01), (0.4, 0.001), (0.6, 1e-4), (0.8, 3e-5))
    """(share of the training done, learning rate); the first share is 0, shares ascend."""
    between: Literal["hold", "linear"] = "hold"
    """What the rate does between two points: hold the earlier one, or go straight to the next."""
    weight_decay: float = Field(default=2e-7, ge=0, allow_inf_nan=False)
    ema_decay: float = Field(default=0.9, ge=0, lt=1)
    """Moving average of the weights; the average is what is kept."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest gradient norm; None does not clip."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints; a killed training loses at most these."""
    validations: int = Field(default=4, ge=0)
    """How often validation is asked for along the way; for curves only, never for stopping."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        shares = [share for share, _ in self.rates]
        if not shares or shares[0] != 0 or shares != sorted(set(shares)) or shares[-1] > 1:
            raise ValueError("rates must be (share, rate) pairs with ascending shares from 0 to at most 1")
        if not all(math.isfinite(rate) and rate >= 0 for _, rate in self.rates):
            raise ValueError("a learning rate is a number of 0 or more")
        return self

    def steps(self, figures_per_epoch: int, figures_per_batch: int) -> int:
        """Number of steps of a whole training, at least one."""
        if self.patch_visits is not None:
            return max(1, math.ceil(self.patch_visits / self.batch_size))
        return max(1, math.ceil(self.epochs * figures_per_epoch / figures_per_batch))

    def rate(self, done: float) -> float:
        """Learning rate when a share `done` (0..1) of the training is over."""
        shares = [share for share, _ in self.rates]
        values = [value for _, value in self.rates]
        if self.between == "linear":
            return float(np.interp(done, shares, values))
        return values[int(np.searchsorted(shares, done, side="right")) - 1]

    def whole_epochs(self, *, warm_up: int = 0) -> int:
        """Number of epochs of a training that counts in them.

        Args:
            warm_up: epochs at its start that do not count.

        Raises:
            ValueError: it is not a whole number, the length is given as patches, or the warm-up leaves nothing; for a
                recipe's validator, so that it is said before anything is trained.
        """
        if self.patch_visits is not None or self.epochs != int(self.epochs):
            raise ValueError(
                "this stage counts by epochs: give train.epochs a whole number, and leave out train.patch_visits"
            )
        epochs = int(self.epochs)
        if epochs <= warm_up:
            raise ValueError(f"of {epochs} epochs {warm_up} are warm-up: raise train.epochs, or lower warm_up")
        return epochs


class StageRecipe(BaseModel):
    """One stage of a recipe: what its networks see, their shape, their training. A method adds how patches vary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View
    network: Annotated[NetworkConfig, Field(discriminator="kind")]
    train: TrainConfig = TrainConfig()
    turns: Literal[1, 4, 8] = 1
    """See `Stage.turns`."""
    turn_above: float = Field(default=0.05, ge=0, le=1)
    """See `Stage.turn_above`."""

    @model_validator(mode="after")
    def _fits(self) -> "StageRecipe":
        """Whether the network takes what the view shows: else its first step fails, or it looks beside the place."""
        pictures = 2 if self.view.views == "two" else 1
        side, channels = self.view.patch_px // pictures, 3 * pictures
        kind = self.network.kind
        taken = getattr(self.network, "in_channels", 6 if kind == "chsnet" else 3)
        if taken != channels:
            raise ValueError(
                f'view.views "{self.view.views}" gives {channels} channels, and the network, of kind {kind}, takes '
                f"{taken}: choose other views, or another network (its kind or in_channels)"
            )
        sees = map_field_px(self.network)  # the others take pictures of any size
        if sees is not None and sees != side:
            halved = ", halved," if pictures == 2 else ""
            raise ValueError(
                f"view.patch_px {self.view.patch_px}{halved} is not network.input_px {sees}, what a network of kind "
                f"{kind} sees: make them equal"
            )
        return self
