"""The hosts of the cloud: which are configured, which are connected, and which one takes a new object.

A host is configured in the API's settings; it has a row once its agent said `Hello`. This module owns the
`hosts` table. Scheduling of network objects (DHCP, routers) goes over the configured hosts, so that a
network can be made before any agent is there; scheduling of servers goes over the living ones.

Invariants:
- No row says `connected` while no connection is open: at start of the API all are marked disconnected.
- A host is alive when it is connected; the hub ends the connection of one that it did not hear for `ALIVE_S`. The hub
  measures that with a clock that nobody sets, so a jump of the wall clock kills no host and revives none.
- That an administrator forced a host's compute service down is for an administrator to undo: a host that connects,
  reports or restarts stays forced down. It concerns compute alone, as in Nova; the host's networks go on.
- A host is awaited when it is alive, or was within `ALIVE_S` and may be back any moment: an agent that restarts must
  not turn a new server into an error, or let the addresses of one that still runs be given away. Hosts that were
  connected when the API ended are awaited from its next start on.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Text, bindparam, delete, select, type_coerce, update

from deuteron.model.intent import DEVICE_KINDS, Backend, Heartbeat, Hello, TunnelPeer
from deuteron.model.settings import HostEntry, Settings
from deuteron.net.mechanisms import AgentKind, HostFacts, Mechanism, mechanisms_by_name
from deuteron.rules.placement import hosts as placement
from deuteron.store import query, usage
from deuteron.store.database import Tx
from deuteron.store.expressions import contains, text_field
from deuteron.store.hosts_tables import hosts
from deuteron.store.listing import ALL
from deuteron.store.prepared import Prepared
from deuteron.store.query import Order, Page

_WHOLE: Final = [type_coerce(c, Text).label(c.name) if c.name == "hello" else c for c in hosts.c]
_ALL = Prepared(select(*_WHOLE))
_ONE = Prepared(select(*_WHOLE).where(hosts.c.name == bindparam("host")))
_NAMES = Prepared(select(hosts.c.name))
_AT = update(hosts).where(hosts.c.name == bindparam("host"))
_HEARD = Prepared(_AT.values(last_heard=bindparam("now")))
_BEAT = Prepared(_AT.values(last_heard=bindparam("now"), usage=bindparam("said", type_=hosts.c.usage.type)))
_REALISED = Prepared(
    _AT.values(
        realised_revision=bindparam("done"),
        problems=bindparam("said", type_=hosts.c.problems.type),
        last_heard=bindparam("now"),
    )
)
_BY_NAME: Final = (Order("name", has_nulls=False),)
_COLUMNS: Final = tuple(c.name for c in hosts.c)

ALIVE_S: Final = 15.0
"""A host that said nothing for so long is taken for dead; agents send a heartbeat every 5 s."""

_BACKENDS: Final = "volume_backends"
"""What heartbeats say of back ends, among the usage of a host."""

_NAMES_AT_ONCE: Final = 500

_NAMESPACE: Final = uuid.UUID("6f0c1dd0-0f59-5b0b-9d7c-2f6f2b6d4e52")
"""Ids of hosts and of their services are name-based (RFC 9562 section 5.5), so they survive every restart."""


@dataclass(frozen=True)
class Host:
    """One configured or known host, as the API sees it now. `hello` is None until its agent first connected."""

    name: str
    id: str
    roles: tuple[str, ...]
    alive: bool
    awaited: bool
    connected: bool
    tunnel_ip: str | None
    bridge_mappings: Mapping[str, str]
    mechanism_drivers: tuple[str, ...]
    hello: Hello | None
    usage: Mapping[str, Any]
    last_heard: str | None
    started_at: str | None
    realised_revision: int
    problems: tuple[tuple[str, str], ...]
    disabled_services: Mapping[str, str]
    """Name of a disabled service ("nova-compute") and the reason given."""
    forced_down: bool = False
    agent_descriptions: Mapping[str, str | None] = field(default_factory=dict)
    """What administrators say of its agents, by their binaries."""
    disabled_agents: frozenset[str] = frozenset()
    """Binaries of its agents that an administrator took down: they get nothing new."""
    lacks: frozenset[str] = frozenset()
    """Programs that it does not have, as it said."""

    @property
    def volume_backends(self) -> tuple[Backend, ...]:
        """What keeps volumes there, as it last said."""
        said = self.usage.get(_BACKENDS)
        if said is not None:
            return msgspec.convert(said, tuple[Backend, ...])
        return () if self.hello is None else self.hello.volume_backends

    @property
    def compute_up(self) -> bool:
        """Whether its compute service is up, as Nova would say."""
        return self.alive and not self.forced_down


@dataclass(frozen=True)
class Agent:
    """A host's part that OpenStack lists as an agent or service of its own."""

    id: str
    binary: str
    agent_type: str
    topic: str
    host: Host
    mechanism: Mechanism | None = None
    """The mechanism whose work it does; None for DHCP, routing and metadata."""

    @property
    def admin_state_up(self) -> bool:
        return self.binary not in self.host.disabled_agents


