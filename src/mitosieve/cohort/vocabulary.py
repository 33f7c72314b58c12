"""What the names of classes mean. One rule for all formats: nobody else looks at a name.

A name is compared by its letters and figures alone: case, accents, blanks, hyphens, underscores and full stops do not
matter, and neither does the `*` that QuPath puts behind the classes it does not count. A sign of doubt or of minus
(`mitosis?`, `MF-`) stays, so that such a name means nothing by itself.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from itertools import product

from mitosieve.errors import InputError, some


class Meaning(StrEnum):
    """What is made of the marks of a class."""

    FIGURE = "figure"
    IMPOSTER = "imposter"
    IGNORE = "ignore"
    """Left out, and nobody knows whether it was a figure: its slides no longer count as searched."""
    OTHER = "other"
    """Left out: something that is no figure for certain, such as a granulocyte."""
    REGION = "roi"
    """No cell: an outline of what was searched."""


Rulings = Mapping[str, Meaning]
"""What a user says of classes, by their name; it wins over all that is known."""

_SEPARATORS = re.compile(r"[\s_.\u2010-\u2015-]+")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MITOSIS = _words("""
    mitosis mitoses mitotic mf mfs mitose mitosen mitoser mitos mitosi mitoosi mitoosit mitoz mitozlar mitoza mitozy
    mitozis mitotisch mitotique mitotiques mitotica mitotico митоз митозы мітоз мітози μιτωση μιτωσεις
    有丝分裂 有絲分裂 有糸分裂 核分裂 分裂像 核分裂像 核分裂象 有丝分裂像 有丝分裂象 有糸分裂像
    유사분열 유사분열상 핵분열상
""")
_MITOTIC = _words("mitotic mitosis mitose mitosen mitos mitotische mitotischer mitotik mitoticka")
_CELL = _words("""
    figure figures cell cells nucleus nuclei event events figur figuren figurer figura zelle zellen kern kerne cel
    cellen figuur figuren
""")
_WHOLE = _words("""
    dividingcell dividingcells celldivision celldivisions teilungsfigur teilungsfiguren kernteilungsfigur
    kernteilungsfiguren delingsfiguur figuremitotique figuresmitotiques figuredemitose figuresdemitose
    cellulemitotique cellulesmitotiques celluleenmitose cellulesenmitose figuramitotica figurasmitoticas
    figurademitosis figurasdemitosis celulamitotica celulasmitoticas figuremitotiche cellulamitotica cellulemitotiche
    figurademitose figurasdemitose figuramitotyczna figurymitotyczne фигурамитоза фигурымитоза митотическаяфигура
    митотическиефигуры
""")
_KIND = _words("atypical typical normal abnormal regular true real definite confirmed atypische typische normale echte")
_KIND_AFTER = _words("atypical typical normal atypique atypiques atipica atipicas atipiche tipica normale")
_NOT = _words("""
    non not no nota false pseudo kein keine nicht falsche pas pasde fausse falsa geen niet nao sin ej icke inte ikke
    ingen не нет 非 无 無 비
""")
_LIKE = _words("like lookalike lookalikes mimic mimics mimicker mimickers imposter imposters impostor impostors")
_IMPOSTER = _words("""
    imposter imposters impostor impostors lookalike lookalikes mimic mimics hardnegative hardnegatives hardneg
    hardnegs hardnegativelookalike hardnegativelookalikes hardnegativeimposter hardnegativeimposters
""")
_PHASES = _words("prometaphase metaphase anaphase telophase")
_IGNORE = _words("ignore ignored unknown unsure uncertain unclear ambiguous doubtful undecided")
_REGION = _words("""
    roi rois region regions regionofinterest regionsofinterest hpf hpfs highpowerfield highpowerfields annotatedarea
    annotatedregion searchedarea searchedregion screenedarea screenedregion examinedarea examinedregion countedarea
