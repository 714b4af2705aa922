"""Part `throughput`: TCP between two guests' namespaces through the pipeline, beside a bare patch through Open vSwitch.

A guest is a network namespace on a veth whose other end has the name of the port's tap, so that our agent plugs it
into br-int and secures it as any guest's (it complains about the kind of the device, and goes on). The bare patch is a
bridge of the same datapath with two such veths and two flows, in and out. Both are pumped in turns. Offloads are off
at the guests' ends, as they are in our domains: the userspace datapath sees whole packets.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from bench.client import Client
from bench.clouds import HOST, Cloud, Failed
from bench.figures import Book
from bench.wire import Guests, guests_on, network, prepare

_OWNER = {"device_owner": "compute:nova", "device_id": "00000000-0000-0000-0000-00000000be9c"}
_TIMEOUT_S = 20.0


def run(book: Book, cloud: Cloud, rounds: int, seconds: float) -> None:
    client = Client(cloud.log_in())
    prepare(client)
    network_id, _ = network(client, "10.95.0.0/24")
    with guests_on(cloud, HOST) as host:
        ports = [client.make("port", network_id=network_id, **_OWNER)[0] for _ in range(2)]
        mtu = client.call("GET", f"/networks/{network_id}")["network"]["mtu"]
        for number, port in enumerate(ports):
            tap, address = f"tap{port['id'][:11]}", port["fixed_ips"][0]["ip_address"]
            _guest(host, f"ours{number}", tap, address, port["mac_address"], mtu)
            client.call("PUT", f"/ports/{port['id']}", {"port": {"binding:host_id": HOST}})
        _sh(host, "ovs-vsctl add-br bench0 -- set bridge bench0 datapath_type=netdev fail_mode=secure")
        for number in (0, 1):
            _guest(host, f"bare{number}", f"bare{number}", f"10.96.0.{number + 1}", f"02:00:00:00:96:0{number}", mtu)
            _sh(
                host,
                f"ovs-vsctl add-port bench0 bare{number} -- set interface bare{number} ofport_request={number + 1}",
            )
        _sh(host, "ovs-ofctl add-flow bench0 in_port=1,actions=2 && ovs-ofctl add-flow bench0 in_port=2,actions=1")
        addresses = {"ours": ports[1]["fixed_ips"][0]["ip_address"], "bare": "10.96.0.2"}
        for kind, address in addresses.items():
            _wait_reachable(host, f"{kind}0", address)
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(rounds):
            for kind, address in addresses.items():
                rates[kind].append(_pump(host, kind, address, seconds))
    client.close()
    book.add("throughput, through our pipeline", rates["ours"], "Mb/s")
    book.add("throughput, bare patch", rates["bare"], "Mb/s")
    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True)]
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["bare"])
    book.add(
        "throughput, ratio to a bare patch", [ratio], "x", f"of medians; pairs {min(ratios):.2f} to {max(ratios):.2f}"
    )


def _guest(host: Guests, name: str, device: str, address: str, mac: str, mtu: int) -> None:
    _sh(
        host,
        f"ip netns add {name};"
        f"ip link add {device} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {name} address {mac};"
        f"sysctl -qw net.ipv6.conf.{device}.disable_ipv6=1; ip link set {device} up;"
        f"ip -n {name} link set lo up; ip -n {name} link set eth0 up; ip -n {name} addr add {address}/24 dev eth0;"
        "for o in rx tx sg tso gso gro; do"
        f" ethtool -K {device} $o off; ip netns exec {name} ethtool -K eth0 $o off; done;"
        "true",
    )


def _wait_reachable(host: Guests, name: str, address: str) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while host.tell(do="run", command=f"ip netns exec {name} ping -c1 -W1 {address}")["status"]:
        if time.monotonic() > deadline:
            raise Failed(f"{address} does not answer in namespace {name}")


def _pump(host: Guests, kind: str, address: str, seconds: float) -> float:
    """Megabits a second of payload, counted by the receiver."""
    pump = f"{sys.executable} {Path(__file__).with_name('pump.py')}"
    command = (
        f"ip netns exec {kind}1 {pump} take {address} {seconds} & "
        f"sleep 0.3; ip netns exec {kind}0 {pump} give {address} {seconds}; wait"
    )
    output = _sh(host, command)
    return float(output.strip())


def _sh(host: Guests, command: str) -> str:
    answer = host.tell(do="run", command=command)
    if answer["status"]:
        raise Failed(f"{command}: {answer['output']}")
    return str(answer["output"])