DHCP_AGENT: Final = "neutron-dhcp-agent"
L3_AGENT: Final = "neutron-l3-agent"

_L3: Final = AgentKind(L3_AGENT, "L3 agent", "l3_agent")
_AGENTS: Final[Mapping[str, tuple[AgentKind, ...]]] = {
    "network": (
        AgentKind(DHCP_AGENT, "DHCP agent", "dhcp_agent"),
        _L3,
        AgentKind("neutron-metadata-agent", "Metadata agent"),
    ),
}
"""Agents of OpenStack that one Deuteron agent stands for by role, beside those of its mechanisms."""


@functools.lru_cache(maxsize=16_384)
def host_id(name: str, part: str = "host") -> str:
    """The id of a host, or of a `part` of it ("nova-compute"): the same for the same name, always."""
    return str(uuid.uuid5(_NAMESPACE, f"{part}:{name}"))


def all_hosts(tx: Tx, settings: Settings) -> list[Host]:
    """Every configured host and every host that ever connected, by name."""
    rows = {row["name"]: row for row in (dict(zip(_COLUMNS, found, strict=True)) for found in tx.run(_ALL))}
    names = sorted({*settings.hosts, *rows})
    return [_host(name, rows.get(name), settings.hosts.get(name), tx.now) for name in names]


def known(
    tx: Tx,
    settings: Settings,
    role: str,
    *,
    name: str | None = None,
    id: str | None = None,
    part: str = "",
    page: Page = ALL,
) -> list[Host]:
    """Hosts that ever connected and play `role`, by name.

    Those of a name or an id, or with `part` in their name; the part of them that the page asks for.
    """
    conditions = [_plays(role)]
    if name is not None:
        conditions.append(hosts.c.name == name)
    if id is not None:
        conditions.append(hosts.c.id == id)
    if part:
        conditions.append(contains(hosts.c.name, part))
    found = select(*_WHOLE).where(*conditions)
    rows = query.window(tx, (found if id is None else found.limit(1)).subquery(), (), _BY_NAME, page)
    return [_host(row.name, dict(row._mapping), settings.hosts.get(row.name), tx.now) for row in rows]


def known_names(tx: Tx, role: str) -> list[str]:
    """Names of the hosts that ever connected and play `role`, in order."""
    return tx.scalars(select(hosts.c.name).where(_plays(role)).order_by(hosts.c.name))


def _plays(role: str) -> ColumnElement[bool]:
    # A list of words that we wrote, none of which holds a quotation mark.
    return contains(text_field(hosts.c.hello, "roles"), f'"{role}"')


def find(tx: Tx, settings: Settings, name: str) -> Host | None:
    found = tx.run(_ONE, {"host": name}).first()
    row = None if found is None else dict(zip(_COLUMNS, found, strict=True))
    entry = settings.hosts.get(name)
    return None if row is None and entry is None else _host(name, row, entry, tx.now)


