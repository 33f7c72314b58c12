"""From classes to labels: what each mark is, what is left out, and what that says of slides.

The same for all formats. What a name means is the vocabulary's affair.
"""

import math
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.annotation import Label
from mitosieve.cohort.marked import Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.vocabulary import NORMAL, Meaning, Rulings, folded, meaning_of, refuse_strange_rulings, ruled
from mitosieve.errors import FormatError, plural, some

_LABELS = {Meaning.FIGURE: Label.MITOTIC_FIGURE, Meaning.IMPOSTER: Label.IMPOSTER}


def judged(reading: Reading, rulings: Rulings, *, source: Path) -> Reading:
    """A reading whose marks have labels.

    Classes that are to be left out are, and told. Regions become the area that was searched. The score of a mark with
    votes is the share of them for a figure. A slide that lost marks whose meaning nobody knows is kept as unlabelled,
    and so is one without figure and imposter where its format does not say that it was searched.

    Args:
        reading: as its format's reader gave it.
        rulings: what the user says of classes.
        source: what was read, for messages.

    Raises:
        FormatError: a class that has marks and whose meaning is not known, or no class that means a figure; the
            message has the classes, their numbers of marks and what to write.
        InputError: a ruling on a class that is not there.
    """
    reading = _without_void(reading, rulings, source)
    marks = Counter(mark.name for image in reading.images for mark in image.marks)
    voted = (name for image in reading.images for mark in image.marks for name in mark.voted)
    lost = (name for image in reading.images for name in (*image.lost, *image.undecided))
    classes = list(dict.fromkeys([*(reading.classes or ()), *marks, *voted, *lost]))
    refuse_strange_rulings(classes, rulings, where=str(source))
    meanings = {name: ruled(name, rulings) or meaning_of(name, classes) for name in classes}
    _refuse_unknown(reading, meanings, marks, source)
    if reading.classes is not None or marks:
        _refuse_without_figure(meanings, marks, rulings, source)
    made = tuple(_image(image, meanings, bare=reading.bare_is_searched) for image in reading.images)
    cautions = (
        *reading.cautions,
        *_left_out(reading, meanings, marks),
        *_bare(reading, made, meanings),
        *_without_region(made, meanings, reading),
    )
    return replace(reading, images=made, cautions=cautions)


def _without_void(reading: Reading, rulings: Rulings, source: Path) -> Reading:
    """Marks without area and shape are no marks: writers leave them where an annotator drew nothing. One of a class for
    regions stays, without an outline: the slide was searched in part.
    """
    names = list(dict.fromkeys(mark.name for image in reading.images for mark in image.marks))
    classes = list(dict.fromkeys([*(reading.classes or ()), *names]))
    regions = {name for name in names if (ruled(name, rulings) or meaning_of(name, classes)) is Meaning.REGION}

    def is_none(mark: Mark) -> bool:
        return mark.is_void and mark.name not in regions

    void = sum(is_none(mark) for image in reading.images for mark in image.marks)
    if not void:
        return reading
    if void == sum(mark.name not in regions for image in reading.images for mark in image.marks) and void > 1:
        raise FormatError(
            f"all its {void} boxes are without area",
            where=source,
            remedy="if their corners are centres of cells, write them as a points CSV (image,x,y,label)",
        )
    images = tuple(
        replace(image, marks=tuple(mark for mark in image.marks if not is_none(mark))) for image in reading.images
    )
    gone = [mark for image in reading.images for mark in image.marks if is_none(mark)]
    text = f"{plural(void, 'box', 'boxes')} without area and shape left out, which mark nothing: "
    text += some(mark.where for mark in gone)
    return replace(reading, images=images, cautions=(*reading.cautions, Caution(text=text)))


def _option(name: str, what: str) -> str:
    """What to write for a class, as a shell takes it."""
    said = f"{name}={what}"
    return f"--label {shlex.quote(said)}" if set(said) & set('"$`\\!') else f'--label "{said}"'


