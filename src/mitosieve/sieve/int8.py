"""What a detector says of its int8 graphs: which files they are, of which weights, and what they cost in precision."""

from pydantic import BaseModel, ConfigDict

from mitosieve.calibration import Share

MOST_LOST = 0.005
"""Average precision from which on what int8 loses is too much: graphs that lose it are refused."""


class Int8(BaseModel):
    """Graphs in whole numbers of 8 bits, for `--engine int8`; each holds weights of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graphs: tuple[tuple[str, ...], ...]
    """Files, for each stage one a network; none of a stage that stays in float32."""
    sha256: tuple[tuple[str, ...], ...]
    made_of: tuple[str, ...]
    """Hashes of the weight files that they were made of, stage by stage."""
    ap: Share
    """Average precision with them on `measured_on`."""
    ap_float32: Share
    """The same in float32."""
    measured_on: str
    """Cases, in words."""

    @property
    def told(self) -> str:
        """What they cost where it was measured: elsewhere they may cost more."""
        both = f"average precision {self.ap:.4f}, in float32 {self.ap_float32:.4f}"
        return f"int8 graphs: {both}, on {self.measured_on}"

    def files(self, stage: int) -> tuple[tuple[str, str], ...]:
        """Name and hash of each file of a stage."""
        return tuple(zip(self.graphs[stage], self.sha256[stage], strict=True))

    def trouble(self, weights: tuple[tuple[str, ...], ...]) -> str:
        """Why they must not be used with weights of these hashes; empty where they may."""
        lengths = [tuple(len(row) for row in rows) for rows in (self.graphs, self.sha256, weights)]
        whole = lengths[0] == lengths[1] and len(lengths[0]) == len(lengths[2])
        if not whole or any(made not in (0, kept) for made, kept in zip(lengths[0], lengths[2], strict=True)):
            return "its int8 graphs are not as many as its networks"
        if self.made_of != tuple(item for row in weights for item in row):
            return "its int8 graphs are of other weights"
        if self.ap_float32 - self.ap >= MOST_LOST:
            return f"its int8 graphs lose {self.ap_float32 - self.ap:.4f} of average precision, {MOST_LOST:g} or more"
        return ""
