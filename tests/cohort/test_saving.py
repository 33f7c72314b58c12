"""Laws of writing a cohort while others do: nobody's slides vanish, and nothing is left behind."""

import subprocess
import sys
import threading

import pytest

from layouts import files_below, text
from mitosieve.cohort import importing, saving
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.importing import import_cohort
from mitosieve.errors import CohortError

HEADER = "image,case,x,y,label\n"


def table(tmp_path, name):
    return text(tmp_path / f"{name}.csv", f"{HEADER}{name}.png,{name},10,20,mitosis\n")


@pytest.mark.parametrize("number", saving.NO_LOCKS)
def test_a_disk_without_locks_is_written_to(tmp_path, monkeypatch, number):
    """What was read is compared all the same."""

    def refuses(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(saving.fcntl, "flock", refuses)
    import_cohort("points", table(tmp_path, "a"), tmp_path / "c", mpp=0.25)
    assert len(Cohort.load(tmp_path / "c").slides) == 1
    assert set(files_below(tmp_path / "c")) == {"slides.csv", "annotations.csv"}


@pytest.mark.parametrize("there", [False, True])
def test_of_two_interleaved_imports_the_second_to_save_is_refused(tmp_path, monkeypatch, there):
    """Both have read the same cohort, or none: the first stays whole, the second says so, and enters later."""
    cohort = tmp_path / "c"
    names = ["a", "b"]
    if there:
        import_cohort("points", table(tmp_path, "old"), cohort, mpp=0.25)
        names.insert(0, "old")
    settle = importing.settle

    def meanwhile(*args):
        monkeypatch.setattr(importing, "settle", settle)
        import_cohort("points", table(tmp_path, "a"), cohort, mpp=0.25)
        return settle(*args)

    monkeypatch.setattr(importing, "settle", meanwhile)
    with pytest.raises(CohortError, match="has changed this cohort meanwhile") as caught:
        import_cohort("points", table(tmp_path, "b"), cohort, mpp=0.25)
    assert "again" in caught.value.remedy
    assert [entry.slide_id for entry in Cohort.load(cohort).slides] == names[:-1]
    import_cohort("points", table(tmp_path, "b"), cohort, mpp=0.25)
    assert [entry.slide_id for entry in Cohort.load(cohort).slides] == names
    assert set(files_below(cohort)) == {"slides.csv", "annotations.csv"}


def test_of_many_imports_at_once_each_is_in_or_refused(tmp_path):
    """Whatever they meet: what was reported as done is there, and what was refused is not."""
    done, refused = [], []

    def one(name):
        try:
            import_cohort("points", table(tmp_path, name), tmp_path / "c", mpp=0.25)
            done.append(name)
        except CohortError:
            refused.append(name)

    threads = [threading.Thread(target=one, args=(f"p{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.slide_id for entry in Cohort.load(tmp_path / "c").slides) == sorted(done)
    assert len(done) + len(refused) == 8
    assert done
    assert set(files_below(tmp_path / "c")) == {"slides.csv", "annotations.csv"}


HOLDING = """
import sys
from pathlib import Path
from mitosieve.cohort import saving
with saving._alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_who_meets_another_that_is_writing_waits_and_then_says_so(tmp_path, monkeypatch):
    """Nothing is written meanwhile; a holder that is killed holds nothing."""
    import_cohort("points", table(tmp_path, "a"), tmp_path / "c", mpp=0.25)
    monkeypatch.setattr(saving, "WAIT_S", 0.0)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "c")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    before = files_below(tmp_path / "c")
    with pytest.raises(CohortError, match="is being written by another process"):
        import_cohort("points", table(tmp_path, "b"), tmp_path / "c", mpp=0.25)
    assert files_below(tmp_path / "c") == before
    holder.kill()
    holder.communicate()
    import_cohort("points", table(tmp_path, "b"), tmp_path / "c", mpp=0.25)
    assert [entry.slide_id for entry in Cohort.load(tmp_path / "c").slides] == ["a", "b"]
    assert set(files_below(tmp_path / "c")) == {"slides.csv", "annotations.csv"}
