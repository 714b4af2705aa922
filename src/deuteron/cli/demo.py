"""`deuteron demo`: the six use cases on a fresh cloud, each shown as it looks on the host, and checked.

The order and the addresses are those of the Oracle series this project grew from: two project networks, two
guests, a router, a public network, a floating IP. Every step uses the official client; every claim is a
check, and one that fails ends the demo with exit status 1. The system tests run this same module.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from deuteron.cli import demo_seed_e
from deuteron.cli.script import TIMEOUT_S, Failed, Show
from deuteron.sandbox.cloud import default_state_dir, open_state, write_private

EXTERNAL_CIDR = "180.180.180.0/24"
ROUTER_ADDRESS = "180.180.180.2"
FLOATING_ADDRESS = "180.180.180.3"
OUTSIDE_ADDRESS = "180.180.180.1"
HOST = "aio"

_SERVER_COLUMNS = "-c id -c name -c status -c addresses -c image"
"""What a server's table shows here; the whole of it is wider than a page."""


@dataclass(frozen=True)
class Kind:
    """Which networks and which firewall the demo shows."""

    network_type: str
    firewall: str


def run(show: Show, kind: Kind, key: Path) -> None:
    """All six use cases. Raises: Failed."""
    net1 = _network(show, kind)
    vm1 = _boot(show, kind, net1)
    _dhcp(show, net1, vm1)
    router, vm2 = _route(show, kind, vm1, key)
    _public(show, router, vm2)
    _floating(show, router, vm2, key)


def clean(show: Show) -> None:
    """Delete everything the use cases made, in reverse order."""
    show.title("Clean up, in reverse order")
    for address in show.ask("floating ip list"):
        show.openstack(f"floating ip delete {address['ID']}")
    for name in ("vm1", "vm2"):
        show.openstack(f"server delete --wait {name}")
    show.openstack("router unset --external-gateway my-router")
    for name in ("net1", "net2"):
        show.openstack(f"router remove subnet my-router {name}-subnet")
    show.openstack("router delete my-router")
    for name in ("net1", "net2"):
        show.openstack(f"network delete {name}")
    show.openstack("keypair delete demo-key")
    group = _default_group(show)
    for rule in show.ask(f"security group rule list {group}"):
        if rule.get("IP Protocol") in ("icmp", "tcp"):
            show.openstack(f"security group rule delete {rule['ID']}")


# --- use case 1 ---------------------------------------------------------------------------------------------------


def _network(show: Show, kind: Kind) -> dict[str, Any]:
    show.title("Use case 1: create a network and a subnet")
    show.on(HOST, "ovs-vsctl show")
    show.openstack(f"network create net1 --project demo --provider-network-type {kind.network_type}", cloud="admin")
    show.openstack("subnet create net1-subnet --network net1 --subnet-range 10.10.10.0/24")
    net: dict[str, Any] = show.ask("network show net1", cloud="admin")
    subnet = show.ask("subnet show net1-subnet")
    show.check(
        "the subnet has gateway 10.10.10.1 and pool 10.10.10.2 to 10.10.10.254",
        subnet["gateway_ip"] == "10.10.10.1"
        and subnet["allocation_pools"] == [{"start": "10.10.10.2", "end": "10.10.10.254"}],
        str(subnet),
    )
    if kind.network_type == "vlan":
        show.check(
            "the network took VLAN 1000, the first of the pool", net["provider:segmentation_id"] == 1000, str(net)
        )
    namespace = f"qdhcp-{net['id']}"
    show.until("the network has its DHCP namespace", lambda: show.on(HOST, "ip netns list", show=False), namespace)
    show.on(HOST, "ip netns list")
    addresses = show.until(
        "the namespace holds 10.10.10.3/24 on its tap",
        lambda: show.on(HOST, f"ip netns exec {namespace} ip address", show=False, check=False),
        r"inet 10\.10\.10\.3/24 brd 10\.10\.10\.255 scope global tap",
    )
    show.on(HOST, f"ip netns exec {namespace} ip address")
    show.check("its IPv6 link-local address is made from its MAC", "inet6 fe80::f816:3eff:fe" in addresses, addresses)
    tap = re.search(r"tap[0-9a-f-]{11}", addresses)
    assert tap is not None
    tag = show.on(HOST, f"ovs-vsctl get Port {tap[0]} tag").strip()
    show.on(HOST, "ovs-vsctl show")
    show.check("the tap is an internal port of br-int with a local tag", tag.isdigit() and 1 <= int(tag) <= 4094, tag)
    _flow_pair(show, net, int(tag))
    show.until(
        "one dnsmasq serves the network",
        lambda: show.on(HOST, "ps -e -ww -o args", show=False),
        rf"^dnsmasq .*--interface={tap[0]}.*{net['id']}|^dnsmasq .*{net['id']}.*--interface={tap[0]}",
    )
    show.on(HOST, "ps -e -ww -o args", keep="^dnsmasq")
    return {**net, "tag": int(tag)}


