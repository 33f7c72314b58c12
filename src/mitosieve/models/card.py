"""What a shipped detector says of itself: the record in card.toml, and the words made of it. Knows nothing of networks.

Thresholds, networks and hashes stand in detector.toml alone; the card is drawn from both.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mitosieve.errors import DetectorError, plural
from mitosieve.models.box import DEFAULT, folder_of, read_content, size_bytes
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, write_atomic

CARD_FORMAT = 1
"""Version of card.toml."""

Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataUse(_Record):
    """One source of slides and what it was used for."""

    source: Text
    what: Text
    """Tissue, scanner, laboratory, resolution."""
    used: Literal["training", "thresholds", "held out"]
    patients: tuple[Text, ...] = Field(min_length=1)
    """Their names in the source; "unknown" where the source does not tell them."""
    slides: int = Field(ge=1)
    figures: int | None = Field(default=None, ge=0)
    """Marked mitotic figures; None where the source is unlabelled."""
    terms: Text


class SourceScore(_Record):
    """A score by the official rule on patients that chose nothing of the detector that was scored."""

    source: Text
    patients: int = Field(ge=1)
    figures: int = Field(ge=1)
    f1: Share
    f1_interval: tuple[Share, Share] | None = None
    """95 %, bootstrap; None where nothing can be drawn."""
    precision: Share | None = None
    recall: Share
    ap: Share | None = None
    note: str = ""
    """What a reader must know: what the interval leaves out, what is not counted."""

    @model_validator(mode="after")
    def _holds(self) -> "SourceScore":
        if self.f1_interval is not None and not self.f1_interval[0] <= self.f1_interval[1]:
            raise ValueError(f"the interval of {self.source} runs from {self.f1_interval[0]} to {self.f1_interval[1]}")
        return self


class PointScore(_Record):
    """What an operating point gave where it was chosen."""

    name: Text
    f1: Share
    precision: Share
    recall: Share


class ReliabilityBin(_Record):
    """Detections whose score lies in one interval."""

    low: Share
    high: Share
    number: int = Field(ge=1)
    stated: Share
    """Mean score."""
    true: Share
    """Share of them that are figures."""


class Calibrated(_Record):
    """How scores compare with shares of figures."""

    where: Text
    """Whose detections, of which networks."""
    error: Share
    """Expected calibration error of the scores themselves."""
    error_calibrated: Share | None = None
    """That of the detector's map, fitted without the case that it judges."""
    bins: tuple[ReliabilityBin, ...] = ()


class Speed(_Record):
    mm2_per_s: float = Field(gt=0)
    machine: Text
    command: Text


