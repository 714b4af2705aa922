"""What of a guest's metadata request reaches the API."""

from __future__ import annotations

import asyncio
import socket

import pytest

from deuteron.agent.metadata import MetadataProxy, Refused, request_to_api
from deuteron.net.rows import MetadataListener

LISTENER = MetadataListener("qdhcp-n", "169.254.169.254", 80, network_id="net-1")


def _forwarded(head: str, row: MetadataListener = LISTENER, body: bytes = b"") -> list[str]:
    return request_to_api(row, "10.0.0.5", "10.0.0.1", "token", head.encode(), body).decode().split("\r\n")


def test_who_asks_is_added() -> None:
    lines = _forwarded("GET /openstack/latest/meta_data.json HTTP/1.1\r\nHost: 169.254.169.254")
    assert lines[0] == "GET /internal/metadata/openstack/latest/meta_data.json HTTP/1.1"
    assert "X-Forwarded-For: 10.0.0.5" in lines
    assert "X-Neutron-Network-ID: net-1" in lines
    assert "Authorization: Bearer token" in lines
    assert not any(line.startswith("X-Neutron-Router-ID") for line in lines)


def test_a_router_names_itself() -> None:
    row = MetadataListener("qrouter-r", "0.0.0.0", 9697, router_id="router-1")
    lines = _forwarded("GET / HTTP/1.0", row)
    assert "X-Neutron-Router-ID: router-1" in lines
    assert "X-Forwarded-To: 10.0.0.1" in lines, "on which of its networks the guest is"


def test_a_routers_listener_of_one_device_names_its_network() -> None:
    row = MetadataListener("qrouter-r", "::%qr-1", 9697, router_id="router-1", network_id="net-1")
    lines = _forwarded("GET / HTTP/1.0", row)
    assert {"X-Neutron-Router-ID: router-1", "X-Neutron-Network-ID: net-1"} <= set(lines)
    assert not any(line.startswith("X-Forwarded-To") for line in lines), "every network has the same address there"


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 10.0.0.6",
        "x-neutron-network-id: other",
        "X-Instance-ID: other",
        "Authorization: Bearer stolen",
        "Forwarded: for=10.0.0.6",
        "Connection: X-Forwarded-For",
        "Transfer-Encoding: chunked",
    ],
)
def test_what_a_guest_says_about_itself_is_dropped(header: str) -> None:
    lines = _forwarded(f"GET / HTTP/1.1\r\n{header}\r\nUser-Agent: cloud-init")
    name, _, value = header.partition(": ")
    assert not any(line.lower() == f"{name}: {value}".lower() for line in lines)
    assert "user-agent: cloud-init" in lines


@pytest.mark.parametrize(
    "target",
    [
        "/../hosts/aio",
        "/latest/../../hosts",
        "/%2e%2e/hosts",
        "/latest/%2E%2E/%2e%2e/x",
        "/..%2fhosts",
        "/..%5chosts",
        "/./x",
        "http://169.254.169.254/",
        "*",
        "/a\tb",
    ],
)
def test_no_path_leaves_the_metadata_folder(target: str) -> None:
    with pytest.raises(Refused):
        _forwarded(f"GET {target} HTTP/1.1")


@pytest.mark.parametrize(
    "head",
    [
        "",
        "GET /",
        "GET / HTTP/2.0",
        "DELETE / HTTP/1.1",
        "GET / HTTP/1.1\r\nno colon",
        "GET / HTTP/1.1\r\nUser-Agent : x",
        "GET / HTTP/1.1\r\nUser-Agent: x\nX-Forwarded-For: 1",
        "GET / HTTP/1.1\r\n folded: x",
    ],
)
def test_what_is_not_plain_http_is_refused(head: str) -> None:
    with pytest.raises(Refused):
        _forwarded(head)


def test_double_slashes_and_queries_survive_in_plain_form() -> None:
    assert _forwarded("GET //latest//meta-data/?a=../b HTTP/1.1")[0] == (
        "GET /internal/metadata/latest/meta-data/?a=../b HTTP/1.1"
    )


async def refuses(address: tuple[str, int]) -> None:
    """Within 10 s nobody listens there."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(*address)
                writer.close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass  # it was just about to end
            await asyncio.sleep(0.01)


def test_a_socket_that_is_taken_back_while_its_server_is_made_listens_no_longer() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    async def told() -> None:
        proxy = MetadataProxy(asyncio.get_running_loop(), "/nowhere", "token")
        proxy.opened(LISTENER, listener)
        proxy.closed(LISTENER)
        await refuses(address)
        again = socket.create_server(address)
        proxy.opened(LISTENER, again)
        _, writer = await asyncio.open_connection(*address)
        writer.close()
        proxy.closed(LISTENER)
        await refuses(address)

    asyncio.run(asyncio.wait_for(told(), 30))
