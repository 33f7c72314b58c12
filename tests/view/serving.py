"""A running viewer, and a client that says exactly what it is told to say."""

import contextlib
import http.client
import json
import threading
import time

from mitosieve.view.desk import Desk
from mitosieve.view.opening import open_viewed
from mitosieve.view.server import Server


class Client:
    """Requests with the token and the viewer's own origin, unless told otherwise."""

    def __init__(self, server: Server):
        self.server = server
        self.host = f"127.0.0.1:{server.port}"
        self.cookie = f"mitosieve-view-{server.port}={server.token}"
        self.closing = contextlib.ExitStack()
        """What ends before the server does: pages that would still ask it."""

    def ask(self, path, *, method="GET", headers=None, body=None, cookie=True, host=None):
        """(status, headers, body) of a request; a header of None is left out."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": self.host if host is None else host}
        if cookie:
            sent["Cookie"] = self.cookie
        if body is not None:
            sent |= {
                "Content-Type": "application/json",
                "Origin": f"http://{self.host}",
                "Content-Length": str(len(body)),
            }
        for name, value in (sent | (headers or {})).items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def get(self, path):
        """The JSON of an address that answers well."""
        status, _, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)

    def decide(self, *decisions):
        status, _, body = self.ask(
            "/api/decisions", method="POST", body=json.dumps({"decisions": list(decisions)}).encode()
        )
        return status, json.loads(body)


@contextlib.contextmanager
def served(path, *, reader="A", read_only=False, **options):
    """A client of a viewer of a folder or slide."""
    viewed, read_cells = open_viewed(path, **options)
    with serving(Desk(viewed, read_cells, reader=reader, read_only=read_only), None) as client:
        yield client


@contextlib.contextmanager
def serving(desk, detection, **options):
    """A client of a viewer of a desk; at a port and with a token of its own, unless told otherwise."""
    server = Server(desk, detection, **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.is_running and time.monotonic() < until:
        time.sleep(0.01)
    client = Client(server)
    try:
        with client.closing:
            yield client
    finally:
        server.stop()
        thread.join(20)
