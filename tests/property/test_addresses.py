"""No address is given twice, and none is lost, whatever sixteen clients ask for at once.

Subnets are so small that the clients meet at their ends: one with two pools, one of IPv6, and one outside from which
floating IPs come.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from deuteron.store.network_tables import ip_allocations
from tests.fuzz.world import world
from tests.property.at_once import CLIENTS, Asked, Cloud, bounded

POOLS = {
    "10.66.0.0/27": [{"start": "10.66.0.2", "end": "10.66.0.6"}, {"start": "10.66.0.20", "end": "10.66.0.24"}],
    "fd66::/64": [{"start": "fd66::2", "end": "fd66::7"}],
    "192.0.2.0/28": [{"start": "192.0.2.2", "end": "192.0.2.9"}],
}
REFUSED = {
    "IpAddressGenerationFailure",
    "IpAddressGenerationFailureForSubnet",
    "IpAddressAlreadyAllocated",
    "ExternalIpAddressExhausted",
}
"""What a client is told whose address is gone."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with asyncio.Runner() as runner:
        keeper = world(tmp_path_factory.mktemp("cloud"))
        made = Cloud(runner.run(keeper.__aenter__()), runner)
        try:
            yield made
        finally:
            runner.run(keeper.__aexit__(None, None, None))


class Addresses(RuleBasedStateMachine):
    """Ports and floating IPs come, change and go, up to sixteen requests at a time."""

    cloud: Cloud

    def __init__(self) -> None:
        super().__init__()
        self.networks: dict[str, str] = {}
        """Prefix of a subnet to its network."""
        self.subnets: dict[str, str] = {}
        for prefix, pools in POOLS.items():
            values: dict[str, Any] = {"router:external": True} if prefix.startswith("192") else {}
            id = self.cloud.make("/networks", "network", name=prefix, **values)["id"]
            version = ipaddress.ip_network(prefix).version
            wanted = {"network_id": id, "cidr": prefix, "ip_version": version, "allocation_pools": pools}
            self.networks[prefix] = id
            self.subnets[prefix] = self.cloud.make("/subnets", "subnet", **wanted, enable_dhcp=False)["id"]

    def one(self, dice: int) -> Asked:
        """A request that takes, changes or gives back an address."""
        prefix = list(POOLS)[dice % len(POOLS)]
        network, subnet = self.networks[prefix], self.subnets[prefix]
        ports = [each for each in self.ports() if not each["device_owner"]]
        some = ports[dice // 7 % len(ports)]["id"] if ports else None
        address = str(ipaddress.ip_network(prefix)[2 + dice // 11 % 6])
        floating = self.listed("/floatingips", "floatingips")
        match dice // 3 % 8:
            case 0 | 1:
                return "POST", "/ports", {"port": {"network_id": network}}
            case 2:
                wanted = [{"subnet_id": subnet, "ip_address": address}]
                return "POST", "/ports", {"port": {"network_id": network, "fixed_ips": wanted}}
            case 3:
                bulk = [{"network_id": network}] * (1 + dice // 13 % 3)
                return "POST", "/ports", {"ports": bulk}
            case 4 if some:
                return "DELETE", f"/ports/{some}", None
            case 5 if some:
                held = next(each for each in ports if each["id"] == some)["fixed_ips"]
                more = [*held, {"subnet_id": held[0]["subnet_id"]}] if held and dice % 2 else []
                return "PUT", f"/ports/{some}", {"port": {"fixed_ips": more}}
            case 6 if floating:
                return "DELETE", f"/floatingips/{floating[dice // 7 % len(floating)]['id']}", None
            case _:
                return "POST", "/floatingips", {"floatingip": {"floating_network_id": self.networks["192.0.2.0/28"]}}

    @rule(dice=st.lists(st.integers(0, 2**20), min_size=2, max_size=CLIENTS))
    def ask_at_once(self, dice: list[int]) -> None:
        asked = [self.one(each) for each in dice]
        answers = self.cloud.at_once(asked)
        for request, answer in zip(asked, answers, strict=True):
            if answer.status >= 400:
                error = answer.json["NeutronError"]["type"]
                gone = answer.status == 404 and request[0] != "POST"  # two clients deleted the same
                assert gone or error in REFUSED, (request, answer.body)

    @rule(prefix=st.sampled_from(sorted(POOLS)))
    def take_all_there_is(self, prefix: str) -> None:
        """As many get one as there are free, and no more: none was lost."""
        free = size(prefix) - self.taken(prefix)
        assert free <= CLIENTS
        asked = [("POST", "/ports", {"port": {"network_id": self.networks[prefix]}})] * CLIENTS
        assert sum(each.status == 201 for each in self.cloud.at_once(asked)) == free
        assert self.taken(prefix) == size(prefix)

    @invariant()
    def no_address_is_given_twice_and_none_is_held_by_nobody(self) -> None:
        shown = [(ip["subnet_id"], ip["ip_address"]) for port in self.ports() for ip in port["fixed_ips"]]
        floating = [("", each["floating_ip_address"]) for each in self.listed("/floatingips", "floatingips")]
        assert max(Counter([*shown, *floating]).values(), default=1) == 1
        kept = [(subnet, address) for subnet, held in self.allocated().items() for address in held]
        assert sorted(shown) == sorted(kept)
        for prefix, network in self.networks.items():
            told = self.cloud.get(f"/network-ip-availabilities/{network}")["network_ip_availability"]
            assert (told["total_ips"], told["used_ips"]) == (size(prefix), len(self.allocated()[self.subnets[prefix]]))

    def teardown(self) -> None:
        for each in self.listed("/floatingips", "floatingips"):
            self.cloud.call("DELETE", f"/floatingips/{each['id']}")
        for each in self.ports():
            self.cloud.call("DELETE", f"/ports/{each['id']}")
        left = self.allocated()
        for prefix, network in self.networks.items():
            assert left[self.subnets[prefix]] == []
            assert self.cloud.call("DELETE", f"/networks/{network}").status == 204

    def listed(self, path: str, name: str) -> list[Any]:
        mine = self.networks.values()
        key = "floating_network_id" if name == "floatingips" else "network_id"
        return [each for each in self.cloud.get(path)[name] if each[key] in mine]

    def ports(self) -> list[Any]:
        return self.listed("/ports", "ports")

    def taken(self, prefix: str) -> int:
        """How many of the pools' addresses are: one that was asked for may lie beside them."""
        held = [int(ipaddress.ip_address(each)) for each in self.allocated()[self.subnets[prefix]]]
        return sum(first <= each <= last for each in held for first, last in pools(prefix))

    def allocated(self) -> dict[str, list[str]]:
        """What the table of allocations holds of each subnet."""
        found: dict[str, list[str]] = {id: [] for id in self.subnets.values()}
        with self.cloud.here.cloud.database.read() as tx:
            for subnet, address in tx.all(select(ip_allocations.c.subnet_id, ip_allocations.c.ip_address)):
                if subnet in found:
                    found[subnet].append(address)
        return found


def pools(prefix: str) -> list[tuple[int, int]]:
    """The first and last address of each."""
    return [
        (int(ipaddress.ip_address(each["start"])), int(ipaddress.ip_address(each["end"]))) for each in POOLS[prefix]
    ]


def size(prefix: str) -> int:
    return sum(last - first + 1 for first, last in pools(prefix))


def test_no_address_is_given_twice_and_none_is_lost(cloud: Cloud, patience: int) -> None:
    class Here(Addresses):
        pass

    Here.cloud = cloud
    run_state_machine_as_test(Here, settings=bounded(4 * patience, 8))
