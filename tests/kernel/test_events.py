"""What others change on a host is heard of at once, and what the agent changes itself asks for no look."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.model.intent import HostIntent, HostSettings
from deuteron.net.events import Events
from deuteron.net.host import Host, real_host
from deuteron.net.plan import planner
from deuteron.net.reconcile import Outcome
from tests.kernel import intents
from tests.kernel.conftest import OpenVSwitch, wait_until

ROUTER = f"qrouter-{intents.ROUTER}"
TAP = f"tap{intents.instance_port(0).id[:11]}"


class Runner:
    def __init__(self, settings: HostSettings) -> None:
        self.settings = settings
        self.planner = planner()
        self.host: Host = real_host(settings.state_dir, lambda row, listener: listener.close(), lambda row: None)
        assert self.host.events is not None, "this kernel tells of nothing"
        self.events: Events = self.host.events
        self._is_first = True

    def run(self, intent: HostIntent) -> None:
        """Passes until the host is as wanted."""
        self.intent = intent
        plan = self.planner.plan(intent, self.settings)
        deadline = time.monotonic() + 30
        full = self._is_first
        while True:
            outcome = self.host.reconciler.run(plan, full=full)
            self.events.settle(outcome.writes, is_first=self._is_first)
            self._is_first = full = False
            if outcome.is_complete:
                return
            assert time.monotonic() < deadline, outcome.pending
            time.sleep(0.05)

    def whole(self) -> Outcome:
        """One pass that looks at everything first."""
        plan = self.planner.plan(self.intent, self.settings)
        outcome = self.host.reconciler.run(plan, full=True)
        self.events.settle(outcome.writes, is_first=False)
        return outcome

    def heard(self) -> set[str]:
        """The tables that a look is due at."""
        tables, turns = self.events.take()
        return set(tables) | {table.name for turn in turns for table in turn.tables}


@pytest.fixture
def runner(switch: OpenVSwitch, wires: None, tmp_path: Path) -> Iterator[Runner]:
    made = Runner(intents.settings(str(tmp_path)))
    made.run(intents.routed_network(ports=2))
    yield made
    made.run(HostIntent())
    made.host.close()


def run(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)


DAMAGES = {
    "ovs-ofctl del-flows br-int table=60": "flow",
    "ovs-ofctl add-flow br-int table=0,priority=9,ip,nw_dst=192.0.2.1,actions=drop": "flow",
    "ovs-ofctl mod-flows br-int table=71,actions=drop": "flow",
    f"ip link del {TAP}": "device",
    f"ip link set {TAP} down": "device",
    f"ip -n {ROUTER} addr flush to 10.10.0.0/16": "address",
    f"ip -n {ROUTER} addr add 198.51.100.7/32 dev lo": "address",
    f"ip -n {ROUTER} route del default": "route",
    f"ip netns exec {ROUTER} iptables -t nat -F neutron-l3-agent-PREROUTING": "iptables",
    f"ip netns exec {ROUTER} ip6tables -F neutron-l3-agent-INPUT": "iptables",
    f"ip netns exec {ROUTER} sysctl -qw net.ipv4.ip_forward=0": "setting",
    "kill -9 $(cat {state}/dhcp/{net}/pid)": "dnsmasq",
    "echo >> {state}/dhcp/{net}/host": "dnsmasq",
    f"ip netns del {ROUTER}": "namespace",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_others_change_is_heard_at_once(runner: Runner, damage: str) -> None:
    run(damage.format(state=runner.settings.state_dir, net=intents.NET))
    heard: set[str] = set()

    def is_heard() -> bool:
        heard.update(runner.heard())
        return DAMAGES[damage] in heard

    wait_until(is_heard, f"{DAMAGES[damage]} is to be looked at", 2)


def test_flows_are_heard_of_again_after_the_switch_came_back(runner: Runner, switch: OpenVSwitch) -> None:
    switch.kill("ovs-vswitchd")
    wait_until(lambda: "flow" in runner.heard(), "the end of the switch is heard")
    switch.start_switch()
    wait_until(lambda: runner.whole().is_complete, "the host is as wanted", 20)
    runner.heard()
    run("ovs-ofctl del-flows br-int table=60")
    wait_until(lambda: "flow" in runner.heard(), "a lost flow is heard of")


def test_own_changes_ask_for_no_look(runner: Runner) -> None:
    """Or each change would be followed by looks as dear as the change."""
    for number in (3, 4, 3):
        runner.run(intents.routed_network(ports=number))
        deadline = time.monotonic() + 0.5
        heard: set[str] = set()
        while time.monotonic() < deadline:
            heard |= runner.heard()
            time.sleep(0.02)
        assert heard <= {"dnsmasq", "radvd"}, f"with {number} ports"
