"""Servers that go to another host while their guests run: what of their packets, their disks and themselves survives.

net1 (network)        c1 (compute)          c2 (compute)
qdhcp: pings,         guest   ------------> guest
a TCP stream            │                     │
   ├── VLAN ────────────┼─────────────────────┤
   └── VXLAN ───────────┴─────────────────────┘
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deuteron.sandbox import control
from deuteron.sandbox.cloud import State
from tests.chaos import processes
from tests.clouds import PROGRAM, Cloud, running, wait_for

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["c1", "c2"]
"""
KINDS = ("vlan", "vxlan")
PREFIX = {"vlan": "10.80.0", "vxlan": "10.81.0"}
PERIOD_S = 0.02
MOST_S = 45
"""What runs beside a migration ends by itself then."""
COUNTING = """#!/bin/sh
while true; do
    (n=0; while true; do n=$((n+1)); echo $n; sleep 0.05; done) | nc -l -p 9000
done >/dev/null 2>&1 &
while true; do date +%s >> /root/times; sync; sleep 0.2; done >/dev/null 2>&1 &
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        yield made


@pytest.fixture(scope="module")
def guest(cloud: Cloud) -> Any:
    """A guest that counts to whoever connects, and writes to its disk all the time."""
    admin = cloud.connect("admin")
    group = next(iter(admin.network.security_groups(name="default", project_id=admin.current_project_id)))
    for protocol in ("icmp", "tcp"):
        admin.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol=protocol, ethertype="IPv4"
        )
    networks = []
    for kind in KINDS:
        network = admin.network.create_network(name=kind, provider_network_type=kind)
        admin.network.create_subnet(network_id=network.id, name=kind, cidr=f"{PREFIX[kind]}.0/24", ip_version=4)
        networks.append({"uuid": network.id})
    made = admin.compute.create_server(
        name="traveller",
        image_id=admin.image.find_image("tiny", ignore_missing=False).id,
        flavor_id=admin.compute.find_flavor("m1.nano", ignore_missing=False).id,
        networks=networks,
        availability_zone="nova:c1",
        user_data=base64.b64encode(COUNTING.encode()).decode(),
        config_drive=True,
    )
    found = admin.compute.wait_for_server(made, wait=90, interval=0.2)
    for kind in KINDS:
        wait_for(f"it answers over {kind}", lambda k=kind: "1 received" in ping_once(cloud, k, address(found, k)))
    return found


def address(server: Any, kind: str) -> str:
    return str(server.addresses[kind][0]["addr"])


def inside(cloud: Cloud, kind: str) -> str:
    """The namespace of DHCP of the network of this kind, on the network host."""
    script = f"""for n in $(ip netns list | cut -d" " -f1); do
        ip netns exec $n ip -4 address | grep -q "{PREFIX[kind]}." && echo $n; done"""
    return cloud.on("net1", script, check=False).strip()


def ping_once(cloud: Cloud, kind: str, to: str) -> str:
    namespace = inside(cloud, kind)
    return cloud.on("net1", f"ip netns exec {namespace} ping -c 1 -W 1 {to}", check=False) if namespace else ""


@contextmanager
def going_on(cloud: Cloud, command: str, into: Path) -> Iterator[Path]:
    """A command on the network host that runs meanwhile, and what it says."""
    with into.open("wb") as out:
        words = [*PROGRAM, "exec", "net1", "--", "sh", "-c", command]
        process = subprocess.Popen(words, env=cloud.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield into
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def migrate(cloud: Cloud, server: Any, host: str | None) -> float:
    """Seconds until it runs on another host."""
    compute = cloud.connect("admin").compute
    assert compute.get_server(server).compute_host != host
    before, began = compute.get_server(server).compute_host, time.monotonic()
    compute.live_migrate_server(server, host=host, block_migration="auto")
    wait_for("it moves or stays", lambda: compute.get_server(server).task_state, lambda task: task is None)
    taken = time.monotonic() - began
    found = compute.get_server(server)
    actions = list(compute.server_actions(server))
    assert found.compute_host != before and found.status == "ACTIVE", (found.compute_host, found.status, actions[:1])
    return taken


def lost(said: str) -> list[int]:
    """Which of the pings had no answer, of those up to the last that had one."""
    answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", said)}
    return [number for number in range(1, max(answered, default=0) + 1) if number not in answered]


def test_a_guest_moves_with_its_connections_its_disk_and_its_memory(cloud: Cloud, guest: Any, tmp_path: Path) -> None:
    spaces = {kind: inside(cloud, kind) for kind in KINDS}
    receive = f"exec cat </dev/tcp/{address(guest, 'vxlan')}/9000"
    stream = f"exec timeout {MOST_S} ip netns exec {spaces['vxlan']} bash -c '{receive}'"
    ping = f"exec timeout {MOST_S} ip netns exec %s ping -i {PERIOD_S} %s"
    pings = {kind: ping % (spaces[kind], address(guest, kind)) for kind in KINDS}
    with (
        going_on(cloud, pings["vlan"], tmp_path / "vlan") as of_vlan,
        going_on(cloud, pings["vxlan"], tmp_path / "vxlan") as of_vxlan,
        going_on(cloud, stream, tmp_path / "stream") as counted,
    ):
        wait_for("it counts", lambda: counted.read_text().count("\n"), lambda lines: lines > 5)
        taken = migrate(cloud, guest, None)
        before = counted.read_text().count("\n")
        wait_for("it counts on", lambda: counted.read_text().count("\n"), lambda lines: lines > before + 20)
        for told in (of_vlan, of_vxlan):
            seen = told.read_text().count("ttl")
            wait_for(f"{told.name} answers", told.read_text, lambda text, s=seen: text.count("ttl") > s + 10)
    print(f"\nlive migration: {taken:.1f} s")
    for told in (of_vlan, of_vxlan):
        missing = lost(told.read_text())
        sent = told.read_text().count("ttl") + len(missing)
        print(f"{told.name}: {len(missing)} of {sent} pings lost, {len(missing) * PERIOD_S:.2f} s")
        assert len(missing) * PERIOD_S < 5, told.name
    numbers = [int(line) for line in counted.read_text().split()]
    assert numbers == list(range(1, len(numbers) + 1)), "one connection, and nothing of it lost"


def runs_on(cloud: Cloud, server: Any) -> list[str]:
    """The hosts on which a QEMU of the server runs, or something of it lies."""
    found = []
    for host in ("c1", "c2"):
        folder = f"{cloud.state}/hosts/{host}/instances/{server.id}"
        domains = cloud.on(host, "virsh list --all --uuid", check=False)
        if server.id in domains or cloud.on(host, f"ls -d {folder} 2>/dev/null", check=False).strip():
            found.append(host)
    return found


def boots(cloud: Cloud, server: Any, host: str) -> int:
    log = f"{cloud.state}/hosts/{host}/instances/{server.id}/console.log"
    return int(cloud.on(host, f"grep -c 'kernel ready' {log}", check=False).strip() or 0)


def test_a_guest_moves_with_a_card_that_came_later_and_standing_still(cloud: Cloud, guest: Any) -> None:
    admin = cloud.connect("admin")

    def cards(host: str) -> int:
        return int(cloud.on(host, f"virsh dumpxml {guest.id} | grep -c '<interface'", check=False).strip() or 0)

    def where() -> tuple[str, str]:
        found = admin.compute.get_server(guest)
        return str(found.compute_host), str(found.status)

    here = where()[0]
    there = "c1" if here == "c2" else "c2"
    network = admin.network.create_network(name="third")
    admin.network.create_subnet(network_id=network.id, name="third", cidr="10.82.0.0/24", ip_version=4)
    card = admin.compute.create_server_interface(guest, net_id=network.id)
    wait_for("it has three cards", lambda: cards(here), lambda count: count == 3)
    migrate(cloud, guest, there)
    assert cards(there) == 3
    admin.compute.delete_server_interface(card, server=guest)
    wait_for("the guest lets it go", lambda: cards(there), lambda count: count == 2)
    admin.compute.pause_server(guest)
    wait_for("it stands still", where, lambda seen: seen == (there, "PAUSED"))
    admin.compute.live_migrate_server(guest, host=here, block_migration="auto")
    wait_for("it has moved", where, lambda seen: seen == (here, "PAUSED"))
    admin.compute.unpause_server(guest)
    for kind in KINDS:
        wait_for(f"it answers over {kind}", lambda k=kind: "1 received" in ping_once(cloud, k, address(guest, k)))
    admin.compute.reboot_server(guest, "HARD")
    wait_for("it boots from its disk", lambda: boots(cloud, guest, here), lambda count: count > 0)
    for kind in KINDS:
        wait_for(f"it answers over {kind}", lambda k=kind: "1 received" in ping_once(cloud, k, address(guest, k)))


IN_TRUNK = """#!/bin/sh
modprobe 8021q
ip link add link eth0 name eth0.7 type vlan id 7
ip link set eth0.7 address {mac}
ip link set eth0.7 up
ip address add {address}/24 dev eth0.7
"""


def test_a_guest_with_a_trunk_moves_and_so_do_its_subports(cloud: Cloud, guest: Any) -> None:
    admin = cloud.connect("admin")
    ports = {}
    for kind, prefix in (("vlan", "10.84.0"), ("vxlan", "10.85.0")):
        network = admin.network.create_network(name=f"{kind}-in-trunk", provider_network_type=kind, mtu=1400)
        admin.network.create_subnet(network_id=network.id, cidr=f"{prefix}.0/24", ip_version=4)
        ports[kind] = admin.network.create_port(network_id=network.id)
    parent, sub = ports.values()
    inside_it = {"port_id": sub.id, "segmentation_type": "vlan", "segmentation_id": 7}
    trunk = admin.network.create_trunk(name="t", port_id=parent.id, sub_ports=[inside_it])
    said = IN_TRUNK.format(mac=sub.mac_address, address=sub.fixed_ips[0]["ip_address"])
    made = admin.compute.create_server(
        name="in-trunk",
        image_id=admin.image.find_image("tiny", ignore_missing=False).id,
        flavor_id=admin.compute.find_flavor("m1.nano", ignore_missing=False).id,
        networks=[{"port": parent.id}],
        availability_zone="nova:c1",
        user_data=base64.b64encode(said.encode()).decode(),
        config_drive=True,
    )
    server = admin.compute.wait_for_server(made, wait=90, interval=0.2)

    def answers(port: Any) -> bool:
        ping = f"ip netns exec qdhcp-{port.network_id} ping -c 1 -W 1 {port.fixed_ips[0]['ip_address']}"
        return "1 received" in cloud.on("net1", ping, check=False)

    def bridge(host: str) -> list[str]:
        name = f"tbr-{trunk.id}"[:14]
        return cloud.on(host, f"ovs-vsctl list-ports {name}").split()

    for port in ports.values():
        wait_for(f"{port.id} answers", lambda p=port: answers(p))
    print(f"\nlive migration: {migrate(cloud, server, 'c2'):.1f} s")
    for port in ports.values():
        wait_for(f"{port.id} answers where it is now", lambda p=port: answers(p), timeout_s=20)
        assert admin.network.get_port(port).binding_host_id == "c2"
    assert len(bridge("c2")) == 3
    wait_for("the trunk is active", lambda: admin.network.get_trunk(trunk).status, lambda said: said == "ACTIVE")
    wait_for("it has left", lambda: cloud.on("c1", "ovs-vsctl list-br"), lambda bridges: "tbr-" not in bridges)
    assert boots(cloud, server, "c2") == 0, "it went on as it was"
    wait_for("hosts are as they should be", lambda: cloud.run("diff", check=False).returncode, lambda code: code == 0)
    admin.compute.delete_server(server)
    admin.compute.wait_for_delete(server, wait=60)
    admin.network.delete_trunk(trunk)


@pytest.mark.parametrize("ending", ["abort", "force complete"])
def test_the_clients_list_show_and_end_a_move(cloud: Cloud, guest: Any, ending: str) -> None:
    compute = cloud.connect("admin").compute
    here = str(compute.get_server(guest).compute_host)
    there = "c1" if here == "c2" else "c2"
    before = boots(cloud, guest, here)
    compute.live_migrate_server(guest, host=None, block_migration="auto")
    (other,) = wait_for("it is awaited", lambda: victims(cloud, guest, "the QEMU it comes to", here, there))
    version = "--os-compute-api-version 2.80"
    # Nothing arrives meanwhile, however slow the client is.
    signal.pidfd_send_signal(other.handle, signal.SIGSTOP)
    try:
        (found,) = cloud.ask(f"{version} server migration list --server {guest.id} --status running", "admin")
        assert (found["Source Compute"], found["Dest Compute"]) == (here, there)
        shown = compute.get_server_migration(found["Id"], guest)
        assert shown.status == "running"
        cloud.openstack(f"{version} server migration {ending} {guest.id} {found['Id']}", "admin")
    finally:
        signal.pidfd_send_signal(other.handle, signal.SIGCONT)
        os.close(other.handle)
    wait_for("it is over", lambda: compute.get_server(guest).task_state, lambda task: task is None)
    (last, *_) = cloud.ask(f"{version} server migration list --server {guest.id}", "admin")
    assert (last["Id"], last["Type"]) == (found["Id"], "live-migration")
    if ending == "abort":
        assert last["Status"] == "cancelled" and boots(cloud, guest, here) == before
    else:
        assert last["Status"] == "completed"
    host = here if ending == "abort" else there
    wait_for("it is at one place", lambda: runs_on(cloud, guest), lambda hosts: hosts == [host])
    for kind in KINDS:
        wait_for(f"it answers over {kind}", lambda k=kind: "1 received" in ping_once(cloud, k, address(guest, k)))


VICTIMS = ("the agent it leaves", "the agent it comes to", "the QEMU it leaves", "the QEMU it comes to", "the API")


@pytest.mark.parametrize("after_s", [0.4, 2.2], ids=["early", "late"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_dies_on_the_way_the_guest_runs_at_one_place(
    cloud: Cloud, guest: Any, victim: str, after_s: float
) -> None:
    compute = cloud.connect("admin").compute
    here = str(compute.get_server(guest).compute_host)
    there = "c1" if here == "c2" else "c2"
    before = boots(cloud, guest, here)
    compute.live_migrate_server(guest, host=there, block_migration="auto")
    began = time.monotonic()
    wait_for("it is time", lambda: time.monotonic() - began, lambda passed: passed > after_s)
    for one in victims(cloud, guest, victim, here, there):
        one.kill()

    def state() -> tuple[Any, ...]:
        try:
            found = compute.get_server(guest)
        except Exception as error:  # the API is about to come back
            return (repr(error),)
        return found.status, found.task_state, found.compute_host

    host = wait_for("it is over", state, lambda seen: seen[:2] == ("ACTIVE", None))[2]
    wait_for("it is at one place", lambda: runs_on(cloud, guest), lambda hosts: hosts == [host])
    for kind in KINDS:
        wait_for(f"it answers over {kind}", lambda k=kind: "1 received" in ping_once(cloud, k, address(guest, k)))
    last = next(iter(compute.migrations(instance_uuid=guest.id)))
    print(f"\n{victim}, after {after_s} s: {last.status}, on {host} (from {here} to {there})")
    assert (last.status == "completed") == (host == there), "the record says where it is"
    if host == here:
        booted = boots(cloud, guest, here) - before
        assert booted == (1 if victim == "the QEMU it leaves" else 0), "it went on as it was"
    wait_for("hosts are as they should be", lambda: cloud.run("diff", check=False).returncode, lambda code: code == 0)


def victims(cloud: Cloud, server: Any, victim: str, here: str, there: str) -> list[Any]:
    state = State(cloud.state)
    if victim == "the API":
        return processes.find(state, "api")
    if "QEMU" in victim:
        marked = f"/hosts/{here if 'leaves' in victim else there}/"
        return [one for one in processes.find(state, "qemu") if marked in Path(f"/proc/{one.pid}/cmdline").read_text()]
    host = here if victim == "the agent it leaves" else there
    reply = control.ask(state, control.Ask(do="status"), timeout_s=60)
    assert reply is not None
    pid = reply.outer_pids[f"{host}-agent"]
    return [processes.Victim("agent", pid, os.pidfd_open(pid))]
