"""log.txt: who, where, every half minute, how it ended; and everything is told on."""

import pytest

from mitosieve.run import log as log_file
from mitosieve.run.log import EVERY_S, job_log


def lines(folder):
    return [line.split("  ", 1)[1] for line in (folder / "log.txt").read_text().splitlines()]


def test_begin_milestones_and_end_are_written_and_told_on(tmp_path):
    """A stage and a slide are lines; steps within half a minute are none; a second job's lines follow."""
    heard = []
    for _ in range(2):
        with job_log(tmp_path, lambda *told, **facts: heard.append((told, facts))) as log:
            log("stage", 1, 2, name="patches")
            for step in range(5):
                log("screening", step, 5, loss=0.5)
            log("slides", 1, 2, figures=3)
    assert len(heard) == 14
    assert heard[-1] == (("slides", 1, 2), {"figures": 3})
    found = lines(tmp_path)
    assert len(found) == 8
    assert found[0].startswith("begins: mitosieve")
    assert found[1] == "stage 1 of 2: patches"
    assert found[2].startswith("stage 1 of 2: patches, slide 2 of 2, 3 figures so far")
    assert found[3].startswith("done after")


def test_half_a_minute_without_a_milestone_is_a_line(tmp_path, monkeypatch):
    """Work that only counts says at least every EVERY_S where it is."""
    now = [0.0]
    monkeypatch.setattr(log_file.time, "monotonic", lambda: now[0])
    with job_log(tmp_path / "shards" / "1-of-2", None) as log:
        for step in range(10):
            now[0] += EVERY_S / 4
            log("frames", step, 10)
    assert len(lines(tmp_path / "shards" / "1-of-2")) == 2 + 10 // 4


def test_an_error_is_the_last_line(tmp_path):
    """What ended the job stands in its log, and is raised as it was."""
    with pytest.raises(ValueError, match="out of luck"), job_log(tmp_path, None):
        raise ValueError("out of luck")
    assert lines(tmp_path)[-1].endswith("ValueError out of luck")
