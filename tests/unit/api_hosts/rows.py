"""Rows written as the services write them, without their APIs: so that tests of intents need no other service."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import delete, insert, select, update

from deuteron.api.parts import Parts
from deuteron.model.scalars import FloatingIpId
from deuteron.model.settings import HostEntry, Settings
from deuteron.rules.network import segments
from deuteron.store import query, slots
from deuteron.store.compute_tables import cached_images, servers
from deuteron.store.database import Tx
from deuteron.store.image_tables import images
from deuteron.store.network_tables import (
    TABLES,
    floatingips,
    networks,
    ports,
    routers,
    security_group_ports,
    security_group_rules,
    security_groups,
    subnets,
    trunk_ports,
)
from deuteron.store.volume_tables import backups, snapshots, volumes
from tests.stores import open_database

address_groups, qos_policies, qos_limits = TABLES["address_group"], TABLES["qos_policy"], TABLES["bandwidth_limit_rule"]
trunks = TABLES["trunk"]
local_ips, associations = TABLES["local_ip"], TABLES["local_ip_association"]
metering_labels, metering_rules = TABLES["metering_label"], TABLES["metering_label_rule"]
port_forwardings = TABLES["port_forwarding"]
logs = TABLES["log"]


def settings(state: Path, *hosts: str) -> Settings:
    return Settings(
        state_dir=str(state),
        port=1,
        socket=str(state / "api.sock"),
        admin_password="a",
        demo_password="d",
        hosts={host: HostEntry(token=f"token-{host}", tunnel_ip=f"10.0.1.{n}") for n, host in enumerate(hosts, 1)},
    )


def cloud(state: Path, *hosts: str) -> Parts:
    """A cloud with a store and settings, and nothing else: what intents are computed from."""
    return cast(Parts, SimpleNamespace(settings=settings(state, *hosts), database=open_database(state)))


class Rows:
    """Writes rows of the network and compute services in a transaction, each with its entry in the change log."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx

    def network(self, id: str, vlan: int = 1000, mtu: int = 1500, kind: str = "vlan") -> None:
        values: dict[str, Any] = {
            "id": id, "name": id, "project_id": "p", "mtu": mtu, "admin_state_up": True, "router:external": False,
            "provider:network_type": kind, "provider:physical_network": "physnet1" if kind == "vlan" else None,
            "provider:segmentation_id": vlan,
        }  # fmt: skip
        self.tx.execute(insert(networks), values)
        self.tx.changed("network", id)

    def segment(self, id: str, network_id: str, vlan: int = 2000, kind: str = "vlan") -> None:
        """A further segment of a network: hosts know it by its own id."""
        row = query.row_by_id(self.tx, networks, network_id)
        assert row is not None
        index = len(segments.lans_of(row))
        physical = "physnet2" if kind == "vlan" else None
        lan = {"network_type": kind, "physical_network": physical, "segmentation_id": vlan}
        of = {"id": id, "network_id": network_id, "segment_index": index, "place": physical or "", "number": vlan}
        self.tx.execute(insert(TABLES["segment"]), {**of, **lan})
        lans = [*segments.lans_of(row), {"id": id, "segment_id": id, **lan}]
        self.tx.execute(update(networks).where(networks.c["id"] == network_id).values({"lans": lans}))
        self.tx.changed("network", network_id)

    def set_mtu(self, id: str, mtu: int) -> None:
        self.tx.execute(update(networks).where(networks.c["id"] == id).values({"mtu": mtu}))
        self.tx.changed("network", id)

    def subnet(self, id: str, network_id: str, cidr: str = "10.10.10.0/24", gateway: str | None = "10.10.10.1") -> None:
        values: dict[str, Any] = {
            "id": id, "network_id": network_id, "project_id": "p", "cidr": cidr, "gateway_ip": gateway, "ip_version": 4,
            "enable_dhcp": True, "dns_nameservers": [], "host_routes": [],
        }  # fmt: skip
        self.tx.execute(insert(subnets), values)
        self.tx.changed("subnet", id)

    def delete_subnet(self, id: str) -> None:
        self.tx.execute(delete(subnets).where(subnets.c["id"] == id))
        self.tx.changed("subnet", id, deleted=True)

    def port(
        self,
        id: str,
        network_id: str,
        *,
        host: str | None = None,
        ips: tuple[tuple[str, str], ...] = (),
        groups: tuple[str, ...] = (),
        owner: str = "",
        device: str = "",
        lan: str | None = None,
    ) -> None:
        """`lan` is the segment that it is plugged into, where it is not the first of the network."""
        values: dict[str, Any] = {
            "id": id, "network_id": network_id, "project_id": "p", "mac_address": f"fa:16:3e:{_mac(id)}",
            "admin_state_up": True, "status": "DOWN", "device_owner": owner, "device_id": device,
            "fixed_ips": [{"subnet_id": subnet, "ip_address": ip} for subnet, ip in ips],
            "allowed_address_pairs": [], "extra_dhcp_opts": [], "security_groups": list(groups),
            "binding:host_id": host or "", "port_security_enabled": True,
        }  # fmt: skip
        self.tx.execute(insert(ports), values)
        for group in groups:
            self.tx.insert(security_group_ports, {"security_group_id": group, "port_id": id})
        if host is not None:
            slots.attach_port(self.tx, host, id, lan or network_id)
        self.tx.changed("port", id)

    def bind(self, id: str, host: str | None, lan: str | None = None) -> None:
        row = self.tx.first(select(ports).where(ports.c["id"] == id))
        assert row is not None
        slots.detach_port(self.tx, id)
        if host is not None:
            slots.attach_port(self.tx, host, id, lan or row.network_id)
        self._port(id, {"binding:host_id": host or "", "status": "DOWN"})

    def set_groups(self, id: str, groups: tuple[str, ...]) -> None:
        self.tx.execute(delete(security_group_ports).where(security_group_ports.c.port_id == id))
        for group in groups:
            self.tx.insert(security_group_ports, {"security_group_id": group, "port_id": id})
        self._port(id, {"security_groups": list(groups)})

    def set_ips(self, id: str, ips: tuple[tuple[str, str], ...]) -> None:
        self._port(id, {"fixed_ips": [{"subnet_id": subnet, "ip_address": ip} for subnet, ip in ips]})

    def trunk(self, id: str, parent: str) -> None:
        self.tx.execute(insert(trunks), {"id": id, "name": id, "project_id": "p", "port_id": parent, "sub_ports": []})
        self._place(parent, id, parent, 0)

    def join(self, port: str, trunk: str, tag: int) -> None:
        parent = self.tx.scalar(select(trunks.c.port_id).where(trunks.c.id == trunk))
        self._place(port, trunk, parent, tag)

    def leave(self, port: str) -> None:
        """A subport leaves its trunk; with its parent the trunk goes."""
        place = self.tx.first(select(trunk_ports).where(trunk_ports.c.port_id == port))
        if place is None:
            return
        members = trunk_ports.c.port_id == port if place.segmentation_id else trunk_ports.c.trunk_id == place.trunk_id
        for left in self.tx.scalars(select(trunk_ports.c.port_id).where(members)):
            self.tx.changed("port", left)
        self.tx.execute(delete(trunk_ports).where(members))
        if place.segmentation_id == 0:
            self.tx.execute(delete(trunks).where(trunks.c.id == place.trunk_id))
        self.tx.changed("trunk", place.trunk_id, deleted=place.segmentation_id == 0)

    def _place(self, port: str, trunk: str, parent: str, tag: int) -> None:
        place = {"port_id": port, "trunk_id": trunk, "parent_id": parent, "segmentation_id": tag}
        self.tx.insert(trunk_ports, place)
        self.tx.changed("trunk", trunk)
        if tag:
            self.tx.changed("port", port)

    def lead(self, id: str, port: str, address: str) -> None:
        """A local IP with this address leads to the port, and to no other."""
        self.tx.execute(insert(local_ips), {"id": id, "local_ip_address": address, "ip_mode": "translate"})
        values = {"local_ip_id": id, "local_ip_address": address, "fixed_port_id": port, "fixed_ip": address}
        self.tx.execute(insert(associations), {"id": f"{id}_{port}", **values})
        self.tx.changed("port", port)

    def lead_nowhere(self, port: str) -> None:
        self.tx.execute(delete(associations).where(associations.c.fixed_port_id == port))
        self.tx.changed("port", port)

    def delete_port(self, id: str) -> None:
        self.lead_nowhere(id)
        self.leave(id)
        slots.detach_port(self.tx, id)
        self.tx.execute(delete(security_group_ports).where(security_group_ports.c.port_id == id))
        self.tx.execute(delete(ports).where(ports.c["id"] == id))
        self.tx.changed("port", id, deleted=True)

    def _port(self, id: str, values: dict[str, Any]) -> None:
        self.tx.execute(update(ports).where(ports.c["id"] == id).values(values))
        self.tx.changed("port", id)

    def group(self, id: str) -> None:
        values: dict[str, Any] = {"id": id, "name": id, "project_id": "p", "stateful": True, "is_default": False}
        self.tx.execute(insert(security_groups), values)
        self.tx.changed("security_group", id)

    def qos_policy(self, id: str, kbps: int) -> None:
        self.tx.execute(insert(qos_policies), {"id": id, "name": id, "project_id": "p"})
        limit = {"id": f"{id}-limit", "qos_policy_id": id, "max_kbps": kbps, "direction": "egress"}
        self.tx.execute(insert(qos_limits), limit)
        self.tx.changed("qos_policy", id)

    def set_limit(self, id: str, kbps: int) -> None:
        self.tx.execute(update(qos_limits).where(qos_limits.c["qos_policy_id"] == id).values({"max_kbps": kbps}))
        self.tx.changed("qos_policy", id)

    def metering_label(self, id: str, shared: bool) -> None:
        self.tx.execute(insert(metering_labels), {"id": id, "name": id, "project_id": "p", "shared": shared})
        self.tx.changed("metering_label", id)

    def metering_rule(self, id: str, label: str) -> None:
        values = {"id": id, "metering_label_id": label, "direction": "egress", "source_ip_prefix": "10.0.0.0/8"}
        self.tx.execute(insert(metering_rules), {**values, "project_id": "p", "excluded": False})
        self.tx.changed("metering_label", label)

    def delete_metering_label(self, id: str) -> None:
        self.tx.execute(delete(metering_rules).where(metering_rules.c["metering_label_id"] == id))
        self.tx.execute(delete(metering_labels).where(metering_labels.c["id"] == id))
        self.tx.changed("metering_label", id, deleted=True)

    def log(self, id: str, port: str | None = None, group: str | None = None, project: str = "p") -> None:
        values = {"id": id, "project_id": project, "target_id": port, "resource_id": group, "event": "ALL"}
        self.tx.execute(insert(logs), {**values, "resource_type": "security_group", "enabled": True})
        self.tx.changed("log", id)

    def turn_log(self, id: str, *, on: bool) -> None:
        self.tx.execute(update(logs).where(logs.c.id == id).values(enabled=on))
        self.tx.changed("log", id)

    def delete_log(self, id: str) -> None:
        self.tx.execute(delete(logs).where(logs.c.id == id))
        self.tx.changed("log", id, deleted=True)

    def obey(self, port: str, policy: str | None) -> None:
        self._port(port, {"qos_policy_id": policy})

    def network_obeys(self, network: str, policy: str | None) -> None:
        self.tx.execute(update(networks).where(networks.c["id"] == network).values({"qos_policy_id": policy}))
        self.tx.changed("network", network)

    def address_group(self, id: str, *addresses: str) -> None:
        values: dict[str, Any] = {"id": id, "name": id, "project_id": "p", "addresses": list(addresses)}
        self.tx.execute(insert(address_groups), values)
        self.tx.changed("address_group", id)

    def set_addresses(self, id: str, *addresses: str) -> None:
        self.tx.execute(update(address_groups).where(address_groups.c["id"] == id).values(addresses=list(addresses)))
        self.tx.changed("address_group", id)

    def rule(self, id: str, group: str, remote: str | None = None, addresses: str | None = None) -> None:
        values: dict[str, Any] = {
            "id": id, "security_group_id": group, "direction": "ingress", "ethertype": "IPv4",
            "remote_group_id": remote, "remote_address_group_id": addresses, "signature": id, "project_id": "p",
        }  # fmt: skip
        self.tx.execute(insert(security_group_rules), values)
        self.tx.changed("security_group_rule", id)

    def delete_rule(self, id: str) -> None:
        self.tx.execute(delete(security_group_rules).where(security_group_rules.c["id"] == id))
        self.tx.changed("security_group_rule", id, deleted=True)

    def router(self, id: str, host: str | None) -> None:
        self.tx.execute(insert(routers), {"id": id, "project_id": "p", "admin_state_up": True, "host": host})
        self.tx.changed("router", id)

    def move_router(self, id: str, host: str | None) -> None:
        self.tx.execute(update(routers).where(routers.c["id"] == id).values(host=host))
        self.tx.changed("router", id)

    def floating_ip(self, id: str, router: str, port: str, address: str, fixed: str) -> None:
        values: dict[str, Any] = {
            "id": id, "router_id": router, "port_id": port, "floating_ip_address": address, "fixed_ip_address": fixed,
            "floating_network_id": "ext", "floating_port_id": f"f-{id}", "project_id": "p",
        }  # fmt: skip
        self.tx.execute(insert(floatingips), values)
        self.tx.changed("floatingip", id)

    def forwarding_ip(self, id: str, router: str, address: str) -> None:
        """A floating IP that leads nowhere but by its ports."""
        values: dict[str, Any] = {
            "id": id, "router_id": router, "floating_ip_address": address, "floating_network_id": "ext",
            "floating_port_id": f"f-{id}", "project_id": "p",
        }  # fmt: skip
        self.tx.execute(insert(floatingips), values)
        self.tx.changed("floatingip", id)

    def forward(self, id: str, floating: str, port: str, number: int) -> None:
        ends = {f"{side}_{end}": number for side in ("external", "internal") for end in ("first", "last")}
        values = {"id": id, "floatingip_id": floating, "internal_port_id": port, "protocol": "tcp", **ends}
        self.tx.execute(insert(port_forwardings), {**values, "internal_ip_address": "10.0.0.2"})
        self.tx.changed("floatingip", floating)

    def limit_floating_ip(self, id: str, policy: str | None) -> None:
        if policy is None:
            slots.free_address(self.tx, FloatingIpId(id))
        else:
            slots.number_address(self.tx, FloatingIpId(id))
        self.tx.execute(update(floatingips).where(floatingips.c["id"] == id).values({"qos_policy_id": policy}))
        self.tx.changed("floatingip", id)

    def limit_gateway(self, router: str, gateway: str, policy: str | None) -> None:
        values = {"qos_policy_id": policy, "gateway_port_id": gateway}
        self.tx.execute(update(routers).where(routers.c["id"] == router).values(values))
        self.tx.changed("router", router)

    def delete_floating_ip(self, id: str) -> None:
        self.tx.execute(delete(port_forwardings).where(port_forwardings.c["floatingip_id"] == id))
        self.tx.execute(delete(floatingips).where(floatingips.c["id"] == id))
        self.tx.changed("floatingip", id, deleted=True)

    def server(
        self, id: str, host: str | None, port_ids: tuple[str, ...] = (), task: str | None = "scheduling"
    ) -> None:
        flavor = {"flavorid": "42", "name": "m1.nano", "vcpus": 1, "ram": 128, "disk": 1}
        values: dict[str, Any] = {
            "id": id, "number": next(_numbers), "name": id, "project_id": "p", "user_id": "u", "hostname": id,
            "host": host, "flavor": flavor, "power": "running", "reboot_generation": 0, "reboot_kind": "HARD",
            "build_generation": 0, "vm_state": "building", "task_state": task, "power_state": 0,
            "nics": [{"port_id": port, "owned": True} for port in port_ids],
        }  # fmt: skip
        self.tx.execute(insert(servers), values)
        self.tx.changed("server", id)

    def set_server(self, id: str, **values: Any) -> None:
        self.tx.execute(update(servers).where(servers.c["id"] == id).values(**values))
        self.tx.changed("server", id)

    def delete_server(self, id: str) -> None:
        self.tx.execute(delete(servers).where(servers.c["id"] == id))
        self.tx.changed("server", id, deleted=True)

    def volume(self, id: str, host: str | None) -> None:
        values = {"id": id, "size": 1, "status": "creating", "task": "create", "host": host, "project_id": "p"}
        self.tx.execute(insert(volumes), values)
        self.tx.changed("volume", id)

    def set_volume(self, id: str, **values: Any) -> None:
        self.tx.execute(update(volumes).where(volumes.c.id == id).values(**values))
        self.tx.changed("volume", id)

    def backup(self, id: str, volume: str) -> None:
        """Of a volume, on its host."""
        host = self.tx.scalar(select(volumes.c.host).where(volumes.c.id == volume))
        values = {"id": id, "volume_id": volume, "size": 1, "status": "creating", "task": "create", "host": host}
        self.tx.execute(insert(backups), values)
        self.tx.changed("backup", id)

    def image(self, id: str, status: str) -> None:
        plain = {"tags": [], "properties": {}, "protected": False, "os_hidden": False, "is_inspected": True}
        said = {"visibility": "private", "min_disk": 0, "min_ram": 0, "created_at": "", "updated_at": ""}
        own = {"id": id, "status": status, "disk_format": "raw", "size": 1}
        self.tx.execute(insert(images), {**own, **plain, **said})
        self.tx.changed("image", id)

    def set_image(self, id: str, **values: Any) -> None:
        self.tx.execute(update(images).where(images.c.id == id).values(**values))
        self.tx.changed("image", id)

    def delete_image(self, id: str) -> None:
        self.tx.execute(delete(images).where(images.c.id == id))
        self.tx.changed("image", id, deleted=True)

    def cache_image(self, id: str, host: str) -> None:
        mine = (cached_images.c.image_id == id, cached_images.c.host == host)
        self.tx.execute(delete(cached_images).where(*mine))
        self.tx.insert(cached_images, {"image_id": id, "host": host, "until": 1})
        self.tx.changed("cached_image", id)

    def set_backup(self, id: str, **values: Any) -> None:
        self.tx.execute(update(backups).where(backups.c.id == id).values(**values))
        self.tx.changed("backup", id)

    def snapshot(self, id: str, volume: str) -> None:
        """Of a volume, on its host."""
        host = self.tx.scalar(select(volumes.c.host).where(volumes.c.id == volume))
        values = {"id": id, "volume_id": volume, "size": 1, "status": "creating", "task": "create", "host": host}
        self.tx.execute(insert(snapshots), {**values, "project_id": "p"})
        self.tx.changed("volume_snapshot", id)

    def set_snapshot(self, id: str, **values: Any) -> None:
        self.tx.execute(update(snapshots).where(snapshots.c.id == id).values(**values))
        self.tx.changed("volume_snapshot", id)


_numbers = itertools.count(1)


def _mac(id: str) -> str:
    number = sum(ord(character) * 31**place for place, character in enumerate(id)) % 2**24
    return f"{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
