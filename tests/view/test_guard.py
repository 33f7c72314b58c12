"""Who is answered: each way in that a stranger may try is tried, against a running server."""

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from found import a_result
from serving import served, serving

from mitosieve.errors import InputError
from mitosieve.view.browser import in_browser
from mitosieve.view.desk import Desk
from mitosieve.view.guard import MOST_BODY_BYTES, Guard
from mitosieve.view.opening import open_viewed
from mitosieve.view.secret import check_host, is_loopback, new_token, read_token

VERDICT = json.dumps({"decisions": [{"kind": "verdict", "slide": 0, "row": 0, "verdict": "figure"}]}).encode()
ADDRESSES = ("/", "/static/main.js", "/api/session", "/api/slides/0", "/api/slides/0/tiles/8/0/0", "/api/decisions")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with served(a_result(tmp_path_factory.mktemp("guard") / "found")) as answering:
        yield answering


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_is_told_without_the_token(client, address):
    """Neither pages nor data; a wrong token is none, and no other address than the first takes one."""
    assert client.ask(address, cookie=False)[0] == 403
    assert client.ask(address, cookie=False, headers={"Cookie": f"{client.cookie[:-1]}"})[0] == 403
    if address != "/":
        assert client.ask(f"{address}?token={client.server.token}", cookie=False)[0] == 403


def test_the_address_that_was_printed_gives_a_cookie(client):
    """It opens the page, and sets a cookie that no script reads and no other site's request carries."""
    status, headers, _ = client.ask(f"/?token={client.server.token}", cookie=False)
    assert status == 200
    assert headers["set-cookie"].startswith(client.cookie)
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["set-cookie"].split("; "))
    assert client.ask("/")[0] == 200
    assert client.ask("/?token=wrong")[0] == 403


def test_the_cookie_is_found_among_others(client):
    """Other servers of the machine leave theirs, also such as are written against the rules."""
    assert client.ask("/api/session", headers={"Cookie": f'a="b; {{x}}=1; {client.cookie}; z'})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "0x7f000001", "a@127.0.0.1", "192.168.0.7"],
)
def test_a_name_of_another_site_is_not_answered(client, host):
    """DNS rebinding: the browser asks this machine by the name of the other site, with all it holds for that name."""
    assert client.ask("/api/session", host=host)[0] == 421
    assert client.ask(f"/?token={client.server.token}", host=host, cookie=False)[0] == 421


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:8000", "[::1]:8000", "localhost"])
def test_this_machine_may_be_called_by_its_own_names_at_any_port(client, host):
    """A tunnel has a port of its own."""
    assert client.ask("/api/session", host=host)[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", VERDICT)])
def test_a_page_of_another_site_is_not_answered(client, origin, method, body):
    """Even where its request carries the token."""
    path = "/api/session" if body is None else "/api/decisions"
    assert client.ask(path, method=method, body=body, headers={"Origin": origin})[0] == 403


def test_what_a_browser_says_of_the_asking_page_is_believed(client):
    """Pictures and scripts for other sites' pages are refused; the link that a person follows is not."""
    for site in ("cross-site", "same-site"):
        assert client.ask("/static/main.js", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})[0] == 403
        assert client.ask("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})[0] == 403
        first = f"/?token={client.server.token}"
        assert client.ask(first, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})[0] == 200


def test_a_change_must_come_from_the_page_as_json(client):
    """No origin, a form's content type, or another method than POST changes nothing."""
    ask = lambda **options: client.ask("/api/decisions", body=VERDICT, **options)[0]  # noqa: E731
    assert ask(method="POST", headers={"Origin": None}) == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        assert ask(method="POST", headers={"Content-Type": kind}) == 415
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(method=method) == 405
    assert client.get("/api/decisions")["decisions"] == []
    assert ask(method="POST") == 200
    assert len(client.get("/api/decisions")["decisions"]) == 1


