"""What must be true once everything is back: the API holds what was acknowledged, and the host exactly that."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.chaos.client import Client
from tests.chaos.stream import PATHS, Stream
from tests.clouds import Cloud

HOST = "aio"
_OURS = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule", "server")


def everything(client: Client) -> dict[str, list[dict[str, Any]]]:
    """All lists of the API."""
    found = {kind: client.list(PATHS[kind]) for kind in _OURS if kind != "server"}
    found["server"] = client.list(f"{PATHS['server']}/detail")
    return found


def lost_or_invented(streams: Sequence[Stream], lists: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Where the API's lists and what was acknowledged disagree."""
    problems = []
    things = {thing.id: thing for stream in streams for thing in stream.things.values()}
    leaving = {id for stream in streams for id in stream.leaving}
    seen = {kind: {item["id"]: item for item in lists[kind]} for kind in _OURS}
    for thing in things.values():
        item = seen[thing.kind].get(thing.id)
        if item is None:
            problems.append(f"lost: {thing.kind} {thing.id} {thing.values}")
            continue
        wrong = {key: (value, item.get(key)) for key, value in thing.values.items() if item.get(key) != value}
        if wrong:
            problems.append(f"{thing.kind} {thing.id}: acknowledged and actual: {wrong}")
    for kind in _OURS:
        for id, item in seen[kind].items():
            mark = str(item.get("description") or item.get("name") or "")
            if mark.startswith("chaos-") and id not in things:
                word = "still there" if id in leaving else "deleted or never acknowledged"
                problems.append(f"{word}: {kind} {id} {mark}")
    attached = {pair for stream in streams for pair in stream.interfaces}
    actual = {
        (port["device_id"], fixed["subnet_id"])
        for port in lists["port"] if port["device_owner"] == "network:router_interface" for fixed in port["fixed_ips"]
    }  # fmt: skip
    problems += [f"router interface {pair} is lost" for pair in attached - actual]
    problems += [f"router interface {pair} was never asked for" for pair in actual - attached]
    return problems + _half_made(lists)


