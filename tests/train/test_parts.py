"""Inner parts: who is held out together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.train.parts import NO_PART, case_parts, inner_parts, linked, parts_note

SETS_OF_SLIDES = given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(2, 5),
    st.integers(0, 9),
)


def a_set(rows, slides_per_case):
    """Slide of each row, whether it is dealt to a part, and the case of each slide."""
    slide = np.array([f"s{number}" for number, _ in rows])
    held = np.array([known for _, known in rows])
    return slide, held, {f"s{number}": f"c{number // slides_per_case}" for number in range(8)}


@SETS_OF_SLIDES
def test_cases_stay_whole_where_there_are_enough(rows, slides_per_case, parts, seed):
    """All rows of a case, or of a slide where cases are too few, are in one part; parts are as even as can be."""
    slide, held, case_of = a_set(rows, slides_per_case)
    found = inner_parts(slide, case_of, parts, seed, held=held)
    assert (found[~held] == NO_PART).all()
    case = np.array([case_of[name] for name in slide])
    group = case if len(set(case[held])) >= parts else slide
    for name in set(group[held]):
        assert len(set(found[held & (group == name)])) == 1
    sizes = [len(set(group[held & (found == part)])) for part in range(parts)]
    assert sum(sizes) == len(set(group[held]))
    assert max(sizes) - min(sizes) <= 1


@SETS_OF_SLIDES
def test_it_is_said_just_where_a_case_is_in_two_parts(rows, slides_per_case, parts, seed):
    """By brute force over the parts: then networks judge slides of patients whom they know."""
    slide, held, case_of = a_set(rows, slides_per_case)
    part = inner_parts(slide, case_of, parts, seed, held=held)
    case = np.array([case_of[name] for name in slide])
    shared = any(len(set(part[held & (case == name)])) > 1 for name in set(case))
    assert bool(parts_note(slide, case_of, parts, held=held)) == shared


@given(st.dictionaries(st.sampled_from("abcdefghijklmnop"), st.integers(0, 30)), st.integers(2, 6), st.integers(0, 9))
def test_parts_of_cases_are_alike_in_figures(figures, parts, seed):
    """Every case is in one part; the fullest part would be no fuller than the emptiest but for its last case. Cases
    without a figure even out how many cases the parts have.
    """
    found = case_parts(figures, parts, seed)
    assert set(found) == set(figures)
    assert set(found.values()) <= set(range(parts))
    load = [sum(figures[case] for case, part in found.items() if part == number) for number in range(parts)]
    for number in range(parts):
        dealt = [figures[case] for case, part in found.items() if part == number and figures[case]]
        if dealt:
            assert load[number] - min(dealt) <= min(load)
    size = [sum(part == number for part in found.values()) for number in range(parts)]
    bare = [found[case] for case in figures if figures[case] == 0]
    assert all(size[part] - 1 <= min(size) for part in bare)
    turned = dict(reversed(list(figures.items())))
    assert case_parts(turned, parts, seed) == found


@given(st.dictionaries(st.sampled_from("ABCDEFG"), st.sets(st.sampled_from("abcdefghij"), min_size=1), min_size=1))
def test_domains_that_share_a_case_are_one_group(cases_of):
    """Two cases are together just where a chain of domains leads from one to the other; groups are told apart."""
    found = linked(cases_of)
    cases = set().union(*cases_of.values())
    near = {case: set().union(*(of for of in cases_of.values() if case in of)) for case in cases}
    assert set(found) == cases
    for case in near:
        reached, before = {case}, set()
        while reached != before:
            before, reached = reached, set().union(*(near[one] for one in reached))
        assert {other for other in found if found[other] == found[case]} == reached
        assert found[case] == min(domain for domain, of in cases_of.items() if of & reached)
