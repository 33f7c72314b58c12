"""Commands about the detectors that come with the package."""

import json
from typing import Annotated

import typer

from mitosieve.cli.app import app
from mitosieve.cli.terminal import print_table


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them: print its card.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the detectors of the package: data, scores with intervals, size, speed, licence of the weights."""
    from mitosieve.models.box import DEFAULT, folder_of, names, size_bytes
    from mitosieve.models.card import card_json, card_text, detector_facts, in_words, shipped_card

    if name is not None:
        folder, card = shipped_card(name)
        if as_json:
            typer.echo(json.dumps(card_json(folder, card), indent=1))
        else:
            typer.echo(card_text(card, detector_facts(folder), folder.name), nl=False)
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
