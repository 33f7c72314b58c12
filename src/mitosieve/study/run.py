"""A study from its file to its table: trainings that are not done yet, records of all, study.csv, .md and .html."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.network.compute import Compute
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, write_atomic
from mitosieve.run.progress import Progress
from mitosieve.study import page
from mitosieve.study.plan import Plan
from mitosieve.study.result import StudyResult, read_result
from mitosieve.study.study import Study, study_to_toml
from mitosieve.study.table import to_csv, to_markdown
from mitosieve.study.work import Done, Mapper, do_trainings


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """A study and where it goes.

    Attributes:
        study: what is compared; its folds and seeds may be fewer than its file's.
        cohort: the data.
        split: its folds.
        plan: its trainings.
        out: folder of the tables.
        command: that is printed beside the numbers, without paths of a machine.
    """

    study: Study
    cohort: Cohort
    split: Split
    plan: Plan
    out: Path
    command: str


def run_study(
    job: StudyJob,
    *,
    compute: Compute,
    resume: bool,
    train: bool = True,
    mapper: Mapper | None = None,
    progress: Progress | None = None,
) -> tuple[StudyResult, Sequence[Done]]:
    """Do the study and write its tables; trainings that fail are left out of them and told.

    Args:
        job: what.
        compute: machine.
        resume: whether `job.out` may hold an earlier try of the same cohort and folds; rows and seeds may differ.
        train: False writes the tables of what is done already.
        mapper: does trainings side by side or elsewhere.
        progress: told how far the work is.

    Raises:
        RunFolderError: `job.out` holds something else, or is in use.
        FormatError: a file of a run, or a record, is broken.
        StorageError: the tables cannot be written.
    """
    provenance = {"cohort_hash": job.cohort.hash(), "split": job.split.to_json()}
    parts = [job.plan.trainings[0].folder.parent.name, layout.TRAININGS] if job.plan.trainings else []
    folder = RunFolder.create(job.out, provenance, kind=layout.Kind.STUDY, resume=resume, parts=parts)
    with folder.lock():
        write_atomic(folder / layout.STUDY, study_to_toml(job.study))
        done: list[Done] = []
        if train:
            done = do_trainings(job.plan, job.cohort, job.split, compute=compute, mapper=mapper, progress=progress)
        for training in job.plan.trainings:
            training.keep()
        result = read_result(job.study, job.plan, job.cohort, job.split)
        write_atomic(folder / layout.STUDY_CSV, to_csv(result))
        write_atomic(folder / layout.STUDY_TABLE, to_markdown(result, job.command))
        write_atomic(folder / layout.STUDY_PAGE, page.render(result, job.command))
    return result, done
