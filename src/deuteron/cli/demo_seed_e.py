"""`deuteron demo seed-e`: two projects on several hosts, over VXLAN, with a provider network that they share.

The order, the names and the addresses are those of the document and of the scripts that it names: a control host
without Open vSwitch, a network host, two compute hosts; each project has a router, two networks and three guests, with
addresses that the other project has too. What the document looks at is looked at here, and checked.

Source: github.com/flavio-fernandes/rdo-nodes, puppet/templates/openstack_part1.sh.erb, part2, part3.
"""

from __future__ import annotations

import concurrent.futures
import ipaddress
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deuteron.cli.script import TIMEOUT_S, Failed, Person, Show

CONTROL, NEUTRON = "rdo-control", "rdo-neutron"
GATEWAY = "192.168.111.254"
_NETWORKS = {"vm1": "int", "vm2": "int", "vm3": "intTwo"}
_GUESTS = tuple(_NETWORKS)
_SSH = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"


@dataclass(frozen=True)
class Tenant:
    """A project, as the scripts have it: guests vm1 and vm2 are in its first network, vm3 is in the second."""

    number: int
    first: str
    """The first network's subnet; the second's is the same for both."""
    second: str = "3.0.0.0/24"

    @property
    def person(self) -> Person:
        return Person(f"user{self.number}", f"user{self.number}", f"tenant{self.number}")


TENANTS = (Tenant(1, "2.0.0.0/24"), Tenant(2, "4.0.0.0/24"))


@dataclass(frozen=True)
class Made:
    """What a project has: floating IP, fixed IP, MAC and host of each guest, VNI of each network."""

    tenant: Tenant
    floating: dict[str, str]
    fixed: dict[str, str]
    macs: dict[str, str]
    hosts: dict[str, str]
    vnis: dict[str, int]


def run(show: Show, firewall: str, key: Path, computes: Sequence[str]) -> None:
    """All of it, on a cloud of topology seed-e that is up. Raises: Failed."""
    _nodes(show, computes)
    _first_two_scripts(show)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    show.title("Scripts 3 and 4: the guests of tenant1 and tenant2")
    with concurrent.futures.ThreadPoolExecutor(len(TENANTS)) as pool:
        floating = list(pool.map(lambda tenant: _tenant(show, tenant, key), TENANTS))
    made = _found(show, floating)
    show.give(NEUTRON, key)
    _overlap(show, made)
    _reach(show, made, key)
    _across(show, made, key)
    _within(show, made[0], key)
    _flows(show, made)
    _dumps(show, made, firewall, computes)


# --- the nodes ----------------------------------------------------------------------------------------------------


def _nodes(show: Show, computes: Sequence[str]) -> None:
    show.title("The nodes, before there is anything")
    bridges = show.on(CONTROL, "ovs-vsctl --timeout=2 show || echo none", keep="none")
    show.check("the control node runs no Open vSwitch", bridges.strip().endswith("none"), bridges)
    links = show.on(CONTROL, "ip -brief link")
    show.check("it has two interfaces", set(re.findall(r"eth\d", links)) == {"eth0", "eth1"}, links)
    listed = show.on(NEUTRON, "ovs-vsctl list-br").split()
    show.check(
        "the network node has br-ex, br-int and br-tun", {"br-ex", "br-int", "br-tun"} <= set(listed), str(listed)
    )
    ports = show.on(NEUTRON, "ovs-vsctl list-ports br-ex")
    address = show.on(NEUTRON, "ip -4 -brief address show br-ex; ip -4 -brief address show eth2")
    show.check("eth2 is a member of its br-ex", "eth2" in ports.split(), ports)
    show.check("br-ex has the address that eth2 had", re.search(r"^br-ex .*192\.168\.111\.11/24", address) is not None
               and "eth2" not in address, address)  # fmt: skip
    show.check("it has no Linux bridge", _linux_bridges(show, NEUTRON) == [])
    rules = show.on(NEUTRON, "iptables-save", show=False).count("\n-A ")
    show.check(f"and its iptables have nothing much to show ({rules} rules)", rules < 20, str(rules))
    for host in computes:
        there = show.on(host, "ovs-vsctl list-br", show=False).split()
        show.check(f"br-ex is on {host}, too", "br-ex" in there, str(there))


def _linux_bridges(show: Show, host: str) -> list[str]:
    return [line.split()[0] for line in show.on(host, "brctl show").splitlines()[1:] if line[:1].strip()]


# --- the scripts --------------------------------------------------------------------------------------------------


