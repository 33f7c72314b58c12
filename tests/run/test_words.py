"""A job in one line: where it is, how fast, how well, how long still; never a number that nobody can know yet."""

import pytest

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
    assert line == "slide 3 of 40, A: row of tiles 4 of 8, 2.50 mm2/s, 17 figures so far, about 31 min left"
    assert share == (2.5, 40)


def after_slides(*slides, total):
    """The line after slides of (seconds that it took, whether an earlier try did it), each of 1 mm2."""
    steps = [(0, "slides", 0, total, {})]
    for number, (took_s, is_kept) in enumerate(slides, start=1):
        kept = {"kept": 1.0} if is_kept else {}
        steps.append((took_s, "slides", number, total, {"mm2": float(number), **kept}))
    return told(*steps)[0]


@pytest.mark.parametrize("done", range(1, 10))
def test_every_slide_s_time_counts_from_the_first_on(done):
    """After n of ten slides of 100 s each, as many times 100 s are left as there are slides."""
    line = after_slides(*[(100, False)] * done, total=10)
    assert line == f"slide {done + 1} of 10, 0.01 mm2/s, about {in_time(100 * (10 - done))} left"


@pytest.mark.parametrize("passed", [0, 600, 1800, 3000, 3590])
def test_time_left_falls_while_a_slide_is_read(passed):
    """Two slides of an hour: in the second, what is left of its hour, by its rows of tiles or without them."""
    first = [(0, "slides", 0, 2, {}), (3600, "slides", 1, 2, {})]
    rows = [(0, "bands of B", 0, 360, {}), (passed, "bands of B", passed // 10, 360, {})]
    without = [(passed, "frames", 0, 1, {})]
    for rest in (rows, without):
        assert told(*first, *rest)[0].endswith(f"about {in_time(3600 - passed)} left")


def test_a_slide_that_takes_longer_than_those_before_leaves_theirs():
    """In overtime only those to come are told; its own rows of tiles say how long it takes still."""
    first = [(0, "slides", 0, 4, {}), (100, "slides", 1, 4, {})]
    assert told(*first, (500, "frames", 0, 1, {}))[0].endswith("about 3 min left")
    rows = [(0, "bands of B", 0, 10, {}), (500, "bands of B", 5, 10, {})]
    assert told(*first, *rows)[0].endswith(f"about {in_time(500 + 200)} left")


def test_folds_to_come_stand_above_the_slides_of_one():
    """Of five folds of 10 h: within the second, whatever goes on, what it lacks to 10 h and 30 h more; within the first
    nobody knows.
    """
    for begin, hours in (([(36000, "folds", 1, 5, {})], 39), ([], None)):
        inner = [(0, "slides", 0, 9, {}), (3600, "slides", 3, 9, {})]
        line, _ = told((0, "folds", 0, 5, {}), *begin, *inner)
        assert line.endswith(f"about {hours}.0 h left" if hours else "slide 4 of 9")


def test_what_an_earlier_try_did_is_no_work_of_this_one():
    """Neither slides that were kept, wherever they stand, nor their tissue, nor the moment that each took, are told as
    the speed of this try; where all were kept nobody knows any.
    """
    for kept_first in (True, False):
        slides = [(0.02, True)] * 90, [(100, False)]
        line = after_slides(*(slides[0] + slides[1] if kept_first else slides[1] + slides[0]), total=100)
        assert line == "slide 92 of 100, 0.01 mm2/s, about 15 min left"
    assert after_slides(*[(1, True)] * 90, total=100) == "slide 91 of 100"
    line, _ = told((0, "folds", 0, 5, {}), (3, "folds", 3, 5, {"kept": 1.0}), (600, "folds", 4, 5, {}))
    assert line == "fold 5 of 5, about 10 min left"


def test_a_count_that_begins_in_the_middle_knows_nothing_of_what_was_before():
    """Whoever tells of slides only when one is done gives no rate with the first."""
    line, _ = told((0, "slides", 1, 10, {"mm2": 1.0}), (100, "slides", 2, 10, {"mm2": 2.0}))
    assert line == "slide 3 of 10, 0.01 mm2/s, about 13 min left"


def test_the_first_slide_s_own_time_is_not_the_job_s():
    """Before a slide is done nothing is said of the others'; the last, or only, one's is the job's."""
    bands = [(0, "bands of A", 0, 8, {}), (20, "bands of A", 4, 8, {})]
    assert told((0, "slides", 0, 3, {}), *bands)[0] == "slide 1 of 3, A: row of tiles 4 of 8"
    assert told((0, "slides", 0, 1, {}), *bands)[0] == "slide 1 of 1, A: row of tiles 4 of 8, about 20 s left"


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
