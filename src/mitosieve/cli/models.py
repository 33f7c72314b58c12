"""Commands about what comes with the package: detectors and recipes."""

import json
from typing import Annotated

import typer

from mitosieve.cli.app import app
from mitosieve.cli.arguments import detectors_like, recipes_like
from mitosieve.cli.terminal import out_console, print_lines, print_table, warn


@app.command()
def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="One of them, or a detector's folder: print its card.", autocompletion=detectors_like
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the detectors of the package: data, scores with intervals, size, speed, licence of the weights."""
    from mitosieve.models.box import DEFAULT, folder_of, names, size_bytes
    from mitosieve.models.card import card_json, in_words, shipped_card

    if name is not None:
        _show(name, as_json)
        return
    if not names():
        folder_of(DEFAULT)  # says what is missing
    every = [shipped_card(one) for one in names()]
    if as_json:
        typer.echo(json.dumps([card_json(folder, card) for folder, card in every], indent=1))
        return
    rows = [
        [
            f"{folder.name} (default)" if folder.name == DEFAULT else folder.name,
            card.summary,
            "; ".join(f"{row.source} ({row.used})" for row in card.data if row.used != "held out"),
            "; ".join(f"{row.source} {in_words(row)}" for row in card.scores) or "not measured",
            f"{size_bytes(folder) / 1e6:.1f} MB",
            "; ".join(f"{row.mm2_per_s:g} mm2/s" for row in card.speed) or "not measured",
            card.weights_licence,
        ]
        for folder, card in every
    ]
    print_table(rows, ("detector", "what it is", "trained on", "F1 [95 %]", "size", "speed", "weights"))


def _show(name: str, as_json: bool) -> None:
    """The card of a detector; of one without a card, such as a training's or an adapted one, what is known of it."""
    from mitosieve.models.box import detector_folder, size_bytes
    from mitosieve.models.card import card_json, card_text, folder_card, folder_text, whole_facts
    from mitosieve.models.learned_cases import learned_cases

    folder = detector_folder(name)
    facts, card = whole_facts(folder), folder_card(folder)
    if card is not None:
        told, text = card_json(folder, card), card_text(card, facts, folder.name)
    else:
        learned = learned_cases(name)
        known = {"cases": sorted(learned.cases), "all_known": learned.all_known}
        size = size_bytes(folder)
        told = {"name": folder.name, "is_default": False, "size_bytes": size, "detector": facts, "learned": known}
        text = folder_text(folder, facts, learned.describe())
    typer.echo(json.dumps(told, indent=1) if as_json else text, nl=as_json)


@app.command()
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of them: print it with its comments.", autocompletion=recipes_like),
    ] = None,
) -> None:
    """List the recipes of the package, a line each; with a name: print that recipe."""
    from mitosieve.recipe.header import recipe_headers

    if name is not None:
        recipe_command(name)
        return
    if out_console.is_terminal:
        told = recipe_headers().items()
        print_lines([(key, f"{one.summary} ({one.machine}; minutes: {one.minutes})") for key, one in told])
        warn(
            "next: mitosieve recipes NAME prints one; in a pipe a row also tells what it makes use of and was tuned on"
        )
        return
    columns = ("summary", "machine", "data", "minutes", "tuned")
    print_table(
        [[name, *(getattr(header, column) for column in columns)] for name, header in recipe_headers().items()],
        ("recipe", "what it is", "machine", "data", "minutes", "tuned on"),
    )


@app.command("recipe")
def recipe_command(name: Annotated[str, typer.Argument(help="Recipe name.", autocompletion=recipes_like)]) -> None:
    """Print a recipe with its comments: `mitosieve recipe swift > mine.toml`, then `mitosieve train mine.toml ...`."""
    from mitosieve.recipe.text import recipe_text

    typer.echo(recipe_text(name), nl=False)