def _first_two_scripts(show: Show) -> None:
    """The first was `deuteron up`."""
    show.title("Script 2: tenants, and the shared network ext")
    people = [
        line
        for tenant in TENANTS
        for line in (
            f"project create tenant{tenant.number}",
            f"user create --password user{tenant.number} --email user{tenant.number}@example.com user{tenant.number}",
            f"role add --user user{tenant.number} --project tenant{tenant.number} member",
        )
    ]
    show.script(
        [
            *people,
            "network create ext --share --external --provider-network-type flat --provider-physical-network physnetext",
            f"subnet create subext --network ext --subnet-range 192.168.111.0/24 --no-dhcp --gateway {GATEWAY}"
            " --allocation-pool start=192.168.111.20,end=192.168.111.99",
            "network show ext",
        ]
    )


def _tenant(show: Show, tenant: Tenant, key: Path) -> dict[str, str]:
    """The floating IP of each guest."""
    name, who = f"sec{tenant.number}", tenant.person
    router = f"rtr{tenant.number}"

    def subnet(network: str, cidr: str) -> str:
        gateway = ipaddress.ip_network(cidr)[-2]
        return (f"subnet create sub{network} --network {network} --subnet-range {cidr} --gateway {gateway}"
                f" --dns-nameserver {GATEWAY}")  # fmt: skip

    said = show.script(
        [
            f"keypair create --public-key {key}.pub demo_key",
            f"router create {router}",
            f"router set --external-gateway ext {router}",
            f"security group create {name}",
            f"security group rule create --protocol icmp {name}",
            f"security group rule create --protocol tcp --dst-port 1:65535 {name}",
            f"security group rule create --protocol udp --dst-port 1:65535 {name}",
            "network create int",
            subnet("int", tenant.first),
            f"router add subnet {router} subint",
            "network create intTwo",
            subnet("intTwo", tenant.second),
            f"router add subnet {router} subintTwo",
            *["floating ip create ext -f value -c floating_ip_address"] * len(_GUESTS),
            # vm1 and vm3, of two networks, are to be on one host: how they reach each other is looked at.
            "server group create --policy affinity near -f value -c id",
        ],
        who,
    )
    addresses = re.findall(r"^192\.168\.111\.\d+$", said, re.MULTILINE)
    group = re.findall(r"^[0-9a-f]{8}-[0-9a-f-]{27}$", said, re.MULTILINE)
    if len(addresses) != len(_GUESTS) or len(group) != 1:
        raise Failed(f"script {tenant.number + 2} did not make what it should:\n{said}")
    boots = []
    for guest, network in _NETWORKS.items():
        near = "" if guest == "vm2" else f" --hint group={group[0]}"
        # They boot side by side; only the last is waited for.
        wait = " --wait" if guest == _GUESTS[-1] else ""
        boots.append(
            f"server create --image tiny --flavor m1.nano --network {network} --security-group {name}"
            f" --key-name demo_key{near}{wait} {guest} -c name -c status -c addresses"
        )
    floating = dict(zip(_GUESTS, addresses, strict=True))
    show.script([*boots, *(f"server add floating ip {guest} {floating[guest]}" for guest in _GUESTS)], who)
    return floating


def _found(show: Show, floating: Sequence[dict[str, str]]) -> list[Made]:
    lists = (
        "server list --long --project",
        "port list --device-owner compute:nova --project",
        "network list --project",
    )
    said = show.data([f"{each} tenant{tenant.number}" for tenant in TENANTS for each in lists])
    ids = [network["ID"] for networks in said[2::3] for network in networks if network["Name"] != "ext"]
    vnis = {one["id"]: int(one["provider:segmentation_id"]) for one in show.data([f"network show {id}" for id in ids])}
    made = []
    for tenant, of, servers, ports, networks in zip(TENANTS, floating, said[::3], said[1::3], said[2::3], strict=True):
        macs = {port["Fixed IP Addresses"][0]["ip_address"]: port["MAC Address"] for port in ports}
        fixed = {
            server["Name"]: next(one for one in server["Networks"][_NETWORKS[server["Name"]]] if one in macs)
            for server in servers
        }
        made.append(
            Made(
                tenant,
                of,
                fixed,
                {name: macs[address] for name, address in fixed.items()},
                {server["Name"]: server["Host"] for server in servers},
                {network["Name"]: vnis[network["ID"]] for network in networks if network["ID"] in vnis},
            )
        )
    return made


# --- what is seen -------------------------------------------------------------------------------------------------


def _overlap(show: Show, made: Sequence[Made]) -> None:
    show.title("All guests, and what is told apart")
    show.script(["server list --all-projects --long -c Name -c Status -c Networks -c Host", "network agent list"])
    one, two = made
    show.check(
        f"vm3 of both tenants have the same local address, {one.fixed['vm3']}",
        one.fixed["vm3"] == two.fixed["vm3"] and one.fixed["vm3"].startswith("3.0.0."),
        f"{one.fixed} {two.fixed}",
    )
    vnis = [vni for each in made for vni in each.vnis.values()]
    show.check(f"each subnet of each tenant has a VNI of its own: {vnis}", len(set(vnis)) == len(vnis) == 4, str(vnis))
    floating = [address for each in made for address in each.floating.values()]
    show.check("each guest has a floating IP of the provider network", len(set(floating)) == 6, str(floating))