class Card(_Record):
    """All of card.toml."""

    format: Literal[1] = CARD_FORMAT
    summary: Text
    """One line."""
    terms: Text = "research use, non-commercial; not for diagnosis"
    weights_licence: Text = "CC BY-NC 4.0"
    code_licence: Text = "Apache-2.0"
    commands: tuple[Text, ...] = Field(min_length=1)
    """What made it, from a cohort to the detector."""
    data: tuple[DataUse, ...] = Field(min_length=1)
    held_out: Text
    """What was kept from training and thresholds, in words."""
    scores: tuple[SourceScore, ...] = ()
    scores_command: str = ""
    left_out: tuple[SourceScore, ...] = ()
    """Each source scored by networks that were trained without it: by this detector where it has learned nothing of it,
    else out of fold, which the note then says."""
    left_out_command: str = ""
    points: tuple[PointScore, ...] = ()
    points_where: str = ""
    """Whose detections chose the operating points."""
    calibration: Calibrated | None = None
    speed: tuple[Speed, ...] = ()
    failures: tuple[Text, ...] = ()
    """What it misses and what it takes for figures, seen by eye."""
    limits: tuple[Text, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_commands(self) -> "Card":
        for rows, command in (("scores", "scores_command"), ("left_out", "left_out_command")):
            if getattr(self, rows) and not getattr(self, command):
                raise ValueError(f"{rows} without {command}: no number without its command")
        return self

    @model_validator(mode="after")
    def _leaves_out(self) -> "Card":
        learned = {row.source for row in self.data if row.used == "training"}
        for row in self.left_out:
            if row.source in learned and "out of fold" not in row.note:
                raise ValueError(f"{row.source} is left out and learned from: only a score out of fold can be both")
        return self


def read_card(path: Path) -> Card:
    """A card.toml.

    Raises:
        DetectorError: missing, not TOML, an unknown or missing key, a value out of range.
    """
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DetectorError("the card is missing", where=path, remedy="write it as docs/models.md says") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DetectorError(f"is not TOML ({error})", where=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DetectorError(f"{key}: {first['msg']}" if key else first["msg"], where=path) from error


def write_card(folder: Path, card: Card) -> Path:
    """Write card.toml, and CARD.md made of it, beside a detector.toml.

    Raises:
        StorageError: a file cannot be written.
    """
    content = card.model_dump(mode="json", exclude_none=True)
    write_atomic(folder / layout.CARD_DATA, tomli_w.dumps(content, multiline_strings=False))
    return write_atomic(folder / layout.CARD, card_text(card, detector_facts(folder), folder.name))


def shipped_card(word: str, box: Path | None = None) -> tuple[Path, Card]:
    """Folder and card of a detector of the package.

    Raises:
        DetectorError: as `box.folder_of`, or its card is broken.
    """
    folder = folder_of(word, box)
    return folder, read_card(folder / layout.CARD_DATA)


def detector_facts(folder: Path) -> dict[str, Any]:
    """What detector.toml says that a card shows: made_by, mpp, thresholds by name, stages, and the hash of all.

    detector.toml names the hashes of the weights, so that its own stands for the whole detector.
    """
    path = folder / layout.DETECTOR_CONFIG
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    stages = [f"{len(stage['weights'])} x {stage['network']['kind']} ({stage['name']})" for stage in content["stages"]]
    return {
        "sha256": hash_file(path),
        "made_by": content["made_by"],
        "mpp": content["frame"]["mpp"],
        "stages": stages,
        "operating_points": content.get("operating_points") or {"balanced": content["stages"][-1]["threshold"]},
        "calibration": content.get("calibration"),
    }


def whole_facts(folder: Path) -> dict[str, Any]:
    """`detector_facts` of a folder that anybody made: its networks are there, and are those that detector.toml names.

    Raises:
        DetectorError: there is no detector, it is of another version, lacks something, or was altered.
    """
    path = folder / layout.DETECTOR_CONFIG
    again = "copy the whole folder again"
    try:
        named = [
            pair for one in read_content(path)["stages"] for pair in zip(one["weights"], one["sha256"], strict=True)
        ]
        facts = detector_facts(folder)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DetectorError(f"does not describe a detector ({error!r})", where=path, remedy=again) from error
    for file, digest in named:
        if not (folder / str(file)).is_file():
            raise DetectorError("is missing from the detector", where=folder / str(file), remedy=again)
        if hash_file(folder / str(file)) != digest:
            raise DetectorError(
                f"was altered: its sha256 is not the one in {path.name}", where=folder / str(file), remedy=again
            )
    return facts


def folder_card(folder: Path) -> Card | None:
    """The card of a detector folder; None of what a training made, which has none.

    Raises:
        DetectorError: it is broken.
    """
    path = folder / layout.CARD_DATA
    return read_card(path) if path.exists() else None


def folder_text(folder: Path, facts: dict[str, Any], learned: str) -> str:
    """What is known of a detector without a card, in Markdown: what was written beside it, and what it holds.

    Args:
        folder: of the detector.
        facts: as `detector_facts`.
        learned: what its networks have learned from, in words.
    """
    path = folder / layout.CARD
    looks = f"Looks at {facts['mpp']:g} um/px; {', then '.join(facts['stages'])}."
    written = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    points = sorted(facts["operating_points"].items(), key=lambda item: item[1])
    parts = [
        written or f"# {folder.name}\n\nMade by {facts['made_by'] or 'mitosieve'}. {looks}",
        f"sha256 of detector.toml, which names those of the weights: `{facts['sha256']}`",
        "## Operating points\n\n" + _table("name|threshold", [[name, f"{value:.4f}"] for name, value in points]),
        f"## Learned from\n\n{learned}",
    ]
    return "\n\n".join(parts) + "\n"


def card_json(folder: Path, card: Card) -> dict[str, Any]:
    """Card and detector as one JSON object, with name and size."""
    known = {"name": folder.name, "is_default": folder.name == DEFAULT, "size_bytes": size_bytes(folder)}
    return {**known, "detector": detector_facts(folder), **card.model_dump(mode="json")}


def in_words(row: SourceScore) -> str:
    """F1 with its interval, in three digits."""
    if row.f1_interval is None:
        return f"{row.f1:.3f}"
    return f"{row.f1:.3f} [{row.f1_interval[0]:.3f}, {row.f1_interval[1]:.3f}]"


def card_text(card: Card, facts: dict[str, Any], name: str) -> str:
    """CARD.md: for people, in Markdown that a terminal can show as it is."""
    parts = [
        f"# {name}: a mitotic figure detector\n\n{card.summary}\n\n**{card.terms[0].upper()}{card.terms[1:]}.** "
        f"Weights: {card.weights_licence}. Code: {card.code_licence}.",
        f"Made by {facts['made_by']}; looks at {facts['mpp']:g} um/px; {', then '.join(facts['stages'])}.\n"
        f"sha256 of detector.toml, which names those of the weights: `{facts['sha256']}`",
        "## Data\n\n" + _table("source|used for|what|patients|slides|figures|terms", [_data(row) for row in card.data]),
        f"**Held out:** {card.held_out}",
        "## Scores\n\n" + _scores(card.scores, card.scores_command),
        "## Scores on a source by networks trained without it\n\n" + _scores(card.left_out, card.left_out_command),
        "## Operating points\n\n" + _points(card, facts["operating_points"]),
        "## What a score is worth\n\n" + _calibration(card.calibration, facts["calibration"]),
        "## Speed\n\n" + _list([f"{row.mm2_per_s:g} mm2/s: {row.machine} (`{row.command}`)" for row in card.speed]),
        "## Where it fails\n\n" + _list(card.failures),
        "## Limits\n\n" + _list(card.limits),
        "## How it was made\n\n```\n" + "\n".join(card.commands) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _data(row: DataUse) -> list[str]:
    figures = "not labelled" if row.figures is None else f"{row.figures:,}"
    named = ", ".join(row.patients) if len(row.patients) <= 12 else plural(len(row.patients), "patient")
    return [row.source, row.used, row.what, named, f"{row.slides:,}", figures, row.terms]


def _scores(rows: tuple[SourceScore, ...], command: str) -> str:
    if not rows:
        return "Not measured."
    cells = [
        [
            row.source,
            str(row.patients),
            str(row.figures),
            in_words(row),
            *map(_digits, (row.precision, row.recall, row.ap)),
            row.note,
        ]
        for row in rows
    ]
    return _table("source|patients|figures|F1 [95 %]|precision|recall|AP|note", cells) + f"\n\n`{command}`"


def _points(card: Card, thresholds: dict[str, float]) -> str:
    told = {row.name: [_digits(row.f1), _digits(row.precision), _digits(row.recall)] for row in card.points}
    rows = [
        [name, f"{value:.4f}", *told.get(name, ["-"] * 3)]
        for name, value in sorted(thresholds.items(), key=lambda item: item[1])
    ]
    where = card.points_where or "Where it was chosen is told under Data (thresholds)."
    return _table("name|threshold|F1|precision|recall", rows) + f"\n\n{where}"


def _calibration(told: Calibrated | None, fitted: dict[str, Any] | None) -> str:
    if told is None:
        return "Not measured: scores are not calibrated probabilities."
    after = "" if told.error_calibrated is None else f"; of the detector's map, {told.error_calibrated:.3f}"
    kind = "" if fitted is None else f" The detector holds a {fitted['kind']} map from scores to shares."
    rows = [
        [f"{row.low:g} to {row.high:g}", str(row.number), _digits(row.stated), _digits(row.true)] for row in told.bins
    ]
    text = f"Expected calibration error of the scores: {told.error:.3f}{after}. {told.where}{kind}"
    return text + ("\n\n" + _table("score|detections|mean score|share that are figures", rows) if rows else "")


def _table(header: str, rows: list[list[str]]) -> str:
    names = header.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") or "-" for cell in line) + " |" for line in lines)


def _list(items: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {item}" for item in items) if items else "Not measured."


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
