"""What documents write: their files, blocks, and whether a command in them is one."""

import re
from pathlib import Path

import typer.main
from typer import BadParameter

from mitosieve.cli import app
from mitosieve.errors import MitosieveError

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
CLICK = typer.main.get_command(app)
REFUSED = (BadParameter.__bases__[0], MitosieveError)


def blocks(text, language):
    """Contents of the fenced blocks of a language; "" are those of none."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def refuse_nothing(words):
    """Parse a command as click does, numbers and choices too, and do nothing; a word in capitals stands for any."""
    name, *rest = words
    command = CLICK.get_command(None, name)
    assert command is not None, f"there is no command {name}"
    context = command.make_context(name, [], resilient_parsing=True)
    context.resilient_parsing = False  # with it an option that does not exist is passed over
    given, left, _ = command.make_parser(context).parse_args(rest)
    assert not left, f"too many words: {left}"
    context.resilient_parsing = True  # no file is looked for
    for param in command.params:
        value = given.get(param.name)
        if isinstance(value, str) and param.param_type_name == "option" and not value.isupper():
            param.process_value(context, value)


def refusal(error):
    """In words: click keeps them to itself."""
    return str(error) or error.format_message()
