"""Laws of the card: all that is recorded is shown, nothing else is, and a broken record is refused."""

import json

import pytest
from pydantic import ValidationError

from boxed import POINTS, a_box, a_card, a_tiny_detector
from mitosieve.calibration import Logistic
from mitosieve.errors import DetectorError
from mitosieve.models.box import names
from mitosieve.models.card import card_json, card_text, detector_facts, read_card, shipped_card, write_card

SCORE = a_card().scores[0].model_dump()


def test_what_is_written_is_read(tmp_path):
    """A card comes back from card.toml as it was, with every part filled."""
    card = a_card(
        left_out=[SCORE | {"source": "another"}],
        left_out_command="mitosieve crossval",
        points=[{"name": "balanced", "f1": 0.5, "precision": 0.5, "recall": 0.5}],
        points_where="somewhere",
        calibration={
            "where": "out of fold.",
            "error": 0.2,
            "error_calibrated": 0.1,
            "bins": [{"low": 0, "high": 0.1, "number": 3, "stated": 0.05, "true": 0.0}],
        },
        speed=[{"mm2_per_s": 2.5, "machine": "two cores", "command": "bench"}],
        failures=['pale "rings"\nand more'],
    )
    folder = a_tiny_detector().save(tmp_path / "tiny")
    write_card(folder, card)
    assert read_card(folder / "card.toml") == card


def test_the_words_hold_all_that_the_record_holds(tmp_path):
    """Every text and number of card and detector is in CARD.md, in digits that people read."""
    detector = a_tiny_detector().with_points(POINTS, Logistic(slope=1, offset=0))
    folder = a_box(tmp_path / "box", detector=detector) / "tiny"
    card, text = read_card(folder / "card.toml"), (folder / "CARD.md").read_text()
    said = ["phantom", "p1", "p2 and p3", "0.500 [0.250, 0.750]", "mitosieve evaluate nothing", "it knows nothing"]
    said += [
        "CC BY-NC 4.0",
        "Apache-2.0",
        "esearch use",
        "sensitive | 0.2000",
        "specific | 0.8000",
        "a test",
        "made / up",
    ]
    assert all(words in text for words in [*said, detector_facts(folder)["sha256"]])
    assert text.count("Not measured") == 4  # left out, calibration, speed, failures
    assert text == card_text(card, detector_facts(folder), "tiny")


def test_json_is_card_and_detector(tmp_path):
    """One object that JSON can hold: name, size, thresholds, hash, and all of the record."""
    folder = a_box(tmp_path / "box") / "tiny"
    told = json.loads(json.dumps(card_json(folder, read_card(folder / "card.toml"))))
    assert (told["name"], told["is_default"]) == ("tiny", False)
    assert told["detector"]["operating_points"] == {"balanced": 0.5}
    assert told["scores"][0]["f1_interval"] == [0.25, 0.75]
    assert told["size_bytes"] == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores_command": ""}, "no number without its command"),
        ({"scores": [SCORE | {"f1": 1.5}]}, "less than or equal to 1"),
        ({"scores": [SCORE | {"f1_interval": (0.8, 0.2)}]}, "the interval of phantom"),
        ({"limits": []}, "at least 1"),
        ({"held_out": ""}, "at least 1"),
        ({"f1": 0.9}, "Extra inputs"),
    ],
)
def test_a_card_that_says_too_little_or_too_much(change, said):
    """No score without its command, no share above 1, no card without limits, no unknown key."""
    with pytest.raises(ValidationError, match=said):
        a_card(**change)


def test_a_source_that_was_learned_from_is_left_out_only_by_other_networks():
    """Networks that have not seen it scored it: where the detector itself has learned from it, out of fold."""
    told = {"left_out_command": "mitosieve crossval"}
    learned = next(row.source for row in a_card().data if row.used == "training")
    with pytest.raises(ValidationError, match=f"{learned} is left out and learned from"):
        a_card(left_out=[SCORE | {"source": learned}], **told)
    a_card(left_out=[SCORE | {"source": learned, "note": "out of fold"}], **told)
    a_card(left_out=[SCORE | {"source": "another"}], **told)


def test_the_heading_of_scores_without_a_source_is_true_of_both_kinds(tmp_path):
    """By networks trained without it: the detector itself has learned from a source that is scored out of fold."""
    text = (a_box(tmp_path / "box") / "tiny" / "CARD.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("## Scores")]
    assert headings == ["## Scores", "## Scores on a source by networks trained without it"]


def test_a_broken_card_file_is_named(tmp_path):
    """Missing, not TOML, a key too few: file and key."""
    path = tmp_path / "card.toml"
    with pytest.raises(DetectorError, match="missing"):
        read_card(path)
    path.write_text("[")
    with pytest.raises(DetectorError, match="not TOML"):
        read_card(path)
    path.write_text('summary = "a"\n')
    with pytest.raises(DetectorError, match="commands"):
        read_card(path)


@pytest.mark.parametrize("name", names())
def test_the_cards_of_the_package_say_what_the_law_asks(name):
    """CARD.md is what card.toml and detector.toml give; weights have their licence, scores their patients."""
    folder, card = shipped_card(name)
    assert (folder / "CARD.md").read_text() == card_text(card, detector_facts(folder), name)
    assert card.weights_licence == "CC BY-NC 4.0"
    trained = {patient for row in card.data if row.used != "held out" for patient in row.patients}
    held_out = {patient for row in card.data if row.used == "held out" for patient in row.patients}
    assert trained
    assert not trained & held_out