def _flow_pair(show: Show, net: dict[str, Any], tag: int) -> None:
    number = net["provider:segmentation_id"]
    if net["provider:network_type"] == "vlan":
        inward = show.on(HOST, "ovs-ofctl dump-flows br-int table=0", keep="dl_vlan|drop")
        show.check(
            f"br-int turns provider tag {number} into local tag {tag}",
            re.search(rf"in_port=.*dl_vlan={number} actions=mod_vlan_vid:{tag},", inward) is not None,
            inward,
        )
        outward = show.on(HOST, "ovs-ofctl dump-flows br-eth2")
        show.check(
            f"br-eth2 turns local tag {tag} into provider tag {number}",
            re.search(rf"in_port=.*dl_vlan={tag} actions=mod_vlan_vid:{number},NORMAL", outward) is not None,
            outward,
        )
    else:
        flows = show.on(HOST, "ovs-ofctl -O OpenFlow13 dump-flows br-tun")
        show.check(
            f"br-tun turns VNI {number} into local tag {tag}",
            re.search(rf"tun_id={number:#x} actions=push_vlan:0x8100,set_field:{4096 + tag}->vlan_vid", flows)
            is not None,
            flows,
        )
        show.check(
            "br-tun learns into table 20 where each MAC lives", "learn(table=20,hard_timeout=300" in flows, flows
        )


# --- use cases 2 and 3 --------------------------------------------------------------------------------------------


def _boot(show: Show, kind: Kind, net: dict[str, Any]) -> dict[str, Any]:
    show.title("Use case 2: boot a virtual machine")
    capture = show.start(HOST, f"timeout 90 ip netns exec qdhcp-{net['id']} tcpdump -l -n -c 2 udp port 67")
    net["capture"] = capture
    _create_server(show, "vm1", "--network net1")
    server = show.ask("server show vm1")["id"]
    vm: dict[str, Any] = show.ask(f"server show {server}", cloud="admin")
    show.openstack("server list")
    show.check("the server is ACTIVE at 10.10.10.2", vm["addresses"] == {"net1": ["10.10.10.2"]}, str(vm["addresses"]))
    port = show.ask("port list --fixed-ip ip-address=10.10.10.2 --network net1", cloud="admin")[0]
    vm["port"] = port["ID"]
    vm["mac"] = port["MAC Address"]
    short = port["ID"][:11]
    show.check("its MAC begins with fa:16:3e", vm["mac"].startswith("fa:16:3e:"), vm["mac"])
    device = f"qvo{short}" if kind.firewall == "iptables_hybrid" else f"tap{short}"
    tag = show.on(HOST, f"ovs-vsctl get Port {device} tag").strip()
    show.check(f"br-int has {device} with the network's local tag {net['tag']}", tag == str(net["tag"]), tag)
    if kind.firewall == "iptables_hybrid":
        bridges = show.on(HOST, "brctl show")
        show.check(
            f"the chain is VM, tap{short}, qbr{short}, qvb{short}, qvo{short}",
            all(re.search(rf"\b{part}{short}\b", bridges) for part in ("qbr", "qvb", "tap")),
            bridges,
        )
    instance = vm["OS-EXT-SRV-ATTR:instance_name"]
    xml = show.on(HOST, f"virsh dumpxml {instance}", show=False)
    interface = re.search(r"<interface .*?</interface>", xml, re.DOTALL)
    show.say(f"{HOST}# virsh dumpxml {instance}   (its interface)")
    show.say(interface[0] if interface else xml)
    show.check(
        "the domain's interface carries the port's MAC and device",
        interface is not None and vm["mac"] in interface[0] and f"tap{short}" in interface[0],
        xml,
    )
    show.until("the port is ACTIVE", lambda: str(show.ask(f"port show {port['ID']}")["status"]), "ACTIVE")
    return vm


