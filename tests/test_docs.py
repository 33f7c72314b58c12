"""Documents are true: links lead somewhere, commands exist as they are written, Python runs, the site builds."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from mitosieve.cli import app
from mitosieve.cli.usage import EXAMPLES
from mitosieve.recipe.text import recipe_names
from tiny import a_cohort, a_run, a_scan, a_split
from written import PAGES, REFUSED, ROOT, blocks, refusal, refuse_nothing

NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def anchors(text):
    """What GitHub and mkdocs call the headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(path):
    """Relative ones."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path):
    """A relative link names a file of the repository, and an anchor a heading of it."""
    for target in links(path):
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place.read_text(encoding="utf-8")), target


def commands(path):
    """Lines of plain blocks that call mitosieve, without their comments; continued lines are joined."""
    text = "\n".join(blocks(path.read_text(encoding="utf-8"), "(?:sh|bash)?"))
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("mitosieve ") and "..." not in line]


def test_the_pages_have_links_and_commands():
    """Else the laws of each would be of nothing."""
    assert sum(len(links(path)) for path in PAGES) > 50
    assert sum(len(commands(path)) for path in PAGES) > 50


@pytest.mark.parametrize(
    "line",
    ["detect --nonsense 3 a.svs", "detect a --threshold many", "detect a --engine onnx", "evaluate a b c d", "no"],
)
def test_what_is_no_command_is_refused(line):
    """Wherever the wrong word stands: an option, a number, a choice, one word too many, the command itself."""
    with pytest.raises((*REFUSED, AssertionError)):
        refuse_nothing(line.split())


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_commands_are_written_as_they_are(path):
    """Each command of a block exists, with these options and so many arguments; a recipe that it names exists."""
    for line in commands(path):
        words = shlex.split(re.split(r"\s[>|#&]\s|\s\d?>\s|\s#", line)[0])[1:]
        if words[0].startswith("-"):
            continue
        try:
            refuse_nothing(words)
        except REFUSED as error:
            pytest.fail(f"{line}: {refusal(error)}")
        if words[0] in ("train", "crossval") and not words[1].isupper() and not words[1].endswith(".toml"):
            assert words[1] in (*recipe_names(), "default"), line


def test_the_examples_of_help_are_commands():
    """What a refusal recommends is accepted."""
    for name, line in EXAMPLES.items():
        words = shlex.split(line.split(" > ")[0])
        assert words[:2] == ["mitosieve", name]
        refuse_nothing(words[1:])
    shown = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(EXAMPLES) <= shown


def test_tables_of_results_are_those_of_the_studies(tmp_path):
    """No table of a study is typed: docs/results.md is what docs/make_results.py makes of it; a lost mark is told."""
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert script.filled(text, ROOT / "docs" / "studies") == text
    emptied = re.sub(r"(-->\n)(?:\|.*\n)+(<!-- end)", r"\1\2", text)
    assert emptied != text
    assert script.filled(emptied, ROOT / "docs" / "studies") == text
    for broken in (text.replace("<!-- end -->", "", 1), "no mark"):
        with pytest.raises(ValueError, match="marks"):
            script.filled(broken, ROOT / "docs" / "studies")
    with pytest.raises(ValueError, match="no table below"):
        script.filled(text.replace(": All folds pooled", ": No such heading", 1), ROOT / "docs" / "studies")


def test_a_study_is_published_whole_or_not_at_all(tmp_path, monkeypatch):
    """What was published stays until all of the new is copied; records of seeds that it has not are left."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    publish = importlib.import_module("publish_study").publish
    out, to = tmp_path / "out", tmp_path / "studies" / "one"
    for name in ("swift-A-seed1-0a", "swift-A-seed3-0b"):
        (out / "trainings" / name).mkdir(parents=True)
        (out / "trainings" / name / "training.json").write_text("{}")
    (out / "study.toml").write_text('title = "t"\ncohort = "/data/c"\nsplit = "/data/s.json"\nseeds = [1, 2]\n')
    to.mkdir(parents=True)
    (to / "study.md").write_text("of before")
    with pytest.raises(FileNotFoundError):
        publish(out, to)
    assert (to / "study.md").read_text() == "of before"
    for name in ("study.csv", "study.md", "study.html"):
        (out / name).write_text("new")
    publish(out, to)
    assert sorted(path.name for path in to.iterdir()) == [
        "study.csv",
        "study.html",
        "study.md",
        "study.toml",
        "trainings",
    ]
    assert [path.name for path in (to / "trainings").iterdir()] == ["swift-A-seed1-0a"]
    assert "/data" not in (to / "study.toml").read_text()
    assert [path.name for path in to.parent.iterdir()] == ["one"]


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path.read_text(), "python")], ids=lambda p: p.name)
def test_python_runs(path, tmp_path, monkeypatch):
    """Blocks of a page run one after another, on a cohort, split, run and result of these names."""
    for name, target in (("cohort", a_cohort()), ("split.json", a_split()), ("run", a_run()), ("found", a_scan())):
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    shared = {}
    for code in blocks(path.read_text(encoding="utf-8"), "python"):
        exec(code, shared)


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path.read_text(), "toml")], ids=lambda p: p.name)
def test_toml_is_toml(path):
    """Every TOML block can be read."""
    for text in blocks(path.read_text(encoding="utf-8"), "toml"):
        tomllib.loads(text)


def test_the_readme_is_short_and_leads_to_the_rest():
    """Under a hundred lines, with a link to every tutorial and guide of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    for page in (ROOT / "docs" / "tutorials").glob("*.md"):
        assert f"docs/tutorials/{page.name}" in text
    for name in ("formats", "data-sets", "recipes", "limits", "results", "whole-slides", "architecture", "glossary"):
        assert f"docs/{name}.md" in text


def test_every_page_is_in_the_list_of_the_site():
    """Whoever reads the site finds all of it; a study's page is reached from the results that are copied from it."""
    listed = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    studies = {page for page in pages if page.startswith("studies/")}
    assert pages - studies == listed
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert all(f"({page})" in results for page in studies)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_without_a_warning(tmp_path):
    """mkdocs builds every page, the API from docstrings among them; nothing is asked of a network when it is read."""
    command = "from mkdocs.__main__ import cli; cli()"
    told = subprocess.run(
        [sys.executable, "-c", command, "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert told.returncode == 0, told.stderr
    page = (tmp_path / "site" / "api" / "detection.html").read_text(encoding="utf-8")
    assert "Read a detector that comes with the package" in page
    fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://[^\"]+)\"", page)
    assert not fetched
