"""An agent that restarts finds everything as it should be, writes nothing, and no packet is lost meanwhile.

Its drivers say so, and so does the host. DEUTERON_RESTART_PORTS=1000 is with as many; `bench --only
restart` says how long it takes. The packets are those of taps of our own, which the firewall of iptables leaves to
libvirt: there, writes alone are looked at.

What is compared from outside would show any write: Open vSwitch counts its transactions and each flow its
age, iptables counts packets from the moment a rule is made, devices and processes get new numbers.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from bench import clouds, wire

from deuteron.sandbox import control
from deuteron.sandbox.cloud import State
from tests.clouds import Cloud, wait_for

pytestmark = pytest.mark.usefixtures("cloud")

PORTS = int(os.environ.get("DEUTERON_RESTART_PORTS", "200"))
EVERY_S = 0.01
_WRITES = re.compile(r'event="(?:pass done|server changed)".*')


def test_an_agent_that_restarts_on_a_host_with_many_ports_writes_nothing_and_loses_no_packet(
    cloud: Cloud, firewall: str
) -> None:
    made = _populate(cloud)
    with _stream(cloud, made["ends"]) if firewall == "openvswitch" else nullcontext():
        outside = cloud.on("outside", f"ping -c 3 -W 2 {made['floating']}", check=False)
        before = _numbers(cloud)
        assert before["rules with packets"], f"no rule has counted a packet, so a reset would not be seen:\n{outside}"
        for number in (signal.SIGTERM, signal.SIGKILL):
            begun = time.monotonic()
            _restart(cloud, number)
        after = _numbers(cloud)
        changed = [line for name in before for line in _changes(name, before[name], after[name])]
        assert changed == []
        assert _youngest_flow_s(cloud) > time.monotonic() - begun, "a flow was made anew"
    made["remove"]()


@contextmanager
def _stream(cloud: Cloud, ends: list[dict[str, Any]]) -> Iterator[None]:
    """Packets from one port to another all the time, of which none may be lost."""
    with wire.guests_on(clouds.Cloud(cloud.state), "aio") as guests:
        taps = [guests.attach(port) for port in ends]
        guests.tell(do="stream", tap=taps[0], to=ends[1]["fixed_ips"][0]["ip_address"], every_s=EVERY_S)
        yield
        passed = guests.tell(do="end", tap=taps[0])
    print(f"{passed['sent']} packets and as many answers meanwhile, lost: {passed['lost']}")
    assert passed["sent"] > 100 and passed["lost"] == 0


def _restart(cloud: Cloud, number: signal.Signals) -> None:
    """Another agent takes over, and writes nothing."""
    log = cloud.state / "log" / "aio-agent.log"
    size = log.stat().st_size
    begun = time.monotonic()
    agent = _agent(cloud)
    os.kill(agent, number)
    wait_for("another agent", lambda: _agent(cloud), lambda pid: pid not in (0, agent))

    def said() -> list[str]:
        return _WRITES.findall(log.read_text()[size:])

    wait_for("the new agent's first pass", said)
    print(f"agent with {PORTS} right ports was back and sure after {time.monotonic() - begun:.2f} s: {said()}")
    assert cloud.run("diff", check=False).stdout == "aio: everything is as it should be\n"
    assert [line for line in said() if "writes=none" not in line] == []


def _populate(cloud: Cloud) -> dict[str, Any]:
    """A network with a router, a floating IP, a server, and ports that Nova might have made."""
    admin = cloud.connect("admin")
    project = admin.current_project_id
    admin.network.update_quota(project, port=-1)
    network = admin.network.create_network(name="restart")
    subnet = admin.network.create_subnet(network_id=network.id, cidr="10.80.0.0/16", ip_version=4)
    public = admin.network.find_network("public")
    router = admin.network.create_router(name="restart", external_gateway_info={"network_id": public.id})
    admin.network.add_interface_to_router(router, subnet_id=subnet.id)
    wish = {"network_id": network.id, "device_owner": "compute:nova", "device_id": "x", "binding:host_id": "aio"}
    found: list[dict[str, Any]] = []
    while len(found) < PORTS:
        answer = admin.network.post("/ports", json={"ports": [wish] * min(100, PORTS - len(found))})
        assert answer.status_code == 201, answer.text
        found += answer.json()["ports"]
    ports = [port["id"] for port in found]
    floating = admin.network.create_ip(floating_network_id=public.id, port_id=ports[0])
    image = admin.image.find_image("tiny", ignore_missing=False)
    flavor = admin.compute.find_flavor("m1.nano", ignore_missing=False)
    server = admin.compute.create_server(
        name="restart", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
    )
    admin.compute.wait_for_server(server, wait=90, interval=0.2)
    wait_for(
        "all ports are ACTIVE",
        lambda: [port.id for port in admin.network.ports(network_id=network.id) if port.status != "ACTIVE"],
        lambda waiting: not waiting,
    )
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)

    def remove() -> None:
        admin.compute.delete_server(server)
        admin.compute.wait_for_delete(server, interval=0.2, wait=60)
        admin.network.delete_ip(floating)
        admin.network.remove_interface_from_router(router, subnet_id=subnet.id)
        admin.network.delete_router(router)
        for port in ports:
            admin.network.delete_port(port)
        admin.network.delete_network(network)

    return {"floating": floating.floating_ip_address, "ends": found[-2:], "remove": remove}


def _agent(cloud: Cloud) -> int:
    """The agent's process id as seen from here, 0 while there is none."""
    reply = control.ask(State(cloud.state), control.Ask(do="status"))
    assert reply is not None
    return reply.outer_pids.get("aio-agent", 0)


