"""Which address answers what. Everything is asked for by numbers of slides and rows, nothing by a path."""

import json

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mitosieve.errors import InputError
from mitosieve.view import wire
from mitosieve.view.desk import Desk
from mitosieve.view.detecting import Detection
from mitosieve.view.endpoint import answered, number_of, share, whole
from mitosieve.view.gallery import chosen, wanted_of
from mitosieve.view.review_routes import review_routes
from mitosieve.view.static_files import static_files

MOST_DETAILS = 200
"""Cells that a page may ask about at once."""


def application(desk: Desk, detection: Detection | None = None) -> Starlette:
    """The app that answers for a desk; it trusts whoever asks, which a `Guard` decides.

    Args:
        desk: to answer from.
        detection: that a page may start; None where there is nothing to detect on.
    """
    known = [*_pages(), *_slides(desk), *_cells(desk), *_decisions(desk), *review_routes(desk)]
    return Starlette(routes=[*known, *_detection(desk, detection)])


def _pages() -> list[Route]:
    async def page(request: Request) -> Response:
        del request
        return Response(static_files()["index.html"][0], media_type="text/html")

    async def static(request: Request) -> Response:
        found = static_files().get(request.path_params["name"])
        if found is None:
            return JSONResponse({"error": "there is no such file"}, 404)
        return Response(found[0], media_type=found[1], headers={"cache-control": "no-cache"})

    return [Route("/", page), Route("/static/{name:path}", static)]


def _picture(desk: Desk, request: Request, data: bytes) -> Response:
    """A browser keeps it where its address is of this edition alone: numbers name other slides another time."""
    is_ours = request.query_params.get("of") == desk.edition
    kept = "private, max-age=3600" if is_ours else "no-store"
    return Response(data, media_type="image/jpeg", headers={"cache-control": kept})


def _slides(desk: Desk) -> list[Route]:
    def session(request: Request) -> Response:
        del request
        return JSONResponse(wire.session(desk))

    def slide(request: Request) -> Response:
        return JSONResponse(wire.frame(desk.shelf.pictures(number_of(desk, request))))

    def tissue(request: Request) -> Response:
        return JSONResponse(wire.tissue(desk, number_of(desk, request)))

    def tile(request: Request) -> Response:
        number, place = number_of(desk, request), tuple(whole(request, name) for name in ("level", "column", "row"))
        pictures = desk.shelf.pictures(number)
        data = desk.shelf.kept((number, *place), lambda: pictures.tile(*place))
        return _picture(desk, request, data)

    def crop(request: Request) -> Response:
        number, query = number_of(desk, request), request.query_params
        try:
            center = (float(query["x"]), float(query["y"]))
            um, px = int(query.get("um", 32)), int(query.get("px", 192))
        except (KeyError, ValueError) as error:
            raise InputError("a crop needs a place, its side in um and in px") from error
        pictures = desk.shelf.pictures(number)
        data = desk.shelf.kept((number, center, um, px), lambda: pictures.crop(center, um=um, px=px))
        return _picture(desk, request, data)

    return [
        Route("/api/session", answered(desk, session)),
        Route("/api/slides/{slide}", answered(desk, slide)),
        Route("/api/slides/{slide}/tissue", answered(desk, tissue)),
        Route("/api/slides/{slide}/tiles/{level}/{column}/{row}", answered(desk, tile)),
        Route("/api/slides/{slide}/crop", answered(desk, crop)),
    ]


def _cells(desk: Desk) -> list[Route]:
    def cells(request: Request) -> Response:
        return Response(wire.arrays(desk, number_of(desk, request)), media_type="application/octet-stream")

    def count(request: Request) -> Response:
        text = request.query_params.get("threshold")
        return JSONResponse(wire.count(desk, number_of(desk, request), None if text is None else share(text)))

    def order(request: Request) -> Response:
        query = dict(request.query_params)
        slide = desk.slide_number(query["slide"]) if query.get("slide") else None
        wanted = wanted_of(query, slide, desk.viewed.threshold or 0.5)
        verdicts = desk.verdict_of_row() if wanted.decided != "any" else {}
        mpp_of = desk.mpp_of
        rows = chosen(desk.cells, wanted, verdicts, [mpp_of[one.slide_id][1] for one in desk.viewed.slides])
        return Response(rows.astype("<u4").tobytes(), media_type="application/octet-stream")

    def some(request: Request) -> Response:
        if "slide" in request.query_params:
            slide = desk.slide_number(request.query_params["slide"])
            row = desk.row(slide, request.query_params.get("local"))
            return JSONResponse(wire.details(desk, np.array([row], dtype=np.intp)))
        words = [word for word in request.query_params.get("rows", "").split(",") if word][:MOST_DETAILS]
        if not all(word.isdecimal() and int(word) < len(desk.cells) for word in words):
            raise InputError("there is no such cell")
        return JSONResponse(wire.details(desk, np.array([int(word) for word in words], dtype=np.intp)))

    return [
        Route("/api/slides/{slide}/cells", answered(desk, cells)),
        Route("/api/slides/{slide}/count", answered(desk, count)),
        Route("/api/order", answered(desk, order)),
        Route("/api/cells", answered(desk, some)),
    ]


def _decisions(desk: Desk) -> list[Route]:
    def read(request: Request) -> Response:
        text = request.query_params.get("since", "0")
        if not text.isdecimal():
            raise InputError("since is an offset")
        found, after = desk.own_since(int(text))
        return JSONResponse({"decisions": found, "offset": after})

    async def write(request: Request) -> Response:
        try:
            content = json.loads(await request.body())
        except (ValueError, RecursionError):
            return JSONResponse({"error": "is not JSON"}, 400)
        asked = content.get("decisions") if isinstance(content, dict) else None
        if not isinstance(asked, list):
            return JSONResponse({"error": "send an object with a list of decisions"}, 400)
        since = content.get("since", 0)
        refused = desk.differs(content.get("identity", desk.identity))
        if refused:
            return JSONResponse({"error": refused}, 409)

        def work(request: Request) -> Response:
            del request
            made = desk.decide(asked)
            news, offset = desk.own_since(since if isinstance(since, int) and since >= 0 else 0)
            return JSONResponse({"decisions": made, "news": news, "offset": offset})

        return await answered(desk, work)(request)

    return [
        Route("/api/decisions", answered(desk, read), methods=["GET"]),
        Route("/api/decisions", write, methods=["POST"]),
    ]


def _detection(desk: Desk, detection: Detection | None) -> list[Route]:
    def running() -> Detection:
        if detection is None:
            raise InputError("there is nothing to detect on")
        return detection

    def start(request: Request) -> Response:
        del request
        return JSONResponse(running().start())

    def state(request: Request) -> Response:
        del request
        return JSONResponse({"state": "none"} if detection is None else detection.state())

    return [
        Route("/api/detect", answered(desk, start), methods=["POST"]),
        Route("/api/detect", answered(desk, state), methods=["GET"]),
    ]
