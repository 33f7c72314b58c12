"""Addresses of what follows from decisions: reviewed counts, agreement, and files to take away."""

import re
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mitosieve.errors import InputError
from mitosieve.view import downloads
from mitosieve.view.desk import Desk
from mitosieve.view.endpoint import answered, number_of
from mitosieve.view.reported import report_page, report_part, slide_report
from mitosieve.view.reviewing import compared, known_readers, reviewed

_FILES: dict[str, tuple[Callable[[Desk, str], str], str]] = {
    "decisions.csv": (downloads.decisions_csv, "text/csv"),
    "summary.csv": (downloads.summary_csv, "text/csv"),
    "report.html": (downloads.reviewed_page, "text/html"),
}


def review_routes(desk: Desk) -> list[Route]:
    """Those of a desk."""

    def count(request: Request) -> Response:
        at_once = request.query_params.get("at_once") == "yes"
        return JSONResponse(reviewed(desk, number_of(desk, request), _whose(request), at_once=at_once))

    def readers(request: Request) -> Response:
        del request
        return JSONResponse({"readers": known_readers(desk)})

    def agreement(request: Request) -> Response:
        query = request.query_params
        return JSONResponse(compared(desk, query.get("first", ""), query.get("second", "")))

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            raise InputError("there is no such file")
        make, kind = _FILES[name]
        return _download(make(desk, _whose(request)), kind, f"reviewed-{name}")

    def points(request: Request) -> Response:
        number = number_of(desk, request)
        text = downloads.geojson(desk, number, _whose(request))
        return _download(text, "application/geo+json", f"{desk.viewed.slides[number].slide_id}.geojson")

    def report(request: Request) -> Response:
        return Response(report_page(desk, _whose(request)), media_type="text/html")

    def of_slide(request: Request) -> Response:
        text = slide_report(desk, number_of(desk, request), _whose(request))
        return Response(text, media_type="text/html")

    def part(request: Request) -> Response:
        text, kind = report_part(request.path_params["name"])
        return Response(text, media_type=kind, headers={"cache-control": "no-cache"})

    return [
        Route("/report", answered(desk, report)),
        Route("/report/slides/{slide}", answered(desk, of_slide)),
        Route("/report/{name}", answered(desk, part)),
        Route("/api/slides/{slide}/reviewed", answered(desk, count)),
        Route("/api/slides/{slide}/geojson", answered(desk, points)),
        Route("/api/readers", answered(desk, readers)),
        Route("/api/agreement", answered(desk, agreement)),
        Route("/api/files/{name}", answered(desk, file)),
    ]


def _whose(request: Request) -> str:
    """This reader's decisions, or those of all where the page asks for it."""
    return "all" if request.query_params.get("readers") == "all" else "own"


def _download(text: str, kind: str, name: str) -> Response:
    """A file by its name, whatever its letters (RFC 6266), with one of plain letters for programs of before."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-120:]
    exact = "" if safe == name else f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return Response(text, media_type=kind, headers={"content-disposition": f'attachment; filename="{safe}"{exact}'})
