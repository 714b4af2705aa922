"""What the cloud's owner asks the API about a host, over its Unix socket with the host's own token."""

from __future__ import annotations

import http.client
import socket
import urllib.parse
from typing import TypeVar

import msgspec

from deuteron.cli.client import NotAnswering
from deuteron.model.intent import Wiring
from deuteron.sandbox.cloud import Cloud, State

_TIMEOUT_S = 40.0

T = TypeVar("T")


class HostRefusal(Exception):
    """The API answered, and could not say."""


def ask_host(state: State, cloud: Cloud, host: str, what: str, kind: type[T]) -> T:
    """The answer to `GET /internal/hosts/HOST/WHAT`.

    Raises: NotAnswering if the API does not run or hangs up; HostRefusal with its words.
    """
    connection = _UnixConnection(str(state.api_socket))
    try:
        headers = {"Authorization": f"Bearer {cloud.tokens.get(host, '')}"}
        connection.request("GET", f"/internal/hosts/{urllib.parse.quote(host)}/{what}", headers=headers)
        response = connection.getresponse()
        body = response.read()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotAnswering("the API is not running, so nobody can be asked") from error
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswering(f"the API did not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise HostRefusal(body.decode(errors="replace").strip())
    return msgspec.json.decode(body, type=kind)


def listens(state: State) -> bool:
    """Whether this cloud's API listens: it opens its socket once it has the port.

    Who answers on the port may be somebody else, who took it while our API was away.
    """
    connection = _UnixConnection(str(state.api_socket))
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def wiring_of(state: State, cloud: Cloud, host: str, revision: int | None = None) -> Wiring:
    """Whether the host has carried out `revision`, by default the one that is current now.

    Raises: NotAnswering; HostRefusal.
    """
    return ask_host(state, cloud, host, "wiring" if revision is None else f"wiring?revision={revision}", Wiring)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