""")

ATYPICAL, NORMAL, PLAIN = frozenset({"amf", "amfs"}), frozenset({"nmf", "nmfs"}), frozenset({"mf", "mfs"})
"""MIDOG 2025's atypical and normal mitotic figures; NMF elsewhere is a non-mitotic figure, so it means nothing alone,
nor beside a plain MF."""


def folded(name: str) -> str:
    """A class's name by what it is compared with."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    letters = "".join(sign for sign in plain if not unicodedata.category(sign).startswith("M"))
    bare = letters.strip(" \t\r\n_'\"").removesuffix("*")
    inner = bare.strip("-\u2010\u2011\u2012\u2013\u2014\u2212")
    before, _, after = bare.partition(inner) if inner else (bare, "", "")
    return before + _SEPARATORS.sub("", inner) + after


@cache
def _meanings() -> dict[str, Meaning]:
    """All names that are known, folded; built when the first is asked for, which takes a quarter of a second."""
    cores = [*_MITOSIS, *_WHOLE, *(first + second for first, second in product(_MITOTIC, _CELL))]
    made = dict.fromkeys(_REGION, Meaning.REGION) | dict.fromkeys(_IGNORE, Meaning.IGNORE)
    made |= dict.fromkeys(_IMPOSTER, Meaning.IMPOSTER)
    made |= {no + core: Meaning.IMPOSTER for no, core in product(_NOT, cores)}
    ends = ("", "figure", "figures", "cell", "cells")
    made |= {core + like + end: Meaning.IMPOSTER for core, like, end in product(cores, _LIKE, ends)}
    figures = ["figure", "figures", *ATYPICAL, *cores, *_PHASES, *(kind + core for kind, core in product(_KIND, cores))]
    figures += [core + kind for core, kind in product(cores, _KIND_AFTER)]
    made |= dict.fromkeys(figures, Meaning.FIGURE)
    return {folded(word): what for word, what in made.items()}


_DERIVED = frozenset(
    (*_KIND, *_PHASES, "prophase", "cytokinesis", *(a + b for a in ("early", "late") for b in _PHASES))
)


def meaning_of(name: str, others: Iterable[str] = ()) -> Meaning | None:
    """What a class means by its name; None where that is not known.

    Args:
        name: as its format writes it. A name of two levels, as QuPath's `Mitosis: Metaphase`, means what its first
            means, where the second is a phase or a kind of mitosis.
        others: all classes of the file: NMF means something only beside AMF.
    """
    key = folded(name)
    if key in NORMAL:
        beside = {folded(other) for other in others}
        return Meaning.FIGURE if beside & ATYPICAL and not beside & PLAIN else None
    known = _meanings()
    if key in known:
        return known[key]
    base, *derived = name.split(":")
    if derived and known.get(folded(base)) is Meaning.FIGURE and all(folded(part) in _DERIVED for part in derived):
        return Meaning.FIGURE
    return None


def ruling(text: str) -> tuple[str, Meaning]:
    """What a user says of one class, as NAME=figure.

    Raises:
        InputError: it is not that.
    """
    name, sign, what = text.rpartition("=")
    known = [meaning.value for meaning in Meaning]
    if not sign or not name.strip() or what.strip().lower() not in known:
        raise InputError(
            f"--label '{text}' is not NAME={'|'.join(known)}", remedy='for example: --label "Mitose=figure"'
        )
    return name.strip(), Meaning(what.strip().lower())


def rulings_of(texts: Iterable[str]) -> dict[str, Meaning]:
    """Several of them.

    Raises:
        InputError: one is not as it must be, or two contradict each other.
    """
    found: dict[str, Meaning] = {}
    for name, what in map(ruling, texts):
        if found.get(name, what) is not what:
            raise InputError(f"--label says two things of '{name}'", remedy="keep one of them")
        found[name] = what
    return found


def ruled(name: str, rulings: Rulings) -> Meaning | None:
    """What a user says of a class: by its exact name, else by its letters; None where nothing is said."""
    if name in rulings:
        return rulings[name]
    return next((what for said, what in rulings.items() if folded(said) == folded(name)), None)


def refuse_strange_rulings(names: Iterable[str], rulings: Rulings, *, where: str) -> None:
    """Refuse a ruling on a class that is not there: a typing error would be a ruling on nothing.

    Raises:
        InputError: naming the classes that are there.
    """
    there = list(names)
    for said in rulings:
        if said not in there and folded(said) not in {folded(name) for name in there}:
            classes = some(f"'{name}'" for name in there) or "there are none"
            raise InputError(f"--label names '{said}', but the classes are: {classes}", where=where, remedy="mend NAME")
