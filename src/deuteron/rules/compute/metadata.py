"""What a server is told of itself, as EC2 and OpenStack shape it: by the metadata service, and on its config drive.

Source: nova/api/metadata/base.py; cloud-init sources DataSourceEc2, DataSourceOpenStack.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Row, select

from deuteron.model.compute import Flavor, Nic
from deuteron.model.network.rows import PortRow, SubnetRow
from deuteron.model.settings import Settings
from deuteron.rules.compute import aggregates
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.network import guests
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

EC2_VERSIONS: Final = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04",
)  # fmt: skip
OPENSTACK_VERSIONS: Final = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27",
    "2020-10-14",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The server that asks, and what is plugged into it in the order of its devices."""

    row: Any
    flavor: Flavor
    ports: list[PortRow]
    domain: str

    @property
    def fqdn(self) -> str:
        """Host name with the domain that DHCP announces."""
        return f"{self.row.hostname}.{self.domain}" if self.domain else str(self.row.hostname)

    @property
    def user_data(self) -> bytes | None:
        return None if not self.row.user_data else base64.b64decode(self.row.user_data)


def server_at(tx: Tx, settings: Settings, asking: guests.Asking) -> Subject | None:
    """The server whose interface the port is: what the port's owner wrote of its device proves nothing."""
    row = tx.first(select(servers).where(servers.c["id"] == asking.device_id))
    if row is None or all(nic.port_id != asking.port_id for nic in msgspec.convert(row.nics or [], list[Nic])):
        return None
    return subject_of(tx, settings, row)


def server_on(tx: Tx, settings: Settings, host: str | None, server_id: str) -> Subject | None:
    """The server with this id, if it is on the host."""
    row = tx.first(select(servers).where(servers.c["id"] == server_id, servers.c["host"] == host))
    return None if row is None else subject_of(tx, settings, row)


def subject_of(tx: Tx, settings: Settings, row: Row[Any]) -> Subject:
    """The server of a row of `servers`."""
    found = guests.ports_of(tx, row.id)
    plugged = [found[nic.port_id] for nic in msgspec.convert(row.nics or [], list[Nic]) if nic.port_id in found]
    return Subject(row, msgspec.convert(row.flavor, Flavor), plugged, settings.dns_domain)


# --- EC2 --------------------------------------------------------------------------------------------------------------


class Labelled(dict[str, Any]):
    """A node whose list shows `label` in place of its name: `0=mykey`."""

    def __init__(self, label: str, children: dict[str, Any]) -> None:
        super().__init__(children)
        self.label = label


def ec2_tree(tx: Tx, subject: Subject) -> dict[str, Any]:
    """What EC2 calls meta-data: names to texts, or to further names."""
    row = subject.row
    fixed = [ip["ip_address"] for port in subject.ports for ip in port["fixed_ips"] if ":" not in ip["ip_address"]]
    public = guests.floating_address_of(tx, [port["id"] for port in subject.ports])
    group_ids = {group for port in subject.ports for group in port["security_groups"] or ()}
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
        "placement": {"availability-zone": _zone(tx, row)},
        "public-hostname": subject.fqdn,
        "public-ipv4": public or "",
        "reservation-id": row.reservation_id,
        "security-groups": guests.names_of_groups(tx, group_ids),
    }
    if row.key_data:
        tree["public-keys"] = {"0": Labelled(f"0={row.key_name}", {"openssh-key": row.key_data})}
    if row.kernel:
        tree["kernel-id"] = _short("aki", row.kernel["id"])
    if row.ramdisk:
        tree["ramdisk-id"] = _short("ari", row.ramdisk["id"])
    return tree


def _zone(tx: Tx, row: ServerRow) -> str:
    return aggregates.ZONE if row.host is None else aggregates.zone_of(tx, row.host)


def _short(prefix: str, id: str | None) -> str:
    """EC2's short id of an object: the same for the same object."""
    return f"{prefix}-{hashlib.sha256((id or '').encode()).hexdigest()[:8]}"


# --- OpenStack --------------------------------------------------------------------------------------------------------


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
    return (subject.row.password or "").encode() if name == "password" else b"{}"


def _meta_data(tx: Tx, subject: Subject) -> dict[str, Any]:
    row = subject.row
    document: dict[str, Any] = {
        "uuid": row.id,
        "name": row.name,
        "hostname": subject.fqdn,
        "launch_index": row.launch_index,
        "availability_zone": _zone(tx, row),
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
    subnets = guests.subnets_of(tx, network_ids)
    mtus = guests.mtus_of(tx, network_ids)
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
            subnet = subnets.get(ip["subnet_id"])
            if subnet is not None:
                nets.append(_network(f"network{len(nets)}", link, port["network_id"], ip["ip_address"], subnet))
                services |= dict.fromkeys(subnet["dns_nameservers"] or ())
    return {"links": links, "networks": nets, "services": [{"type": "dns", "address": address} for address in services]}


def _network(id: str, link: str, network_id: str, address: str, subnet: SubnetRow) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": id, "link": link, "network_id": network_id}
    prefix = ipaddress.ip_network(subnet["cidr"])
    if subnet["enable_dhcp"]:
        kind = "ipv4_dhcp"
        if prefix.version == 6:
            kind = f"ipv6_{subnet['ipv6_address_mode']}" if subnet["ipv6_address_mode"] else "ipv6_dhcp"
        return {**shown, "type": kind}
    routes: list[tuple[str, str]] = [(route["destination"], route["nexthop"]) for route in subnet["host_routes"] or ()]
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
