"""Commands that a document writes inside a sentence, and calls of `bench/`, can be given as they are written."""

import argparse
import ast
import re
import runpy
import shlex
import sys

import pytest

from written import PAGES, REFUSED, ROOT, blocks, refusal, refuse_nothing

WRITTEN = [*PAGES, ROOT / "CHANGELOG.md"]
SCRIPTS = sorted((ROOT / "bench").glob("*.py"))
PAGE = re.compile(r"```.*?```", re.DOTALL)


def spans(text):
    """Inline code, each in one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", PAGE.sub("", text))]


def words_of(line):
    """Of a command, without brackets round what may be left out, dots for what is, and what comes behind a pipe."""
    cut = re.split(r"\s[>|#&]\s|\s\d?>\s|\s#|;", line)[0]
    return [word for word in shlex.split(re.sub(r"[\[\]]|\.\.\.|…", "", cut)) if word]


def commands(path):
    """(line, words) of each command that inline code begins with."""
    lines = [line.strip() for span in spans(path.read_text(encoding="utf-8")) for line in span.split(";")]
    for line in lines:
        words = words_of(line) if line.startswith("mitosieve ") else []
        if len(words) > 1 and not words[1].startswith("-") and not words[1].isupper():
            yield line, words[1:]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_within_a_sentence_is_one(path):
    """Inline code that begins with mitosieve names a command that takes these options."""
    for line, words in commands(path):
        try:
            refuse_nothing(words)
        except REFUSED as error:
            pytest.fail(f"{line}: {refusal(error)}")


class _Parsed(Exception):
    """The script read its arguments."""


def read_arguments(script, words, monkeypatch):
    """Run a script until it has read its arguments; whoever reads none takes none."""
    given = argparse.ArgumentParser.parse_args

    def stop(self, *rest):
        given(self, *rest)
        raise _Parsed

    if "argparse" not in script.read_text(encoding="utf-8"):
        assert not [word for word in words if word.startswith("-")]
        return
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [str(script), *words])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        with pytest.raises(_Parsed):
            runpy.run_path(str(script), run_name="__main__")


def calls():
    """(script, words, where) of each `python bench/...` of documents, in blocks, sentences and the scripts' own."""
    for path in [*WRITTEN, *SCRIPTS]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            text = ast.get_docstring(ast.parse(text)) or ""
        lines = [line for block in blocks(text, "(?:sh|bash)?") for line in block.replace("\\\n", " ").splitlines()]
        lines += [
            *spans(text),
            *(re.split(r" {3,}", line.strip())[0] for line in text.splitlines() if line.startswith("    python ")),
        ]
        for line in lines:
            for one in line.split(";"):
                found = re.search(r"(?:^|\s)python (bench/\w+\.py)(.*)", one)
                if found:
                    yield found[1], tuple(words_of(found[2])), path.relative_to(ROOT)


def test_documents_have_commands_and_calls():
    """Else the laws of each would be of nothing."""
    assert sum(len(list(commands(path))) for path in WRITTEN) > 50
    assert len(list(calls())) > 50


@pytest.mark.parametrize("script", sorted({script for script, _, _ in calls()}))
def test_a_bench_takes_what_documents_give_it(script, monkeypatch, capsys):
    """Its own parser reads each call of it that is written anywhere; what stands behind `--` are options of detect."""
    for words in sorted({words for name, words, _ in calls() if name == script}):
        before, _, behind = (" ".join(words)).partition(" -- ")
        wrong = ""
        try:
            read_arguments(ROOT / script, before.split(), monkeypatch)
            if behind:
                refuse_nothing(["detect", "slide", *behind.split()])
        except SystemExit:
            wrong = capsys.readouterr().err.splitlines()[-1]
        except REFUSED as error:
            wrong = refusal(error)
        assert not wrong, f"python {script} {' '.join(words)}: {wrong}"
