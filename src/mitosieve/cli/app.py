"""The command line's app, the options that commands share, and the way from words to objects.

Heavy imports happen inside functions, so that --help answers at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mitosieve import __version__
from mitosieve.cli import arguments
from mitosieve.cli.terminal import be_quiet, be_verbose
from mitosieve.cli.usage import EXAMPLES, example_of
from mitosieve.errors import InputError, SplitError

if TYPE_CHECKING:
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import Split
    from mitosieve.network.compute import Compute

DEFAULT_PART = "test"
"""Of a fold, where none is named."""

SLIDES_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

UsageError: Any = typer.BadParameter.__bases__[0]
"""Click's, of whichever click typer brings."""


class Commands(TyperGroup):
    """The commands, each with its whole first sentence and an example of its use."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's, see UsageError
        """All commands; a sentence wraps where it is long, and is never cut."""
        rows = [(name, self.commands[name].get_short_help_str(limit=10_000)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - click's, see UsageError
        """A command, which knows its example."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[cmd_name]}"
        return command


def remedy_of(error: Any) -> str:  # noqa: ANN401 - a UsageError
    """What to write instead of words that click refused."""
    command = error.ctx.info_name if error.ctx is not None and error.ctx.parent is not None else None
    return f"for example: {example_of(command)}"


app = typer.Typer(
    cls=Commands,
    help="Find mitotic figures in H&E histology, and train the detectors that do. Research use, not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mitosieve {__version__}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


CohortArg = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort folder.", callback=arguments.a_cohort)]
NewCohortArg = Annotated[
    Path, typer.Argument(metavar="COHORT", help="Cohort folder.", callback=arguments.a_cohort_to_be)
]
SplitOpt = Annotated[Path | None, typer.Option("--split", help="Split file.", callback=arguments.a_split)]
FoldOpt = Annotated[str | None, typer.Option("--fold", help="Fold of the split.", callback=arguments.a_fold)]
TheSplitOpt = Annotated[Path, typer.Option("--split", help="Split file.", callback=arguments.a_split)]
TheFoldOpt = Annotated[str, typer.Option("--fold", help="Fold of the split.", callback=arguments.a_fold)]
PartOpt = Annotated[
    str | None, typer.Option("--part", help="Of the fold: train, validation or test.", show_default=DEFAULT_PART)
]
DeviceOpt = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.", callback=arguments.a_device)]
PrecisionOpt = Annotated[
    str, typer.Option("--precision", help="auto, 32-true or bf16-mixed.", callback=arguments.a_precision)
]
ThreadsOpt = Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0 is all.")]
ResumeOpt = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted job in the same folder.")]
RecipeArg = Annotated[
    str,
    typer.Argument(
        help="Recipe name or TOML file.", callback=arguments.a_recipe, autocompletion=arguments.recipes_like
    ),
]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a recipe value.", callback=arguments.settings_of_a_recipe
    ),
]
QuietOpt = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=be_quiet, help="Say nothing but the result's path, warnings and errors."),
]
VerboseOpt = Annotated[
    bool, typer.Option("--verbose", "-v", callback=be_verbose, help="Say each step, and where it is every 5 s.")
]
EngineOpt = Annotated[
    str,
    typer.Option(
        "--engine", help="What scores: auto, torch, onnxruntime, bfloat16, int8.", callback=arguments.an_engine
    ),
]
BatchOpt = Annotated[
    int, typer.Option("--batch-size", min=0, help="Images that a network scores at once; 0 is the best measured.")
]


def compute_of(
    device: str, precision: str = "auto", threads: int = 0, *, engine: str = "auto", batch_size: int = 0
) -> "Compute":
    """The machine that was asked for."""
    import cv2

    from mitosieve.network.compute import Compute
    from mitosieve.network.threads import use_threads

    if threads:
        use_threads(threads)
    cv2.setNumThreads(1)
    return Compute.choose(device, precision, engine, batch_size or None)


def cases_of(split: Path | None, fold: str | None, part: str | None, cohort: "Cohort") -> tuple[str, ...] | None:
    """Cases of a part of a fold, of test where none is named; None where no split is named."""
    if split is None:
        if fold is not None:
            raise InputError("--fold needs --split", remedy="name the split file the fold is in")
        if part is not None:
            raise InputError("--part needs --split", remedy="name the split file, and with --fold the fold of the part")
        return None
    if fold is None:
        raise InputError("--split needs --fold", remedy="name one of its folds")
    part = part or DEFAULT_PART
    cases = split_of(split, cohort).fold(fold).part(part)
    if not cases:
        raise SplitError(
            f"fold {fold} has no {part} case", where=split, remedy="name another part: this split was made without"
        )
    return cases


def split_of(path: Path, cohort: "Cohort") -> "Split":
    """A split file that fits the cohort."""
    from mitosieve.cohort.split import Split

    read = Split.load(path)
    read.check(cohort, where=path)
    return read
