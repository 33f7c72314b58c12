"""The house rules that a machine can check."""

import ast
import importlib.util
import itertools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "mitosieve").rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in SOURCES]


@pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="import-linter is not installed")
def test_imports_run_one_way():
    """The layers of pyproject.toml are kept."""
    command = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    ran = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_files_are_short(path):
    """A file has fewer than 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_modules_are_named_for_what_they_hold(path):
    """No module is a drawer for everything, and each says in its first line what it is about."""
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent.name != "cli"], ids=lambda path: path.stem)
def test_only_the_command_line_prints(path):
    """Library code returns and raises; it does not write to the terminal."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


@pytest.mark.parametrize("path", SOURCES, ids=IDS)
def test_bodies_are_short(path):
    """A function's body, without its docstring, has fewer than 50 lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length < 50, f"{path.name}: {node.name} has {length} lines"


def distribution(name):
    """A distribution's name as the index compares it, of a requirement too."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def test_what_is_imported_is_asked_for():
    """Each library that a module imports is a dependency of the wheel, not of a dependency; or of its extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"network/bfloat16.py": "fast", "parallel/connection.py": "cluster"}
    providers = packages_distributions()
    lacking = []
    for path in SOURCES:
        module = path.relative_to(ROOT / "src" / "mitosieve").as_posix()
        more = project["optional-dependencies"][extras[module]] if module in extras else []
        asked = {distribution(name) for name in [*project["dependencies"], *more]}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"mitosieve"}:
                if not asked & {distribution(one) for one in providers.get(name, [name])}:
                    lacking.append(f"{module}: {name}")
    assert not lacking


COUNTED = ("cohort", "audit", "models", "cli/importing.py", "cli/models.py", "cli/reviewing.py")
"""Rooms and files whose messages count things."""


@pytest.mark.parametrize("room", COUNTED)
def test_what_is_counted_has_its_noun_by_number(room):
    """`1 slide`, `2 slides`: no message sets a length or a sum before a noun in the plural; `errors.plural` does."""
    place = ROOT / "src" / "mitosieve" / room
    lone = []
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for number, after in itertools.pairwise(parts):
                call = number.value if isinstance(number, ast.FormattedValue) else None
                is_count = isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("len", "sum")
                if is_count and isinstance(after, ast.Constant) and re.match(r" (\w+ )?\w+[^s]s\b", str(after.value)):
                    lone.append(f"{path.name}, line {node.lineno}: {after.value}")
    assert not lone


def rows_of_the_table():
    """(pattern of modules, test files) of CONTRIBUTING's table "Where laws are tested"."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("## Where laws are tested", 1)[1].split("## ", 1)[0]
    rows = []
    for line in table.splitlines():
        cells = [re.findall("`([^`]+)`", cell) for cell in line.strip("|").split("|")] if line.startswith("| `") else []
        rows += [(pattern, cells[1]) for pattern in (cells[0] if cells else [])]
    return rows


def test_laws_stand_where_contributing_says():
    """Every module of more than 40 lines has a test file of its name, or a row of the table; rows name real files."""
    package, tests = ROOT / "src" / "mitosieve", ROOT / "tests"
    table = rows_of_the_table()
    assert table
    assert not [module for module, _ in table if not (package / module).is_file()]  # by name: none takes all comers
    assert not [test for _, files in table for test in files if not (ROOT / test).is_file()]
    homeless = []
    for path in SOURCES:
        place = path.relative_to(package)
        names = (f"test_{path.stem}.py", f"test_{place.parent.name}_{path.stem}.py")
        own = any((tests / place.parent / name).is_file() for name in names)
        short = path.name == "__init__.py" or len(path.read_text(encoding="utf-8").splitlines()) <= 40
        named = any(
            PurePosixPath(place).match(pattern) and place.parent == Path(pattern).parent for pattern, _ in table
        )
        if not (own or short or named):
            homeless.append(str(place))
    assert not homeless


@pytest.mark.skipif(importlib.util.find_spec("grimp") is None, reason="grimp is not installed")
def test_no_file_knows_too_many_others():
    """A file imports at most 14 modules of the package (the registry of methods aside), the mean file at most 4.5."""
    import grimp

    graph = grimp.build_graph("mitosieve", cache_dir=None)
    count = {name: len(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    assert sum(count.values()) / len(count) <= 4.5
    assert {name: n for name, n in count.items() if n > 14 and name != "mitosieve.method.registry"} == {}


def test_the_root_holds_what_belongs_there():
    """Pictures of a browser, graphs of a quantizer: what programs leave where they were started is not kept."""
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode != 0 or not told.stdout:
        pytest.skip("no git, or no repository")
    kept = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "Dockerfile", "pyproject.toml"}
    kept |= {"constraints.txt", "demo.sh", "mkdocs.yml"}
    found = {name for name in told.stdout.splitlines() if "/" not in name and not name.startswith(".")}
    assert found <= kept
