"""The command line: loads, calls one job, prints where the result is.

Exit code 0: all done; 1: some slides failed, named, and the others are done; 2: bad input; 130: interrupted.
"""

import io
import sys
import warnings

from mitosieve.cli import data, detecting, importing, models, reviewing, scoring, studying, training, viewing
from mitosieve.cli.app import BAD_INPUT, INTERRUPTED, UsageError, app, remedy_of
from mitosieve.cli.configuration import configuration
from mitosieve.cli.terminal import voice, warn
from mitosieve.errors import MitosieveError
from mitosieve.run.storage import system_error

__all__ = [
    "app",
    "data",
    "detecting",
    "importing",
    "main",
    "models",
    "reviewing",
    "scoring",
    "studying",
    "training",
    "viewing",
]


def main() -> None:
    """Entry point: an error of the package that ends the command becomes one message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # a path is printed as the bytes that it is
    voice.quiet = voice.verbose = False
    # of a corner that lies farther out than numbers reach: a message names the mark or the area, or it is well
    warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning, r"shapely\.")
    try:
        names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
        code = app(prog_name="mitosieve", standalone_mode=False, default_map=configuration().for_commands(names))
    except MitosieveError as error:
        warn(f"mitosieve: {error}")
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:  # of a path that nobody could look at, as one with too long a name
        warn(f"mitosieve: {system_error(error)}")
        sys.exit(BAD_INPUT)
    except UsageError as error:
        error.show()
        warn(f"remedy: {remedy_of(error)}")
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        warn("mitosieve: interrupted; train, detect, crossval and study go on when repeated with --resume")
    sys.exit(code or 0)
