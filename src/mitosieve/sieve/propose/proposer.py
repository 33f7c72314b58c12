"""The proposers that a detector can have. A new one is named here, and nowhere else outside its own file."""

from typing import Annotated

from pydantic import Field

from mitosieve.sieve.propose.components import ComponentProposer
from mitosieve.sieve.propose.dense import DenseProposer
from mitosieve.sieve.propose.grid import GridProposer
from mitosieve.sieve.propose.nuclei import NucleiProposer

Proposer = Annotated[GridProposer | NucleiProposer | ComponentProposer | DenseProposer, Field(discriminator="kind")]
