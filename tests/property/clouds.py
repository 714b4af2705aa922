"""Random clouds, made by requests to the real API as an administrator: what of them is refused is left out.

Networks of both families and several types, routers with and without gateways, groups and rules, floating IPs, address
pairs, ports that are down, unbound or unfiltered, address scopes, on two hosts; or distributed routers, on two or more.
What comes out is what a trace starts from: every host's intent, made by the hub from the rows, and the objects as the
API shows them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from deuteron.api.main import build
from deuteron.hub.whole import whole_intent
from deuteron.model.intent import LINUX_BRIDGE, MECHANISM, FirewallDriver, HostSettings
from deuteron.model.settings import External, HostEntry, NetworkOptions, Operator, Settings
from deuteron.trace.catalog import COLLECTIONS, Catalog
from deuteron.trace.ends import external_networks, prefixes
from deuteron.trace.world import Machine, World, gathered
from tests.stores import address_of
from tests.unit.api_compute.harness import Client, _login
from tests.unit.api_hosts.agent import FakeAgent

NET = "/network/v2.0"
HOSTS = {"h1": "10.0.1.1", "h2": "10.0.1.2"}
COMPUTE = {"h3": "10.0.1.3"}
"""Where routers are distributed there may be a host more, which runs no router of its own."""
Firewall = FirewallDriver | Literal["linuxbridge"]
MAPPINGS = {"physnet1": "br-eth2", "public": "br-ex"}
_INTERFACES = {"br-eth2": "eth2", "br-ex": "eth3"}


@dataclass
class Made:
    """A cloud as a trace sees it."""

    world: World
    catalog: Catalog


@asynccontextmanager
async def cloud(
    folder: Path, firewall: Firewall, *, is_distributed: bool = False, has_third: bool = False, is_wired: bool = True
) -> AsyncIterator[RandomCloud]:
    """An empty cloud with its external network, and agents that do what they are told.

    With the firewall `linuxbridge`, the second host runs that mechanism. Where routers are distributed, no host may run
    it, and there may be a third, which is on the external network's wire if it `is_wired`.
    """
    hosts = {**HOSTS, **COMPUTE} if has_third else HOSTS
    mappings = {name: MAPPINGS if name in HOSTS or is_wired else {"physnet1": "br-eth2"} for name in hosts}
    roles = {name: ("network", "compute", "storage") if name in HOSTS else ("compute",) for name in hosts}
    settings = Settings(
        state_dir=str(folder),
        port=5000,
        socket=str(folder / "api.sock"),
        admin_password="admin-secret",
        demo_password="demo-secret",
        database=address_of(folder),
        hosts={
            name: HostEntry(
                token=f"token-{name}",
                tunnel_ip=ip,
                bridge_mappings=mappings[name],
                roles=roles[name],
                **_runs(name, firewall),
            )
            for name, ip in hosts.items()
        },
        mechanism_drivers=(MECHANISM,) if is_distributed else (MECHANISM, LINUX_BRIDGE),
        operator=Operator(network=NetworkOptions(router_distributed=is_distributed)),
        flat_networks=("public",),
        external=External("public", "172.24.4.0/24", "172.24.4.1", ("172.24.4.10", "172.24.4.250")),
    )
    parts, app = build(settings)
    parts.hub.start(asyncio.get_running_loop())
    try:
        for host in hosts:
            agent = FakeAgent(parts, host)
            driver = "openvswitch" if firewall == LINUX_BRIDGE else firewall
            is_so = {"firewall_driver": driver, "bridge_mappings": mappings[host], "roles": roles[host]}
            agent.hello = msgspec.structs.replace(agent.hello, **is_so, **_runs(host, firewall))
            await agent.connect()
        yield RandomCloud(await _login(app, "admin"), parts, firewall, mappings)
    finally:
        await parts.hub.stop()
        await asyncio.to_thread(app._pool.shutdown)
        parts.database.close()


def _runs(host: str, firewall: Firewall) -> dict[str, Any]:
    """What a host of the cloud runs, as its entry, its hello and its settings say it."""
    if firewall == LINUX_BRIDGE and host == "h2":
        return {"mechanism_drivers": (LINUX_BRIDGE,)}
    return {"mechanism_drivers": (MECHANISM,)}


class RandomCloud:
    def __init__(self, admin: Client, parts: Any, firewall: Firewall, mappings: Mapping[str, dict[str, str]]) -> None:
        self._admin = admin
        self._parts = parts
        self._firewall = firewall
        self._mappings = mappings

    async def fill(self, dice: random.Random) -> None:
        """Make random objects."""
        await _Filling(self._admin, dice, tuple(self._mappings)).fill()

    async def dress(self, dice: random.Random) -> int:
        """Add what else changes plans: limits, logs, trunks, local IPs, forwarded ports and so on; how many."""
        return await _Dressing(self._admin, dice).dress()

    async def seen(self) -> Made:
        rows: dict[str, list[Any]] = {}
        for kind, collection in COLLECTIONS.items():
            if kind != "server":
                rows[kind] = (await self._admin.get(f"{NET}/{collection.replace('_', '-')}"))[collection]
        catalog = Catalog(rows)
        machines = {}
        with self._parts.database.read() as tx:
            for host, mappings in self._mappings.items():
                told = whole_intent(tx, self._parts.settings, host)
                bridge_ports = {bridge: _INTERFACES[bridge] for bridge in mappings.values()}
                settings = HostSettings(
                    host=host, state_dir="/state", api_socket="/api.sock", token="", bridge_mappings=mappings,
                    bridge_ports=bridge_ports, tunnel_ip={**HOSTS, **COMPUTE}[host],
                    firewall_driver="openvswitch" if self._firewall == LINUX_BRIDGE else self._firewall,
                    **_runs(host, self._firewall),
                )  # fmt: skip
                machines[host] = Machine(gathered(told.revision, told.objects), settings)
        return Made(World(machines, external_networks(catalog), frozenset(MAPPINGS), prefixes(catalog)), catalog)


class _Filling:
    def __init__(self, admin: Client, dice: random.Random, hosts: tuple[str, ...]) -> None:
        self._admin = admin
        self._dice = dice
        self._hosts = hosts
        self.refused = 0

    async def make(self, collection: str, **values: Any) -> dict[str, Any] | None:
        """The object, or None when the cloud refuses it."""
        one = (
            "policy"
            if collection == "policies"
            else collection.removesuffix("es" if collection.endswith("sses") else "s")
        )
        path = collection.replace("_", "-")
        answer = await self._admin.request("POST", f"{NET}/{path}", {one: values})
        assert answer.status < 500, answer.body
        if answer.status >= 300:
            self.refused += 1
            return None
        made: dict[str, Any] = answer.json[one]
        return made

    def chance(self, share: float) -> bool:
        return self._dice.random() < share

    async def fill(self) -> None:
        dice = self._dice
        public = next(row for row in (await self._admin.get(f"{NET}/networks"))["networks"] if row["router:external"])
        pools = await self._pools()
        subnets = []
        networks = []
        for number in range(dice.randint(2, 4)):
            made = await self.make(
                "networks",
                name=f"n{number}",
                admin_state_up=self.chance(0.95),
                port_security_enabled=self.chance(0.95),
                **{"provider:network_type": dice.choice(("vlan", "vxlan"))},
            )
            if made is not None:
                networks.append(made)
                subnets += await self._subnets(made, number, pools)
        groups = await self._groups()
        routers = await self._routers(public, subnets)
        ports = [port for port in [await self._port(networks, groups) for _ in range(dice.randint(5, 9))] if port]
        if self.chance(0.3):
            port = await self.make(
                "ports", network_id=public["id"], **{"binding:host_id": "h2"}, device_owner="compute:nova"
            )
            ports += [port] if port is not None else []
        for port in ports:
            if routers and self.chance(0.4):
                await self.make("floatingips", floating_network_id=public["id"], port_id=port["id"])
        if self.chance(0.3):
            await self.make("floatingips", floating_network_id=public["id"])

    async def _pools(self) -> list[dict[str, Any]]:
        found = []
        for number in range(self._dice.choice((0, 0, 0, 1, 2))):
            scope = await self.make("address_scopes", name=f"scope{number}", ip_version=4)
            pool = scope and await self.make(
                "subnetpools", name=f"pool{number}", prefixes=[f"10.{200 + number}.0.0/16"], default_prefixlen=24,
                address_scope_id=scope["id"],
            )  # fmt: skip
            if pool:
                found.append(pool)
        return found

    async def _subnets(self, network: dict[str, Any], number: int, pools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        dice, found = self._dice, []
        values: dict[str, Any] = {"network_id": network["id"], "ip_version": 4, "enable_dhcp": self.chance(0.8)}
        if pools and self.chance(0.6):
            values["subnetpool_id"] = dice.choice(pools)["id"]
        else:
            values["cidr"] = f"10.{number}.0.0/24"
        if self.chance(0.1):
            values["gateway_ip"] = None
        if self.chance(0.15):
            values["host_routes"] = [
                {"destination": f"10.{dice.randint(0, 4)}.0.0/24", "nexthop": f"10.{number}.0.{dice.randint(1, 9)}"}
            ]
        found.append(await self.make("subnets", **values))
        if self.chance(0.3):
            mode = dice.choice(("slaac", "dhcpv6-stateful"))
            modes = {"ipv6_ra_mode": mode, "ipv6_address_mode": mode} if self.chance(0.8) else {}
            found.append(
                await self.make("subnets", network_id=network["id"], ip_version=6, cidr=f"fd00:{number}::/64", **modes)
            )
        return [each for each in found if each is not None]

    async def _groups(self) -> list[str]:
        dice = self._dice
        groups = []
        for number in range(dice.randint(1, 3)):
            made = await self.make("security_groups", name=f"g{number}", stateful=self.chance(0.9))
            if made is not None:
                groups.append(made["id"])
                if self.chance(0.15):
                    for rule in made["security_group_rules"]:
                        await self._admin.request("DELETE", f"{NET}/security-group-rules/{rule['id']}")
        addresses = await self.make("address_groups", name="a", addresses=[f"10.{dice.randint(0, 3)}.0.0/28"])
        for id in groups:
            for _ in range(dice.randint(0, 4)):
                await self._rule(id, groups, addresses)
        return groups

    async def _rule(self, id: str, groups: list[str], addresses: dict[str, Any] | None) -> None:
        dice = self._dice
        values: dict[str, Any] = {
            "security_group_id": id,
            "direction": dice.choice(("ingress", "ingress", "egress")),
            "ethertype": dice.choice(("IPv4", "IPv4", "IPv6")),
        }
        protocol = dice.choice((None, "icmp", "tcp", "tcp", "udp"))
        if protocol is not None:
            values["protocol"] = protocol
        if protocol == "icmp" and self.chance(0.3):
            values["port_range_min"] = dice.choice((8, 0))
        elif protocol in ("tcp", "udp") and self.chance(0.7):
            low = dice.choice((22, 20, 53, 1))
            values |= {"port_range_min": low, "port_range_max": dice.choice((low, 100, 53 if low <= 53 else low))}
        how = dice.random()
        if how < 0.3:
            values["remote_group_id"] = dice.choice(groups)
        elif how < 0.4 and addresses is not None:
            values["remote_address_group_id"] = addresses["id"]
        elif how < 0.6 and values["ethertype"] == "IPv4":
            values["remote_ip_prefix"] = dice.choice(
                ("10.0.0.0/8", f"10.{dice.randint(0, 3)}.0.0/24", "172.24.4.0/24", "0.0.0.0/0")
            )
        await self.make("security_group_rules", **values)

    async def _routers(self, public: dict[str, Any], subnets: list[dict[str, Any]]) -> list[str]:
        dice, found = self._dice, []
        for number in range(dice.choice((0, 1, 1, 1, 2))):
            values: dict[str, Any] = {"name": f"r{number}", "admin_state_up": self.chance(0.93)}
            if self.chance(0.75):
                values["external_gateway_info"] = {"network_id": public["id"], "enable_snat": self.chance(0.75)}
            if len(self._hosts) > len(HOSTS):
                values["distributed"] = self.chance(0.85)  # beside some that are not
            made = await self.make("routers", **values)
            if made is None:
                continue
            found.append(made["id"])
            for subnet in subnets:
                if self.chance(0.7):
                    await self._interface(made["id"], subnet)
            if self.chance(0.2) and subnets:
                route = {
                    "destination": f"10.{dice.randint(0, 9)}.0.0/24",
                    "nexthop": f"10.{dice.randint(0, 3)}.0.{dice.randint(1, 9)}",
                }
                await self._admin.request("PUT", f"{NET}/routers/{made['id']}", {"router": {"routes": [route]}})
        return found

    async def _interface(self, router_id: str, subnet: dict[str, Any]) -> None:
        """By its subnet, which takes the gateway's address; or by a port with another."""
        body = {"subnet_id": subnet["id"]}
        if self.chance(0.2):
            port = await self.make("ports", network_id=subnet["network_id"], fixed_ips=[{"subnet_id": subnet["id"]}])
            if port is not None:
                body = {"port_id": port["id"]}
        answer = await self._admin.request("PUT", f"{NET}/routers/{router_id}/add_router_interface", body)
        assert answer.status < 500, answer.body

    async def _port(self, networks: list[dict[str, Any]], groups: list[str]) -> dict[str, Any] | None:
        dice = self._dice
        values: dict[str, Any] = {
            "network_id": dice.choice(networks)["id"],
            "device_owner": "compute:nova",
            "admin_state_up": self.chance(0.94),
            "security_groups": dice.sample(groups, min(len(groups), dice.choice((0, 1, 1, 1, 1, 1, 2))))
            if groups
            else [],
        }
        if self.chance(0.95):
            values["binding:host_id"] = dice.choice(self._hosts)
        if self.chance(0.15):
            values |= {"port_security_enabled": False, "security_groups": []}
        elif self.chance(0.2):
            prefix = dice.choice(("10.0.0.0/24", "10.9.9.9", "0.0.0.0/0"))
            values["allowed_address_pairs"] = [{"ip_address": prefix}]
        return await self.make("ports", **values)