def facts(host: Host) -> HostFacts:
    """What mechanisms may know of a host; before its agent first connected, what its settings suggest.

    Whether it is alive is not among it: what is bound there works as soon as it connects.
    """
    hello = host.hello
    return HostFacts(
        host=host.name,
        bridge_mappings=dict(host.bridge_mappings),
        tunnel_ip=host.tunnel_ip,
        tunnel_types=hello.tunnel_types if hello is not None else ("vxlan",),
        firewall_driver=hello.firewall_driver if hello is not None else "openvswitch",
        datapath_type=hello.datapath_type if hello is not None else "netdev",
        mechanism_drivers=host.mechanism_drivers,
        device_kinds=hello.device_kinds if hello is not None else DEVICE_KINDS,
        interface_mappings=hello.interface_mappings if hello is not None else {},
        bandwidths=hello.bandwidths if hello is not None else {},
        packet_rates=hello.packet_rates if hello is not None else {},
    )


def is_awaited(tx: Tx, name: str) -> bool:
    """Whether the host's compute service is there, or is expected back soon, and was not forced down."""
    row = tx.first(select(hosts.c.connected, hosts.c.last_heard, hosts.c.forced_down).where(hosts.c.name == name))
    if row is None or row.forced_down:
        return False
    return bool(row.connected) or _awaited(row.last_heard, tx.now)


def agents(tx: Tx, settings: Settings) -> list[Agent]:
    """What the Network API lists as agents: of hosts whose agent ever connected."""
    mechanisms = mechanisms_by_name(settings.mechanism_drivers)
    return [agent for host in all_hosts(tx, settings) for agent in agents_of(host, mechanisms)]


def agents_of(host: Host, mechanisms: Sequence[Mechanism]) -> list[Agent]:
    """The agents that one host stands for; none before it connected."""
    if host.hello is None:
        return []
    kinds: list[tuple[AgentKind, Mechanism | None]] = [
        (each.agent, each) for each in mechanisms if each.name in host.mechanism_drivers
    ]
    kinds += [(kind, None) for role in host.roles for kind in _AGENTS.get(role, ())]
    return [
        Agent(host_id(host.name, kind.binary), kind.binary, kind.agent_type, kind.topic, host, mechanism)
        for kind, mechanism in kinds
    ]


def l3_agent_of(host: Host) -> Agent:
    """The L3 agent of a host, which may be no network host (`rules.network.dvr_agents`)."""
    return Agent(host_id(host.name, _L3.binary), _L3.binary, _L3.agent_type, _L3.topic, host)


def agents_on(tx: Tx, settings: Settings, name: str) -> list[Agent]:
    """The agents of one host, by its name."""
    host = find(tx, settings, name)
    return [] if host is None else agents_of(host, mechanisms_by_name(settings.mechanism_drivers))


def find_agent(tx: Tx, settings: Settings, agent_id: str) -> Agent | None:
    """The agent with this id."""
    mechanisms = mechanisms_by_name(settings.mechanism_drivers)
    binaries = {each.agent.binary for each in mechanisms}
    binaries |= {kind.binary for kinds in _AGENTS.values() for kind in kinds}
    for name in tx.run(_NAMES).scalars():
        if any(host_id(name, binary) == agent_id for binary in binaries):
            host = find(tx, settings, name)
            return next((each for each in agents_of(host, mechanisms) if each.id == agent_id), None) if host else None
    return None


def network_hosts_for(
    tx: Tx,
    settings: Settings,
    object_id: str,
    agent: str,
    count: int | None,
    able: Callable[[Host], bool] = lambda host: True,
) -> list[str]:
    """Up to `count` hosts (None: all) that run DHCP or a router for a new object: living network hosts, those with the
    fewest ports first, whose `agent` nobody took down.

    Where none lives, the choice is made among the configured ones: what is placed there works as soon as the host
    connects. Empty when no host is configured for the role, or is `able`. Ties
    go by name, so that the choice can be repeated; `object_id` spreads objects over equally loaded hosts.
    """
    candidates = [
        host
        for host in all_hosts(tx, settings)
        if "network" in host.roles and agent not in host.disabled_agents and able(host)
    ]
    candidates = [host for host in candidates if host.alive] or candidates
    if len(candidates) > 1:
        loads = usage.amounts(tx, "host", "ports")
        candidates.sort(key=lambda host: (loads.get(host.name, 0), uuid.uuid5(_NAMESPACE, host.name + object_id).int))
    return [host.name for host in candidates[:count]]


