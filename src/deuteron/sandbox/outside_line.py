"""What the host `outside` asks the API, over the socket that agents use."""

from __future__ import annotations

import http.client
import socket

import msgspec

from deuteron.model.outside import ExternalNetwork, Neighbourhood, OutsideSettings

_TIMEOUT_S = 10.0


class _Line(http.client.HTTPConnection):
    """A connection to the API's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("outside", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


def external_networks(settings: OutsideSettings) -> list[ExternalNetwork]:
    """The external networks as they are now. Raises: OSError, http.client.HTTPException, msgspec.DecodeError."""
    return msgspec.json.decode(_asked(settings, "GET", "external-networks"), type=list[ExternalNetwork])


def neighbourhood(settings: OutsideSettings) -> Neighbourhood:
    """Whom names and addresses outside are about. Raises: OSError, http.client.HTTPException, msgspec.DecodeError."""
    return msgspec.json.decode(_asked(settings, "GET", "neighbourhood"), type=Neighbourhood)


def resolved(settings: OutsideSettings, question: bytes, over: str) -> bytes:
    """What the machine's resolver answers a DNS message, `over` udp or tcp. Raises: OSError, HTTPException."""
    return _asked(settings, "POST", f"resolve/{over}", question)


def _asked(settings: OutsideSettings, method: str, path: str, body: bytes | None = None) -> bytes:
    line = _Line(settings.api_socket)
    try:
        line.request(method, f"/internal/{path}", body, {"Authorization": f"Bearer {settings.token}"})
        answer = line.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"the API answers {answer.status}")
        return told
    finally:
        line.close()
