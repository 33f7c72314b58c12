"""A study: rows that are compared, each a recipe with overrides and one of the detectors it leaves. Read from TOML."""

import difflib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mitosieve.errors import RecipeError
from mitosieve.run import layout

Name = Annotated[str, Field(min_length=1, max_length=100)]


class StudyRow(BaseModel):
    """One row of the table.

    A row is what `mitosieve train` would be told: three lines are enough for an ablation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    recipe: str = ""
    """Name or file; that of the study where it is empty."""
    set: tuple[str, ...] = ()
    """Overrides, "key=value", after those of the study."""
    detector: str = layout.DETECTOR
    """Which detector folder of the training is scored: a part or a control of it."""
    control: str = ""
    """Another row that this one is compared with besides the reference: the same without what it is about."""
    about: str = ""
    """What the row is, for the table's reader."""
    published: dict[str, float] = Field(default_factory=dict)
    """What a paper says of its row of this name, by figure ("f1"); shown beside, never computed with."""


class Study(BaseModel):
    """What is compared, on which folds and seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Name
    about: str = ""
    """What the study asks: a few sentences above the table."""
    reference: str
    """Name of the row that all others are compared with."""
    cohort: str = ""
    """Folder, relative to the file; the command line may name another."""
    split: str = ""
    """Split file, relative to the file; the command line may name another."""
    folds: tuple[str, ...] = ()
    """Names; empty is all of the split."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1, 2, 3), min_length=1)
    """Each takes the place of the recipe's own seed."""
    recipe: str = ""
    set: tuple[str, ...] = ()
    """Overrides of every row."""
    windows: bool = False
    """Whether what networks say of the paper's windows is told too (CHS-NET's tables 2 and 3)."""
    notes: tuple[str, ...] = ()
    """What a reader must know beside the numbers: what was chosen where, what the data cannot say."""
    rows: tuple[StudyRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rows are called '{twice[0]}': give each a name of its own")
        if self.reference not in names:
            raise ValueError(f"the reference '{self.reference}' is no row; rows: {', '.join(names)}")
        for row in self.rows:
            if not (row.recipe or self.recipe):
                raise ValueError(f"the row '{row.name}' has no recipe, nor has the study")
            if row.control == row.name or row.control not in ("", *names):
                what = "itself" if row.control == row.name else f"'{row.control}', which is no row"
                raise ValueError(f"the control of '{row.name}' is {what}; rows: {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed stands twice")
        for text in (*self.set, *(text for row in self.rows for text in row.set)):
            if _is_seed(text):
                raise ValueError(f"'{text}' would make all trainings of a row one: name seeds in the study's seeds")
        return self

    def with_overrides(self, texts: Sequence[str]) -> "Study":
        """The study with overrides of every row, after its own: they are then part of it, wherever it is written.

        Raises:
            RecipeError: one is of the seed.
        """
        own = next((text for text in texts if _is_seed(text)), None)
        if own is not None:
            raise RecipeError(f"--set {own} would make all trainings of a row one", remedy="name --seeds")
        rows = tuple(row.model_copy(update={"set": (*row.set, *texts)}) for row in self.rows)
        return self.model_copy(update={"rows": rows})

    def recipe_of(self, row: StudyRow) -> str:
        """Name or file of a row's recipe."""
        return row.recipe or self.recipe

    def overrides_of(self, row: StudyRow, seed: int) -> tuple[str, ...]:
        """Overrides of a row's recipe: the study's, the row's, the seed."""
        return (*self.set, *row.set, f"seed={seed}")


def _is_seed(override: str) -> bool:
    return override.split("=", maxsplit=1)[0].strip().strip("\"'") == "seed"


def study_names() -> list[str]:
    """Names of the studies that come with the package, sorted."""
    folder = resources.files("mitosieve.study")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_study(name: str) -> Study:
    """A study by name or file.

    Args:
        name: of a study of the package, or the path of a TOML file. Paths in a file are relative to it.

    Raises:
        RecipeError: no such study, not TOML, an unknown key (with the nearest valid one), or a wrong value.
    """
    path = Path(name)
    in_file = path.suffix == ".toml" or path.is_file()
    if in_file:
        try:
            text, where = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"cannot be read as text ({error})", where=path, remedy=f"name a file, or one of {_known()}"
            ) from error
    else:
        if name not in study_names():
            close = difflib.get_close_matches(name, study_names(), n=1)
            meant = f"did you mean '{close[0]}'? " if close else ""
            raise RecipeError(f"there is no study '{name}'", remedy=f"{meant}known: {_known()}")
        text = (resources.files("mitosieve.study") / f"{name}.toml").read_text(encoding="utf-8")
        where = f"study {name}"
    try:
        study = Study.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"is not TOML ({error})", where=where) from error
    except ValidationError as error:
        raise _explain(error, where) from error
    return _beside(study, path.parent) if in_file else study


def study_to_toml(study: Study) -> str:
    """The whole study, also the defaults, its paths such that they mean the same wherever the text lies."""
    return tomli_w.dumps(_beside(study, Path.cwd()).model_dump(mode="json", exclude_none=True))


def _beside(study: Study, folder: Path) -> Study:
    """The study with its paths, and those of its recipe files, taken from the folder of its file."""

    def at(text: str) -> str:
        return str(folder / text) if text else ""

    def recipe_at(text: str) -> str:
        return at(text) if text.endswith(".toml") else text

    rows = tuple(row.model_copy(update={"recipe": recipe_at(row.recipe)}) for row in study.rows)
    return study.model_copy(
        update={
            "cohort": at(study.cohort),
            "split": at(study.split),
            "recipe": recipe_at(study.recipe),
            "rows": rows,
        }
    )


def _known() -> str:
    return ", ".join(study_names())


def _explain(error: ValidationError, where: str) -> RecipeError:
    """The first fault of a study in words."""
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    key = ".".join(path) or "the study"
    if fault["type"] == "extra_forbidden":
        model = StudyRow if path[0] == "rows" else Study
        valid = list(model.model_fields)
        close = difflib.get_close_matches(path[-1], valid, n=1, cutoff=0.5)
        meant = f"did you mean '{close[0]}'? " if close else ""
        return RecipeError(f"unknown key '{key}'", where=where, remedy=f"{meant}valid keys here: {', '.join(valid)}")
    what = fault["msg"].removeprefix("Value error, ")
    return RecipeError(f"{key}: {what}", where=where, remedy="mend this value")