def silent_network_hosts(tx: Tx) -> list[str]:
    """Names of network hosts that were here once and are not connected, in order."""
    return tx.scalars(select(hosts.c.name).where(_plays("network"), ~hosts.c.connected).order_by(hosts.c.name))


def peers(tx: Tx, settings: Settings, names: Collection[str] | None = None) -> list[TunnelPeer]:
    """Tunnel endpoints of the hosts of these names (None: of all), those that have one, by name."""
    statement = select(hosts.c.name, hosts.c.hello)
    rows: dict[str, Any] = {}
    for start in range(0, len(names or ()), _NAMES_AT_ONCE):
        some = sorted(names or ())[start : start + _NAMES_AT_ONCE]
        rows |= {row.name: row.hello for row in tx.all(statement.where(hosts.c.name.in_(some)))}
    if names is None:
        rows = {row.name: row.hello for row in tx.all(statement)}
        names = {*settings.hosts, *rows}
    found = []
    for name in sorted(names):
        entry = settings.hosts.get(name)
        hello = msgspec.convert(rows[name], Hello) if name in rows else None
        tunnel_ip = (hello.tunnel_ip if hello is not None else None) or (entry.tunnel_ip if entry is not None else None)
        if tunnel_ip is not None:
            found.append(TunnelPeer(name, tunnel_ip, hello.tunnel_types if hello is not None else ("vxlan",)))
    return found


# --- what connections write ------------------------------------------------------------------------------------------


def greet(tx: Tx, hello: Hello) -> None:
    """Record that the host's agent connected and what it is. Its peers hear of it when an address changed, Placement
    of what it has."""
    row = tx.first(select(hosts).where(hosts.c.name == hello.host))
    said = msgspec.to_builtins(hello)
    values = {"connected": True, "last_heard": _text(tx.now), "started_at": hello.started_at or None, "hello": said}
    if row is None:
        tx.insert(
            hosts,
            {
                "name": hello.host,
                "id": host_id(hello.host),
                "realised_revision": 0,
                "usage": {},
                "problems": [],
                "disabled_services": {},
                "agent_descriptions": {},
                "disabled_agents": [],
                **values,
            },
        )
    else:
        used = {key: value for key, value in row.usage.items() if key != _BACKENDS}
        tx.execute(update(hosts).where(hosts.c.name == hello.host).values(**values, usage=used, problems=[]))
    if row is None or any(row.hello.get(key) != said.get(key) for key in ("tunnel_ip", "tunnel_types")):
        tx.changed("host", hello.host)
    placement.report(tx, host_id(hello.host), hello)


def heard(tx: Tx, name: str, used: Heartbeat | None = None) -> None:
    """Record a sign of life."""
    if used is None:
        tx.run(_HEARD, {"host": name, "now": _text(tx.now)})
        return
    said = {
        "memory_used_mib": used.memory_used_mib, "disk_used_gib": used.disk_used_gib, "running_vms": used.running_vms,
        _BACKENDS: msgspec.to_builtins(used.volume_backends),
    }  # fmt: skip
    tx.run(_BEAT, {"host": name, "now": _text(tx.now), "said": said})


def realised(tx: Tx, name: str, revision: int, problems: tuple[tuple[str, str], ...]) -> None:
    """Record the revision that the host has carried out, and the rows that it could not make."""
    said = {"host": name, "done": revision, "said": [list(pair) for pair in problems], "now": _text(tx.now)}
    tx.run(_REALISED, said)


def disconnected(tx: Tx, name: str) -> None:
    tx.execute(update(hosts).where(hosts.c.name == name).values(connected=False))


