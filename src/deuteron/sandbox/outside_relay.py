"""Questions of DNS that the host `outside` cannot answer go to the machine's resolver, through the API.

Hosts of a sandbox have no way out of it. dnsmasq asks 127.0.0.1 on `outside`; each message goes over the API's socket
to the API, which stands in the machine's network and asks the servers of its /etc/resolv.conf.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import struct
import threading

from deuteron.model.outside import RESOLVER_PORT, OutsideSettings

from .outside_line import resolved

_HEADER = 12
_SERVFAIL = 2
_IDLE_S = 10.0


class Relay:
    """Listens on `RESOLVER_PORT` of 127.0.0.1, over UDP and TCP. How much is asked at once is dnsmasq's to limit."""

    def __init__(self, settings: OutsideSettings, port: int = RESOLVER_PORT) -> None:
        """Raises: OSError when somebody listens there."""

        def answered(question: bytes, over: str) -> bytes:
            try:
                return resolved(settings, question, over)
            except (OSError, http.client.HTTPException):
                return failure(question)

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, line = self.request
                if len(question) >= _HEADER:
                    line.sendto(answered(question, "udp"), self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            timeout = _IDLE_S

            def handle(self) -> None:
                try:
                    while len(head := self.rfile.read(2)) == 2:
                        question = self.rfile.read(struct.unpack("!H", head)[0])
                        if len(question) < _HEADER:
                            return
                        answer = answered(question, "tcp")
                        self.wfile.write(struct.pack("!H", len(answer)) + answer)
                except (TimeoutError, ConnectionError):
                    return

        self._servers: tuple[socketserver.BaseServer, ...] = (
            _Datagrams(("127.0.0.1", port), Datagram),
            _Streams(("127.0.0.1", port), Stream),
        )

    def start(self) -> None:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, name="relay", daemon=True).start()


class _Datagrams(socketserver.ThreadingUDPServer):
    daemon_threads = True
    max_packet_size = 65535


class _Streams(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    address_family = socket.AF_INET


def failure(question: bytes) -> bytes:
    """The answer SERVFAIL to a DNS message, with its question alone. Source: RFC 1035, section 4.1."""
    end = _HEADER
    while end < len(question) and question[end]:
        end += question[end] + 1
    end += 5
    has_question = end <= len(question) and question[4:6] == b"\0\1"
    flags = bytes((0x80 | question[2] & 0x79, 0x80 | _SERVFAIL))
    body = question[_HEADER:end] if has_question else b""
    return question[:2] + flags + struct.pack("!4H", int(has_question), 0, 0, 0) + body
