"""The server: one process, one port, until it is told to stop."""

import contextlib
import logging
import socket

import uvicorn

from mitosieve.errors import InputError
from mitosieve.view.desk import Desk
from mitosieve.view.detecting import Detection
from mitosieve.view.guard import Guard
from mitosieve.view.routes import application
from mitosieve.view.secret import new_token


class Server:
    """Bound to its port when made, so that its address is known before it answers.

    Args:
        desk: what it answers from.
        detection: that a page may start; None where there is nothing to detect on.
        host: to bind to.
        port: to bind to; 0 is any free one.
        token: the secret; None makes one.

    Raises:
        InputError: the port is taken, or the host is none of this machine's.
    """

    def __init__(
        self,
        desk: Desk,
        detection: Detection | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
    ) -> None:
        self.token = token or new_token()
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise InputError(f"cannot listen at {host}, port {port} ({why})", remedy="name another --port") from error
        self.host = host
        self.port = int(self._socket.getsockname()[1])
        guarded = Guard(application(desk, detection), token=self.token, host=host, port=self.port)
        config = uvicorn.Config(guarded, log_level="warning", access_log=False, server_header=False, lifespan="off")
        self._server = uvicorn.Server(config)

    @property
    def address(self) -> str:
        """What a browser opens; holds the secret."""
        host = self.host if self.host not in ("0.0.0.0", "::") else socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self.token}"

    def run(self) -> None:
        """Answer until interrupted."""
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        with contextlib.suppress(KeyboardInterrupt):
            self._server.run(sockets=[self._socket])

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._server.started

    def stop(self) -> None:
        """End `run` soon; may be called from any thread."""
        self._server.should_exit = True
