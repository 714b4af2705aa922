"""What the API asks the process that walks traces, and what that answers: one line of JSON each.

The walker (`deuteron.trace.__main__`) has no way to the cloud but these lines: it is told what every host should have,
the objects that who asks may see, and what is asked. It tells a project what is its own, and an administrator all.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from deuteron.model.intent import HostSettings
from deuteron.model.outside import ExternalNetwork

COLUMNS: Final = {
    "network": ("name", "project_id", "admin_state_up", "router:external"),
    "subnet": ("name", "project_id", "network_id", "cidr", "gateway_ip", "ip_version", "enable_dhcp", "host_routes"),
    "port": (
        "name", "project_id", "network_id", "admin_state_up", "status", "device_id", "device_owner", "fixed_ips",
        "allowed_address_pairs", "mac_address", "binding:vif_type",
    ),
    "router": ("name", "project_id"),
    "floatingip": ("project_id", "floating_ip_address", "floating_network_id", "port_id", "router_id"),
    "security_group": ("name", "project_id"),
    "trunk": ("name", "project_id"),
}  # fmt: skip
"""Kinds of the Network API's objects that a trace speaks of, and what it looks at of them, besides `id`."""

Refused = Literal["no-such-end", "ambiguous-end", "unfit-end", "not-followed"]


class TracedHost(msgspec.Struct, frozen=True):
    settings: HostSettings
    """Without what is secret."""
    intent: msgspec.Raw
    """What the host should have, volumes left out: a `Snapshot`."""


class FabricQuestion(msgspec.Struct, frozen=True, tag_field="asks", tag="fabric"):
    """What hosts should have of bridges, ports and namespaces."""

    hosts: tuple[TracedHost, ...] | None
    """All hosts; None for those of the question before."""


class TraceQuestion(msgspec.Struct, frozen=True, tag_field="asks", tag="trace"):
    hosts: tuple[TracedHost, ...] | None
    """All hosts; None for those of the question before."""
    rows: dict[str, list[dict[str, Any]]]
    """What who asks sees, by kind: of the kinds in `COLUMNS`, and `server` with id, name, project_id and status."""
    own: frozenset[str] | None
    """Ids of what belongs to the project that asks; None for an administrator, who is told all."""
    external: tuple[ExternalNetwork, ...]
    outside_wires: frozenset[str]
    guests: dict[str, str]
    """The status of every server that who asks sees, by id; all others are taken to run."""
    silent: frozenset[str]
    """Hosts whose agents do not answer."""
    source: str
    destination: str
    protocol: str
    size_bytes: int
    address: str | None = None
    gateway: str | None = None


class ToldHop(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place that the packet passes, as who asks may know it."""

    kind: str
    """guest, port, filter, switch, router, dhcp, tunnel, wire, outside or device."""
    host: str = ""
    place: str = ""
    rule: str = ""
    does: str = ""
    about: tuple[str, str] | None = None
    """Kind and id of the object that it is there for."""
    name: str = ""
    """Of that object."""


class ToldCause(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: str
    text: str
    hint: str = ""
    about: tuple[str, str] | None = None


class ToldTrace(msgspec.Struct, frozen=True):
    source: str
    destination: str
    packet: str
    verdict: str
    arrives: bool
    is_answered: bool
    cause: ToldCause | None
    there: tuple[ToldHop, ...]
    back: tuple[ToldHop, ...]
    notes: tuple[str, ...]


class TraceAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trace, or why there is none."""

    trace: ToldTrace | None = None
    refused: Refused | None = None
    message: str = ""


Question = FabricQuestion | TraceQuestion


class FabricPort(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    type: str
    """internal, patch, system, vxlan, gre, geneve; of a Linux bridge veth, tap, vlan or vxlan."""
    tag: int | None = None
    """The VLAN on this host of the port's network."""
    namespace: str = ""
    to: str = ""
    """The other end: of a patch, a veth or a tunnel."""
    port_id: str = ""
    """Of the Network API's port that it is there for."""


class FabricBridge(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["ovs", "linux"]
    ports: tuple[FabricPort, ...]


class FabricDevice(msgspec.Struct, frozen=True):
    name: str
    addresses: tuple[str, ...]


class FabricNamespace(msgspec.Struct, frozen=True):
    name: str
    devices: tuple[FabricDevice, ...]


class FabricHost(msgspec.Struct, frozen=True):
    name: str
    tunnel_ip: str
    wires: dict[str, str]
    """Physical network to the bridge that carries it."""
    bridges: tuple[FabricBridge, ...]
    namespaces: tuple[FabricNamespace, ...]


class FabricAnswer(msgspec.Struct, frozen=True):
    hosts: tuple[FabricHost, ...]
