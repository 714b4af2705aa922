"""What a trace starts from that belongs to no one service: what every host should have, and which servers there are."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from deuteron.hub.whole import whole_intents
from deuteron.model.intent import HostSettings
from deuteron.model.settings import HostEntry, Settings
from deuteron.model.traces import TracedHost
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx


class TracedServer(msgspec.Struct, frozen=True):
    id: str
    name: str
    project_id: str
    vm_state: str
    task_state: str | None


def traced_hosts(tx: Tx, settings: Settings) -> tuple[TracedHost, ...]:
    """All hosts that may connect, with what they should have at the revision that `tx` sees."""
    entries = dict(settings.hosts)
    intents = whole_intents(tx, settings, entries)
    return tuple(
        TracedHost(host_settings(settings, name, entry), msgspec.Raw(msgspec.json.encode(intents[name])))
        for name, entry in sorted(entries.items())
    )


def host_settings(settings: Settings, name: str, entry: HostEntry) -> HostSettings:
    """What is planned with on a host, as far as it decides where packets go, and nothing that is secret."""
    return HostSettings(
        host=name,
        state_dir="",
        api_socket="",
        token="",
        bridge_mappings=entry.bridge_mappings,
        bridge_ports=entry.bridge_ports,
        bridge_addresses=entry.bridge_addresses,
        tunnel_ip=entry.tunnel_ip,
        tunnel_types=settings.tunnel_types,
        firewall_driver=settings.firewall_driver,
        dataplane=settings.dataplane,
        roles=entry.roles,  # type: ignore[arg-type]  # written of the same topology
        mechanism_drivers=entry.mechanism_drivers,
    )


def traced_servers(tx: Tx) -> list[TracedServer]:
    """Every server of the cloud, whoever has it."""
    columns = (
        servers.c["id"],
        servers.c["name"],
        servers.c["project_id"],
        servers.c["vm_state"],
        servers.c["task_state"],
    )
    return [TracedServer(*row) for row in tx.all(select(*columns).order_by(servers.c["id"]))]
