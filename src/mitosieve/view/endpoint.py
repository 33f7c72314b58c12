"""How a request becomes work in a thread, and an error words; and how numbers of an address are read."""

from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mitosieve.errors import InputError, MitosieveError
from mitosieve.view.desk import Desk
from mitosieve.view.overview import NotReadyError
from mitosieve.view.wire import message

Endpoint = Callable[[Request], Awaitable[Response]]


def answered(desk: Desk, work: Callable[[Request], Response]) -> Endpoint:
    """An endpoint that works in a thread, and turns errors into words.

    A page that says for whom it was opened (`identity`) is refused where that is another one: left open, it shows
    nothing that the next reader decided.
    """

    async def endpoint(request: Request) -> Response:
        asked_as = request.query_params.get("identity")
        refused = "" if asked_as is None else desk.differs(asked_as)
        if refused:
            return JSONResponse({"error": refused}, 409)
        try:
            return await run_in_threadpool(work, request)
        except NotReadyError as waiting:
            again = {"retry-after": "1"}
            return JSONResponse({"error": "an overview is being made", "share": waiting.share}, 503, headers=again)
        except MitosieveError as error:
            # what was asked will not be taken another time either; a full disk may be emptied, a broken file mended
            refused = type(error) is InputError
            return JSONResponse({"error": message(error, desk.viewed), "refused": refused}, 400)

    return endpoint


def number_of(desk: Desk, request: Request) -> int:
    """The number of the slide that an address names.

    Raises:
        InputError: there is none.
    """
    return desk.slide_number(request.path_params["slide"])


def whole(request: Request, name: str) -> int:
    """A whole number of an address.

    Raises:
        InputError: it is none.
    """
    text = request.path_params[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"{name} is no number")
    return int(text)


def share(text: str) -> float:
    """A threshold as a page sends it.

    Raises:
        InputError: it does not lie between 0 and 1.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError("a threshold lies between 0 and 1")
    return value