def _counted(names: Iterable[str], marks: Counter[str]) -> str:
    return some((f"'{name}' ({plural(marks[name], 'mark')})" for name in names), most=20)


def _refuse_unknown(reading: Reading, meanings: dict[str, Meaning | None], marks: Counter[str], source: Path) -> None:
    unknown = [name for name, what in meanings.items() if what is None and marks[name]]
    if not unknown:
        return
    first = next(mark.where for image in reading.images for mark in image.marks if mark.name in unknown)
    known = [name for name in meanings if name not in unknown]
    beside = f"; beside them {_counted(known, marks)}" if known else ""
    place = first.removeprefix(f"{source}, ")
    why = " (NMF is a normal mitotic figure beside AMF, and elsewhere a non-mitotic figure)"
    raise FormatError(
        f"what is meant by its classes {_counted(unknown, marks)} is not known (first: {place}){beside}"
        + (why if any(folded(name) in NORMAL for name in unknown) else ""),
        where=source,
        remedy="say it of each: "
        + " ".join(_option(name, "WHAT") for name in unknown[:5])
        + "; WHAT is figure, imposter, other (surely no figure), ignore (may be one) or roi (what was searched)",
    )


def _refuse_without_figure(
    meanings: dict[str, Meaning | None], marks: Counter[str], rulings: Rulings, source: Path
) -> None:
    """Refuse a file that seems to hold no figure only because its class has another name.

    Regions alone pass: they say where to look, and their slides stay unlabelled.
    """
    if Meaning.FIGURE in meanings.values():
        return
    if meanings and all(what is Meaning.REGION for what in meanings.values()):
        return
    if meanings and all(ruled(name, rulings) is not None for name in meanings):
        return
    first = next((name for name, what in meanings.items() if what is None), next(iter(meanings), "NAME"))
    raise FormatError(
        f"none of its classes means a mitotic figure: {_counted(meanings, marks) or 'there are none'}",
        where=source,
        remedy=f"say which does: {_option(first, 'figure')}; or, if none does, say of each what it is: --label "
        "NAME=WHAT (imposter, other, ignore, roi)",
    )


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    marks: tuple[Mark, ...]
    regions: list[BaseGeometry]
    lost: int


def _sorted(image: MarkedImage, meanings: dict[str, Meaning | None]) -> _Sorted:
    """The marks of an image that stay, each with its label; its regions; and how many nobody knows of."""
    kept: list[Mark] = []
    regions: list[BaseGeometry] = []
    lost = flat = 0
    for mark in image.marks:
        what = meanings[mark.name]
        label = None if what is None else _LABELS.get(what)
        if label is not None:
            share = [meanings[name] is Meaning.FIGURE for name in mark.voted if meanings[name] is not Meaning.IGNORE]
            score = sum(share) / len(share) if share and math.isnan(mark.score) else mark.score
            kept.append(replace(mark, label=label, score=score))
        elif what is Meaning.REGION and mark.outline is not None:
            regions.append(mark.outline)
        elif what is Meaning.REGION:
            flat += 1
        lost += what is Meaning.IGNORE
    lost += len(_may_be_figures(image, meanings))
    lost += flat if not regions else 0  # it was searched in part, and nobody knows in which
    return _Sorted(marks=tuple(kept), regions=regions, lost=lost)


def _may_be_figures(image: MarkedImage, meanings: dict[str, Meaning | None]) -> list[str]:
    """Classes of marks that its reader left out, but for those that are surely no figures.

    A difficult imposter may be a figure; what was only ever called an imposter is none.
    """
    sure = (Meaning.OTHER, Meaning.REGION)
    lost = [name for name in image.lost if meanings[name] not in sure]
    return lost + [name for name in image.undecided if meanings[name] not in (*sure, Meaning.IMPOSTER)]


def _image(image: MarkedImage, meanings: dict[str, Meaning | None], *, bare: bool) -> MarkedImage:
    found = _sorted(image, meanings)
    known = image.labelled and not found.lost and (bare or bool(found.marks))
    return replace(image, marks=found.marks, labelled=known, roi_wkt=_area(found.regions) or image.roi_wkt)


