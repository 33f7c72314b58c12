"""Copies tables of docs/studies/NAME/study.md into docs/results.md: `python docs/make_results.py`.

A table stands between `<!-- NAME: HEADING -->` and `<!-- end -->`; HEADING is how the heading of the study's table
begins. So that no table of a study is typed.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parent
TARGET = DOCS / "results.md"
BLOCK = re.compile(r"^(<!-- ([\w-]+): ([^\n]+?) -->\n)((?:\|[^\n]*\n)*)(<!-- end -->)$", re.MULTILINE)


def filled(text: str, studies: Path) -> str:
    """A text with every table between its marks as its study has it.

    Raises:
        ValueError: a study has no such table, or a mark stands alone, or something else than a table between two.
    """
    marks = len(re.findall(r"^<!-- [^\n]*-->", text, re.MULTILINE))
    if not marks or marks != 2 * len(BLOCK.findall(text)):
        raise ValueError(f"of {marks} marks some do not stand in pairs with a table or nothing between")
    return BLOCK.sub(lambda found: found[1] + table(studies / found[2] / "study.md", found[3]) + found[5], text)


def table(study: Path, heading: str) -> str:
    """The first table below a heading of a study's Markdown, its lines as they are.

    Raises:
        ValueError: there is no such heading, or no table below it.
    """
    for section in re.split(r"^## ", study.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        if section.startswith(heading) and lines:
            return "\n".join(lines) + "\n"
    raise ValueError(f"{study} has no table below a heading that begins with '{heading}'")


def main() -> None:
    """Write the file anew."""
    TARGET.write_text(filled(TARGET.read_text(encoding="utf-8"), DOCS / "studies"), encoding="utf-8")


if __name__ == "__main__":
    main()