def _guest(show: Show, made: Made, name: str, key: Path, command: str) -> str:
    """What a command says in a guest, entered by its floating IP from the network node, as the document does."""
    line = f"ssh -i ~/{key.name} {_SSH} tiny@{made.floating[name]} '{command}'"
    return show.on(NEUTRON, f"{line} || true", show=False)


def _reach(show: Show, made: Sequence[Made], key: Path) -> None:
    show.title("North and south, east and west, and not to the other tenant")
    for each in made:
        for guest in _GUESTS:
            address = each.floating[guest]
            show.until(
                f"the outside pings {guest} of tenant{each.tenant.number} at {address}",
                lambda address=address: show.on("outside", f"ping -c 1 -W 1 {address} || true", show=False),  # type: ignore[misc]  # a default of a lambda
                r" 1 received",
            )
    one, two = made
    for each in made:
        own = each.tenant.number
        show.until(
            f"vm3 of tenant{own} is entered by its floating IP from the network node",
            lambda each=each: _guest(show, each, "vm3", key, "hostname; ip -4 -o address show eth0"),  # type: ignore[misc]  # a default of a lambda
            rf"(?s)^vm3.*{re.escape(each.fixed['vm3'])}/24",
        )
        # One login for all of it.
        targets = [GATEWAY, each.fixed["vm1"], each.fixed["vm2"]]
        other = (two if each is one else one).fixed["vm1"]
        asking = [f"ping -c 2 -W 2 {to}" for to in (*targets, other)]
        said = _guest(show, each, "vm3", key, "; ".join([*asking, f"nslookup {NEUTRON}.openstacklocal"]))
        for to, what in zip(targets, ("the router beyond the provider network", "vm1", "vm2"), strict=True):
            show.check(
                f"it reaches {what} ({to})", re.search(rf"64 bytes from {re.escape(to)}", said) is not None, said
            )
        show.check(
            f"it asks the router for {NEUTRON}, and hears its address",
            re.search(rf"(?s){re.escape(GATEWAY)}.*{NEUTRON}.*192\.168\.111\.11\b", said) is not None,
            said,
        )
        show.check(
            f"it does not reach vm1 of the other tenant at {other}",
            re.search(rf"64 bytes from {re.escape(other)}", said) is None,
            said,
        )


def _across(show: Show, made: Sequence[Made], key: Path) -> None:
    show.title("From vm3 of tenant2 to the floating IP of vm3 of tenant1")
    one, two = made
    to = one.floating["vm3"]
    seen = _captured(show, NEUTRON, lambda: show.say(_guest(show, two, "vm3", key, f"ping -c 3 -W 5 {to}")))
    local = re.escape(one.fixed["vm3"])
    show.check(
        f"it leaves its network in VNI {two.vnis['intTwo']} as {two.fixed['vm3']} > {to}",
        _has(seen, two.vnis["intTwo"], local, re.escape(to)),
        seen,
    )
    show.check(
        f"and comes to the other in VNI {one.vnis['intTwo']} as {two.floating['vm3']} > {one.fixed['vm3']}",
        _has(seen, one.vnis["intTwo"], re.escape(two.floating["vm3"]), local),
        seen,
    )


def _within(show: Show, made: Made, key: Path) -> None:
    host = made.hosts["vm3"]
    show.title(f"From vm3 to vm1 of tenant1: two subnets, one host ({host}), and no DVR")
    show.check("both guests are on one host", made.hosts["vm1"] == host, str(made.hosts))
    seen = _captured(
        show, host, lambda: show.say(_guest(show, made, "vm3", key, f"ping -c 3 -W 5 {made.fixed['vm1']}"))
    )
    vm3, vm1 = re.escape(made.fixed["vm3"]), re.escape(made.fixed["vm1"])
    show.check(
        f"the packets go to the network node in VNI {made.vnis['intTwo']}",
        _has(seen, made.vnis["intTwo"], vm3, vm1),
        seen,
    )
    show.check(f"and come back in VNI {made.vnis['int']}", _has(seen, made.vnis["int"], vm3, vm1), seen)


