"""A stream of creates, updates and deletes that remembers what was acknowledged.

Each `Stream` is one client with objects of its own, so nobody else explains an answer. A request whose
connection broke is looked up once the API is back: it may have happened or not, but nothing between, and
from then on what was seen is as binding as what was acknowledged.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import Broken, Client

NETWORK = "/network/v2.0"
COMPUTE = "/compute/v2.1"
PATHS = {
    "network": f"{NETWORK}/networks", "subnet": f"{NETWORK}/subnets", "port": f"{NETWORK}/ports",
    "router": f"{NETWORK}/routers", "floatingip": f"{NETWORK}/floatingips",
    "security_group": f"{NETWORK}/security-groups", "security_group_rule": f"{NETWORK}/security-group-rules",
    "server": f"{COMPUTE}/servers",
}  # fmt: skip
MEAN_PAUSE_S = 0.03
MOST = {
    "network": 4, "port": 10, "router": 2, "floatingip": 3, "security_group": 3, "security_group_rule": 10,
}  # fmt: skip


@dataclass
class Thing:
    """An object that was acknowledged or seen, and the values it must have."""

    kind: str
    id: str
    values: dict[str, Any]
    parent: str = ""
    """The network of a subnet or port, the group of a rule, the subnet's network of an interface."""


@dataclass
class Settings:
    """What all streams share. `marker` names the field by which each kind is recognised: all have a description."""

    host: str
    public: str
    image: str
    flavor: str


