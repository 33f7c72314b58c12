"""Laws of what a detector knows of its training's slides: what is near, what is far, and what is said of it."""

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mitosieve.errors import DetectorError
from mitosieve.sieve.reference import MOST_SLIDES, TRAITS, Learnt, Reference
from mitosieve.sieve.score_counts import BINS, count_scores, no_scores
from mitosieve.sieve.traits import SlideTraits, measure_pieces
from mitosieve.slide.stain import apply_transform
from tiny import images

SIDE = 128


def pieces_of(path):
    pixels = cv2.imread(str(path))[..., ::-1]
    return [np.ascontiguousarray(pixels[y : y + SIDE, x : x + SIDE]) for y in (0, 128, 256) for x in (0, 128, 256)]


def a_training():
    """The drawn slides, each of a case of its own."""
    return [(path.stem, measure_pieces(pieces_of(path), 0.25)) for path in images()]


def some_traits(generator, count=12, cases=4):
    """Slides in clusters by case, as slides of patients are."""
    middle = generator.normal(0, 1, (cases, 8))
    return [
        (
            f"c{number % cases}",
            SlideTraits(
                resolution=math.log(0.25),
                stain=tuple(middle[number % cases] + generator.normal(0, 0.1, 8)),
                sharpness=float(generator.normal(4, 0.3)),
            ),
        )
        for number in range(count)
    ]


def slides_scored(share, places=1000):
    """Counted scores of a slide, of which such a share look like figures."""
    called = round(share * places)
    return count_scores(np.concatenate([np.full(called, 0.9), np.full(places - called, 0.01)]))


def test_a_slide_of_the_training_is_near():
    """It is at distance 0 from itself, and nothing is said."""
    training = a_training()
    reference = Reference.of(training)
    for _, traits in training:
        found = reference.compare(traits, no_scores())
        assert {likeness.distance for likeness in found.traits.values()} == {0.0}
        assert found.warning == ""


def test_distances_and_limits_are_those_of_brute_force():
    """Nearest slide by the root mean square in spreads; the limit is the 99 % quantile over slides of other cases."""
    training = some_traits(np.random.default_rng(4))
    reference = Reference.of(training)
    values = np.array([traits.stain for _, traits in training]).round(6)
    middle = np.median(values, axis=0)
    spread = np.maximum(1.4826 * np.median(abs(values - middle), axis=0), TRAITS["stain"].tolerance)

    def distance(one, other):
        return math.sqrt(sum(((a - b) / s) ** 2 for a, b, s in zip(one, other, spread, strict=True)) / 8)

    far = []
    for (case, _), row in zip(training, values, strict=True):
        others = [value for (other, _), value in zip(training, values, strict=True) if other != case]
        far.append(min(distance(row, other) for other in others))
    stranger = SlideTraits(resolution=0.0, stain=tuple(np.arange(8) / 4), sharpness=None)
    likeness = reference.compare(stranger, no_scores()).traits["stain"]
    assert likeness.limit == pytest.approx(max(far), abs=1e-3)  # of twelve slides the 99 % quantile is the highest
    assert likeness.distance == pytest.approx(min(distance(stranger.stain, row) for row in values), abs=1e-3)


def test_slides_of_a_single_case_are_judged_by_one_another():
    """There is no other case; each slide is left out in its turn."""
    training = [("only", traits) for _, traits in some_traits(np.random.default_rng(5), count=6, cases=1)]
    values = np.array([traits.sharpness for _, traits in training])
    spread = max(0.1, 1.4826 * np.median(abs(values - np.median(values))))
    apart = abs(values[:, None] - values[None]) / spread + np.diag(np.full(6, np.inf))
    expected = max(TRAITS["sharpness"].least, apart.min(axis=1).max())
    assert Reference.of(training).known["sharpness"].limit == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("trait", ["stain", "sharpness", "resolution", "scores"])
def test_the_farther_a_trait_is_moved_the_greater_its_distance(trait):
    """Stain turned, pixels blurred, resolution or share doubled: distances rise, and the last one warns."""
    reference = Reference.of(a_training(), [(f"c{k}", slides_scored(0.01 + 0.002 * k)) for k in range(4)])
    pieces, own = pieces_of(images()[0]), slides_scored(0.01)
    turned = np.array([[0.7, 0.1, 0.3], [0.2, 0.9, 0.0], [0.0, 0.1, 1.4]])
    distances = []
    for step in (0.0, 0.25, 0.5, 1.0):
        moved, mpp, counts = pieces, 0.25, own
        if trait == "stain":
            transform = (1 - step) * np.eye(3) + step * turned
            moved = [apply_transform(piece, transform) for piece in pieces]
        elif trait == "sharpness" and step:
            moved = [cv2.GaussianBlur(piece, (0, 0), 4 * step) for piece in pieces]
        elif trait == "resolution":
            mpp = 0.25 * 2**step
        elif trait == "scores":
            counts = slides_scored(0.01 * 2 ** (5 * step))
        distances.append(reference.compare(measure_pieces(moved, mpp), counts).traits[trait])
    values = [likeness.distance for likeness in distances]
    assert values[0] == 0
    assert values == sorted(values)
    assert not distances[0].warning
    assert distances[-1].warning.startswith(f"{trait} unlike the ")


