"""Whole plans on a real host, with each firewall driver: up, twice, a new agent, hurt, and down to nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deuteron.model.intent import HostIntent
from deuteron.net.plan import plan
from tests.kernel import intents
from tests.kernel.conftest import OpenVSwitch, wait_until
from tests.kernel.runner import ROUTER, Runner

DHCP = f"qdhcp-{intents.NET}"


def _is_ours(line: str, state: Path) -> bool:
    return str(state) in line and "Z" not in line.split()[0] and any(name in line for name in ("dnsmasq", "radvd"))


def _shown(state: Path) -> dict[str, str]:
    """The host as other programs see it."""

    def of(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return {
        "links": "\n".join(sorted(line.split(":")[1] for line in of("ip", "-o", "link").splitlines())),
        "namespaces": of("ip", "netns", "list"),
        "bridges": of("ovs-vsctl", "list-br"),
        "iptables": "\n".join(line for line in of("iptables-save").splitlines() if "neutron-" in line),
        "ipsets": of("ipset", "list", "-name"),
        "processes": "\n".join(
            line for line in of("ps", "-ww", "-eo", "stat,args").splitlines() if _is_ours(line, state)
        ),
    }


@pytest.fixture(params=["openvswitch", "iptables_hybrid"])
def runner(request: pytest.FixtureRequest, switch: OpenVSwitch, wires: None, tmp_path: Path) -> Iterator[Runner]:
    settings = msgspec.structs.replace(intents.settings(str(tmp_path)), firewall_driver=request.param)
    before = _shown(tmp_path)
    made = Runner(settings)
    yield made
    made.settle(None)
    made.host.close()
    assert _shown(tmp_path) == before
    assert [path.name for folder in ("dhcp", "ra") for path in (tmp_path / folder).glob("*")] == []


def test_a_second_pass_and_a_new_agent_write_nothing(runner: Runner) -> None:
    intent = intents.routed_network(ports=3)
    first = runner.run(intent, full=True)
    assert first.pending == ()
    assert first.writes
    assert runner.run(intent, full=True).writes == {}
    runner.again()
    outcome = runner.run(intent, full=True)
    assert (outcome.is_complete, outcome.writes) == (True, {})
    assert runner.host.reconciler.differences(plan(intent, runner.settings)) == []


def test_states_in_any_order_leave_the_same_host(runner: Runner) -> None:
    states = [
        intents.routed_network(ports=1),
        intents.routed_network(ports=3),
        intents.routed_network(ports=2, router=False),
        HostIntent(),
        intents.routed_network(ports=3),
    ]
    for intent in (*states, *reversed(states), states[1], states[1], states[3]):
        assert runner.run(intent).pending == ()
        outcome = runner.run(intent, full=True)
        assert (outcome.is_complete, outcome.writes) == (True, {})


HURTS: dict[str, Callable[[Path], None]] = {
    "flow deleted": lambda state: _do("ovs-ofctl del-flows br-int table=60"),
    "flow added": lambda state: _do("ovs-ofctl add-flow br-int priority=99,ip,actions=drop"),
    "flow changed": lambda state: _do("ovs-ofctl mod-flows br-int table=60,actions=drop"),
    "port deleted": lambda state: _do(f"ovs-vsctl del-port qr-{intents.ROUTER_PORT[:11]}"),
    "tag changed": lambda state: _do(f"ovs-vsctl set port tap{intents.DHCP_PORT[:11]} tag=77"),
    "bridge deleted": lambda state: _do("ovs-vsctl del-br br-ex"),
    "address deleted": lambda state: _do(f"ip -n {DHCP} addr flush dev tap{intents.DHCP_PORT[:11]} scope global"),
    "address added": lambda state: _do(f"ip -n {ROUTER} addr add 9.9.9.9/32 dev qg-{intents.GATEWAY_PORT[:11]}"),
    "device down": lambda state: _do(f"ip -n {ROUTER} link set qg-{intents.GATEWAY_PORT[:11]} down"),
    "route deleted": lambda state: _do(f"ip -n {ROUTER} route del default"),
    "rule deleted": lambda state: _do(f"ip netns exec {ROUTER} iptables -t nat -F neutron-l3-agent-snat"),
    "rules flushed": lambda state: _do(f"ip netns exec {ROUTER} iptables -t nat -F"),
    "setting changed": lambda state: _do(f"ip netns exec {ROUTER} sysctl -qw net.ipv4.ip_forward=0"),
    "namespace deleted": lambda state: _do(f"ip netns del {ROUTER}"),
    "namespace with dnsmasq deleted": lambda state: _do(f"ip netns del {DHCP}"),
    "dnsmasq killed": lambda state: _kill(state / "dhcp" / intents.NET / "pid"),
    "hosts file edited": lambda state: _write(state / "dhcp" / intents.NET / "host", "nobody\n"),
    "dnsmasq folder emptied": lambda state: _do(f"rm {state}/dhcp/{intents.NET}/host {state}/dhcp/{intents.NET}/opts"),
}


def _do(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


def _kill(pid_file: Path) -> None:
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), "it died")


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("hurt", HURTS)
@pytest.mark.parametrize("runner", ["openvswitch"], indirect=True)
def test_what_a_person_breaks_is_seen_in_words_and_mended(runner: Runner, hurt: str) -> None:
    intent = intents.routed_network(ports=2)
    runner.settle(intent)
    HURTS[hurt](Path(runner.settings.state_dir))
    assert runner.host.reconciler.differences(plan(intent, runner.settings)) != []
    outcome = runner.run(intent, full=True)
    assert outcome.mended
    runner.settle(intent)
    wait_until(_pings, "the router reaches the DHCP port", 5)


def test_a_host_that_was_rebooted_is_made_whole_again(runner: Runner, switch: OpenVSwitch) -> None:
    intent = intents.routed_network(ports=2)
    runner.settle(intent)
    switch.kill("ovs-vswitchd")
    switch.kill("ovsdb-server")
    for name in (ROUTER, DHCP):
        _do(f"ip netns pids {name}")
        for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        _do(f"ip netns del {name}")
    _do("ip link del group 56839")
    subprocess.run(["ipset", "flush"], check=True)
    switch.start_database()
    switch.start_switch()
    runner.again()
    runner.settle(intent)
    wait_until(_pings, "the router reaches the DHCP port", 5)


@pytest.mark.parametrize("runner", ["openvswitch"], indirect=True)
def test_a_device_whose_move_the_switch_did_not_hear_of_is_made_anew(runner: Runner, switch: OpenVSwitch) -> None:
    intent = intents.routed_network(ports=1)
    runner.settle(intent)
    device = f"qr-{intents.ROUTER_PORT[:11]}"
    _do(f"ip -n {ROUTER} link set {device} netns {os.getpid()}")
    wait_until(lambda: _ifindex(device) != "0", "the switch has the device back")
    vswitchd = switch.processes["ovs-vswitchd"]
    vswitchd.send_signal(signal.SIGSTOP)
    try:
        # More news than its netlink buffer holds, so that what comes after is lost to it.
        news = "".join(f"link set dev lo txqueuelen {1 + number % 2}\n" for number in range(5000))
        subprocess.run(["ip", "-batch", "-"], input=news, check=True, text=True)
        _do(f"ip link set {device} netns {ROUTER}")
    finally:
        vswitchd.send_signal(signal.SIGCONT)
    runner.run(intent, full=True)
    assert _ifindex(device) != "0"
    assert not _pings()
    wait_until(lambda: runner.run(intent, full=True).is_complete and _pings(), "the router reaches the DHCP port", 20)
    runner.settle(intent)


def _ifindex(device: str) -> str:
    command = ["ovs-vsctl", "get", "Interface", device, "ifindex"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("runner", ["openvswitch"], indirect=True)
def test_a_namespace_leaves_nothing_alive_behind_it(runner: Runner) -> None:
    runner.settle(intents.routed_network(ports=1))
    for number, namespace in enumerate((ROUTER, DHCP)):
        _do(f"ip link add probe{number} type veth peer name inside netns {namespace}")
    assert len(_probes()) == 2

    runner.run(HostIntent())

    # One end of a pair goes when the other's namespace is destroyed: when no process, socket or file holds it.
    wait_until(lambda: not _probes(), "the namespaces are destroyed, not only nameless", 10)


def _probes() -> list[str]:
    shown = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return [line for line in shown.splitlines() if " probe" in line]


def _pings() -> bool:
    command = ["ip", "netns", "exec", ROUTER, "ping", "-c1", "-W1", "10.10.0.2"]
    return subprocess.run(command, capture_output=True).returncode == 0
