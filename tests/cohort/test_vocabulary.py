"""Laws of what the names of classes mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.cohort.vocabulary import Meaning, folded, meaning_of, ruled, rulings_of
from mitosieve.errors import InputError

FIGURES = (
    "mitosis", "Mitoses", "MITOTIC FIGURE", "mitotic_figures", "Mitotic-Cell", "mitotic cells", "MF", "Mitose",
    "Mitosen", "Mitosefigur", "Mitotische Figuren", "figure mitotique", "Figura mitótica", "figuras mitóticas",
    "mitosi",
    "Mitoz",
    "Митоз", "核分裂像", "有丝分裂", "유사분열", "atypical mitotic figure", "normal mitosis", "AMF", "metaphase",
    "Mitosis: Metaphase", "mitosis*", "dividing cell", "'mitosis'", "\ufb01gure", "mitotic.figure",
)  # fmt: skip
IMPOSTERS = (
    "non-mitotic", "nonmitosis", "Non Mitotic Figure", "not mitotic figure", "NonMitoticFigures", "non_mitotic_cell",
    "no mitosis", "Hard negative", "hard-negatives", "HardNegative", "Imposter", "impostors",
    "hard negative look-alike", "look-alikes", "mitosis-like figure", "mitotic mimics", "Keine Mitose", "non mitose",
    "false mitosis", "non-MF",
    "pseudo-mitosis", "NON–MITOTIC",
)  # fmt: skip
NOTHING = (
    "granulocyte", "mitosis?", "MF-", "mitosis -", "-mitosis", "mitosis/non-mitosis", "mitosis (no)", "Mitosis: No",
    "1", "", "possible mitosis", "antimitotic", "mitosis vs imposter", "figure of eight", "NMF", "nmfs", "tumor",
    "cell",
    "negative", "Mitosis: ", "not sure",
)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "meaning"), [(FIGURES, Meaning.FIGURE), (IMPOSTERS, Meaning.IMPOSTER), (NOTHING, None)]
)
def test_a_class_means_the_same_in_every_spelling(names, meaning):
    """Case, separators, plurals and languages do not matter; what is not known for certain means nothing."""
    assert {name: meaning_of(name) for name in names} == dict.fromkeys(names, meaning)


@given(st.sampled_from([*FIGURES[:9], *IMPOSTERS[:10]]), st.sampled_from([" ", "_", "-", "  ", "."]), st.booleans())
def test_separators_and_case_change_nothing(name, separator, upper):
    """Whatever stands between words, and however they are written."""
    written = name.replace(" ", separator).replace("_", separator)
    assert meaning_of(written.upper() if upper else written) is meaning_of(name)


@given(st.text(max_size=30))
def test_folding_again_changes_nothing_and_no_text_breaks_it(name):
    """What names are compared by is itself a name of the same meaning."""
    assert folded(folded(name)) == folded(name) or meaning_of(name) is None
    meaning_of(name)


def test_nmf_means_something_only_beside_amf():
    """Both are figures of MIDOG 2025; elsewhere, and beside a plain MF, NMF is read by nobody."""
    both = ["AMF", "NMF", "hard negative"]
    assert [meaning_of(name, both) for name in both] == [Meaning.FIGURE, Meaning.FIGURE, Meaning.IMPOSTER]
    for others in (["NMF"], ["NMF", "mitotic figure"], ["NMF", "MF", "AMF"], ["NMF", "atypical mitotic figure"]):
        assert meaning_of("NMF", others) is None


def test_what_a_user_says_wins_by_the_exact_name_and_then_by_its_letters():
    """A name may hold an equals sign; two rulings on one name must agree."""
    said = rulings_of(["NMF=imposter", "a=b=figure", "Mast Cell=OTHER"])
    assert said == {"NMF": Meaning.IMPOSTER, "a=b": Meaning.FIGURE, "Mast Cell": Meaning.OTHER}
    assert [ruled(name, said) for name in ("nmf", "a=b", "mast_cell", "cat")] == [
        Meaning.IMPOSTER, Meaning.FIGURE, Meaning.OTHER, None,
    ]  # fmt: skip
    for wrong in (["Mitose"], ["=figure"], ["Mitose=yes"], ["a=figure", "a=other"]):
        with pytest.raises(InputError, match="--label"):
            rulings_of(wrong)