def _create_server(show: Show, name: str, options: str) -> None:
    try:
        show.openstack(f"server create --image tiny --flavor m1.nano {options} --wait {name} {_SERVER_COLUMNS}")
    except Failed as failed:
        fault = show.ask(f"server show {name}").get("fault")
        raise Failed(f"{failed}\nits fault: {fault['message'] if fault else 'none was recorded'}") from None


def _dhcp(show: Show, net: dict[str, Any], vm: dict[str, Any]) -> None:
    show.title("Use case 3: DHCP")
    capture: subprocess.Popen[str] = net["capture"]
    seen, _ = capture.communicate(timeout=TIMEOUT_S)
    show.say("\n".join(line for line in seen.splitlines() if "BOOTP" in line))
    show.check(
        "the guest asks", re.search(rf"0\.0\.0\.0\.(68|bootpc) > .*Request from {vm['mac']}", seen) is not None, seen
    )
    show.check(
        "dnsmasq answers", re.search(r"10\.10\.10\.3\.(67|bootps) > .*BOOTP/DHCP, Reply", seen) is not None, seen
    )
    state = show.on(HOST, "ps -e -ww -o args", show=False)
    hosts = re.search(rf"--dhcp-hostsfile=(\S*{net['id']}\S*)", state)
    assert hosts is not None
    entries = show.on(HOST, f"cat {hosts[1]}")
    line = f"{vm['mac']},host-10-10-10-2.openstacklocal,10.10.10.2"
    show.check(f"the hosts file has {line}", line in entries, entries)
    show.until(
        "the guest has its address",
        lambda: _console(show, "vm1"),
        r"10\.10\.10\.2",
    )
    show.until(
        "guest and namespace reach each other",
        lambda: show.on(HOST, f"ip netns exec qdhcp-{net['id']} arping -c 1 -w 2 10.10.10.2 || true", show=False),
        r"(?i)reply from 10\.10\.10\.2",
    )


def _console(show: Show, name: str) -> str:
    return show.run([*show.program, "openstack", "--os-cloud", "demo", "console", "log", "show", name])


# --- use case 4 ---------------------------------------------------------------------------------------------------

_PING_SCRIPT = """#!/bin/sh
for target in 10.10.10.2 {outside}; do
  n=0
  until ping -c 1 -W 1 $target >/dev/null 2>&1 || [ $n -ge 120 ]; do n=$((n+1)); sleep 1; done
  echo "demo: pinging $target" >/dev/console
  ping -c 3 $target >/dev/console 2>&1
done
"""


