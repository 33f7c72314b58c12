"""What a recipe says of itself in its first comment lines: what it is, and what it asks for. Knows no science.

    # summary: one line
    # machine: what trains it in the stated time
    # data: which cases and marks it makes use of
    # minutes: of one training of a fold, with what it was measured on, or "not measured"
    # tuned: which of its values were set on which cases, and of which folds those are test cases

They are comments, so that nothing that a run keeps or compares depends on them.
"""

from dataclasses import dataclass, fields

from mitosieve.errors import RecipeError
from mitosieve.recipe.text import recipe_names, recipe_text


@dataclass(frozen=True, kw_only=True)
class RecipeHeader:
    """The header of one recipe, each a line as `mitosieve recipes` shows it.

    Attributes:
        summary: what it is.
        machine: what it needs to be trained in `minutes`, or at all.
        data: use of validation cases, imposters and unlabelled slides.
        minutes: wall time of one training of a fold, and where that was measured; else "not measured".
        tuned: which of its values were set on which cases: a score on these is not untouched by them.
    """

    summary: str
    machine: str
    data: str
    minutes: str
    tuned: str


def read_header(text: str, *, where: str) -> RecipeHeader:
    """The header of a recipe's text: its first lines, in any order, up to the first that is none of them.

    Raises:
        RecipeError: a line is missing, empty or given twice.
    """
    names = [field.name for field in fields(RecipeHeader)]
    said: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.removeprefix("#").partition(":")
        key, value = key.strip(), value.strip()
        if not line.startswith("#") or not colon or key not in names:
            break
        if key in said or not value:
            fault = f"says '{key}' twice" if key in said else f"says nothing after '{key}:'"
            raise RecipeError(fault, where=where, remedy=f"give it one line: # {key}: ...")
        said[key] = value
    missing = [name for name in names if name not in said]
    if missing:
        raise RecipeError(
            f"lacks the first line '# {missing[0]}: ...'",
            where=where,
            remedy=f"begin it with lines for {', '.join(names)}",
        )
    return RecipeHeader(**said)


def recipe_headers() -> dict[str, RecipeHeader]:
    """The headers of all recipes of the package, by name, sorted."""
    return {name: read_header(recipe_text(name), where=f"recipe {name}") for name in recipe_names()}