_SCRIPT = r"""
each_bridge() {{ for b in $(ovs-vsctl list-br); do ovs-ofctl -O OpenFlow13 $1 $2 $b; done; }}
each_place() {{ $*; for n in $(ls /run/netns); do echo "in $n"; ip netns exec $n $*; done; }}
echo @ovsdb transactions; ovsdb-tool show-log {state}/ovs/conf.db | grep -c '^record'
echo @ovsdb configurations; ovs-vsctl get Open_vSwitch . next_cfg
echo @ovsdb rows; for t in Bridge Port Interface; do ovs-vsctl --columns=_uuid,name,external_ids list $t; done
echo @openflow ports; each_bridge show | grep -o '^ [0-9]*(.*addr.*'
echo @flows; each_bridge --no-stats dump-flows
echo @devices; each_place ip -o link | cut -d: -f1,2
echo @addresses; for n in $(ls /run/netns); do ip netns exec $n ip -o address; ip netns exec $n ip route; done
echo @namespaces; ls -i /run/netns
echo @rules; each_place iptables-save -c; each_place ip6tables-save -c
echo @ipsets; ipset save
echo @processes; ps -eo pid,lstart,args -ww | grep -E 'dnsmasq|qemu|ovs|libvirtd' | grep -Ev 'grep|ofctl|guest=warm-'
cd {state}
echo @files; find dhcp ra instances libvirt/etc -type f ! -name console.log ! -name disk -printf '%p %T@ %i\n'
echo @disks that guests write to; find instances -name disk -printf '%p %i\n'
echo @domains; for d in $(virsh list --all --name | grep -v ^warm-); do virsh dumpxml $d; done
"""


def _numbers(cloud: Cloud) -> dict[str, list[str]]:
    """What a write would change, by table."""
    text = cloud.on("aio", _SCRIPT.format(state=f"{cloud.state}/hosts/aio"))
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("@"):
            name = line[1:]
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line)
    rules = found.pop("rules")
    # Counters may grow; a rule made anew begins at zero.
    counted = [line for line in rules if re.match(r"\[[1-9]", line)]
    found["rules with packets"] = sorted(re.sub(r"^\[\d+:\d+\]", "[n]", line) for line in counted)
    found["rules"] = sorted(re.sub(r"\[\d+:\d+\]", "[]", line) for line in rules)
    return found


def _changes(name: str, before: list[str], after: list[str]) -> list[str]:
    if name == "rules with packets":
        return [f"{name}: reset: {line}" for line in before if line not in after]
    lines = [f"{name}: gone: {line}" for line in before if line not in after]
    return lines + [f"{name}: new: {line}" for line in after if line not in before]


def _youngest_flow_s(cloud: Cloud) -> float:
    text = cloud.on("aio", "for b in $(ovs-vsctl list-br); do ovs-ofctl -O OpenFlow13 dump-flows $b; done")
    # What the switch has learned itself has a hard timeout and comes and goes.
    ages = [float(found[1]) for line in text.splitlines() if "hard_timeout" not in line
            and (found := re.search(r"duration=([\d.]+)s", line))]  # fmt: skip
    return min(ages)
