"""Laws of the names of files: each is written once, in `mitosieve.run.layout`."""

import ast
from pathlib import Path, PurePosixPath

import pytest

import mitosieve
from mitosieve.run import layout

PACKAGE = Path(mitosieve.__file__).parent
NAMES = {value for value in vars(layout).values() if isinstance(value, str) and PurePosixPath(value).suffix}
FOLDERS = {value for value in vars(layout).values() if isinstance(value, str) and not PurePosixPath(value).suffix}
MADE = (
    layout.places_of("X"),
    layout.weights_of("X"),
    layout.history_of("X"),
    layout.checkpoint_of("X"),
    layout.scores_of_round(0),
    layout.hits_of("X"),
)
STEMS = {PurePosixPath(path).name.split("X")[0].split("0")[0] for path in MADE} - {""}
"""How names that the layout's functions make begin, where it is not with what they are given."""
EXEMPT = {
    "run/layout.py": NAMES,
    "cohort/saving.py": {"slides.csv"},  # a cohort's own table of slides, which no job writes
    "cli/arguments.py": {"slides.csv"},  # the same, known before anything heavy is imported
    "cli/recognize.py": {"slides.csv"},
    "view/results.py": {"slides.csv"},
    "view/review_routes.py": {"summary.csv", "report.html"},  # names of downloads
    "view/routes.py": {"index.html"},  # the viewer's own page
}
SOURCES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def literals(source):
    """(line, text) of every string in a source, parts of f-strings among them."""
    nodes = ast.walk(ast.parse(source))
    return [
        (node.lineno, node.value) for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("name", SOURCES)
def test_no_other_module_spells_a_file_of_a_run(name):
    """A string that is one of the layout's file names, or a path that ends in one, stands in the layout alone."""
    found = [
        (line, text)
        for line, text in literals((PACKAGE / name).read_text(encoding="utf-8"))
        if text.rsplit("/", 1)[-1] in NAMES - EXEMPT.get(name, set())
    ]
    assert not found


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "run/layout.py"])
def test_no_other_module_spells_a_folder_or_a_made_name(name):
    """Neither a path that begins with one of the layout's folders, nor the beginning of a name that it makes."""
    found = [
        (line, text)
        for line, text in literals((PACKAGE / name).read_text(encoding="utf-8"))
        if ("/" in text and " " not in text and text.split("/", 1)[0] in FOLDERS) or text in STEMS
    ]
    assert not found


def test_the_law_sees_what_it_should():
    """Plain, as the end of a path, and inside an f-string."""
    source = 'a = "metrics.json"; b = f"{x}/metrics.json"; c = "test/metrics.json"; d = "the metrics.json"'
    seen = [text for _, text in literals(source) if text.rsplit("/", 1)[-1] in NAMES]
    assert sorted(seen) == ["/metrics.json", "metrics.json", "test/metrics.json"]
    assert {"scores-round-", "hits "} <= STEMS
    assert {"controls", "trials", "networks", "history", "checkpoint", "frames"} <= FOLDERS


def test_no_two_files_of_a_folder_share_a_name():
    """A constant for each name, and a name for each constant."""
    spelled = [value for value in vars(layout).values() if isinstance(value, str) and value in NAMES]
    assert len(spelled) == len(set(spelled))
