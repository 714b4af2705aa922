"""What a host was told step by step is what it would be told now, whatever people asked of the cloud meanwhile.

Random requests of several people go through the real routes with the real policy, to all services; agents come, go and
obey. What an agent holds is put together from the messages that it heard, as a real agent does it. `fresh` is the only
thing known here of how the hub works: the whole intent of a host, made from the rows as they are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deuteron.model.intent import IntentObject, tables_of
from tests.unit.api_compute.harness import Client, World, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_hosts.test_views import whole

NET, NOVA = "/network/v2.0", "/compute/v2.1"
HOSTS = ("h1", "h2")
KINDS = {"peer", "network", "port", "remote_port", "security_group", "group_member", "router", "server"}
Objects = dict[tuple[str, str], IntentObject]


def fresh(w: World, host: str) -> Objects:
    tables = tables_of(whole(w.cloud, host))
    return {(kind, id): item for kind, table in tables.items() for id, item in table.items()}


@dataclass
class People:
    """Who asks, with what they know of: the ids of what was made, by collection."""

    w: World
    dice: random.Random
    agents: dict[str, FakeAgent] = field(default_factory=dict)
    known: dict[str, list[str]] = field(default_factory=dict)
    image: str = ""
    answers: dict[int, int] = field(default_factory=dict)
    """How often each status was answered."""
    number: int = 0

    async def ask(self, method: str, path: str, body: Any = None, user: Client | None = None) -> Any:
        """The answer's body if it was granted; whatever is asked, nothing of it may break the cloud."""
        who = user or (self.w.admin if self.dice.random() < 0.7 else self.w.demo)
        answer = await who.request(method, path, body, version="2.79" if path.startswith(NOVA) else None)
        assert answer.status < 500 or answer.status == 501, (method, path, body, answer.body)
        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        return answer.json if answer.status < 300 and answer.body else None

    async def make(self, collection: str, body: dict[str, Any], user: Client | None = None) -> str | None:
        base = NOVA if collection == "servers" else NET
        made = await self.ask("POST", f"{base}/{collection}", body, user)
        if made is None:
            return None
        id = str(next(iter(made.values()))["id"])
        self.known.setdefault(collection, []).append(id)
        return id

    def some(self, collection: str) -> str:
        """One of those made, or an id that nobody has."""
        return self.dice.choice(self.known.get(collection) or ["00000000-0000-0000-0000-00000000000a"])

    def some_of(self, collection: str) -> list[str]:
        known = self.known.get(collection, [])
        return self.dice.sample(known, self.dice.randint(0, min(2, len(known))))

    async def change(self, collection: str, kind: str, values: dict[str, Any]) -> None:
        await self.ask("PUT", f"{NET}/{collection}/{self.some(collection)}", {kind: values})

    async def remove(self, collection: str) -> None:
        id = self.some(collection)
        await self.ask("DELETE", f"{NOVA if collection == 'servers' else NET}/{collection}/{id}")
        path = f"{NOVA if collection == 'servers' else NET}/{collection}/{id}"
        if (await self.w.admin.request("GET", path)).status == 404 and id in self.known.get(collection, []):
            self.known[collection].remove(id)

    async def learn_ports(self) -> None:
        """Also those that DHCP, routers and servers made."""
        self.known["ports"] = [port["id"] for port in (await self.w.admin.get(f"{NET}/ports"))["ports"]]

    # --- one thing that somebody does -----------------------------------------------------------------------------

    async def act(self) -> None:
        self.number += 1
        await self.learn_ports()
        await self.dice.choice(self.deeds())()

    def deeds(self) -> list[Callable[[], Awaitable[Any]]]:
        dice, number = self.dice, self.number

        async def network() -> None:
            made = await self.make("networks", {"network": {"name": f"n{number}", "shared": dice.random() < 0.3}})
            if made is not None:
                await subnet(made)

        async def subnet(of: str | None = None) -> None:
            values = {"network_id": of or self.some("networks"), "enable_dhcp": dice.random() < 0.8}
            if dice.random() < 0.3:
                mode = dice.choice(("slaac", "dhcpv6-stateful"))
                values |= {"ip_version": 6, "cidr": f"fd00:{number:x}::/64", "ipv6_ra_mode": mode,
                           "ipv6_address_mode": mode}  # fmt: skip
            else:
                values |= {"ip_version": 4, "cidr": f"10.{number % 250}.0.0/24"}
            await self.make("subnets", {"subnet": values})

        async def port() -> None:
            values: dict[str, Any] = {"network_id": self.some("networks"), "admin_state_up": dice.random() < 0.9}
            if dice.random() < 0.7:
                values["binding:host_id"] = dice.choice(HOSTS)
                values["device_owner"] = dice.choice(("compute:nova", ""))
            if dice.random() < 0.6:
                values["security_groups"] = self.some_of("security-groups")
            await self.make("ports", {"port": values})

        async def change_port() -> None:
            await self.change("ports", "port", dice.choice([
                {"binding:host_id": dice.choice((*HOSTS, ""))},
                {"security_groups": self.some_of("security-groups")},
                {"admin_state_up": dice.random() < 0.5},
                {"port_security_enabled": False, "security_groups": []},
                {"fixed_ips": [{"subnet_id": self.some("subnets")}]},
                {"allowed_address_pairs": [{"ip_address": f"10.99.0.{number % 250}"}]},
                {"extra_dhcp_opts": [{"opt_name": "bootfile-name", "opt_value": f"f{number}"}]},
                {"mac_address": f"fa:16:3e:00:00:{number % 256:02x}"},
                {"name": f"p{number}"},
            ]))  # fmt: skip

        async def change_network() -> None:
            await self.change("networks", "network", dice.choice([
                {"mtu": dice.randint(1280, 1500)}, {"admin_state_up": dice.random() < 0.5}, {"name": f"n{number}"},
                {"shared": dice.random() < 0.5},
            ]))  # fmt: skip

        async def change_subnet() -> None:
            await self.change("subnets", "subnet", dice.choice([
                {"enable_dhcp": dice.random() < 0.5}, {"dns_nameservers": [f"192.0.2.{number % 250}"]},
                {"host_routes": [{"destination": "10.200.0.0/16", "nexthop": f"10.0.0.{number % 250}"}]},
                {"gateway_ip": None},
            ]))  # fmt: skip

        async def group() -> None:
            await self.make("security-groups", {"security_group": {"name": f"g{number}"}})

        async def rule() -> None:
            values: dict[str, Any] = {"security_group_id": self.some("security-groups"), "direction": "ingress"}
            if dice.random() < 0.7:
                values["remote_group_id"] = self.some("security-groups")
            else:
                values |= {"protocol": "tcp", "port_range_min": 1 + number % 60000, "port_range_max": 60001}
            await self.make("security-group-rules", {"security_group_rule": values})

        async def router() -> None:
            await self.make("routers", {"router": {"name": f"r{number}"}})

        async def change_router() -> None:
            gateway = {"network_id": self.public, "enable_snat": dice.random() < 0.5}
            await self.change("routers", "router", dice.choice([
                {"admin_state_up": dice.random() < 0.5}, {"external_gateway_info": gateway},
                {"external_gateway_info": None},
                {"routes": [{"destination": "10.201.0.0/16", "nexthop": f"10.{number % 250}.0.9"}]}, {"routes": []},
            ]))  # fmt: skip

        async def interface() -> None:
            verb = dice.choice(("add", "add", "remove"))
            body = {"subnet_id": self.some("subnets")} if dice.random() < 0.8 else {"port_id": self.some("ports")}
            await self.ask("PUT", f"{NET}/routers/{self.some('routers')}/{verb}_router_interface", body)

        async def floating_ip() -> None:
            values: dict[str, Any] = {"floating_network_id": self.public}
            if dice.random() < 0.7:
                values["port_id"] = self.some("ports")
            await self.make("floatingips", {"floatingip": values})

        async def change_floating_ip() -> None:
            await self.change("floatingips", "floatingip", {"port_id": dice.choice((None, self.some("ports")))})

        async def server() -> None:
            where: Any = [{"uuid": self.some("networks")}] if dice.random() < 0.6 else [{"port": self.some("ports")}]
            values = {"name": f"s{number}", "flavorRef": "42", "imageRef": self.image, "networks": where}
            await self.make("servers", {"server": values}, self.w.admin)

        async def change_server() -> None:
            action = dice.choice(("os-stop", "os-start", "pause", "unpause", "suspend", "resume", "lock", "unlock"))
            await self.ask("POST", f"{NOVA}/servers/{self.some('servers')}/action", {action: None}, self.w.admin)

        async def plug() -> None:
            body = {"interfaceAttachment": {"port_id": self.some("ports")}}
            await self.ask("POST", f"{NOVA}/servers/{self.some('servers')}/os-interface", body, self.w.admin)

        async def unplug() -> None:
            path = f"{NOVA}/servers/{self.some('servers')}/os-interface/{self.some('ports')}"
            await self.ask("DELETE", path, None, self.w.admin)

        async def reconnect() -> None:
            host = dice.choice(HOSTS)
            await self.agents[host].leave()
            self.agents[host] = await self.w.agent(host)

        often = [port, change_port, change_port, server]
        removals = [
            lambda name=name: self.remove(name)
            for name in ("ports", "servers", "floatingips", "security-group-rules", "security-groups", "subnets",
                         "networks", "routers")
        ]  # fmt: skip
        return [
            *often, *often, network, subnet, change_network, change_subnet, group, rule, rule, router, change_router,
            interface, interface, floating_ip, change_floating_ip, change_server, plug, unplug, reconnect, *removals,
        ]  # fmt: skip

    # --- how it starts, and how one sees where it is --------------------------------------------------------------

    async def settle_in(self) -> None:
        """A cloud in which each host has an object of every kind."""
        admin, wanted = self.w.admin, {"network": {"name": "first"}}
        self.agents = {host: await self.w.agent(host) for host in HOSTS}
        self.image = await admin.image()
        outside = {"name": "outside", "router:external": True, "provider:network_type": "flat",
                   "provider:physical_network": "public"}  # fmt: skip
        found = (await admin.get(f"{NET}/networks?router:external=true"))["networks"]
        self.public = found[0]["id"] if found else str(await self.make("networks", {"network": outside}, admin))
        if not found:
            given = {"network_id": self.public, "ip_version": 4, "cidr": "172.24.4.0/24", "enable_dhcp": False}
            await self.make("subnets", {"subnet": given}, admin)
        network = await self.make("networks", wanted, admin)
        subnet = await self.make(
            "subnets", {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.251.0.0/24"}}, admin
        )
        group = await self.make("security-groups", {"security_group": {"name": "friends"}}, admin)
        remote = {"security_group_id": group, "direction": "ingress", "remote_group_id": group}
        await self.make("security-group-rules", {"security_group_rule": remote}, admin)
        router = await self.make("routers", {"router": {"name": "first"}}, admin)
        await self.ask("PUT", f"{NET}/routers/{router}/add_router_interface", {"subnet_id": subnet}, admin)
        gateway = {"router": {"external_gateway_info": {"network_id": self.public}}}
        await self.ask("PUT", f"{NET}/routers/{router}", gateway, admin)
        for host in HOSTS:
            bound = {"network_id": network, "binding:host_id": host, "security_groups": [group]}
            await self.make("ports", {"port": bound}, admin)
        await self.make(
            "servers",
            {"server": {"name": "first", "flavorRef": "42", "imageRef": self.image, "networks": [{"uuid": network}]}},
            admin,
        )
        assert set(self.answers) <= {200, 201, 202, 204}, self.answers

    async def quiet(self) -> None:
        """Until every host has carried out everything, and what they said of it made no more to do."""
        deadline = asyncio.get_running_loop().time() + 60
        database, hub = self.w.cloud.database, self.w.cloud.hub
        before = -1
        while True:
            # Whatever agents said until now is written before this, which changes nothing.
            await asyncio.to_thread(database.write, lambda tx: None)
            revision = database.revision
            if all(hub.realised(host, revision) for host in HOSTS) and revision == before:
                return
            before = revision
            assert asyncio.get_running_loop().time() < deadline, f"not quiet at revision {revision}"
            await asyncio.sleep(0.01)

    def assert_told_is_fresh(self, told: str) -> set[str]:
        kinds = set()
        for host, agent in self.agents.items():
            right = fresh(self.w, host)
            assert agent.objects == right, (told, host)
            kinds |= {kind for kind, _ in right}
        return kinds


@hypothesis_settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # agents run beside: what is shrunk is seldom the same
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), batches=st.lists(st.integers(1, 12), min_size=2, max_size=6))
def test_what_a_host_was_told_is_what_it_would_be_told_now(
    seed: int, batches: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def test() -> None:
        async with world(tmp_path_factory.mktemp("view")) as w:
            people = People(w, random.Random(seed))
            await people.settle_in()
            await people.quiet()
            assert people.assert_told_is_fresh("at first") == KINDS
            for number, size in enumerate(batches):
                for _ in range(size):
                    await people.act()
                await people.quiet()
                people.assert_told_is_fresh(f"batch {number} of {batches} with seed {seed}")

    asyncio.run(asyncio.wait_for(test(), 120))
