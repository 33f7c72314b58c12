"""Who may ask: only a browser that was given the token, by this server's own name, from this server's own pages.

A page of another site can make a browser send requests to 127.0.0.1, and by a name that it lets point there (DNS
rebinding) even read the answers. So every request must carry the token in a cookie, name a host that cannot be another
site's, and where it comes from a page come from one of this server. Knows nothing of slides.
"""

import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mitosieve.view.policy import HEADERS
from mitosieve.view.secret import is_loopback

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
_READING = frozenset(("GET", "HEAD"))

MOST_BODY_BYTES = 2**18
"""Of what a page may send: a decision has less than 50 kB."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    why: str


class Guard:
    """Lets only those requests through to an app that pass all checks; adds headers to every answer.

    Args:
        app: what answers.
        token: the secret.
        host: that the server binds to.
        port: that the server binds to; names the cookie, for the ports of a machine share their cookies.
    """

    def __init__(self, app: App, *, token: str, host: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = _LOOPBACK | ({host.lower()} if is_loopback(host) else _names_of(host))
        self._any_address = not is_loopback(host)
        self.cookie = f"mitosieve-view-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = self._token_of_address(scope)
        refusal = self._refusal(scope, headers, given)
        if refusal is not None:
            await _answer(send, refusal)
            return
        extra = dict(HEADERS)
        if given:
            extra["set-cookie"] = f"{self.cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        await self._app(scope, _limited(receive), _adding(send, extra))

    def _token_of_address(self, scope: Scope) -> str:
        """The token as the first page's address carries it; no other page takes one."""
        if scope["path"] != "/":
            return ""
        return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]

    def _refusal(self, scope: Scope, headers: dict[str, str], given: str) -> Refusal | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return Refusal(421, "this is not the server of that name")
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope.get('scheme', 'http')}://{host}":
            return Refusal(403, "asked for by a page of another site")
        is_first = scope["path"] == "/"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
            is_first and headers.get("sec-fetch-mode") == "navigate"
        ):
            return Refusal(403, "asked for by a page of another site")
        held = given or _cookie(headers.get("cookie", ""), self.cookie)
        if not hmac.compare_digest(held.encode(), self._token.encode()):
            return Refusal(403, "the token is missing or wrong: open the address that the command printed")
        if scope["method"] in _READING:
            return None
        return self._refusal_to_write(scope, headers, origin)

    @staticmethod
    def _refusal_to_write(scope: Scope, headers: dict[str, str], origin: str | None) -> Refusal | None:
        """What changes something must come from a page, which browsers say, and be no form, which any page can send."""
        if scope["method"] != "POST":
            return Refusal(405, "only GET and POST are answered")
        if origin is None:
            return Refusal(403, "a change must come from the viewer's own page")
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return Refusal(415, "send JSON")
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            return Refusal(413, f"send at most {MOST_BODY_BYTES} bytes, and say how many")
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this machine: by a name of its own, or by an address, which no DNS can move.

        The port is free: a tunnel has its own.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
            _ = urlsplit(f"//{host}").port
        except ValueError:
            return False
        if not host or any(sign in host for sign in "/@?#\\ "):
            return False
        return name in self._hosts or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _names_of(host: str) -> frozenset[str]:
    return frozenset(name.lower() for name in (host, socket.gethostname(), socket.getfqdn()))


def _cookie(header: str, name: str) -> str:
    """One cookie's value; others of this machine may be written against the rules, and are passed over."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _adding(send: Send, extra: dict[str, str]) -> Send:
    pairs = [(name.encode(), value.encode()) for name, value in extra.items()]

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *pairs]
            if not any(name.lower() == b"cache-control" for name, _ in message["headers"]):
                message["headers"].append((b"cache-control", b"no-store"))
        await send(message)

    return adding


def _limited(receive: Receive) -> Receive:
    """A body that is longer than its header says ends the request."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return message if taken <= MOST_BODY_BYTES else {"type": "http.disconnect"}

    return limited


async def _answer(send: Send, refusal: Refusal) -> None:
    body = json.dumps({"error": refusal.why}).encode()
    extra = {
        **HEADERS,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    headers = [(name.encode(), value.encode()) for name, value in extra.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
