"""Two members of two projects do what they may, in any order: nothing ends as what one request of theirs may not set.

Alice owns networks and shares some of them; Mallory uses them. Both make, change, plug, unplug and delete ports,
routers, floating IPs, servers and RBAC policies, with bodies that ask for more than they may. After every step, each
row of theirs is looked at: what policy guards has a value that its project could have asked for by itself, and what a
project uses it still has access to. An administrator does nothing after the beginning.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.model.compute import Nic
from deuteron.model.network import ROUTER_INTERFACE
from deuteron.rules.network.ports import serves
from deuteron.store import query
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    address_scopes,
    floatingips,
    networks,
    ports,
    rbac_policies,
    routers,
    security_groups,
    subnetpools,
    subnets,
)
from deuteron.store.query import Values
from tests.unit.api_compute.harness import Client, World, world

NET = "/network/v2.0"
NAMES = ("alice", "mallory")
OWNERS = ("", "compute:nova", "network:dhcp", ROUTER_INTERFACE, "network:router_gateway", "network:floatingip", "x")

KINDS = ("port", "router", "floatingip", "server", "rbac_policy")

HISTORIES = 30
STEPS = 60


class Cloud:
    """One cloud for all histories, in an event loop that runs when a request is made; each history has its own rows."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.world: World = self.run(self.stack.enter_async_context(world(folder)))
        self.agent = self.run(self.world.agent("h1", vcpus=10_000))
        self.people = {name: self.run(self._member(name)) for name in NAMES}
        self.images = {name: self.run(person.image()) for name, person in self.people.items()}
        made = self.admin("POST", "/networks", network={"router:external": True, "name": "outside"})
        self.outside: str = made["network"]["id"]
        outside = {"network_id": self.outside, "ip_version": 4, "cidr": "172.30.0.0/16", "enable_dhcp": False}
        self.admin("POST", "/subnets", subnet=outside)

    def run(self, work: Any) -> Any:
        return self.runner.run(asyncio.wait_for(work, 30))

    def close(self) -> None:
        self.run(self.agent.leave())
        self.run(self.stack.aclose())
        self.runner.close()

    def admin(self, method: str, path: str, **body: Any) -> Any:
        answer = self.run(self.world.admin.request(method, NET + path, body))
        assert answer.status < 300, answer.body
        return answer.json if answer.body else None

    async def _member(self, name: str) -> Client:
        admin = self.world.admin
        project = (await admin.post("/identity/v3/projects", {"project": {"name": name}}))["project"]["id"]
        user = {"name": name, "password": "secret"}
        user_id = (await admin.post("/identity/v3/users", {"user": user}))["user"]["id"]
        roles = (await admin.get("/identity/v3/roles?name=member"))["roles"]
        granted = f"/identity/v3/projects/{project}/users/{user_id}/roles/{roles[0]['id']}"
        assert (await admin.request("PUT", granted)).status == 204
        limits = dict.fromkeys(("network", "subnet", "port", "router", "floatingip", "rbac_policy"), -1)
        assert (await admin.request("PUT", f"{NET}/quotas/{project}", {"quota": limits})).status == 200
        more = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
        assert (await admin.request("PUT", f"/compute/v2.1/os-quota-sets/{project}", more)).status == 200
        identity = {"methods": ["password"], "password": {"user": {"id": user_id, "password": "secret"}}}
        auth = {"auth": {"identity": identity, "scope": {"project": {"id": project}}}}
        answer = await Client(admin.app).request("POST", "/identity/v3/auth/tokens", auth)
        assert answer.status == 201, answer.body
        return Client(admin.app, answer.headers["x-subject-token"], project, user_id)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with tempfile.TemporaryDirectory() as folder:
        made = Cloud(Path(folder))
        try:
            yield made
        finally:
            made.close()


