"""The command line's app, the options that commands share, and the way from words to objects.

Heavy imports happen inside functions, so that --help answers at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitosieve.errors import InputError, SplitError

if TYPE_CHECKING:
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import Split
    from mitosieve.network.compute import Compute

SLIDES_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Find mitotic figures in H&E histology, and train the detectors that do. Research use, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
CohortArg = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort folder.")]
SplitOpt = Annotated[Path | None, typer.Option("--split", help="Split file.")]
FoldOpt = Annotated[str | None, typer.Option("--fold", help="Fold of the split.")]
PartOpt = Annotated[str, typer.Option("--part", help="train, validation or test.")]
DeviceOpt = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
PrecisionOpt = Annotated[str, typer.Option("--precision", help="auto, 32-true or bf16-mixed.")]
ThreadsOpt = Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0 is all.")]
ResumeOpt = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted job in the same folder.")]
SetOpt = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value.")]
EngineOpt = Annotated[str, typer.Option("--engine", help="What scores: auto, torch or onnxruntime.")]
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


def cases_of(split: Path | None, fold: str | None, part: str, cohort: "Cohort") -> tuple[str, ...] | None:
    """Cases of a part of a fold; None where no split is named."""
    if split is None:
        if fold is not None:
            raise InputError("--fold needs --split", remedy="name the split file the fold is in")
        return None
    if fold is None:
        raise InputError("--split needs --fold", remedy="name one of its folds")
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