def _route(show: Show, kind: Kind, vm1: dict[str, Any], key: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    show.title("Use case 4: a router between two networks")
    show.openstack(f"network create net2 --project demo --provider-network-type {kind.network_type}", cloud="admin")
    show.openstack("subnet create net2-subnet --network net2 --subnet-range 20.20.20.0/24")
    show.openstack("router create my-router")
    show.openstack("router add subnet my-router net1-subnet")
    show.openstack("router add subnet my-router net2-subnet")
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    show.openstack(f"keypair create --public-key {key}.pub demo-key")
    script = key.with_name("ping.sh")
    script.write_text(_PING_SCRIPT.format(outside=OUTSIDE_ADDRESS))
    _create_server(show, "vm2", f"--network net2 --key-name demo-key --user-data {script}")
    vm2: dict[str, Any] = show.ask("server show vm2")
    show.check(
        "the second server is at 20.20.20.2", vm2["addresses"] == {"net2": ["20.20.20.2"]}, str(vm2["addresses"])
    )
    router: dict[str, Any] = show.ask("router show my-router")
    namespace = f"qrouter-{router['id']}"
    show.on(HOST, "ip netns list")
    addresses = show.until(
        "the router's namespace holds 10.10.10.1/24 and 20.20.20.1/24 on qr- interfaces",
        lambda: show.on(HOST, f"ip netns exec {namespace} ip -4 -o address", show=False, check=False),
        r"(?s)qr-.*inet (10\.10\.10|20\.20\.20)\.1/24.*qr-.*inet (10\.10\.10|20\.20\.20)\.1/24",
    )
    show.say(addresses)
    forward = show.on(HOST, f"ip netns exec {namespace} sysctl net.ipv4.ip_forward")
    show.check("forwarding is on inside it", forward.strip() == "net.ipv4.ip_forward = 1", forward)
    show.on(HOST, f"ip netns exec {namespace} route -n || ip netns exec {namespace} ip route")
    log = show.until(
        "vm2 (20.20.20.2) pings vm1 (10.10.10.2) through the router",
        lambda: _console(show, "vm2"),
        r"64 bytes from 10\.10\.10\.2: seq=2",
    )
    show.say("\n".join(line for line in log.splitlines() if "10.10.10.2" in line))
    return router, vm2


# --- use cases 5 and 6 --------------------------------------------------------------------------------------------


def _public(show: Show, router: dict[str, Any], vm2: dict[str, Any]) -> None:
    show.title("Use case 5: the public network")
    show.openstack("router set --external-gateway public my-router")
    namespace = f"qrouter-{router['id']}"
    rule = rf"-A neutron-l3-agent-snat -o qg-\S+ -j SNAT --to-source {re.escape(ROUTER_ADDRESS)}"
    rules = show.until(
        f"outgoing packets leave as {ROUTER_ADDRESS}",
        lambda: show.on(HOST, f"ip netns exec {namespace} iptables-save -t nat", show=False),
        rule,
    )
    show.say("\n".join(line for line in rules.splitlines() if "-snat" in line and line.startswith("-A")))
    show.on(HOST, f"ip netns exec {namespace} ip route")
    log = show.until(
        f"vm2 pings the outside at {OUTSIDE_ADDRESS}",
        lambda: _console(show, "vm2"),
        rf"64 bytes from {re.escape(OUTSIDE_ADDRESS)}: seq=2",
    )
    show.say("\n".join(line for line in log.splitlines() if OUTSIDE_ADDRESS in line))


def _default_group(show: Show) -> str:
    project = show.ask("project show demo", cloud="admin")["id"]
    groups = show.ask(f"security group list --project {project}")
    return str(next(group["ID"] for group in groups if group["Name"] == "default"))


def _floating(show: Show, router: dict[str, Any], vm2: dict[str, Any], key: Path) -> None:
    show.title("Use case 6: a floating IP")
    show.openstack("floating ip create public")
    show.openstack(f"server add floating ip vm2 {FLOATING_ADDRESS}")
    namespace = f"qrouter-{router['id']}"
    rules = show.until(
        "the router translates the floating IP to vm2",
        lambda: show.on(HOST, f"ip netns exec {namespace} iptables-save -t nat", show=False),
        rf"-A neutron-l3-agent-PREROUTING -d {re.escape(FLOATING_ADDRESS)}/32 -j DNAT --to-destination 20\.20\.20\.2",
    )
    show.say("\n".join(line for line in rules.splitlines() if FLOATING_ADDRESS in line))
    show.check(
        "and vm2 to the floating IP",
        re.search(
            rf"-A neutron-l3-agent-float-snat -s 20\.20\.20\.2/32 -j SNAT --to-source {re.escape(FLOATING_ADDRESS)}",
            rules,
        )
        is not None,
        rules,
    )
    before = show.on("outside", f"ping -c 2 -W 1 {FLOATING_ADDRESS} || true")
    show.check("before the rules, the outside cannot ping it", " 0 received" in before, before)
    closed = show.on("outside", f"timeout 2 bash -c '</dev/tcp/{FLOATING_ADDRESS}/22' && echo open || echo closed")
    show.check("nor reach its ssh port", "closed" in closed, closed)
    group = _default_group(show)
    show.openstack(f"security group rule create --protocol icmp {group}")
    show.openstack(f"security group rule create --protocol tcp --dst-port 22 {group}")
    show.until(
        "after the rules, the outside pings it",
        lambda: show.on("outside", f"ping -c 1 -W 1 {FLOATING_ADDRESS} || true", show=False),
        r" 1 received",
    )
    show.give("outside", key)
    ssh = (
        f"ssh -i ~/{key.name} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
        f"-o LogLevel=ERROR -o ConnectTimeout=5 tiny@{FLOATING_ADDRESS}"
    )
    command = f"{ssh} 'hostname; ip -4 -o address show eth0; uname -sr'"
    seen = show.until(
        "ssh from the outside into vm2 through the floating IP",
        lambda: show.on("outside", f"{command} || true", show=False),
        r"(?s)^vm2.*20\.20\.20\.2/24",
    )
    show.prompt(command, "outside")
    show.say(seen)


# --- the command --------------------------------------------------------------------------------------------------


@click.command()
@click.option("--network-type", type=click.Choice(["vlan", "vxlan"]),
              help="Type of the project networks of the use cases.  [default: vlan]")  # fmt: skip
@click.option("--firewall", type=click.Choice(["openvswitch", "iptables_hybrid"]),
              help="How security groups are enforced.  [default: openvswitch; of seed-e: iptables_hybrid]")  # fmt: skip
@click.option("--state-dir", type=click.Path(path_type=Path), default=None,
              help="Where the demo's cloud lives  [default: 'deuteron-demo' beside the state folder].")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the cloud running at the end, to look around.")
@click.option("--quiet", is_flag=True, help="Show the checks only.")
@click.argument("which", type=click.Choice(["use-cases", "seed-e"]), default="use-cases")
def demo(
    which: str, network_type: str | None, firewall: str | None, state_dir: Path | None, keep: bool, quiet: bool
) -> None:
    """Show the six use cases on a fresh cloud, or seed-e.

    Makes a cloud of its own, creates networks, boots real virtual machines, routes between them, reaches the
    outside, and logs in over ssh through a floating IP. Each step shows what the host looks like and is
    checked. Takes about two minutes; the cloud is deleted at the end unless --keep is given.

    seed-e is two projects on four hosts over VXLAN: six guests whose addresses overlap, the provider network that
    both share, and what is in the tunnels when one pings the other.
    """
    if which == "seed-e" and network_type is not None:
        raise click.UsageError("seed-e has networks of type vxlan: leave out --network-type")
    state = (state_dir or default_state_dir().with_name("deuteron-demo")).absolute()
    program = [sys.executable, "-m", "deuteron.cli.main"]
    environment = {**os.environ, "DEUTERON_STATE_DIR": str(state)}
    show = Show(program, environment, quiet)
    state.parent.mkdir(parents=True, exist_ok=True)
    state = open_state(state).folder
    if (state / "cloud.json").exists():
        click.echo(f"removing the cloud of an earlier demo in {state}", err=True)
        subprocess.run([*program, "down", "--delete"], env=environment, check=True)
    show.title("Start a cloud")
    topology = state.with_name(f"{state.name}.toml")
    text = (f'[external]\ncidr = "{EXTERNAL_CIDR}"\ngateway = "{OUTSIDE_ADDRESS}"\n'
            f'pool = ["{ROUTER_ADDRESS}", "180.180.180.100"]\n')  # fmt: skip
    write_private(topology, text.encode())
    firewall = firewall or ("iptables_hybrid" if which == "seed-e" else "openvswitch")
    failed = True
    try:
        up = [*program, "up", "--firewall", firewall, "--topology", "seed-e" if which == "seed-e" else str(topology)]
        if subprocess.run(up, env=environment).returncode != 0:
            raise Failed("the cloud did not start")
        key = state / "demo-key"
        if which == "seed-e":
            demo_seed_e.run(show, firewall, key, ("rdo-compute-1", "rdo-compute-2"))
        else:
            run(show, Kind(network_type or "vlan", firewall), key)
            clean(show)
        failed = False
    except Failed as error:
        click.secho(f"\nfailed: {error}", fg="red", err=True)
        click.echo("hint: `deuteron logs` shows what each process said", err=True)
    except subprocess.TimeoutExpired as error:
        click.secho(f"\nfailed: {shlex.join(error.cmd)} did not end within {error.timeout:.0f} s", fg="red", err=True)
    finally:
        topology.unlink(missing_ok=True)
        if keep:
            click.echo(f'\nthe cloud is still there: export DEUTERON_STATE_DIR={state}; eval "$(deuteron env)"')
        else:
            show.title("Take the cloud down")
            subprocess.run([*program, "down", "--delete"], env=environment)
    if failed:
        raise SystemExit(1)
    click.echo()
    seconds = time.monotonic() - show.started
    click.secho(f"demo passed: {len(show.passed)} checks in {seconds:.0f} s", bold=True)
