"""Writes src/mitosieve/recipe/keys.json: the keys of every method's recipe, made of their classes."""

import json
from pathlib import Path

from mitosieve.recipe.schema import keys_of_methods

TARGET = Path(__file__).parents[1] / "src" / "mitosieve" / "recipe" / "keys.json"


def main() -> None:
    """Write the file."""
    TARGET.write_text(json.dumps(keys_of_methods(), indent=1) + "\n")


if __name__ == "__main__":
    main()
