"""The secret that lets a browser in: made anew, or read from a file; and when one must have been chosen."""

import ipaddress
import secrets
from pathlib import Path

from mitosieve.errors import InputError


def new_token() -> str:
    """256 random bits as text that an address can hold."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that binds to this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The secret in a file: its first line, at least 32 characters that an address can hold.

    Raises:
        InputError: it is missing, readable by others, or no such secret.
    """
    remedy = "make one: (umask 077; openssl rand -hex 32 > FILE)"
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot be read", where=path, remedy=remedy) from error
    if mode & 0o077:
        raise InputError("can be read by other users of this machine", where=path, remedy=f"chmod 600 {path}")
    token = lines[0].strip() if lines else ""
    if len(token) < 32 or not all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in token):
        raise InputError("holds no secret of at least 32 letters and digits", where=path, remedy=remedy)
    return token


def check_host(host: str, token_file: Path | None) -> None:
    """Refuse to be reachable from other machines without a secret that somebody chose to hand out.

    Raises:
        InputError: a host other than loopback, and no file.
    """
    if not is_loopback(host) and token_file is None:
        raise InputError(
            f"--host {host} lets other machines ask for these slides, unencrypted; nothing but the token "
            "holds them off",
            remedy="add --token-file FILE with a secret that you give to the readers; better, keep the default and "
            "reach it by a tunnel: ssh -L 8000:127.0.0.1:8000 THIS_MACHINE",
        )