class Members:
    """One history. What is asked for may be refused; that is never a defect, a 5xx is.

    Everything is chosen by `seed`, so a history that fails fails again; `told` says what was asked and answered.
    """

    def __init__(self, cloud: Cloud, seed: int) -> None:
        self.cloud = cloud
        self.r = random.Random(seed)
        self.told: list[str] = []
        self.has: dict[str, dict[str, str]] = {name: {} for name in KINDS}
        """Of each kind the ids that were made and not deleted, with who made them."""
        self.macs: dict[str, str] = {}
        self.networks: list[str] = []
        self.subnets: dict[str, str] = {}
        self.gateways: dict[str, str] = {}
        self.projects = {name: person.project_id for name, person in self.cloud.people.items()}
        self.commons = self.cloud.admin("POST", "/networks", network={"shared": True})["network"]["id"]
        self._subnet(None, self.commons, 1)
        for number, owner in enumerate(("alice", "alice", "mallory"), 2):
            made = self._ask(owner, "POST", "/networks", network={})
            self._subnet(owner, made["network"]["id"], number)
        # One of Alice's is shared with Mallory from the beginning, the other perhaps later.
        policy = {"object_type": "network", "object_id": self.networks[1], "action": "access_as_shared"}
        self._make("alice", "rbac_policy", **policy, target_tenant=self.projects["mallory"])
        for name in NAMES:
            self.make_router(name)
        self.actions: dict[Callable[[str], None], int] = {
            self.make_port: 5, self.change_port: 5, self.let_go_of_port: 5, self.delete_port: 1, self.make_router: 1,
            self.add_interface: 5, self.remove_interface: 1, self.set_gateway: 3, self.delete_router: 1,
            self.make_floatingip: 2, self.move_floatingip: 2, self.share: 2, self.share_with_another: 1,
            self.share_no_more: 2, self.change_network: 1, self.boot: 2, self.attach: 3, self.detach: 2,
            self.delete_server: 2,
        }  # fmt: skip

    def step(self) -> None:
        """Somebody does something, and everything is looked at."""
        (action,) = self.r.choices(list(self.actions), list(self.actions.values()))
        action(self.r.choice(("mallory", "mallory", "alice")))
        with self.cloud.world.cloud.database.read() as tx:
            self._look(tx)

    def _subnet(self, owner: str | None, network: str, number: int) -> None:
        self.networks.append(network)
        values = {"network_id": network, "ip_version": 4, "cidr": f"10.{number}.0.0/24"}
        made = self.cloud.admin("POST", "/subnets", subnet=values) if owner is None else None
        found = made or self._ask(owner or "", "POST", "/subnets", subnet=values)
        self.subnets[network] = found["subnet"]["id"]
        self.gateways[network] = found["subnet"]["gateway_ip"]

    def _ask(self, name: str, method: str, path: str, **body: Any) -> Any:
        """The answer's body, None when it is refused."""
        full = path if path.startswith("/compute") else NET + path
        answer = self.cloud.run(self.cloud.people[name].request(method, full, body or None))
        self.told.append(f"{name}: {method} {path} {body or ''}: {answer.status}")
        assert answer.status < 500, answer.body
        if answer.status >= 300:
            return None
        return answer.json if answer.body else {}

    def _make(self, name: str, kind: str, **values: Any) -> str | None:
        collection = {"rbac_policy": "rbac-policies"}.get(kind, f"{kind}s")
        made = self._ask(name, "POST", f"/{collection}", **{kind: values})
        if made is None:
            return None
        self.has[kind][made[kind]["id"]] = name
        return str(made[kind]["id"])

    def _one(self, kind: str, name: str) -> str:
        """One of the kind, mostly of one's own."""
        own = [found for found, maker in self.has[kind].items() if maker == name]
        known = own if own and self.r.random() < 0.9 else list(self.has[kind])
        return self.r.choice(known) if known else "00000000-0000-0000-0000-000000000000"

    def _gone(self, kind: str, name: str, path: str) -> str | None:
        """Delete one of the kind, unless that is refused; returns its id."""
        found = self._one(kind, name)
        if self._ask(name, "DELETE", f"{path}/{found}") is None:
            return None
        self.has[kind].pop(found, None)
        return found

    def _network(self) -> str:
        return self.r.choice(self.networks)

    def _interface(self, name: str) -> Values:
        if self.r.random() < 0.6:
            return {"port_id": self._one("port", name)}
        return {"subnet_id": self.subnets[self._network()]}

    def _wanted(self, network: str) -> Values:
        """What somebody might ask of a port: little of it may be asked for on another's network."""
        exact = [{"ip_address": self.gateways[network]}]
        some: dict[str, tuple[Any, ...]] = {
            "device_owner": OWNERS,
            "device_id": ("", "x", *self.has["router"], *self.has["server"]),
            "port_security_enabled": (False, True),
            "security_groups": ([],),
            "allowed_address_pairs": ([], [{"ip_address": "0.0.0.0/0"}]),
            "fixed_ips": ([], [{"subnet_id": self.subnets[network]}], exact),
            "mac_address": ("fa:16:3e:00:00:01",),
            "binding:host_id": ("h1",),
        }
        names = self.r.sample(sorted(some), self.r.choice((0, 1, 1, 2)))
        return {name: self.r.choice(some[name]) for name in names}

    # --- what members do ----------------------------------------------------------------------------------------------

    def make_port(self, name: str) -> None:
        where = self._network()
        self._make(name, "port", network_id=where, **(self._wanted(where) if self.r.random() < 0.5 else {}))

    def change_port(self, name: str) -> None:
        self._ask(name, "PUT", f"/ports/{self._one('port', name)}", port=self._wanted(self._network()))

    def let_go_of_port(self, name: str) -> None:
        names = self.r.choice((("device_id",), ("device_owner",), ("device_id", "device_owner")))
        self._ask(name, "PUT", f"/ports/{self._one('port', name)}", port=dict.fromkeys(names, ""))

    def delete_port(self, name: str) -> None:
        self._gone("port", name, "/ports")

    def make_router(self, name: str) -> None:
        self._make(name, "router")

    def add_interface(self, name: str) -> None:
        path = f"/routers/{self._one('router', name)}/add_router_interface"
        added = self._ask(name, "PUT", path, **self._interface(name))
        if added is not None:
            self.has["port"].setdefault(added["port_id"], name)

    def remove_interface(self, name: str) -> None:
        path = f"/routers/{self._one('router', name)}/remove_router_interface"
        removed = self._ask(name, "PUT", path, **self._interface(name))
        if removed is not None:
            self.has["port"].pop(removed["port_id"], None)

    def set_gateway(self, name: str) -> None:
        where = self.r.choice((None, self.cloud.outside, self.cloud.outside, self._network()))
        more = self.r.choice(({}, {}, {"enable_snat": False}, {"external_fixed_ips": [{"ip_address": "172.30.0.77"}]}))
        info = {} if where is None else {"network_id": where, **more}
        self._ask(name, "PUT", f"/routers/{self._one('router', name)}", router={"external_gateway_info": info})

    def delete_router(self, name: str) -> None:
        self._gone("router", name, "/routers")

    def make_floatingip(self, name: str) -> None:
        where = self.r.choice((self.cloud.outside, self.cloud.outside, self._network()))
        to = self.r.choice(({}, {"port_id": self._one("port", name)}))
        address = self.r.choice(({}, {}, {}, {"floating_ip_address": "172.30.0.88"}))
        self._make(name, "floatingip", floating_network_id=where, **to, **address)

    def move_floatingip(self, name: str) -> None:
        to = {"port_id": self.r.choice((None, *[self._one("port", name)] * 3))}
        self._ask(name, "PUT", f"/floatingips/{self._one('floatingip', name)}", floatingip=to)

    def share(self, name: str) -> None:
        action = self.r.choice(("access_as_shared", "access_as_external"))
        policy = {"object_type": "network", "object_id": self._network(), "action": action}
        self._make(name, "rbac_policy", **policy, target_tenant=self._target())

    def share_with_another(self, name: str) -> None:
        target = {"target_tenant": self._target()}
        self._ask(name, "PUT", f"/rbac-policies/{self._one('rbac_policy', name)}", rbac_policy=target)

    def share_no_more(self, name: str) -> None:
        self._gone("rbac_policy", name, "/rbac-policies")

    def _target(self) -> str:
        return self.r.choice((*self.projects.values(), "*"))

    def change_network(self, name: str) -> None:
        values = self.r.choice(
            ({"shared": True}, {"router:external": True}, {"provider:network_type": "flat"}, {"is_default": True})
        )
        self._ask(name, "PUT", f"/networks/{self._network()}", network=values)

    def boot(self, name: str) -> None:
        where = self._network()
        nic = self.r.choice(
            (
                {"uuid": where},
                {"uuid": where, "fixed_ip": self.gateways[where]},
                {"port": self._one("port", name)},
                {"port": self._one("port", name)},
            )
        )
        wanted = {"name": "vm", "flavorRef": "42", "imageRef": self.cloud.images[name], "networks": [nic]}
        made = self._ask(name, "POST", "/compute/v2.1/servers", server=wanted)
        if made is not None:
            server = made["server"]["id"]
            self.has["server"][server] = name
            person = self.cloud.people[name]
            self.cloud.run(person.until(server, lambda found: found["OS-EXT-STS:task_state"] is None))
            attached = self._ask(name, "GET", f"/compute/v2.1/servers/{server}/os-interface")
            for item in attached["interfaceAttachments"]:
                self.has["port"].setdefault(item["port_id"], name)

    def attach(self, name: str) -> None:
        path = f"/compute/v2.1/servers/{self._one('server', name)}/os-interface"
        self._ask(name, "POST", path, interfaceAttachment={"port_id": self._one("port", name)})

    def detach(self, name: str) -> None:
        path = f"/compute/v2.1/servers/{self._one('server', name)}/os-interface/{self._one('port', name)}"
        self._ask(name, "DELETE", path)

    def delete_server(self, name: str) -> None:
        gone = self._gone("server", name, "/compute/v2.1/servers")
        if gone is not None:
            self.cloud.run(self.cloud.people[name].until_gone(f"/compute/v2.1/servers/{gone}"))

    # --- what holds ---------------------------------------------------------------------------------------------------

    def _look(self, tx: Tx) -> None:
        mine = set(self.projects.values())
        nets = {row["id"]: row for row in query.rows(tx, networks)}
        shares = query.rows(tx, rbac_policies)
        inside = {row["id"]: row for row in query.rows(tx, subnets)}
        way = {row["id"]: row for row in query.rows(tx, routers)}
        plugged = {
            nic.port_id for found in tx.scalars(servers.select().with_only_columns(servers.c["nics"]))
            for nic in msgspec.convert(found or [], list[Nic])
        }  # fmt: skip

        def shared(kind: str, row: Values, project: str, action: str = "access_as_shared") -> bool:
            return row["project_id"] == project or any(
                each["object_id"] == row["id"] and each["action"] == action and each["target_tenant"] in (project, "*")
                for each in shares
            )

        def pooled(item: dict[str, str]) -> bool:
            address = int(ipaddress.ip_address(item["ip_address"]))
            return any(
                int(ipaddress.ip_address(pool["start"])) <= address <= int(ipaddress.ip_address(pool["end"]))
                for pool in inside[item["subnet_id"]]["allocation_pools"]
            )

        for network in nets.values():
            if network["project_id"] in mine:
                assert not network["shared"] and network["provider:network_type"] != "flat", network
        for share in shares:
            assert share["project_id"] not in mine or share["target_tenant"] != "*", share
        for router in way.values():
            if router["project_id"] not in mine:
                continue
            assert not router["ha"] and not router["distributed"], router
            if router["external_gateway_info"] is not None:
                outside = nets[router["gateway_network_id"]]
                assert outside["router:external"], router
                assert shared("network", outside, router["project_id"], "access_as_external"), router
                assert router["external_gateway_info"]["enable_snat"] is True, router
                assert all(pooled(item) for item in router["external_gateway_info"]["external_fixed_ips"]), router
        held = query.rows(tx, ports, ports.c["network_id"].in_([*self.networks, self.cloud.outside]))
        for port in held:
            if port["project_id"] in mine:
                self._look_at_port(tx, port, nets[port["network_id"]], way, shares, plugged, shared, pooled)
        for row in query.rows(tx, floatingips, floatingips.c["id"].in_(list(self.has["floatingip"]))):
            assert row["floating_ip_address"] != "172.30.0.88", row
            if row["router_id"] is None:
                continue
            (port,) = [each for each in held if each["id"] == row["port_id"]]
            router = way[row["router_id"]]
            assert port["project_id"] == row["project_id"], (row, port)
            assert router["gateway_network_id"] == row["floating_network_id"], (row, router)
            reached = {
                item["subnet_id"] for each in held for item in each["fixed_ips"]
                if each["device_owner"] == ROUTER_INTERFACE and each["device_id"] == router["id"]
            }  # fmt: skip
            assert any(item["subnet_id"] in reached for item in port["fixed_ips"]), (row, port)
        pools = {row["id"]: row for row in query.rows(tx, subnetpools)}
        scopes = {row["id"]: row for row in query.rows(tx, address_scopes)}
        groups = {row["id"]: row for row in query.rows(tx, security_groups)}
        for port in held:
            for group in port["security_groups"]:
                assert port["project_id"] not in mine or shared("security_group", groups[group], port["project_id"])
        for subnet in inside.values():
            if subnet["project_id"] in mine and subnet["subnetpool_id"] is not None:
                assert shared("subnetpool", pools[subnet["subnetpool_id"]], subnet["project_id"]), subnet
        for pool in pools.values():
            if pool["project_id"] in mine and pool["address_scope_id"] is not None:
                assert shared("address_scope", scopes[pool["address_scope_id"]], pool["project_id"]), pool

    def _look_at_port(
        self, tx: Tx, port: Values, network: Values, way: dict[str, Values], shares: list[Values], plugged: set[str],
        shared: Any, pooled: Any,
    ) -> None:  # fmt: skip
        project = port["project_id"]
        assert port["mac_address"] == self.macs.setdefault(port["id"], port["mac_address"]) or (
            network["project_id"] == project
        ), port
        if port["binding:host_id"] and not port["device_owner"].startswith("network:"):
            assert port["id"] in plugged, f"nobody is on this port, and a host has it: {port}"
        if network["project_id"] == project:
            return
        is_external = network["router:external"] and shared("network", network, project, "access_as_external")
        assert is_external or shared("network", network, project), f"no access: {port}"
        assert port["allowed_address_pairs"] == [], port
        assert port["mac_address"] != "fa:16:3e:00:00:01", port
        named = any(
            each["object_id"] == network["id"] and each["action"] == "access_as_shared"
            and each["target_tenant"] == project for each in shares
        )  # fmt: skip
        if port["device_owner"] == ROUTER_INTERFACE and serves(tx, port):
            assert way[port["device_id"]]["project_id"] == project, port
            for item in port["fixed_ips"]:
                assert pooled(item) or (named and item["ip_address"] == self.gateways[network["id"]]), port
            return
        assert not port["device_owner"].startswith("network:"), port
        assert port["port_security_enabled"] or not network["port_security_enabled"], port
        assert all(pooled(item) for item in port["fixed_ips"]), port


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_no_history_of_members_ends_as_what_one_request_may_not_set(cloud: Cloud, seed: int) -> None:
    history = Members(cloud, seed)
    for _ in range(STEPS):
        try:
            history.step()
        except AssertionError as error:
            told = "\n".join(history.told)
            raise AssertionError(f"{error}\nafter:\n{told}") from error
