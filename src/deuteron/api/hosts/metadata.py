"""The metadata service at 169.254.169.254 and fe80::a9fe:a9fe, as EC2 and OpenStack shape it.

A guest's request reaches the agent of its host through the router's or the DHCP namespace; the agent passes it on
with the guest's address and the network it came from: by its id (DHCP), by the router and the router's own address
that the request arrived at, which is on one of the router's networks (IPv4), or by the router and the network (IPv6).
A guest's address is believed on the network where anti-spoofing holds the guest to it, and on no other: a router's
owner may route answers for any address anywhere. Network and address name one port, a link-local IPv6 address by the
MAC that it is made of; it is the server's whose interface it is, whatever server the port's `device_id`, which is a
user's to write, names.

    /                                   EC2 versions
    /latest/meta-data/public-keys/0/    a tree: a name with children ends with a slash in lists
    /openstack/latest/meta_data.json    OpenStack's documents

Source: nova/api/metadata/base.py, nova/api/metadata/handler.py; cloud-init sources DataSourceEc2, DataSourceOpenStack.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.hub.hub import host_of
from deuteron.model.compute import Flavor, Nic
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.network import DHCP, ROUTER_INTERFACE
from deuteron.store import query
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    floatingips,
    ip_allocations,
    networks,
    ports,
    routers,
    security_groups,
    subnets,
)
from deuteron.store.query import Values

EC2_VERSIONS: Final = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04",
)  # fmt: skip
OPENSTACK_VERSIONS: Final = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27",
    "2020-10-14",
)  # fmt: skip
_TEXT: Final = "text/plain; charset=UTF-8"
_BYTES: Final = "application/octet-stream"
ZONE: Final = "nova"


@dataclass(frozen=True)
class Subject:
    """The server that asks, and what is plugged into it in the order of its devices."""

    row: Any
    flavor: Flavor
    ports: list[Values]
    domain: str

    @property
    def fqdn(self) -> str:
        """Host name with the domain that DHCP announces."""
        return f"{self.row.hostname}.{self.domain}" if self.domain else str(self.row.hostname)

    @property
    def user_data(self) -> bytes | None:
        return None if not self.row.user_data else base64.b64decode(self.row.user_data)


def answer(call: Call, tx: Tx) -> Reply:
    """GET /internal/metadata/…. Raises: NotFound for a path that is not there, or a guest nobody knows."""
    path = [part for part in call.params["rest"].split("/") if part]
    if not path:
        return _lines([*EC2_VERSIONS, "latest"])
    if path == ["openstack"]:
        return _lines([*OPENSTACK_VERSIONS, "latest"])
    subject = _subject(call, tx)
    if path[0] == "openstack":
        return _openstack(tx, subject, path[1:])
    if path[0] not in (*EC2_VERSIONS, "latest"):
        raise _unknown(path)
    node: Any = {"meta-data": ec2_tree(tx, subject)}
    if subject.user_data is not None:
        node["user-data"] = subject.user_data
    return _walk(node, path[1:], path)


def _subject(call: Call, tx: Tx) -> Subject:
    said = call.headers.get("x-forwarded-for", "").split(",")[0].strip()
    try:
        if "%" in said:
            raise ValueError("a zone means something on the host only")
        address = ipaddress.ip_address(said)
    except ValueError:
        raise BadRequest(f"X-Forwarded-For is {said!r}: the guest's address is expected") from None
    network, router = call.headers.get("x-neutron-network-id"), call.headers.get("x-neutron-router-id")
    asking = host_of(call.settings, call.headers.get("authorization", ""))
    owned = (ports.c["device_id"] == router, ports.c["device_owner"] == ROUTER_INTERFACE, routers.c["host"] == asking)
    if network and router:
        through = select(ports.c["network_id"]).join(routers, routers.c["id"] == ports.c["device_id"])
        reached: list[str] = tx.scalars(through.where(*owned, ports.c["network_id"] == network).distinct())
    elif network:
        serves = ports.c["network_id"] == network, ports.c["device_owner"] == DHCP, ports.c["binding:host_id"] == asking
        reached = tx.scalars(select(ports.c["network_id"]).where(*serves).distinct())
    elif router:
        arrived_at = call.headers.get("x-forwarded-to", "")
        reached = tx.scalars(
            select(ports.c["network_id"])
            .join(ip_allocations, ip_allocations.c.port_id == ports.c["id"])
            .join(routers, routers.c["id"] == ports.c["device_id"])
            .where(*owned, ip_allocations.c.ip_address == arrived_at)
            .distinct()
        )
    else:
        raise BadRequest("neither X-Neutron-Network-ID nor X-Neutron-Router-ID is given")
    asks = select(ports.c["id"], ports.c["device_id"]).where(ports.c["network_id"].in_(reached))
    if address.version == 6 and address.is_link_local:
        asks = asks.where(ports.c["mac_address"] == _mac_of(address))
    else:
        asks = asks.join(ip_allocations, ip_allocations.c.port_id == ports.c["id"])
        asks = asks.where(ip_allocations.c.ip_address == str(address))
    port = tx.first(asks)
    row = None if port is None else tx.first(select(servers).where(servers.c["id"] == (port.device_id or "")))
    nics = [] if row is None else msgspec.convert(row.nics or [], list[Nic])
    if port is None or row is None or all(nic.port_id != port.id for nic in nics):
        raise NotFound(f"no server has address {address} there")
    return subject_of(call, tx, row)


def subject_of(call: Call, tx: Tx, row: Any) -> Subject:
    """The server of a row of `servers`."""
    found = {port["id"]: port for port in query.rows(tx, ports, ports.c["device_id"] == row.id)}
    plugged = [found[nic.port_id] for nic in msgspec.convert(row.nics or [], list[Nic]) if nic.port_id in found]
    return Subject(row, msgspec.convert(row.flavor, Flavor), plugged, call.settings.dns_domain)


def _mac_of(address: ipaddress.IPv6Address) -> str:
    """The MAC of which a link-local address was made (RFC 4291 appendix A); "" for one that was made otherwise.

    Anti-spoofing lets a guest have the one made of its own MAC.
    """
    if address not in ipaddress.IPv6Network("fe80::/64") or address.packed[11:13] != b"\xff\xfe":
        return ""
    octets = bytes([address.packed[8] ^ 2, *address.packed[9:11], *address.packed[13:]])
    return octets.hex(":")


# --- EC2 --------------------------------------------------------------------------------------------------------------


class _Named(dict[str, Any]):
    """A node whose list shows `label` in place of its name: `0=mykey`."""

    def __init__(self, label: str, children: dict[str, Any]) -> None:
        super().__init__(children)
        self.label = label


def ec2_tree(tx: Tx, subject: Subject) -> dict[str, Any]:
    """What EC2 calls meta-data: names to texts, or to further names."""
    row = subject.row
    fixed = [ip["ip_address"] for port in subject.ports for ip in port["fixed_ips"] if ":" not in ip["ip_address"]]
    port_ids = [port["id"] for port in subject.ports]
    public = tx.scalar(
        select(floatingips.c["floating_ip_address"]).where(floatingips.c["port_id"].in_(port_ids)).limit(1)
    )
    group_ids = {group for port in subject.ports for group in port["security_groups"] or ()}
    names = tx.scalars(
        select(security_groups.c["name"])
        .where(security_groups.c["id"].in_(group_ids))
        .order_by(security_groups.c["name"])
    )
    mapping = {"ami": "vda", "root": "/dev/vda"}
    if subject.flavor.ephemeral:
        mapping["ephemeral0"] = "/dev/vdb"
    if subject.flavor.swap:
        mapping["swap"] = "/dev/vdc" if subject.flavor.ephemeral else "/dev/vdb"
    tree: dict[str, Any] = {
        "ami-id": _short("ami", row.image_id),
        "ami-launch-index": str(row.launch_index),
        "ami-manifest-path": "FIXME",  # the very word that Nova answers
        "block-device-mapping": mapping,
        "hostname": subject.fqdn,
        "instance-action": "none",
        "instance-id": "i-" + row.id.replace("-", "")[:8],
        "instance-type": subject.flavor.name,
        "local-hostname": subject.fqdn,
        "local-ipv4": fixed[0] if fixed else "",
        "mac": subject.ports[0]["mac_address"] if subject.ports else "",
        "placement": {"availability-zone": ZONE},
        "public-hostname": subject.fqdn,
        "public-ipv4": public or "",
        "reservation-id": row.reservation_id,
        "security-groups": names,
    }
    if row.key_data:
        tree["public-keys"] = {"0": _Named(f"0={row.key_name}", {"openssh-key": row.key_data})}
    if row.kernel:
        tree["kernel-id"] = _short("aki", row.kernel["id"])
    if row.ramdisk:
        tree["ramdisk-id"] = _short("ari", row.ramdisk["id"])
    return tree


def _walk(node: Any, path: list[str], whole: list[str]) -> Reply:
    for part in path:
        if not isinstance(node, dict) or part not in node:
            raise _unknown(whole)
        node = node[part]
    if isinstance(node, bytes):
        return Reply(200, node, {}, _BYTES)
    if isinstance(node, str):
        return Reply(200, node.encode(), {}, _TEXT)
    if isinstance(node, list):
        return _lines(node)
    return _lines(
        [
            child.label if isinstance(child, _Named) else f"{name}/" if isinstance(child, dict) else name
            for name, child in sorted(node.items())
        ]
    )


def _short(prefix: str, id: str | None) -> str:
    """EC2's short id of an object: the same for the same object."""
    return f"{prefix}-{hashlib.sha256((id or '').encode()).hexdigest()[:8]}"


