"""What only a socket can carry: broken request lines, heads without end, bodies that never come.

The API runs as its own process, as `deuteron up` starts it. Whatever one connection does, the process lives, keeps
its size, and answers the next client at once.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.api.call import MAX_BODY_BYTES
from deuteron.api.wire import MAX_HEAD_BYTES
from tests.fuzz.world import SEED

ANSWER_TIMEOUT_S = 5.0
_HEAD = b"Host: cloud.test\r\n"
MALFORMED: tuple[tuple[str, bytes], ...] = (
    ("nothing", b""),
    ("an empty line", b"\r\n\r\n"),
    ("no version", b"GET /\r\n\r\n"),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\n\r\n"),
    ("HTTP/2 in clear text", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\n" + _HEAD + b"\r\n"),
    ("two spaces", b"GET  /  HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a tab", b"GET\t/\tHTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("line feeds alone", b"GET / HTTP/1.1\nHost: x\n\n"),
    ("carriage returns alone", b"GET / HTTP/1.1\rHost: x\r\r"),
    ("a method that nobody knows", b"FLY / HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a method without end", b"A" * 3000),
    ("a small method", b"get / HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a path of bytes", b"GET /\xff\xfe\x00 HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a path with a NUL", b"GET /\x00 HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a path without a slash", b"GET network HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a whole address", b"GET http://elsewhere/ HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("an address with a bad port", b"GET http://x:99999999/ HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("CONNECT", b"CONNECT elsewhere:443 HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("OPTIONS of all", b"OPTIONS * HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("TRACE", b"TRACE / HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a fragment", b"GET /#x HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a bad escape", b"GET /network/v2.0/%zz%f HTTP/1.1\r\n" + _HEAD + b"\r\n"),
    ("a header without a colon", b"GET / HTTP/1.1\r\nHost\r\n\r\n"),
    ("a header without a name", b"GET / HTTP/1.1\r\n: x\r\n\r\n"),
    ("a blank before the colon", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
    ("a folded header", b"GET / HTTP/1.1\r\nHost: x\r\n y: z\r\n\r\n"),
    ("a NUL in a header", b"GET / HTTP/1.1\r\nHost: x\x00y\r\n\r\n"),
    ("a bell in a header", b"GET / HTTP/1.1\r\nX-Auth-Token: \x07\r\n\r\n"),
    ("two lengths", b"POST /identity/v3/auth/tokens HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    ("a negative length", b"POST / HTTP/1.1\r\nContent-Length: -2\r\n\r\n{}"),
    ("a length of words", b"POST / HTTP/1.1\r\nContent-Length: two\r\n\r\n{}"),
    ("a length beyond numbers", b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 60 + b"\r\n\r\n{}"),
    ("length and pieces", b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / "),
    ("an unknown encoding", b"POST / HTTP/1.1\r\nTransfer-Encoding: snail\r\n\r\n{}"),
    ("pieces of no size", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    ("a piece too large", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}"),
    ("a piece without its end", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n"),
    ("the greeting of TLS", bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200),
    ("the greeting of ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("a websocket to users", b"GET /internal/hosts/aio HTTP/1.1\r\n" + _HEAD
     + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
     + b"Sec-WebSocket-Version: 13\r\n\r\n"),
    ("a websocket that is none",
     b"GET /internal/hosts/aio HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    ("HTTP/2 by upgrade", b"GET / HTTP/1.1\r\n" + _HEAD + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
)  # fmt: skip


class Server:
    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port, self.process, self.log = port, process, log

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_TIMEOUT_S)

    def say(self, raw: bytes, *, half_close: bool = True) -> bytes:
        """What comes back, up to the first 64 KiB; empty when the server just hangs up."""
        with self.open() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return _all_of(connection)

    def answers(self) -> float:
        """Seconds that a good request takes."""
        started = time.monotonic()
        said = self.say(b"GET / HTTP/1.1\r\n" + _HEAD + b"Connection: close\r\n\r\n", half_close=False)
        assert said.startswith(b"HTTP/1.1 200 "), said
        return time.monotonic() - started

    def memory_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def _all_of(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while sum(map(len, parts)) < 65536 and (piece := connection.recv(65536)):
            parts.append(piece)
            if parts[0].startswith(b"HTTP/1.1 2") and b"connection: close" not in parts[0].lower():
                break  # a good request on a connection that stays open
    return b"".join(parts)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("wire")
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        port = finder.getsockname()[1]
    settings = {
        "state_dir": str(state), "port": port, "socket": str(state / "api.sock"),
        "admin_password": "admin-secret", "demo_password": "demo-secret",
    }  # fmt: skip
    (state / "api.json").write_text(json.dumps(settings))
    log = state / "api.log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "deuteron.api", "--settings", str(state / "api.json")]
        process = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
    made = Server(port, process, log)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                made.answers()
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield made
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.parametrize(("name", "raw"), MALFORMED, ids=[name for name, _ in MALFORMED])
def test_a_broken_request_is_refused_and_the_next_client_is_served(server: Server, name: str, raw: bytes) -> None:
    said = server.say(raw)
    assert not said or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200 ")), said[:300]
    assert server.answers() < 2


def test_two_thousand_requests_of_random_bytes_are_survived(server: Server) -> None:
    rng = random.Random(SEED)
    good = b"POST /identity/v3/auth/tokens?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nX-Auth-Token: y\r\n\r\n{} ;"
    for number in range(2000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 4))
        said = server.say(bytes(data))
        assert not said.startswith(b"HTTP/1.1 5"), (SEED, number, bytes(data), said[:300])
    assert server.answers() < 2


@pytest.mark.parametrize("piece", [b"X: " + b"a" * 1000 + b"\r\n", b"a" * 4096], ids=["many headers", "one header"])
def test_a_head_without_end_is_refused_and_takes_no_memory(server: Server, piece: bytes) -> None:
    before = server.memory_kib()
    with server.open() as connection:
        sent = 0
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
            while sent < 64 * 1024 * 1024:
                connection.sendall(piece * 16)
                sent += len(piece) * 16
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        said = _all_of(connection)
    assert sent < 16 * 1024 * 1024
    assert not said or said.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), said[:200]
    assert server.memory_kib() < before + 32 * 1024
    assert server.answers() < 2


@pytest.mark.parametrize("begin", [b"0\r\nX-Long: ", b"0\r\n", b"1;"], ids=["a trailer", "trailers", "an extension"])
def test_what_is_no_body_may_not_be_long_after_the_head(server: Server, begin: bytes) -> None:
    head = b"POST /network/v2.0/networks HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    piece = b"a: a\r\n" * 1000 if begin == b"0\r\n" else b"a" * 4096
    before = server.memory_kib()
    with server.open() as connection:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            connection.sendall(head + begin)
            while sent < 64 * 1024 * 1024:
                connection.sendall(piece * 16)
                sent += len(piece) * 16
    assert sent < 16 * 1024 * 1024
    assert server.memory_kib() < before + 16 * 1024
    assert server.answers() < 2


def test_a_client_that_goes_on_after_its_refusal_is_heard_out_and_served_no_more(server: Server) -> None:
    body = b"{" * (MAX_BODY_BYTES + 1)
    head = f"POST /network/v2.0/networks HTTP/1.1\r\nHost: cloud.test\r\nContent-Length: {len(body) * 2}\r\n\r\n"
    with server.open() as connection:
        connection.sendall(head.encode())
        answered = connection.recv(65536)
        connection.sendall(body)  # a client that is told so in the midst of it hears the answer first
        started = time.monotonic()
        rest = _all_of(connection)

    assert answered.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 401 ")), answered[:100]
    assert rest == b""
    assert time.monotonic() - started < ANSWER_TIMEOUT_S


def test_requests_in_one_piece_are_answered_in_their_order(server: Server) -> None:
    one = b"GET %b HTTP/1.1\r\n" + _HEAD
    raw = one % b"/" + b"\r\n" + one % b"/nowhere" + b"\r\n" + one % b"/identity/v3" + b"Connection: close\r\n\r\n"

    with server.open() as connection:
        connection.sendall(raw)
        parts: list[bytes] = []
        while piece := connection.recv(65536):
            parts.append(piece)

    said = b"".join(parts)
    assert [said[at + 9 : at + 12] for at in range(len(said)) if said.startswith(b"HTTP/1.1 ", at)] == [
        b"200",
        b"404",
        b"200",
    ]


def test_a_long_head_says_why_it_is_refused(server: Server) -> None:
    with server.open() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (MAX_HEAD_BYTES + 1))
        assert _all_of(connection).startswith(b"HTTP/1.1 431 ")


def test_a_body_of_a_gibibyte_is_refused_at_its_announcement(server: Server) -> None:
    raw = b"POST /identity/v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n{"
    said = server.say(raw, half_close=False)
    assert said.startswith(b"HTTP/1.1 413 "), said[:200]


def test_fifty_slow_clients_hold_up_nobody(server: Server) -> None:
    with contextlib.ExitStack() as open_ones:
        for number in range(50):
            connection = open_ones.enter_context(server.open())
            head = b"POST /identity/v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
            connection.sendall(head if number % 2 else head[:20])
        assert max(server.answers() for _ in range(5)) < 2
    assert server.answers() < 2