def test_a_body_is_bounded(client):
    """By what it says, and by what it has."""
    long = b"[" + b" " * MOST_BODY_BYTES + b"]"
    assert client.ask("/api/decisions", method="POST", body=long)[0] == 413
    chunked = {"Content-Length": None, "Transfer-Encoding": "chunked"}
    assert client.ask("/api/decisions", method="POST", body=b"0\r\n\r\n", headers=chunked)[0] == 413


def test_every_answer_forbids_what_a_page_need_not_do(client):
    """Refusals too; no script, style or frame of others, and no script inside the page."""
    for address, cookie in (("/", True), ("/api/session", True), ("/nothing", True), ("/", False)):
        headers = client.ask(address, cookie=cookie)[1]
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
    assert client.ask("/api/session")[1]["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["../desk.py", "..%2fdesk.py", "%2e%2e/desk.py", "/etc/passwd", "vendor/../../desk.py", "desk.py"]
)
def test_no_file_is_served_but_those_of_the_page(client, name):
    """Whatever is written before it."""
    status, _, body = client.ask(f"/static/{name}")
    assert status == 404
    assert b"import" not in body


def test_the_server_is_reached_from_this_machine_alone(client):
    """It listens at the loopback address."""
    addresses = {item[4][0] for item in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"}:
        if not address.startswith("127."):
            with pytest.raises(OSError):  # noqa: PT011 - refused or unreachable, as the system has it
                socket.create_connection((address, client.server.port), timeout=2)


def test_every_loopback_address_is_answered_by_its_name(tmp_path):
    """That it printed itself."""
    viewed, cells = open_viewed(a_result(tmp_path / "found"))
    with serving(Desk(viewed, cells, reader="A"), None, host="127.0.0.2") as client:
        assert "127.0.0.2" in client.server.address
        assert client.ask("/api/session", host=f"127.0.0.2:{client.server.port}")[0] == 200
        assert client.ask("/api/session", host="127.0.0.3")[0] == 421


def test_two_viewers_of_one_machine_have_cookies_of_their_own(tmp_path):
    """A browser sends those of all ports of a machine to each."""
    guards = [Guard(None, token=new_token(), host="127.0.0.1", port=port) for port in (8001, 8002)]
    assert guards[0].cookie != guards[1].cookie


def test_other_machines_are_let_in_only_with_a_secret_that_was_chosen(tmp_path):
    """`--host` without `--token-file` is refused and says what it would mean; loopback needs none."""
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(InputError, match="other machines") as told:
            check_host(host, None)
        assert "--token-file" in str(told.value)
        check_host(host, tmp_path / "token")
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        assert is_loopback(host)
        check_host(host, None)


def test_the_secret_is_not_on_a_command_line(monkeypatch):
    """A browser is sent by a page that only this user can read, and that is gone afterwards."""
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address))
    with in_browser("http://127.0.0.1:1/?token=secret&x"):
        until = time.monotonic() + 10
        while not opened and time.monotonic() < until:
            time.sleep(0.01)
        page = Path(urlsplit(opened[0]).path)
        assert "secret" not in opened[0]
        assert page.stat().st_mode & 0o077 == 0
        assert page.parent.stat().st_mode & 0o077 == 0
        assert "http://127.0.0.1:1/?token=secret&amp;x" in page.read_text()
    assert not page.exists()


def test_a_secret_of_a_file_must_be_one(tmp_path):
    """Long, without signs that an address cannot hold, and not readable by others."""
    path = tmp_path / "token"
    with pytest.raises(InputError, match="cannot be read"):
        read_token(path)
    for content, mode, what in (
        ("a" * 40, 0o644, "other users"),
        ("short", 0o600, "no secret"),
        ("a b" * 20, 0o600, "no secret"),
        ("", 0o600, "no secret"),
    ):
        path.write_text(content)
        path.chmod(mode)
        with pytest.raises(InputError, match=what):
            read_token(path)
    path.write_text("x" * 40 + "\n")
    path.chmod(0o600)
    assert read_token(path) == "x" * 40
