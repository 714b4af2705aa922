"""Data that lie elsewhere, read by HTTP for whoever names a URI: from nowhere that the machine itself can reach alone.

A name is resolved once, each of its addresses is looked at, and the connection goes to one of those: no second answer
of a name server can lead it elsewhere. A redirection is looked at like the first URI. Refused are addresses that are
not of the open Internet (loopback, private, link-local with the metadata services of clouds, multicast, and IPv6
addresses that hold an IPv4 address), addresses of this machine, and those of the cloud's networks outside. What an
operator names in `allowed_hosts` is reached whatever its address.

All of it blocks, and runs in jobs. No proxy is asked, whatever the environment says.

Source: glance/common/utils.py (`get_validated_address`) and its options `import_filtering_opts`.
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from deuteron.api.jobs import Jobs
from deuteron.model.errors import ApiError, BadRequest, TooLarge
from deuteron.model.settings import ImportFilter

CHUNK_BYTES: Final = 1024 * 1024
MAX_URI_LENGTH: Final = 2048
MAX_REDIRECTIONS: Final = 5
CONNECT_TIMEOUT_S: Final = 10.0
MAX_ADDRESSES: Final = 4
"""That are tried."""
READ_TIMEOUT_S: Final = 30.0
"""Of each piece; the whole has the operator's `web_download_timeout_s`."""
_PRINTABLE: Final = re.compile(r"[!-~]+")
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTIONS: Final = (301, 302, 303, 307, 308)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Place:
    """Where data lie, as a URI says, and the addresses that its name had."""

    uri: str
    scheme: str
    host: str
    port: int
    target: str
    """What the server is asked for: path and query."""
    addresses: tuple[str, ...] = ()


def read(uri: object, options: ImportFilter, what: str = "web-download") -> Place:
    """The URI in parts, its name not resolved yet. Raises: BadRequest for one that is not reached."""
    if not isinstance(uri, str) or len(uri) > MAX_URI_LENGTH or not _PRINTABLE.fullmatch(uri):
        raise refusal(str(uri)[:80], what)
    try:
        parts = urlsplit(uri)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise refusal(uri, what) from None
    host = (parts.hostname or "").rstrip(".")
    allowed = [each.lower().rstrip(".") for each in options.allowed_hosts]
    disallowed = [] if allowed else [each.lower().rstrip(".") for each in options.disallowed_hosts]
    if (
        parts.scheme not in options.allowed_schemes
        or port not in options.allowed_ports
        or not host
        or "%" in host
        or parts.username is not None
        or (allowed and host not in allowed)
        or host in disallowed
    ):
        raise refusal(uri, what)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(uri, parts.scheme, host, port, target)


def resolve(place: Place, options: ImportFilter, outside: Sequence[Network], what: str = "web-download") -> Place:
    """The place with its addresses, each looked at. `outside` are the cloud's networks outside.

    Raises: BadRequest for a name without addresses, and for one of which any address is not reached.
    """
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise refusal(place.uri, what) from None
    texts = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not any(place.host == each.lower().rstrip(".") for each in options.allowed_hosts):
        for text in texts:
            if not is_reached(text, outside):
                raise refusal(place.uri, what)
    return Place(place.uri, place.scheme, place.host, place.port, place.target, tuple(texts))


def is_reached(text: str, outside: Sequence[Network]) -> bool:
    """Whether data are read from this address for anybody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # with a zone: an address of this machine's links
        return False
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        held = (address.ipv4_mapped, address.sixtofour, address.teredo)
        if any(each is not None for each in held) or address in _NAT64:
            return False
    return not any(address in network for network in outside) and not is_own(address)


def is_own(address: Address) -> bool:
    """Whether it is one of this machine: only to such a socket can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def refusal(uri: str, what: str = "web-download") -> BadRequest:
    return BadRequest(f"URI for {what} does not pass filtering: {uri}")


@contextmanager
def opened(
    place: Place, jobs: Jobs, again: Callable[[str], Place], most_bytes: int, timeout_s: float
) -> Iterator[Iterator[bytes]]:
    """The data in pieces. `again` looks at the URI of a redirection, and resolves it.

    Raises: BadRequest, TooLarge; ApiError when the server does not answer, or not whole; Interrupted.
    """
    end = time.monotonic() + timeout_s
    for _ in range(MAX_REDIRECTIONS + 1):
        connection = _Connection(place)
        with closing(connection), jobs.closing(connection.interrupt), _interrupted_at(end, connection):
            answer = _ask(connection, place)
            if answer.status in _REDIRECTIONS:
                place = again(urljoin(place.uri, answer.getheader("location", "")))
                continue
            if answer.status != 200:
                raise ApiError(f"{place.host} answered {answer.status} {answer.reason[:80]}")
            length = answer.length
            if length is not None and length > most_bytes:
                raise TooLarge(f"The image of {length} bytes is too large: at most {most_bytes} bytes are accepted")
            yield _pieces(answer, place, jobs, length, end)
            return
    raise ApiError(f"{place.host} redirects more than {MAX_REDIRECTIONS} times")


@contextmanager
def _interrupted_at(end: float, connection: _Connection) -> Iterator[None]:
    """However slowly a server speaks: each byte of a header may come in time, and the header never end."""
    timer = threading.Timer(max(0.0, end - time.monotonic()), connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was looked at."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.host, place.port, timeout=CONNECT_TIMEOUT_S)
        self._place = place
        self._held: socket.socket | None = None
        """Its own, for `HTTPConnection` forgets its socket once an answer says that it is the last."""

    def connect(self) -> None:
        error: OSError = ConnectionError("it has no address")
        for address in self._place.addresses[:MAX_ADDRESSES]:
            try:
                reached = socket.create_connection((address, self._place.port), CONNECT_TIMEOUT_S)
                break
            except OSError as failure:
                error = failure
        else:
            raise error
        reached.settimeout(READ_TIMEOUT_S)
        if self._place.scheme == "https":
            context = ssl.create_default_context()
            secured = context.wrap_socket(reached, server_hostname=self._place.host, do_handshake_on_connect=False)
            self.sock = self._held = secured
            secured.do_handshake()
        else:
            self.sock = self._held = reached

    def interrupt(self) -> None:
        """Wake who waits for it, in another thread."""
        if self._held is not None:
            with suppress(OSError):  # it is closed already
                # Not what TLS makes of it, which takes its state away from who reads.
                socket.socket.shutdown(self._held, socket.SHUT_RDWR)


def _ask(connection: _Connection, place: Place) -> http.client.HTTPResponse:
    try:
        connection.request("GET", place.target, headers={"Accept": "*/*", "Accept-Encoding": "identity"})
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise _failure(place, error) from error


def _pieces(
    answer: http.client.HTTPResponse, place: Place, jobs: Jobs, length: int | None, end: float
) -> Iterator[bytes]:
    size = 0
    while True:
        try:
            piece = answer.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            jobs.go_on()
            raise _failure(place, error) from error
        jobs.go_on()
        # A connection that was interrupted ends like one that is done.
        if time.monotonic() > end:
            raise ApiError(f"{place.host} did not send the image in time")
        if not piece:
            break
        size += len(piece)
        yield piece
    if length is not None and size != length:
        raise ApiError(f"{place.host} sent {size} bytes and promised {length}")


def _failure(place: Place, error: Exception) -> ApiError:
    reason = str(error) or type(error).__name__
    return ApiError(f"cannot read from {place.host}: {reason[:200]}")