# --- OpenStack --------------------------------------------------------------------------------------------------------


def _openstack(tx: Tx, subject: Subject, path: list[str]) -> Reply:
    if path[0] not in (*OPENSTACK_VERSIONS, "latest"):
        raise _unknown(["openstack", *path])
    names = document_names(subject)
    if len(path) == 1:
        return _lines(names)
    name = path[1]
    if len(path) > 2 or name not in names:
        raise _unknown(["openstack", *path])
    kind = _BYTES if name == "user_data" else _TEXT if name == "password" else "application/json"
    return Reply(200, document(tx, subject, name), {}, kind)


def document_names(subject: Subject) -> list[str]:
    """The documents of each version below /openstack, in the order of Nova's list."""
    names = ["meta_data.json", *(["user_data"] if subject.user_data is not None else []), "password"]
    return [*names, "vendor_data.json", "network_data.json", "vendor_data2.json"]


def document(tx: Tx, subject: Subject, name: str, more: dict[str, Any] | None = None) -> bytes:
    """One of `document_names`; `more` is what its meta_data.json says beyond that of every server."""
    if name == "meta_data.json":
        return msgspec.json.encode({**_meta_data(tx, subject), **(more or {})})
    if name == "network_data.json":
        return msgspec.json.encode(_network_data(tx, subject))
    if name == "user_data":
        return subject.user_data or b""
    return b"" if name == "password" else b"{}"


