"""A job in one line: where it is, how fast, how well, how long still; never a number that nobody can know yet."""

from mitosieve.run.words import Words, in_time


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def told(*steps):
    """The line after steps of (seconds that passed, what, done, total, facts)."""
    clock = Clock()
    words = Words(clock)
    for passed_s, what, done, total, facts in steps:
        clock.now_s += passed_s
        words.take(what, done, total, **facts)
    return str(words), words.share


def test_detection_tells_slide_rows_speed_figures_and_time():
    """Slide 3 of 40 with its rows of tiles, its own speed, all figures so far, and the time that all slides need."""
    line, share = told(
        (0, "slides", 0, 40, {}),
        (100, "slides", 2, 40, {"figures": 10, "mm2": 200.0}),
        (0, "bands of A", 0, 8, {"figures": 0, "mm2": 0.0}),
        (20, "bands of A", 4, 8, {"figures": 7, "mm2": 50.0}),
    )
    assert line == "slide 3 of 40, A: row of tiles 4 of 8, 2.50 mm2/s, 17 figures so far, about 38 min left"
    assert share == (2.5, 40)


def test_training_tells_stage_step_loss_precision_and_time():
    """Stage 2 of 5 by its name; of the network its step, loss, average precision and own time left."""
    line, share = told(
        (0, "stage", 2, 5, {"name": "screening network"}),
        (0, "screening", 0, 1000, {"loss": 1.0}),
        (60, "screening", 250, 1000, {"loss": 0.12345, "ap": 0.8764}),
    )
    assert line == (
        "stage 2 of 5: screening network, screening step 250 of 1000, loss 0.1235, AP 0.876, about 3 min left"
    )
    assert share == (250, 1000)


def test_a_new_stage_forgets_the_last_one():
    """Counts and losses of a stage are not told of the next; a stage without a number is told by its name."""
    line, _ = told(
        (0, "stage", 1, 2, {"name": "a"}),
        (0, "slides", 1, 2, {"figures": 3}),
        (0, "x", 5, 9, {"loss": 1.0}),
        (0, "stage", 0, 2, {"name": "b"}),
    )
    assert line == "stage: b"


def test_folds_stand_before_stages():
    """A cross-validation says its fold, then what goes on in it."""
    line, _ = told((0, "folds", 1, 5, {}), (0, "stage", 2, 3, {"name": "x"}), (0, "frames", 4, 9, {}))
    assert line == "fold 2 of 5, stage 2 of 3: x, frames 4 of 9"


def test_what_is_not_known_yet_is_not_told():
    """No rate and no time before two seconds, and none for a resumed slide's part that was done before."""
    assert told()[0] == "starting"
    line, _ = told((0, "bands of A", 3, 8, {"mm2": 30.0}), (1, "bands of A", 4, 8, {"mm2": 40.0}))
    assert line == "A: row of tiles 4 of 8"
    line, _ = told((0, "bands of A", 3, 8, {"mm2": 30.0}), (10, "bands of A", 4, 8, {"mm2": 40.0}))
    assert line == "A: row of tiles 4 of 8, 1.00 mm2/s, about 40 s left"
    line, _ = told((0, "slides", 0, 3, {}), (9, "slides", 3, 3, {"figures": 1}))
    assert line == "3 of 3 slides, 1 figure so far"


def test_lengths_of_time_as_people_say_them():
    """Seconds below a minute and a half, minutes below an hour and a half, then hours."""
    assert [in_time(s) for s in (0.2, 89, 90, 5399, 5400)] == ["1 s", "89 s", "2 min", "90 min", "1.5 h"]
