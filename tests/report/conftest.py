from typing import NamedTuple

import pytest
from made import Page, a_scored_run

from mitosieve.report import write_report


class Shared(NamedTuple):
    run: object
    cohort: object
    path: object
    page: Page


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One run of three cases with its page, for tests that only look."""
    run, cohort = a_scored_run(tmp_path_factory.mktemp("shared"))
    path = write_report(run)
    return Shared(run, cohort, path, Page(path))
