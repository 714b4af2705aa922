"""What clients make most is made by statements that are prepared: none is compiled once more."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from tests.unit.api_network.harness import Client


def test_networks_subnets_and_ports_come_and_go_without_compiling(client: Client) -> None:
    compiled: list[str] = []

    def compiles(connection: Any, cursor: Any, text: str, *_: Any) -> None:
        compiled.append(text)

    first = client.network()
    client.subnet(first["id"], "10.0.0.0/24")
    gone = client.port(first["id"])  # the project's default group is made with it
    event.listen(client.cloud.database.engine, "before_cursor_execute", compiles)
    network = client.network()
    client.subnet(network["id"], "10.0.1.0/24", enable_dhcp=False)
    client.port(network["id"])
    client.delete(f"/v2.0/ports/{gone['id']}", "admin")
    assert compiled == []
