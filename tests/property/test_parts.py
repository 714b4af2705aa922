"""A plan in parts: after every history of intents, the parts kept and made anew are the plan of the last one."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from deuteron.agent.intents import fold
from deuteron.model.intent import (
    AddressPair,
    Change,
    HostIntent,
    HostSettings,
    IntentAddressGroup,
    IntentGroupMember,
    IntentLog,
    IntentObject,
    IntentRemotePort,
    IntentRule,
    IntentSecurityGroup,
    Snapshot,
    TunnelPeer,
    key_of,
)
from deuteron.net.host import table_names, tables_of
from deuteron.net.kernel.fake import FakeDriver
from deuteron.net.parted import PartedPlan
from deuteron.net.plan import plan, planner
from deuteron.net.reconcile import Outcome, Reconciler
from deuteron.net.rows import HostPlan
from tests.kernel.intents import routed_network
from tests.kernel.intents import settings as host_settings
from tests.unit.net import plancloud

NATIVE = msgspec.structs.replace(host_settings("/state"), tunnel_ip="10.0.0.1")
HYBRID = msgspec.structs.replace(NATIVE, firewall_driver="iptables_hybrid")


def _objects() -> list[IntentObject]:
    """Objects that touch: two networks, a router, guests that share addresses, groups that name each other."""
    base = routed_network(ports=4)
    found: list[IntentObject] = []
    for objects in (base.networks, base.ports, base.security_groups, base.group_members, base.routers):
        found += objects.values()  # type: ignore[attr-defined]  # dictionaries of intent objects
    network = next(iter(base.networks.values()))
    guests = [port for port in base.ports.values() if port.device_owner.startswith("compute:")]
    tunnel = msgspec.structs.replace(
        network, id=plancloud.uid("t"), network_type="vxlan", physical_network=None, segmentation_id=77, local_vlan=9,
        dhcp_port_id=None, routed_by=None,
    )  # fmt: skip
    pair = AddressPair("10.10.10.99", "fa:16:3e:00:00:99")
    groups = [
        IntentSecurityGroup(
            id=plancloud.uid(word), rules=(
                IntentRule(plancloud.uid(word + "1"), "ingress", "IPv4", remote_group_id=plancloud.uid(other)),
                IntentRule(plancloud.uid(word + "2"), "egress", "IPv4", 6, 80, 90, remote_ip_prefix="192.0.2.0/24"),
            ),
        )
        for word, other in (("a", "b"), ("b", "a"))
    ]  # fmt: skip
    addresses = plancloud.uid("w")
    groups.append(
        IntentSecurityGroup(
            plancloud.uid("a"),
            rules=(IntentRule(plancloud.uid("a3"), "ingress", "IPv4", remote_address_group_id=addresses),),
        )
    )
    found += [IntentAddressGroup(addresses, prefixes) for prefixes in (("10.0.0.0/8",), ("10.10.10.9", "10.1.0.0/16"))]
    group, project = plancloud.uid("a"), guests[0].project_id
    found += [
        IntentLog(plancloud.uid("l1"), project, "ACCEPT", resource_id=group),
        IntentLog(plancloud.uid("l1"), project, "ALL", resource_id=group, target_id=guests[0].id),
        IntentLog(plancloud.uid("l2"), project, "DROP", target_id=guests[1].id),
        IntentLog(plancloud.uid("l3"), project, "ALL"),
    ]
    found += [tunnel, *groups, TunnelPeer("other", "10.0.0.7"), TunnelPeer("third", "10.0.0.8")]
    for number, port in enumerate(guests):
        word = "ab"[number % 2]
        found += [
            msgspec.structs.replace(port, security_groups=(plancloud.uid(word),), allowed_address_pairs=(pair,)),
            msgspec.structs.replace(port, admin_state_up=False),
            msgspec.structs.replace(port, port_security_enabled=False),
            msgspec.structs.replace(port, network_id=tunnel.id),
            IntentRemotePort(port.id, port.network_id, port.mac_address, port.fixed_ips, "10.0.0.7"),
            IntentRemotePort(port.id, tunnel.id, port.mac_address, port.fixed_ips, "10.0.0.7"),
            # Two members of two groups have one address: their conjunctions meet in one flow.
            IntentGroupMember(f"{plancloud.uid(word)}/{port.id}", plancloud.uid(word), port.id, ("10.10.10.9",)),
        ]
    return found


OBJECTS = _objects()

picked = st.lists(st.sampled_from(OBJECTS), max_size=8)
messages = st.one_of(
    st.builds(lambda objects: Snapshot(1, tuple(objects)), picked),
    st.builds(
        lambda objects, gone: Change(1, tuple(objects), tuple(key_of(item) for item in gone)),
        picked,
        st.lists(st.sampled_from(OBJECTS), max_size=3),
    ),
)


class Fakes:
    def __init__(self) -> None:
        self.drivers: dict[str, FakeDriver[Any, Any]] = {name: FakeDriver(name) for name in table_names()}
        self.now_s = 0.0
        self.reconciler = Reconciler(
            tables_of(dict(self.drivers)).values(), forget_namespace=self._forget, now_s=lambda: self.now_s
        )

    def run(self, plan: HostPlan | PartedPlan) -> Outcome:
        self.now_s += 10
        return self.reconciler.run(plan, full=False)

    def _forget(self, namespace: str) -> None:
        """As in a kernel, what lies in a namespace goes with it."""
        for driver in self.drivers.values():
            for key in [key for key in driver.rows if isinstance(key, tuple) and key[0] == namespace]:
                del driver.rows[key]

    def wanted(self) -> dict[str, dict[Any, Any]]:
        return {table.name: table.delta.wanted for table in self.reconciler.tables}


@settings(max_examples=60, deadline=None)
@given(st.lists(messages, min_size=1, max_size=8), st.sampled_from([NATIVE, HYBRID]))
def test_after_every_history_the_parts_are_the_plan_of_the_last_intent(
    history: list[Snapshot | Change], host: HostSettings
) -> None:
    parts, kept = Fakes(), planner()
    intent = fold(HostIntent(), Snapshot(0, tuple(OBJECTS)))
    for message in (Change(0), *history):
        intent = fold(intent, message)
        whole = Fakes()
        whole.reconciler.run(plan(intent, host), full=True)
        outcome = parts.run(kept.plan(intent, host))
        assert parts.wanted() == whole.wanted()
    # What waited for something that goes last is done by the next pass.
    assert outcome.is_complete or parts.run(kept.plan(intent, host)).is_complete


@given(st.lists(messages, max_size=3))
@settings(max_examples=30, deadline=None)
def test_what_is_said_again_changes_no_part(history: list[Snapshot | Change]) -> None:
    kept = planner()
    intent = HostIntent()
    for message in history:
        intent = fold(intent, message)
    first = kept.plan(intent, NATIVE)
    # A new connection brings the same objects anew.
    again = msgspec.json.decode(msgspec.json.encode(intent), type=HostIntent)
    assert kept.plan(again, NATIVE) is first


def test_a_port_more_makes_only_its_own_parts_anew() -> None:
    kept = planner()
    before = kept.plan(routed_network(ports=40), NATIVE)
    after = kept.plan(routed_network(ports=41), NATIVE)
    anew = {key for key, part in after.parts.items() if before.parts.get(key) is not part}
    # Its device and flows, its network's DHCP files, zone and the groups of that, and each group it is a member of.
    assert len(anew) <= 6, anew
    assert len(after.parts) > 80


def test_a_plan_that_fails_is_made_whole_by_the_next() -> None:
    kept = planner()
    kept.plan(routed_network(ports=1), NATIVE)
    broken = routed_network(ports=2)
    network = next(iter(broken.networks.values()))
    bad = msgspec.structs.replace(network, subnets=(msgspec.structs.replace(network.subnets[0], cidr="nonsense"),))
    try:
        kept.plan(msgspec.structs.replace(broken, networks={network.id: bad}), NATIVE)
    except ValueError:
        pass
    else:
        raise AssertionError("nonsense was planned")
    parts, whole = Fakes(), Fakes()
    parts.reconciler.run(kept.plan(routed_network(ports=3), NATIVE), full=True)
    whole.reconciler.run(plan(routed_network(ports=3), NATIVE), full=True)
    assert parts.wanted() == whole.wanted()