def _half_made(lists: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Parts without their whole: ports whose owner is gone, networks without DHCP, addresses given out twice."""
    problems = []
    ids = {kind: {item["id"] for item in lists[kind]} for kind in _OURS}
    used: dict[tuple[str, str], str] = {}
    for port in lists["port"]:
        owner, device = port["device_owner"], port["device_id"]
        if port["network_id"] not in ids["network"]:
            problems.append(f"port {port['id']} is on network {port['network_id']}, which does not exist")
        if owner == "compute:nova" and device not in ids["server"]:
            problems.append(f"port {port['id']} belongs to server {device}, which does not exist")
        if owner in ("network:router_interface", "network:router_gateway") and device not in ids["router"]:
            problems.append(f"port {port['id']} belongs to router {device}, which does not exist")
        if owner == "network:floatingip" and device not in ids["floatingip"]:
            problems.append(f"port {port['id']} belongs to floating IP {device}, which does not exist")
        for fixed in port["fixed_ips"]:
            place = (fixed["subnet_id"], fixed["ip_address"])
            if place in used:
                problems.append(f"{place} is given to ports {used[place]} and {port['id']}")
            used[place] = port["id"]
    for network in lists["network"]:
        served = [port for port in lists["port"] if port["network_id"] == network["id"]]
        dhcp = [port for port in served if port["device_owner"] == "network:dhcp"]
        needed = 1 if network["subnets"] and not network["router:external"] else 0
        if len(dhcp) != needed:
            problems.append(f"network {network['id']} has {len(dhcp)} DHCP ports, wanted {needed}")
    for server in lists["server"]:
        own = [port for port in lists["port"] if port["device_id"] == server["id"]]
        if len(own) != 1:
            problems.append(f"server {server['id']} has {len(own)} ports, wanted 1")
    return problems


def unlike_what_was_asked(lists: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Statuses that are not those a user waits for."""
    problems = []
    for port in lists["port"]:
        is_unwired = port["device_owner"] in ("", "network:floatingip") and not port["binding:host_id"]
        wanted = "DOWN" if is_unwired or not port["admin_state_up"] else "ACTIVE"
        if port["device_owner"] == "network:floatingip":
            wanted = "N/A"
        if port["status"] != wanted:
            problems.append(f"port {port['id']} ({port['device_owner']}) is {port['status']}, wanted {wanted}")
    problems += [f"router {item['id']} is {item['status']}" for item in lists["router"] if item["status"] != "ACTIVE"]
    for item in lists["floatingip"]:
        wanted = "ACTIVE" if item["port_id"] else "DOWN"
        if item["status"] != wanted:
            problems.append(f"floating IP {item['id']} is {item['status']}, wanted {wanted}")
    for item in lists["server"]:
        if item["status"] != "ACTIVE" or item["OS-EXT-STS:task_state"] is not None:
            state = f"{item['status']} ({item['OS-EXT-STS:task_state']})"
            problems.append(f"server {item['id']} is {state}: {item.get('fault')}")
    return problems


def difference(cloud: Cloud) -> list[str]:
    """What `deuteron diff` says, after the agent has looked at everything."""
    done = cloud.run("diff", "--json", check=False)
    try:
        hosts = json.loads(done.stdout)
    except ValueError:
        return [f"deuteron diff: {done.stderr}"]
    return [str(item) for host in hosts for item in (*host["differences"], *filter(None, [host["problem"]]))]


_SCRIPT = """
echo @namespaces; ls /run/netns
echo @ports; ovs-vsctl list-ports br-int
echo @devices; ip -o link | cut -d: -f2 | cut -d@ -f1
for ns in $(ls /run/netns); do ip netns exec $ns ip -o link | cut -d: -f2 | cut -d@ -f1 | sed "s/ */$ns\\//"; done
echo @processes; ps -eo pid=,stat=,args= --no-headers -ww | grep -v guest=warm-
echo @domains; virsh list --all --name | grep -v ^warm-; echo @running; virsh list --name | grep -v ^warm-
echo @dhcp; ls {state}/dhcp 2>/dev/null; echo @ra; ls {state}/ra 2>/dev/null
echo @instances; ls {state}/instances 2>/dev/null
"""
_OWN = ("tap", "qr-", "qg-", "qvo", "qvb", "qbr")
_EXPECTED_PROCESSES = re.compile(
    r"deuteron\.sandbox\.(supervisor|outside)|deuteron\.agent|^ovsdb-server |^ovs-vswitchd |^libvirtd|^sh -c|^ps -eo"
    r"|^grep|dnsmasq|qemu-system"
)


def leaks(cloud: Cloud, lists: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What is on the host and should not be, or should and is not, by the API's lists alone."""
    seen = _look(cloud)
    dhcp = {port["network_id"] for port in lists["port"] if port["device_owner"] == "network:dhcp"}
    routers = {router["id"] for router in lists["router"]}
    ports: set[str] = set()
    devices: set[str] = set()
    for port in lists["port"]:
        owner, short = port["device_owner"], port["id"][:11]
        if owner == "network:dhcp":
            ports.add(f"tap{short}")
            devices.add(f"qdhcp-{port['network_id']}/tap{short}")
        elif owner in ("network:router_interface", "network:router_gateway"):
            name = f"{'qr' if owner.endswith('interface') else 'qg'}-{short}"
            ports.add(name)
            devices.add(f"qrouter-{port['device_id']}/{name}")
        elif port["binding:host_id"] == HOST:
            ports.add(f"tap{short}")
            devices.add(f"tap{short}")
    servers = {server["id"] for server in lists["server"]}
    processes = [line.split(None, 2) for line in seen["processes"]]
    dnsmasqs = [found[1] for _, _, args in processes if (found := re.search(r"dnsmasq .*/dhcp/([0-9a-f-]{36})", args))]
    qemus = [found[1] for _, _, args in processes if (found := re.search(r"qemu-system.* -uuid ([0-9a-f-]{36})", args))]
    others = [" ".join(words) for words in processes if not _EXPECTED_PROCESSES.search(words[2]) and words[1][0] != "Z"]
    own_ports = [name for name in seen["ports"] if name.startswith(_OWN)]
    own_devices = [name for name in seen["devices"] if name.rpartition("/")[2].startswith(_OWN)]
    return [
        *_unlike("namespace", seen["namespaces"], {f"qdhcp-{id}" for id in dhcp} | {f"qrouter-{id}" for id in routers}),
        *_unlike("port of br-int", own_ports, ports),
        *_unlike("device", own_devices, devices),
        *_unlike("dnsmasq of network", dnsmasqs, dhcp),
        *_unlike("folder dhcp", seen["dhcp"], dhcp),
        *_unlike("QEMU of server", qemus, servers),
        *_unlike("folder instances", seen["instances"], servers),
        *[f"folder ra: left: {name}" for name in seen["ra"]],
        *([f"{len(seen['domains'])} domains, wanted {len(servers)}"] if len(seen["domains"]) != len(servers) else []),
        *[f"unknown process: {line}" for line in others],
    ]


def unreachable(cloud: Cloud, lists: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Who should answer a ping and does not: DHCP asked by its routers, routers asked from outside."""
    dhcp = {
        port["network_id"]: (port["id"], [fixed["ip_address"] for fixed in port["fixed_ips"]])
        for port in lists["port"] if port["device_owner"] == "network:dhcp" and port["admin_state_up"]
    }  # fmt: skip
    inside, outside = [], []
    for port in lists["port"]:
        if port["device_owner"] == "network:router_interface" and port["network_id"] in dhcp:
            subnet = port["fixed_ips"][0]["ip_address"].rpartition(".")[0]
            for address in dhcp[port["network_id"]][1]:
                if address.rpartition(".")[0] == subnet:
                    inside.append(f"ip netns exec qrouter-{port['device_id']} ping -c 1 -W 1 {address}")
        elif port["device_owner"] == "network:router_gateway":
            outside.append(f"ping -c 1 -W 1 {port['fixed_ips'][0]['ip_address']}")
    problems = []
    for host, commands in ((HOST, inside), ("outside", outside)):
        script = "\n".join(f"( {command} >/dev/null 2>&1 || echo '{command}' ) &" for command in commands) + "\nwait\n"
        problems += [f"no answer on {host}: {line}" for line in cloud.on(host, script, check=False).splitlines()]
    return problems


def _look(cloud: Cloud) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {}
    name = ""
    for line in cloud.on(HOST, _SCRIPT.format(state=f"{cloud.state}/hosts/{HOST}"), check=False).splitlines():
        if line.startswith("@"):
            name = line[1:]
            seen[name] = []
        elif line.strip():
            seen[name].append(line.strip())
    return seen


def _unlike(what: str, actual: Sequence[str], wanted: set[str]) -> list[str]:
    lines = [f"{what}: left: {name}" for name in sorted(set(actual) - wanted)]
    lines += [f"{what}: missing: {name}" for name in sorted(wanted - set(actual))]
    lines += [f"{what}: {actual.count(name)} times: {name}" for name in sorted(set(actual)) if actual.count(name) > 1]
    return lines


def until(wrong: Callable[[], list[str]], what: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while found := wrong():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:g} s still not so: {what}\n" + "\n".join(found[:60]))
        threading.Event().wait(0.3)
