"""Arguments, checked when they are read: paths, names and keys, before anything heavy is imported or written.

Each check is a typer callback. What it refuses is called what it is (`recognize`), with the right order of arguments.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import typer

from mitosieve.cli.recognize import Thing, called, header_of, thing_at
from mitosieve.cli.usage import example_of
from mitosieve.count.shape import check_shape
from mitosieve.errors import (
    CohortError,
    DetectorError,
    FormatError,
    InputError,
    MitosieveError,
    RunFolderError,
    SlideError,
    SplitError,
    did_you_mean,
)
from mitosieve.network.choices import AUTO, check_choices
from mitosieve.run import layout
from mitosieve.score.judged import beside, check_comparable

_FILES_OF_COHORT = ("slides.csv", "annotations.csv")


def a_cohort(ctx: typer.Context, path: Path | None) -> Path | None:
    """A cohort folder that is there."""
    if path is None or ctx.resilient_parsing or thing_at(path) is Thing.COHORT:
        return path
    thing, made = thing_at(path), "make one with: mitosieve import"
    if thing is Thing.MISSING:
        raise CohortError("is missing: there is no such cohort folder", where=path, remedy=made)
    if path.name in _FILES_OF_COHORT:
        raise CohortError(
            "is a file of a cohort", where=path, remedy=f"name its folder: {shlex.quote(str(path.parent))}"
        )
    if thing in (Thing.SLIDES, Thing.EMPTY, Thing.FOLDER):
        lacks = [name for name in _FILES_OF_COHORT if not (path / name).exists()]
        inside = sorted(p.parent for p in path.glob("*/annotations.csv"))
        remedy = f"name the cohort in it: {shlex.quote(str(inside[0]))}" if inside else made
        raise CohortError(f"is {thing} and no cohort: it lacks {' and '.join(lacks)}", where=path, remedy=remedy)
    raise _mistaken(ctx, path, "COHORT is a cohort folder")


def a_split(ctx: typer.Context, path: Path | None) -> Path | None:
    """A split file that is there."""
    if path is None or ctx.resilient_parsing or (path.is_file() and thing_at(path) not in (Thing.IMAGE, Thing.RECIPE)):
        fold = ctx.params.get("fold")
        if path is not None and isinstance(fold, str) and not ctx.resilient_parsing:
            _check_fold(path, fold)
        return path  # what else it holds is judged where it is read
    if not path.exists():
        raise SplitError(
            "is missing: there is no such split file",
            where=path,
            remedy="make one with: mitosieve split COHORT --folds 5 --out split.json",
        )
    if path.is_dir():
        inside = sorted(item.name for item in path.glob("*.json") if thing_at(item) is Thing.SPLIT)
        if inside:
            raise SplitError("is a folder, and a split is a file", where=path, remedy=f"name one in it: {inside[0]}")
    raise _mistaken(ctx, path, "--split is a split file")


def kept_trainings(ctx: typer.Context, paths: list[Path] | None) -> list[Path] | None:
    """Folders of a study's trainings; of a study's folder the one in it."""
    if ctx.resilient_parsing:
        return paths
    found = [path / layout.TRAININGS if (path / layout.TRAININGS).is_dir() else path for path in paths or ()]
    for path in found:
        if next(path.glob(f"*/{layout.RECORD}"), None) is None:
            what = "holds no training that a study has kept" if path.is_dir() else "is no folder"
            raise RunFolderError(what, where=path, remedy=f"name the folder of a study, or {layout.TRAININGS} in it")
    return found


def a_fold(ctx: typer.Context, name: str | None) -> str | None:
    """A fold that the split of the same command has; whether the split is sound is judged where it is read."""
    split = ctx.params.get("split")
    if name is not None and isinstance(split, Path) and not ctx.resilient_parsing:
        _check_fold(split, name)
    return name


def _check_fold(split: Path, name: str) -> None:
    try:
        folds = list(json.loads(split.read_text(encoding="utf-8"))["folds"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if name not in folds:
        raise SplitError(
            f"there is no fold '{name}'",
            where=split,
            remedy=f"{did_you_mean(name, folds)}its folds are {', '.join(folds)}",
        )


def a_recipe(ctx: typer.Context, name: str) -> str:
    """A recipe of the package or a TOML file, whose keys are all known."""
    from mitosieve.recipe.keys import check_keys
    from mitosieve.recipe.text import DEFAULT_NAME, recipe_content, recipe_names

    if ctx.resilient_parsing:
        return name
    path = Path(name)
    is_name = name in (DEFAULT_NAME, *recipe_names())
    if not is_name and path.exists() and thing_at(path) not in (Thing.RECIPE, Thing.FILE):
        raise _mistaken(ctx, path, "RECIPE is a name of `mitosieve recipes`, or a TOML file")
    check_keys(*recipe_content(name, ctx.params.get("settings") or ()))
    return name


def settings_of_a_recipe(ctx: typer.Context, settings: list[str] | None) -> list[str] | None:
    """Overrides whose keys the recipe of the same command has."""
    from mitosieve.recipe.keys import check_keys
    from mitosieve.recipe.text import recipe_content

    recipe = ctx.params.get("recipe")
    if settings and isinstance(recipe, str) and not ctx.resilient_parsing:
        check_keys(*recipe_content(recipe, settings))
    return settings


def a_detector(ctx: typer.Context, named: str) -> str:
    """A detector of the package, or a folder that has one."""
    from mitosieve.models.box import detector_folder, find, folder_of, read_content

    if ctx.resilient_parsing or find(named) is not None:
        return named
    path = Path(named)
    if not path.exists():
        if named == path.name:
            folder_of(named)  # says which there are
        raise DetectorError(
            "is missing", where=path, remedy="name a detector folder, a run, or one that `mitosieve models` lists"
        )
    if path.name == layout.DETECTOR_CONFIG:
        raise DetectorError("is a file of a detector", where=path, remedy=f"name its folder: {path.parent}")
    if path.is_file() or thing_at(path) in (Thing.COHORT, Thing.RESULT, Thing.SLIDES):
        raise _mistaken(ctx, path, "--detector is a name of `mitosieve models`, a run or a detector folder")
    read_content(detector_folder(named) / layout.DETECTOR_CONFIG)  # of another version it is told at once
    return named


def a_device(word: str) -> str:
    """A word for a device; whether the machine has it is seen when torch is."""
    check_choices(word, AUTO, AUTO)
    return word


def a_precision(word: str) -> str:
    """A word for a precision."""
    check_choices(AUTO, word, AUTO)
    return word


def an_engine(word: str) -> str:
    """A word for an engine."""
    check_choices(AUTO, AUTO, word)
    return word


def export_formats(names: str) -> str:
    """Formats of detections, comma-separated; the usual one is not looked up, for that takes longer."""
    given = [name for name in names.split(",") if name]
    if given != ["geojson"] and given:
        from mitosieve.export import FORMATS

        unknown = [name for name in given if name not in FORMATS]
        if unknown:
            raise InputError(
                f"unknown format '{unknown[0]}'",
                remedy=f"{did_you_mean(unknown[0], list(FORMATS))}known: {', '.join(FORMATS)}",
            )
    return names


def a_hotspot_shape(word: str) -> str:
    """Of a hotspot."""
    check_shape(word)
    return word


def a_shard(text: str | None) -> str | None:
    """A part of a job, i/n."""
    if text is not None:
        from mitosieve.scan.shard import parse_shard

        parse_shard(text)
    return text


def recipes_like(incomplete: str) -> list[str]:
    """For completion in a shell."""
    from mitosieve.recipe.text import DEFAULT_NAME, recipe_names

    return [name for name in (DEFAULT_NAME, *recipe_names()) if name.startswith(incomplete)]


def detectors_like(incomplete: str) -> list[str]:
    """For completion in a shell."""
    from mitosieve.models.box import names

    return [name for name in ("default", *names()) if name.startswith(incomplete)]


def some_slides(ctx: typer.Context, words: list[str] | None) -> list[str] | None:
    """Slides, folders, patterns or lists, unless not one of them can be a slide: then the first is called what it is.

    What is missing or no image among others is a slide that fails, and no reason to do none.
    """
    from mitosieve.models.box import find

    if not words or ctx.resilient_parsing:
        return words
    refusals = [_no_slide(Path(word), ctx) for word in words if word[:1] != "@" and not set("*?[") & set(word)]
    if len(refusals) == len(words) and all(refusals) and not any(map(find, words)):
        raise next(filter(None, refusals))
    return words


def _holds_dicom(folder: Path) -> bool:
    """Whether a folder has DICOM files, which need no ending to be known."""
    from mitosieve.slide.header import is_dicom

    return any(is_dicom(item) for item in folder.iterdir())


def a_slide(ctx: typer.Context, path: Path) -> Path:
    """An image file, or a folder of DICOM files."""
    if not ctx.resilient_parsing and not path.exists():
        raise SlideError("is missing", where=path, remedy="check the path")
    return path


def detections_in(ctx: typer.Context, path: Path) -> Path:
    """A folder that holds detections.csv."""
    if ctx.resilient_parsing:
        return path
    if (path / layout.DETECTIONS).exists():
        check_header(path / layout.DETECTIONS)
        return path
    if not path.exists():
        raise FormatError("is missing", where=path, remedy="run detect first, or name its output")
    if path.is_file():
        if path.name == layout.DETECTIONS:
            raise FormatError("is a file, and DIR is its folder", where=path, remedy=f"name {path.parent}")
        if thing_at(path) is Thing.DETECTIONS:
            raise FormatError(
                "is a table of detections, and DIR is a folder",
                where=path,
                remedy=f"put it into a folder as {layout.DETECTIONS}, and name the folder",
            )
        raise _mistaken(ctx, path, f"DIR is a folder with {layout.DETECTIONS}")
    inside = sorted(item.parent for item in path.glob(f"*/{layout.DETECTIONS}"))
    if thing_at(path) is Thing.COHORT or not inside:
        raise _mistaken(ctx, path, f"DIR is a folder with {layout.DETECTIONS}")
    raise FormatError(f"has no {layout.DETECTIONS}", where=path, remedy=f"name the folder that has: {inside[-1]}")


def check_header(table: Path) -> None:
    """Refuse a table of detections that lacks a column; its rows are read elsewhere."""
    header = header_of(table)
    missing = [name for name in layout.DETECTION_COLUMNS if name not in header]
    if header and missing:
        raise FormatError(
            f"lacks the column {', '.join(missing)}",
            where=table,
            remedy=f"expected columns: {','.join(layout.DETECTION_COLUMNS)}[,is_figure]",
        )


def a_run(ctx: typer.Context, path: Path) -> Path:
    """A folder that a job left; whether it serves is judged where it is read."""
    if ctx.resilient_parsing:
        return path
    if not path.exists():
        raise RunFolderError("is missing", where=path, remedy="name a folder made by train, detect or crossval")
    if path.is_file():
        raise RunFolderError(
            f"{called(path)}, and a folder is wanted", where=path, remedy=f"name its folder: {path.parent}"
        )
    if thing_at(path) in (Thing.COHORT, Thing.SLIDES, Thing.DETECTOR):
        raise _mistaken(ctx, path, "a folder made by train, detect or crossval is wanted")
    return path


def comparable(ctx: typer.Context, paths: list[Path] | None) -> list[Path] | None:
    """Evaluated folders, or files of scores, that were scored on the same slides as one another and as RUN."""
    if not paths or ctx.resilient_parsing:
        return paths
    for path in paths:
        if not path.exists():
            raise FormatError("is missing", where=path, remedy="name a folder that `mitosieve evaluate` has scored")
    run = ctx.params.get("run")
    check_comparable(beside(run, paths) if isinstance(run, Path) else paths)
    return paths


def a_new_file(ctx: typer.Context, path: Path | None) -> Path | None:
    """A file to write: its place is no folder."""
    if path is not None and not ctx.resilient_parsing and path.is_dir():
        raise InputError(
            "is a folder, and --out is a file", where=path, remedy=f"for example: {example_of(ctx.info_name)}"
        )
    return path


def a_cohort_to_be(ctx: typer.Context, path: Path) -> Path:
    """Where an import or the phantom puts a cohort: a folder, there or not."""
    if not ctx.resilient_parsing and path.exists() and not path.is_dir():
        raise _mistaken(ctx, path, "COHORT is a folder")
    return path


def an_import_format(ctx: typer.Context, name: str) -> str:
    """The first word of an import; a path there is in the wrong place. Which names there are is known to the room."""
    if not ctx.resilient_parsing and Path(name).exists() and (Path(name).is_file() or "/" in name):
        raise _mistaken(ctx, Path(name), "FORMAT, the layout of the labels, stands first")
    return name


def a_source(ctx: typer.Context, path: Path) -> Path:
    """What an import reads."""
    if ctx.resilient_parsing:
        return path
    if thing_at(path) is Thing.COHORT:
        raise _mistaken(ctx, path, "SOURCE is a label file or folder, and COHORT stands behind it")
    if not path.exists():
        raise FormatError("is missing: there is no such file or folder", where=path, remedy="check the path")
    return path


def images_are_there(cohort: Path, images: Sequence[Path]) -> None:
    """Refuse a cohort none of whose images is where slides.csv says; single ones are slides that fail.

    Raises:
        CohortError: with the first place that was looked at.
    """
    if images and not any(path.exists() for path in images):
        raise CohortError(
            f"none of {len(images)} images is where slides.csv says; the first would be {images[0]}",
            where=cohort,
            remedy="cohort or images were moved: move them back, or mend the column 'path' of slides.csv",
        )


def _no_slide(path: Path, ctx: typer.Context) -> MitosieveError | None:
    """Why nothing at a path can be a slide; None where it may be."""
    thing = thing_at(path)
    if thing is Thing.MISSING:
        return SlideError("is missing", where=path, remedy="check the path")
    if thing is Thing.COHORT:
        rest = f"mitosieve detect --cohort {shlex.quote(str(path))} --out DIR"
        return InputError("is a cohort folder, not a slide", where=path, remedy=rest)
    if thing is Thing.TABLE:
        return InputError("is a table, not a slide", where=path, remedy=f"for a list of slides write @{path}")
    if thing is Thing.EMPTY:
        return InputError("is an empty folder", where=path, remedy="name a folder with slides, or slides")
    if thing is Thing.FOLDER and not _holds_dicom(path):
        return InputError(
            "is a folder without a slide",
            where=path,
            remedy="name the folder that has them: inner folders are not looked into",
        )
    if thing in (Thing.SPLIT, Thing.DETECTIONS, Thing.STUDY):
        return _mistaken(ctx, path, "SLIDE is an image")
    return None


def _mistaken(ctx: typer.Context, path: Path, wanted: str) -> InputError:
    """A path that is something else than its place asks for."""
    return InputError(
        f"{called(path)}, and {wanted}", where=path, remedy=f"write it in this order: {example_of(ctx.info_name)}"
    )


def new_folder(path: Path | None, *, joins: bool = False) -> None:
    """Refuse a place for a job where something is already; a job that resumes, or takes part in one, is let in.

    Raises:
        RunFolderError: the folder holds a run or other files, or is a file.
    """
    from mitosieve.run.folder import RunFolder

    if path is not None and not joins:
        RunFolder(path).check_new()