def test_a_warning_says_the_numbers_and_the_way():
    """Distance and limit to three digits, and in which direction where a word says it."""
    training = [(case, replace(traits, sharpness=4.0)) for case, traits in some_traits(np.random.default_rng(6))]
    scored = [(f"c{k}", slides_scored(0.01)) for k in range(3)]
    reference = Reference.of(training, scored)
    blurred = SlideTraits(resolution=math.log(0.5), stain=training[0][1].stain, sharpness=3.0)
    assert reference.compare(blurred, slides_scored(0.4)).warnings == (
        "sharpness unlike the training's (blurrier): distance 10, of training slides 99 % are below 0.25",
        "resolution unlike the training's (0.5 um/px, usually 0.25): "
        "distance 4.96, of training slides 99 % are below 1",
        "scores unlike the validation slides' (40.01% of its places look like figures, usually 1.05%): "
        "distance 14.6, of validation slides 99 % are below 1",
    )
    assert "(sharper)" in reference.compare(replace(blurred, sharpness=5.0), no_scores()).warning


def test_a_stain_that_cannot_be_told_is_far():
    """Where the training's could; a slide with too little tissue for it is not judged."""
    reference = Reference.of(a_training())
    grey = reference.compare(SlideTraits(resolution=math.log(0.25), stain=None, sharpness=4.0), no_scores())
    assert (grey.traits["stain"].distance, "no haematoxylin" in grey.warning) == (None, True)
    bare = reference.compare(SlideTraits(resolution=math.log(0.25), stain=None, sharpness=None), no_scores())
    assert (set(bare.traits), bare.warning) == ({"resolution"}, "")


def test_what_fewer_than_two_slides_have_is_not_known():
    """A limit needs at least two; without scores of slides that were not learned from, scores are not judged."""
    reference = Reference.of(a_training(), [("c0", slides_scored(0.01)), ("c1", np.zeros(BINS, dtype=np.int64))])
    assert set(reference.known) == {"stain", "sharpness", "resolution"}
    assert Reference.of(a_training()[:1]).known == {}


def test_equal_slides_do_not_make_every_other_one_strange():
    """The least spread and the least limit are the trait's own."""
    same = [(f"c{k}", SlideTraits(resolution=math.log(0.25), stain=None, sharpness=4.0)) for k in range(4)]
    reference = Reference.of(same)
    near = SlideTraits(resolution=math.log(0.2273), stain=None, sharpness=4.02)
    assert reference.compare(near, no_scores()).warning == ""


def test_a_large_training_keeps_a_fixed_number_of_slides():
    """Evenly spaced, so that all its parts are in it."""
    many = [(f"c{k}", SlideTraits(resolution=math.log(0.25), stain=None, sharpness=k / 500)) for k in range(2500)]
    kept = Reference.of(many).known["sharpness"].values[:, 0]
    assert (len(kept), kept[0], kept[-1]) == (MOST_SLIDES, 0.0, 2499 / 500)


def test_what_is_loaded_says_what_was_saved(tmp_path):
    """Every distance to the last digit; equal slides give equal bytes."""
    training = some_traits(np.random.default_rng(7))
    scored = [(f"c{k}", slides_scored(0.01 * (k + 1))) for k in range(3)]
    first, second = Reference.of(training, scored, scores_of="out-of-fold"), Reference.of(training, scored)
    loaded = Reference.load(first.save(tmp_path / "a.json"))
    stranger = SlideTraits(resolution=0.0, stain=(0.1,) * 8, sharpness=2.0)
    assert loaded.compare(stranger, slides_scored(0.3)) == first.compare(stranger, slides_scored(0.3))
    assert loaded.scores_of == "out-of-fold"
    assert second.save(tmp_path / "b.json").read_bytes() == second.save(tmp_path / "c.json").read_bytes()
    text = (tmp_path / "a.json").read_text()
    assert "c0" not in text  # no patient is named
    own = Learnt(domains=("breast",), cases=1, slides=2, figures=3)
    on = replace(own, start="swift (4 cases)", start_is_synthetic=True)
    untold = replace(on, start_is_synthetic=None)
    after = "it went on from swift (4 cases)"
    for learnt, words in ((own, "breast, 1 patient, 2 slides, 3 figures"), (on, after), (untold, after)):
        again = Reference.load(replace(first, learnt=learnt).save(tmp_path / "d.json")).learnt
        assert again == learnt
        assert again.words.endswith(words)
        assert not again.is_synthetic, "that is of its own slides"
        assert ("start" in (tmp_path / "d.json").read_text()) == (learnt is not own), (
            "without one the file is as it was"
        )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: [], "does not say"),
        (lambda content: {**content, "format": 9}, "format 9, expected 1"),
        (lambda content: {**content, "known": {"stain": {"values": [[1.0]]}}}, "does not say"),
        (lambda content: _changed(content, "limit", -1), "holds a number that is none"),
        (lambda content: _changed(content, "spread", [0.0]), "holds a number that is none"),
        (lambda content: _changed(content, "case", [0]), "values"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, damage, said):
    """With its place and what to do."""
    path = Reference.of(some_traits(np.random.default_rng(8))).save(tmp_path / "reference.json")
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(DetectorError, match="copy the whole folder again") as caught:
        Reference.load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def _changed(content, key, value):
    known = {**content["known"]["sharpness"], key: value}
    return {**content, "known": {**content["known"], "sharpness": known}}