def _area(regions: list[BaseGeometry]) -> str:
    """All regions of a slide as one area, WKT; empty where there is none."""
    if not regions:
        return ""
    whole = shapely.union_all([shapely.make_valid(region) for region in regions])
    faces = [part for part in shapely.get_parts(whole) if part.area > 0]
    return shapely.to_wkt(shapely.union_all(faces), rounding_precision=3) if faces else ""


def _left_out(reading: Reading, meanings: dict[str, Meaning | None], marks: Counter[str]) -> list[Caution]:
    told: list[Caution] = []
    for name, what in meanings.items():
        if not marks[name] or what is None or what in _LABELS:
            continue
        holding = [image for image in reading.images if any(mark.name == name for mark in image.marks)]
        if what is Meaning.REGION:
            flat = sum(mark.name == name and mark.outline is None for image in holding for mark in image.marks)
            slides = plural(len(holding), "slide")
            text = f"the area that was searched (roi) on {slides}: {plural(marks[name], 'region')} '{name}'"
            text += f"; left out, without an outline: {flat}" if flat else ""
        elif what is Meaning.OTHER:
            text = f"{plural(marks[name], 'mark')} of '{name}' left out as no figures"
        else:
            text = (
                f"{plural(marks[name], 'mark')} of '{name}' left out, and nobody knows whether of figures: kept as "
                f"unlabelled, not as searched, {plural(len(holding), 'slide')} with such marks: "
                f"{some(image.file_name for image in holding)}"
            )
        told.append(Caution(text=text))
    unsure = [image.file_name for image in reading.images if image.labelled and _may_be_figures(image, meanings)]
    if unsure:
        text = (
            f"{plural(len(unsure), 'slide')} had marks that were left out and may be figures (difficult, crowds, "
            f"undecided): kept as unlabelled, not as searched: {some(unsure)}; where they are none, set labelled to "
            "yes in slides.csv"
        )
        told.append(Caution(text=text))
    return told


def _without_region(
    made: tuple[MarkedImage, ...], meanings: dict[str, Meaning | None], reading: Reading
) -> list[Caution]:
    """What is said of slides that count as searched all over, while others of these labels say where they were."""
    regions = {name for name, what in meanings.items() if what is Meaning.REGION}
    drawn = [any(mark.name in regions and mark.outline for mark in image.marks) for image in reading.images]
    bare = [image.file_name for image, has in zip(made, drawn, strict=True) if image.labelled and not has]
    if not bare or not any(drawn):
        return []
    text = (
        f"{plural(len(bare), 'labelled slide')} without a region, where {plural(sum(drawn), 'other')} had one, taken "
        f"as searched all over: {some(bare)}; where one was searched in part, draw its region, or write roi or "
        "labelled = no in slides.csv"
    )
    return [Caution(text=text)]


def _bare(reading: Reading, made: tuple[MarkedImage, ...], meanings: dict[str, Meaning | None]) -> list[Caution]:
    """What is said of slides without figure and imposter: what the format takes them for."""
    found: dict[tuple[str, bool], list[str]] = {}
    for image, before in zip(made, reading.images, strict=True):
        ignored = any(meanings[mark.name] is Meaning.IGNORE for mark in before.marks)
        ignored = ignored or bool(_may_be_figures(before, meanings))
        if before.labelled and not image.marks and not ignored:
            found.setdefault((image.domain, image.labelled), []).append(image.file_name)
    unlabelled = (
        " without any mark, kept as unlabelled, not as free of figures: {}; where a slide was "
        "searched, write labelled = yes in slides.csv"
    )
    searched = (
        " without figure and imposter, kept as searched: {}; where one was not, write labelled = no in slides.csv"
    )
    return [
        Caution(
            text=plural(len(names), "image" if known else "slide")
            + (searched if known else unlabelled).format(some(names)),
            domain=domain,
        )
        for (domain, known), names in found.items()
        if not known or reading.tells_bare
    ]