def reset(tx: Tx) -> None:
    """No host is connected: for the start of the API. Those that were when it ended are awaited from now on."""
    tx.execute(update(hosts).where(hosts.c.connected).values(connected=False, last_heard=_text(tx.now)))


def forget(tx: Tx, name: str) -> None:
    """The host has left the cloud for good. Its peers hear of it, and Placement, where nothing may be taken of it."""
    tx.execute(delete(hosts).where(hosts.c.name == name))
    tx.changed("host", name, deleted=True)
    placement.remove(tx, host_id(name))


def disable_service(tx: Tx, name: str, binary: str, reason: str | None) -> None:
    """Take no new servers there (`reason` may be empty); None for `reason` enables again."""
    row = tx.first(select(hosts.c.disabled_services).where(hosts.c.name == name))
    if row is None:
        return
    services = {key: value for key, value in row.disabled_services.items() if key != binary}
    if reason is not None:
        services[binary] = reason
    tx.execute(update(hosts).where(hosts.c.name == name).values(disabled_services=services))


def force_down(tx: Tx, name: str, down: bool) -> None:
    """Take the host's compute service for down, whatever the host says; or believe it again."""
    tx.execute(update(hosts).where(hosts.c.name == name).values(forced_down=down))


def describe_agent(tx: Tx, agent: Agent, description: str | None) -> None:
    """Keep what an administrator says of an agent."""
    told = {**agent.host.agent_descriptions, agent.binary: description}
    tx.execute(update(hosts).where(hosts.c.name == agent.host.name).values(agent_descriptions=told))


def enable_agent(tx: Tx, agent: Agent, enabled: bool) -> None:
    """Let the agent get networks or routers to serve, or nothing new. What it serves already it goes on to serve."""
    disabled = agent.host.disabled_agents - {agent.binary} if enabled else agent.host.disabled_agents | {agent.binary}
    tx.execute(update(hosts).where(hosts.c.name == agent.host.name).values(disabled_agents=sorted(disabled)))


def _host(name: str, row: Mapping[str, Any] | None, entry: HostEntry | None, now: datetime) -> Host:
    if row is None:
        roles = () if entry is None else entry.roles
        return Host(
            name, host_id(name), roles, False, False, False, None if entry is None else entry.tunnel_ip,
            {} if entry is None else entry.bridge_mappings, () if entry is None else entry.mechanism_drivers, None, {},
            None, None, 0, (), {},
        )  # fmt: skip
    hello = _hello_of(row["hello"])
    return Host(
        name=name,
        id=host_id(name),
        roles=hello.roles,
        alive=bool(row["connected"]),
        awaited=_awaited(row["last_heard"], now),
        connected=bool(row["connected"]),
        tunnel_ip=hello.tunnel_ip or (entry.tunnel_ip if entry is not None else None),
        bridge_mappings=hello.bridge_mappings or (entry.bridge_mappings if entry is not None else {}),
        mechanism_drivers=hello.mechanism_drivers,
        hello=hello,
        usage=row["usage"],
        last_heard=row["last_heard"],
        started_at=row["started_at"],
        realised_revision=row["realised_revision"],
        problems=tuple((str(what), str(why)) for what, why in row["problems"]),
        disabled_services=row["disabled_services"],
        forced_down=bool(row["forced_down"]),
        agent_descriptions=row["agent_descriptions"],
        disabled_agents=frozenset(row["disabled_agents"]),
        lacks=frozenset(hello.lacks),
    )


@functools.lru_cache(maxsize=8192)
def _hello_of(text: str) -> Hello:
    """What a host said of itself. A list of all hosts is read often, and a host says the same for days."""
    return msgspec.json.decode(text, type=Hello)


def _awaited(last_heard: str | None, now: datetime) -> bool:
    # Without its sign, or a host gone for good would be awaited for as long as the wall clock was set back.
    return last_heard is not None and abs(now - datetime.fromisoformat(last_heard)) <= timedelta(seconds=ALIVE_S)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