def _meta_data(tx: Tx, subject: Subject) -> dict[str, Any]:
    row = subject.row
    document: dict[str, Any] = {
        "uuid": row.id,
        "name": row.name,
        "hostname": subject.fqdn,
        "launch_index": row.launch_index,
        "availability_zone": ZONE,
        "project_id": row.project_id,
        "devices": [],
        "dedicated_cpus": [],
        "random_seed": base64.b64encode(secrets.token_bytes(512)).decode(),
    }
    if row.metadata:
        document["meta"] = row.metadata
    if row.key_data:
        document["public_keys"] = {row.key_name: row.key_data}
        document["keys"] = [{"name": row.key_name, "type": row.key_type or "ssh", "data": row.key_data}]
    return document


def _network_data(tx: Tx, subject: Subject) -> dict[str, Any]:
    links: list[dict[str, Any]] = []
    nets: list[dict[str, Any]] = []
    services: dict[str, None] = {}
    network_ids = {port["network_id"] for port in subject.ports}
    rows = {row["id"]: row for row in query.rows(tx, subnets, subnets.c["network_id"].in_(network_ids))}
    sizes = tx.all(select(networks.c["id"], networks.c["mtu"]).where(networks.c["id"].in_(network_ids)))
    mtus = {row.id: row.mtu for row in sizes}
    for port in subject.ports:
        link = f"tap{port['id'][:11]}"
        links.append(
            {
                "id": link,
                "vif_id": port["id"],
                "type": "ovs",
                "mtu": mtus.get(port["network_id"]),
                "ethernet_mac_address": port["mac_address"],
            }
        )
        for ip in port["fixed_ips"]:
            subnet = rows.get(ip["subnet_id"])
            if subnet is not None:
                nets.append(_network(f"network{len(nets)}", link, port["network_id"], ip["ip_address"], subnet))
                services |= dict.fromkeys(subnet["dns_nameservers"] or ())
    return {"links": links, "networks": nets, "services": [{"type": "dns", "address": address} for address in services]}


def _network(id: str, link: str, network_id: str, address: str, subnet: Values) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": id, "link": link, "network_id": network_id}
    prefix = ipaddress.ip_network(subnet["cidr"])
    if subnet["enable_dhcp"]:
        kind = "ipv4_dhcp"
        if prefix.version == 6:
            kind = f"ipv6_{subnet['ipv6_address_mode']}" if subnet["ipv6_address_mode"] else "ipv6_dhcp"
        return {**shown, "type": kind}
    routes = [(route["destination"], route["nexthop"]) for route in subnet["host_routes"] or ()]
    if subnet["gateway_ip"]:
        routes.insert(0, ("0.0.0.0/0" if prefix.version == 4 else "::/0", subnet["gateway_ip"]))
    return {
        **shown,
        "type": f"ipv{prefix.version}",
        "ip_address": address,
        "netmask": str(prefix.netmask),
        "routes": [
            {
                "network": str(ipaddress.ip_network(destination).network_address),
                "netmask": str(ipaddress.ip_network(destination).netmask),
                "gateway": hop,
            }
            for destination, hop in routes
        ],
        "services": [{"type": "dns", "address": server} for server in subnet["dns_nameservers"] or ()],
    }


def _lines(names: list[str]) -> Reply:
    return Reply(200, "\n".join(names).encode(), {}, _TEXT)


def _unknown(path: list[str]) -> NotFound:
    return NotFound(f"there is no /{'/'.join(path)}")