@dataclass
class Stream:
    number: int
    client: Client
    dice: random.Random
    settings: Settings
    most_servers: int
    things: dict[str, Thing] = field(default_factory=dict)
    interfaces: set[tuple[str, str]] = field(default_factory=set)
    """(router, subnet) pairs."""
    leaving: dict[str, str] = field(default_factory=dict)
    """Servers whose deletion was accepted, and the network they are on."""
    counts: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    _serial: int = 0

    def run(self, stop: threading.Event) -> None:
        # With a pause, so that on two processors those who come back are not starved by those who ask.
        while not stop.wait(self.dice.uniform(0, 2 * MEAN_PAUSE_S)):
            self.step()

    def step(self) -> None:
        choices: list[Callable[[], str | None]] = [
            self._create_network, self._create_subnet, self._create_port, self._create_port, self._update, self._update,
            self._create_router, self._attach, self._attach, self._floating_ip, self._associate,
            self._create_group, self._create_rule, self._create_rule, self._delete, self._delete, self._detach,
        ]  # fmt: skip
        if self.most_servers and self.dice.random() < 0.05:
            choices = [self._delete_server if self.of("server") and self.dice.random() < 0.1 else self._create_server]
        done = self.dice.choice(choices)()
        if done is not None:
            self.counts[done] = self.counts.get(done, 0) + 1

    def of(self, kind: str) -> list[Thing]:
        return [thing for thing in self.things.values() if thing.kind == kind]

    # --- creates -----------------------------------------------------------------------------------------------------

    def _create(self, kind: str, values: dict[str, Any], parent: str = "") -> Thing | None:
        """Make an object. `description` (a server's `name`) tells it from all others, so that it can be found."""
        self._serial += 1
        mark = f"chaos-{self.number}-{self._serial}"
        field_name = "name" if kind == "server" else "description"
        values = {**values, field_name: mark}
        try:
            _, answer = self.client.call("POST", PATHS[kind], {kind: values})
            made = answer[kind]
        except Broken:
            self.broken += 1
            self.client.wait_back()
            path = f"{PATHS[kind]}?name=^{mark}$" if kind == "server" else f"{PATHS[kind]}?description={mark}"
            found = self.client.list(path)
            assert len(found) <= 1, f"one request made {len(found)} objects: {found}"
            if not found:
                return None
            made = found[0]
        thing = Thing(kind, made["id"], {field_name: mark}, parent)
        self.things[thing.id] = thing
        return thing

    def _create_network(self) -> str | None:
        if len(self.of("network")) >= MOST["network"]:
            return None
        network = self._create("network", {"name": f"chaos-{self.number}"})
        if network is not None:
            self._create_subnet(network)
        return "create network"

    def _create_subnet(self, network: Thing | None = None) -> str | None:
        candidates = [each for each in self.of("network") if self._subnets(each.id) < 2]
        if network is None and not candidates:
            return None
        network = network or self.dice.choice(candidates)
        self._serial += 1
        octets = f"10.{100 + self.number}.{self._serial % 256}"
        values = {"network_id": network.id, "cidr": f"{octets}.0/24", "ip_version": 4}
        subnet = self._create("subnet", values, network.id)
        if subnet is not None:
            subnet.values["cidr"] = f"{octets}.0/24"
        return "create subnet"

    def _create_port(self) -> str | None:
        networks = [network for network in self.of("network") if self._subnets(network.id)]
        if not networks or len(self.of("port")) >= MOST["port"]:
            return None
        network = self.dice.choice(networks)
        values: dict[str, Any] = {"network_id": network.id, "name": "first"}
        if self.dice.random() < 0.7:
            # As Nova does: the host makes its tap.
            values |= {"binding:host_id": self.settings.host, "device_owner": "compute:chaos", "device_id": "chaos"}
        groups = self.of("security_group")
        if groups and self.dice.random() < 0.5:
            values["security_groups"] = [self.dice.choice(groups).id]
        port = self._create("port", values, network.id)
        if port is not None:
            port.values |= {key: values[key] for key in ("name", "binding:host_id", "security_groups") if key in values}
            port.values.setdefault("binding:host_id", "")
        return "create port"

    def _create_router(self) -> str | None:
        if len(self.of("router")) >= MOST["router"]:
            return None
        gateway = {"network_id": self.settings.public}
        self._create("router", {"name": "first", "external_gateway_info": gateway})
        return "create router"

    def _create_group(self) -> str | None:
        if len(self.of("security_group")) >= MOST["security_group"]:
            return None
        self._create("security_group", {"name": "first"})
        return "create security group"

    def _create_rule(self) -> str | None:
        groups = self.of("security_group")
        if not groups or len(self.of("security_group_rule")) >= MOST["security_group_rule"]:
            return None
        group = self.dice.choice(groups)
        self._serial += 1
        values = {
            "security_group_id": group.id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
            "port_range_min": 1000 + self._serial, "port_range_max": 1000 + self._serial,
        }  # fmt: skip
        self._create("security_group_rule", values, group.id)
        return "create rule"

    def _floating_ip(self) -> str | None:
        if len(self.of("floatingip")) >= MOST["floatingip"]:
            return None
        made = self._create("floatingip", {"floating_network_id": self.settings.public})
        if made is not None:
            made.values["port_id"] = None
        return "create floating ip"

    def _create_server(self) -> str | None:
        self._forget_gone_servers()
        networks = [network for network in self.of("network") if self._subnets(network.id)]
        if len(self.of("server")) + len(self.leaving) >= self.most_servers or not networks:
            return None
        network = self.dice.choice(networks)
        settings = self.settings
        values = {"imageRef": settings.image, "flavorRef": settings.flavor, "networks": [{"uuid": network.id}]}
        self._create("server", values, network.id)
        return "create server"

    # --- changes -----------------------------------------------------------------------------------------------------

    def _change(self, thing: Thing, values: dict[str, Any]) -> None:
        try:
            self.client.call("PUT", f"{PATHS[thing.kind]}/{thing.id}", {thing.kind: values})
        except Broken:
            self.broken += 1
            self.client.wait_back()
            found = self._look(thing)
            assert found is not None, f"{thing.kind} {thing.id} was acknowledged, and is gone after an update"
            seen = {key: found[key] for key in values}
            before = {key: thing.values.get(key, seen[key]) for key in values}
            assert seen in (values, before), f"an update of {thing.kind} {thing.id} is half done: {seen}"
            values = seen
        thing.values.update(values)

    def _update(self) -> str | None:
        kinds = ("network", "subnet", "port", "router", "security_group")
        candidates = [thing for thing in self.things.values() if thing.kind in kinds]
        if not candidates:
            return None
        thing = self.dice.choice(candidates)
        self._serial += 1
        values: dict[str, Any] = {"name": f"name-{self._serial}"}
        if thing.kind == "subnet":
            values["dns_nameservers"] = [f"192.0.2.{self._serial % 200 + 1}"]
        elif thing.kind == "port" and self.dice.random() < 0.5:
            values["admin_state_up"] = not thing.values.get("admin_state_up", True)
        self._change(thing, values)
        return f"update {thing.kind}"

    def _associate(self) -> str | None:
        """Give a floating IP to a port behind a router, or take it away."""
        floating = self.of("floatingip")
        if not floating:
            return None
        chosen = self.dice.choice(floating)
        if chosen.values.get("port_id") is not None:
            self._change(chosen, {"port_id": None})
            return "disassociate"
        taken = {each.values.get("port_id") for each in floating}
        routed = {subnet for _, subnet in self.interfaces}
        free = [port for port in self.of("port") if port.id not in taken and self._first_subnet(port) in routed]
        if not free:
            return None
        self._change(chosen, {"port_id": self.dice.choice(free).id})
        return "associate"

    def _attach(self) -> str | None:
        attached = {subnet for _, subnet in self.interfaces}
        free = [subnet for subnet in self.of("subnet") if subnet.id not in attached]
        routers = self.of("router")
        if not free or not routers:
            return None
        router, subnet = self.dice.choice(routers), self.dice.choice(free)
        self._route(router.id, subnet.id, is_wanted=True)
        return "add interface"

    def _detach(self) -> str | None:
        # A floating IP needs the interface of its port's subnet.
        needed = {self._first_subnet(self.things[each.values["port_id"]]) for each in self.of("floatingip")
                  if each.values.get("port_id") in self.things}  # fmt: skip
        free = sorted(pair for pair in self.interfaces if pair[1] not in needed)
        if not free:
            return None
        self._route(*self.dice.choice(free), is_wanted=False)
        return "remove interface"

    def _route(self, router: str, subnet: str, *, is_wanted: bool) -> None:
        verb = "add" if is_wanted else "remove"
        try:
            self.client.call("PUT", f"{PATHS['router']}/{router}/{verb}_router_interface", {"subnet_id": subnet})
        except Broken:
            self.broken += 1
            self.client.wait_back()
            ports = self.client.list(f"{PATHS['port']}?device_id={router}")
            is_wanted = any(fixed["subnet_id"] == subnet for port in ports for fixed in port["fixed_ips"])
        (self.interfaces.add if is_wanted else self.interfaces.discard)((router, subnet))

    # --- deletes -----------------------------------------------------------------------------------------------------

    def _delete(self) -> str | None:
        self._forget_gone_servers()
        candidates = [thing for thing in self.things.values() if thing.kind != "server" and not self._is_used(thing)]
        if not candidates:
            return None
        thing = self.dice.choice(candidates)
        self.remove(thing)
        return f"delete {thing.kind}"

    def _delete_server(self) -> str | None:
        servers = self.of("server")
        if not servers:
            return None
        self.remove(self.dice.choice(servers))
        return "delete server"

    def remove(self, thing: Thing) -> None:
        try:
            self.client.call("DELETE", f"{PATHS[thing.kind]}/{thing.id}")
        except Broken:
            self.broken += 1
            self.client.wait_back()
            found = self._look(thing)
            if found is not None and found.get("OS-EXT-STS:task_state") != "deleting":
                return
        del self.things[thing.id]
        if thing.kind == "server":
            self.leaving[thing.id] = thing.parent
        if thing.kind == "network":
            for subnet in self.of("subnet"):
                if subnet.parent == thing.id:
                    del self.things[subnet.id]
        if thing.kind == "security_group":
            for rule in self.of("security_group_rule"):
                if rule.parent == thing.id:
                    del self.things[rule.id]
        if thing.kind == "port":
            for floating in self.of("floatingip"):
                if floating.values.get("port_id") == thing.id:
                    floating.values["port_id"] = None

    def _forget_gone_servers(self) -> None:
        if self.leaving:
            there = {server["id"] for server in self.client.list(PATHS["server"])}
            self.leaving = {id: network for id, network in self.leaving.items() if id in there}

    # --- reading -----------------------------------------------------------------------------------------------------

    def _look(self, thing: Thing) -> dict[str, Any] | None:
        while True:
            try:
                status, answer = self.client.call("GET", f"{PATHS[thing.kind]}/{thing.id}", accept=(404,))
            except Broken:
                self.client.wait_back()
                continue
            return None if status == 404 else answer[thing.kind]

    def _subnets(self, network: str) -> int:
        return sum(1 for subnet in self.of("subnet") if subnet.parent == network)

    def _first_subnet(self, port: Thing) -> str:
        """The subnet a port got its address from, as the API says it once; addresses never change here."""
        if "subnet" not in port.values:
            found = self._look(port)
            assert found is not None, f"port {port.id} was acknowledged, and is gone"
            return str(found["fixed_ips"][0]["subnet_id"]) if found["fixed_ips"] else ""
        return str(port.values["subnet"])

    def _is_used(self, thing: Thing) -> bool:
        """Whether the API would refuse to delete it."""
        if thing.kind == "network":
            attached = {subnet for _, subnet in self.interfaces}
            if any(subnet.parent == thing.id and subnet.id in attached for subnet in self.of("subnet")):
                return True
            users = [*self.of("port"), *self.of("server")]
            return any(user.parent == thing.id for user in users) or thing.id in self.leaving.values()
        if thing.kind == "subnet":
            users = [*self.of("port"), *self.of("server")]
            attached = {subnet for _, subnet in self.interfaces}
            return (
                thing.id in attached
                or any(user.parent == thing.parent for user in users)
                or (thing.parent in self.leaving.values())
            )
        if thing.kind == "router":
            return any(router == thing.id for router, _ in self.interfaces)
        if thing.kind == "security_group":
            return any(thing.id in port.values.get("security_groups", ()) for port in self.of("port"))
        return False
