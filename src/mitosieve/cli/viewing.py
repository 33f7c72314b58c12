"""The command that shows slides in a browser."""

import contextlib
import getpass
from pathlib import Path
from typing import Annotated

import typer

from mitosieve.cli.app import app
from mitosieve.cli.terminal import out_console, warn
from mitosieve.errors import InputError


@app.command()
def view(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="RESULT|AUDIT|COHORT|SLIDE", help="What to look at.")],
    slides: Annotated[
        Path | None, typer.Option("--slides", metavar="DIR", help="Where the slides are, if they moved.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option("--reader", metavar="NAME", help="Who decides; another name is a blind second reader.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Take no decisions.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 is any free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    detector: Annotated[
        str, typer.Option("--detector", metavar="NAME|FOLDER", help="For a detection started from the page.")
    ] = "default",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Its result; SLIDE-found here where none is named.")
    ] = None,
    mpp: Annotated[float | None, typer.Option("--mpp", help="um per px of a slide that does not state it.")] = None,
    host: Annotated[
        str, typer.Option("--host", help="Another than this machine itself needs --token-file.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="A secret instead of one made now.")
    ] = None,
) -> None:
    """Look at slides, detections and marks in a browser, and decide; ends with Ctrl-C. Nothing leaves this machine."""
    from mitosieve.review.decision import new_reader
    from mitosieve.view.browser import in_browser
    from mitosieve.view.desk import Desk
    from mitosieve.view.detecting import Detection
    from mitosieve.view.opening import open_viewed
    from mitosieve.view.secret import check_host, read_token
    from mitosieve.view.server import Server

    check_host(host, token_file)
    token = None if token_file is None else read_token(token_file)
    viewed, read_cells = open_viewed(path, slides=slides, mpp=mpp)
    is_bare = viewed.folder is None
    detects = is_bare and not read_only
    others = ("slides",) if is_bare else ("mpp",)
    _refuse_others(ctx, path, others if detects else (*others, "detector", "out"))
    desk = Desk(viewed, read_cells, reader=new_reader(reader or _login()), read_only=read_only)
    detection = None
    if detects:
        result = out or Path(f"{viewed.slides[0].slide_id if len(viewed.slides) == 1 else viewed.name}-found")
        detection = Detection(
            viewed.slides,
            detector=detector,
            out=result.resolve(),
            when_done=lambda: desk.show(*open_viewed(result)),
        )
    server = Server(desk, detection, host=host, port=port, token=token)
    out_console.print(server.address, markup=False)
    warn("open this address in a browser on this machine; Ctrl-C ends. Research use, not for diagnosis.")
    with contextlib.nullcontext() if no_browser else in_browser(server.address):
        try:
            server.run()
        finally:
            if detection is not None:
                detection.stop()


def _refuse_others(ctx: typer.Context, path: Path, names: tuple[str, ...]) -> None:
    """Refuse options that would be passed over without a word; mitosieve.toml has its detector for other commands."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    said = ", ".join(f"--{name}" for name, one in sources.items() if one is not None and one.name == "COMMANDLINE")
    if said:
        raise InputError(
            f"nothing that is shown of it hangs on {said}: --slides is for a result, an audit or a cohort, --mpp for "
            "bare slides, --detector and --out for a detection on them",
            where=path,
            remedy=f"leave out {said}",
        )


def _login() -> str:
    """The name this user has on the machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "reader"
