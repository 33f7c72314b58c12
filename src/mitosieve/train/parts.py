"""Inner parts of the training slides: what is scored by a network that has not seen it. Knows ids and numbers only."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from mitosieve.run.seed import derive_generator

NO_PART = -1
"""Part of rows that every network may learn from."""


def inner_parts(
    slide_id: NDArray[np.str_],
    case_of: Mapping[str, str],
    parts: int,
    seed: int,
    *,
    held: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Inner part of each row, (N,): cases dealt round, or slides where there are fewer cases than parts.

    Args:
        slide_id: (N,) slide of each row.
        case_of: case of each slide.
        parts: how many.
        seed: of the run.
        held: (N,) rows that are dealt; the others are NO_PART. None deals all.
    """
    dealt = np.ones(len(slide_id), dtype=bool) if held is None else held
    group = np.array([case_of[str(name)] for name in slide_id])
    if len(np.unique(group[dealt])) < parts:
        group = slide_id  # `parts_note` says so
    names = derive_generator(seed, "inner parts").permutation(np.unique(group[dealt]))
    number = {str(name): i % parts for i, name in enumerate(names)}
    return np.array(
        [number[str(name)] if known else NO_PART for name, known in zip(group, dealt, strict=True)], dtype=np.int64
    )


def parts_note(
    slide_id: NDArray[np.str_], case_of: Mapping[str, str], parts: int, *, held: NDArray[np.bool_] | None = None
) -> str:
    """What a person must know of `inner_parts` of the same: that slides of one patient stand in several, where they do;
    else nothing.
    """
    slides = np.unique(slide_id if held is None else slide_id[held]).tolist()
    cases = len({case_of[str(name)] for name in slides})
    if cases >= parts or cases == len(slides):
        return ""
    return (
        f"{parts} inner parts are made of slides, for there are {cases} training cases: what is scored out of fold is "
        "scored by networks that may have seen other slides of the patient, and such scores are too sure"
    )


def linked(cases_of: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Group of each case: cases of one domain are together, and so are domains that share a case.

    Args:
        cases_of: cases of each domain, one or more.

    Returns:
        Case -> name of its group, that of its first domain in order of names.
    """
    joined = DisjointSet({case for cases in cases_of.values() for case in cases})
    for cases in cases_of.values():
        first, *others = sorted(cases)
        for other in others:
            joined.merge(first, other)
    return {
        case: min(domain for domain, cases in cases_of.items() if not together.isdisjoint(cases))
        for together in joined.subsets()
        for case in together
    }


def case_parts(figures: Mapping[str, int], parts: int, seed: int) -> dict[str, int]:
    """Part of each case, alike in figures: the largest first, each to the part with fewest figures, then fewest cases;
    cases without a figure each to the part with fewest cases.

    Args:
        figures: of each case; equally many are dealt in a random order.
        parts: how many.
        seed: of the run.
    """
    names = derive_generator(seed, "parts of cases").permutation(sorted(figures)) if figures else []
    load = [(0, 0)] * parts
    found: dict[str, int] = {}
    for name in sorted(map(str, names), key=lambda case: -figures[case]):
        by_figures = figures[name] > 0
        least = min(range(parts), key=lambda part: load[part] if by_figures else load[part][::-1])
        found[name] = least
        load[least] = (load[least][0] + figures[name], load[least][1] + 1)
    return found