def _captured(show: Show, host: str, do: Any) -> str:
    """What is in the tunnels of a host meanwhile: the lines of tshark, or of tcpdump."""
    file = "~/seed-e.pcap"
    command = f"tcpdump -U -Z root -i eth1 -w {file} udp port 4789"
    show.prompt(f"{command} &", host)
    capture = show.start(host, f"sh -c 'echo $$ >{file}.pid; exec {command}'", show=False)
    show.until("the capture runs", lambda: show.on(host, f"ls {file} 2>&1 || true", show=False), r"^\S+pcap$", 20)
    do()
    show.on(host, f"kill -INT $(cat {file}.pid)", show=False)
    try:
        capture.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        capture.kill()
    reader = "tshark" if show.on(host, "command -v tshark || true", show=False).strip() else "tcpdump"
    lines = {
        "tshark": f"tshark -n -r {file} -T fields -e vxlan.vni -e ip.src -e ip.dst -Y icmp",
        "tcpdump": f"tcpdump -nn -r {file} 2>/dev/null",
    }[reader]
    said = show.on(host, f"{lines}; rm -f {file} {file}.pid", show=False)
    show.prompt(lines, host)
    if reader == "tcpdump":
        # Of each packet the outer header is one line, and what is in it the next.
        pairs = re.findall(r"VXLAN.* vni (\d+)\n(IP .*ICMP.*)", said)
        said = "\n".join(f"vni {vni}: {inner}" for vni, inner in pairs)
    else:
        rows = [line.split("\t") for line in said.splitlines() if line.count("\t") == 2]
        said = "\n".join(
            f"vni {vni}: IP {source.split(',')[-1]} > {to.split(',')[-1]}: ICMP" for vni, source, to in rows
        )
    show.say("\n".join(said.splitlines()[:8]))
    return said


def _has(seen: str, vni: int, source: str, to: str) -> bool:
    return re.search(rf"^vni {vni}: IP {source} > {to}: ICMP", seen, re.MULTILINE) is not None


def _flows(show: Show, made: Sequence[Made]) -> None:
    show.title("br-tun of the network node")
    flows = show.on(NEUTRON, "ovs-ofctl -O OpenFlow10 dump-flows br-tun", keep="learn|table=20")
    show.check(
        "what comes out of tunnels teaches table 20 for 300 s",
        re.search(
            r"learn\(table=20,hard_timeout=300,priority=1,.*NXM_OF_VLAN_TCI\[0\.\.11\],.*"
            r"NXM_OF_ETH_DST\[\]=NXM_OF_ETH_SRC\[\],load:0->NXM_OF_VLAN_TCI\[\],"
            r"load:NXM_NX_TUN_ID\[\]->NXM_NX_TUN_ID\[\],output:.*\),output:\d+",
            flows,
        )
        is not None,
        flows,
    )
    for each in made:
        mac, vni = each.macs["vm3"], each.vnis["intTwo"]
        show.check(
            f"what goes to vm3 of tenant{each.tenant.number} ({mac}) is put into VNI {vni:#x}",
            re.search(rf"table=20,.*dl_dst={mac} actions=.*load:{vni:#x}->NXM_NX_TUN_ID\[\],output:", flows)
            is not None,
            flows,
        )
        show.check(
            "and that was learned from its answers",
            re.search(
                rf"table=20,.*vlan_tci=0x00\w\w/0x0fff,dl_dst={mac} "
                rf"actions=load:0->NXM_OF_VLAN_TCI\[\],load:{vni:#x}->NXM_NX_TUN_ID\[\],output:\d+",
                flows,
            )
            is not None,
            flows,
        )


def _dumps(show: Show, made: Sequence[Made], firewall: str, computes: Sequence[str]) -> None:
    show.title("Each node, raw")
    for host in (CONTROL, NEUTRON, *computes):
        show.on(host, "ip -brief address; ip netns list")
        if host != CONTROL:
            show.on(host, "ovs-vsctl show")
    spaces = show.on(NEUTRON, "ip netns list", show=False)
    show.check("each router and each subnet with DHCP has its namespace on the network node",
               (spaces.count("qrouter-"), spaces.count("qdhcp-")) == (2, 4), spaces)  # fmt: skip
    for host in computes:
        guests = [(each, name) for each in made for name in _GUESTS if each.hosts[name] == host]
        if firewall != "iptables_hybrid":
            continue
        bridges = _linux_bridges(show, host)
        show.check(f"{host} has a Linux bridge for each of its {len(guests)} guests", len(bridges) == len(guests),
                   str(bridges))  # fmt: skip
        rules = show.on(host, "iptables-save", show=False).count("\n-A ")
        show.check(f"and rich iptables ({rules} rules)", rules > 10 * len(guests), str(rules))
        if guests:
            short = bridges[0].removeprefix("qbr")
            there = show.on(host, "ip -o link; ovs-vsctl list-ports br-int", show=False)
            parts = [f"{prefix}{short}" for prefix in ("tap", "qbr", "qvb", "qvo")]
            show.check(f"one interface of a guest takes four here: {', '.join(parts)}",
                       all(part in there for part in parts), there)  # fmt: skip
