"""Where the real data is, and what to say where it is not."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("laws", deadline=None, max_examples=60, print_blob=True)  # timing belongs in bench/
settings.load_profile("laws")

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(trylast=True)  # after the shuffle
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first: begun last, all processes but one would wait for them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real frames and annotation files; tests that ask for it carry the marker `data`."""
    folder = Path(os.environ.get("MITOSIEVE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set MITOSIEVE_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def cases_folder(data_folder) -> Path:
    """The folder of small inputs from the wild; beside the real data."""
    folder = data_folder.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no inputs from the wild at {folder}: put them beside MITOSIEVE_DATA to run this test")
    return folder