class _Dressing:
    """Of every kind some; what the cloud refuses is left out."""

    def __init__(self, admin: Client, dice: random.Random) -> None:
        self._admin = admin
        self._dice = dice
        self._made = 0

    async def ask(self, method: str, path: str, one: str, **values: Any) -> dict[str, Any]:
        answer = await self._admin.request(method, f"{NET}/{path}", {one: values})
        assert answer.status < 500, answer.body
        if answer.status >= 300:
            return {}
        self._made += 1
        made: dict[str, Any] = answer.json.get(one, {})
        return made

    async def rows(self, collection: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._admin.get(f"{NET}/{collection}"))[collection.replace("-", "_")]
        return found

    async def dress(self) -> int:
        dice = self._dice
        networks = await self.rows("networks")
        inner = [row for row in networks if not row["router:external"]]
        public = next(row for row in networks if row["router:external"])
        guests = [row for row in await self.rows("ports") if row["device_owner"] == "compute:nova"]
        routers = await self.rows("routers")
        policy = await self.ask("POST", "qos/policies", "policy", name="slow")
        if policy:
            rules = f"qos/policies/{policy['id']}"
            for direction in ("egress", "ingress"):
                await self.ask(
                    "POST", f"{rules}/bandwidth_limit_rules", "bandwidth_limit_rule", max_kbps=1000, direction=direction
                )
                few = {"max_kpps": 1, "direction": direction}
                await self.ask("POST", f"{rules}/packet_rate_limit_rules", "packet_rate_limit_rule", **few)
            await self.ask("POST", f"{rules}/dscp_marking_rules", "dscp_marking_rule", dscp_mark=26)
            for row in dice.sample(guests, min(2, len(guests))):
                await self.ask("PUT", f"ports/{row['id']}", "port", qos_policy_id=policy["id"])
        await self.ask("POST", "log/logs", "log", resource_type="security_group", name="all")
        await self._translated(public, guests)
        for router in routers:
            body = {"protocol": "tcp", "helper": "ftp", "port": 21}
            await self.ask("POST", f"routers/{router['id']}/conntrack_helpers", "conntrack_helper", **body)
        label = await self.ask("POST", "metering/metering-labels", "metering_label", name="count")
        if label:
            rule = {"metering_label_id": label["id"], "direction": "egress", "source_ip_prefix": "10.0.0.0/8"}
            await self.ask("POST", "metering/metering-label-rules", "metering_label_rule", **rule)
        await self._trunk(inner)
        for row in dice.sample(guests, min(2, len(guests))):
            local = await self.ask("POST", "local_ips", "local_ip", network_id=row["network_id"], name="local")
            if local:
                path = f"local_ips/{local['id']}/port_associations"
                await self.ask("POST", path, "port_association", fixed_port_id=row["id"])
        return self._made

    async def _translated(self, public: dict[str, Any], guests: list[dict[str, Any]]) -> None:
        given = await self.ask("POST", "floatingips", "floatingip", floating_network_id=public["id"])
        for row in guests if given else ():
            ip = next((item["ip_address"] for item in row["fixed_ips"] if ":" not in item["ip_address"]), None)
            if ip is not None:
                body = {"protocol": "tcp", "internal_port_id": row["id"], "internal_ip_address": ip}
                numbers = {"internal_port": 22, "external_port": self._dice.randint(2000, 3000)}
                await self.ask(
                    "POST", f"floatingips/{given['id']}/port_forwardings", "port_forwarding", **body, **numbers
                )

    async def _trunk(self, inner: list[dict[str, Any]]) -> None:
        made = [await self.ask("POST", "ports", "port", network_id=self._dice.choice(inner)["id"]) for _ in range(2)]
        if inner and all(made):
            subport = {"port_id": made[1]["id"], "segmentation_type": "vlan", "segmentation_id": 101}
            await self.ask("POST", "trunks", "trunk", port_id=made[0]["id"], sub_ports=[subport])
            bound = {"binding:host_id": "h1", "device_owner": "compute:nova"}
            await self.ask("PUT", f"ports/{made[0]['id']}", "port", **bound)
