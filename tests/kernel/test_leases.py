"""An address that returned to its pool serves the next port, though dnsmasq leased it to the one before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.daemons import DnsmasqDriver
from deuteron.net.kernel.leases import leases
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.rtnetlink import NetlinkSockets
from deuteron.net.rows import Dnsmasq
from tests.kernel.bootp import ACK, OFFER, exchange

NAMESPACE = "qdhcp-lease"
FIRST, SECOND = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


def test_an_address_that_was_leased_is_offered_to_the_next_port(host: Path) -> None:
    for command in (
        f"ip netns add {NAMESPACE}",
        f"ip -n {NAMESPACE} link set lo up",
        f"ip link add guest type veth peer name server netns {NAMESPACE}",
        "ip link set guest up",
        f"ip -n {NAMESPACE} link set server up",
        f"ip -n {NAMESPACE} address add 10.9.0.1/24 dev server",
    ):
        subprocess.run(command.split(), check=True)
    namespaces = Namespaces()
    sockets = NetlinkSockets(namespaces)
    driver = DnsmasqDriver(namespaces, sockets, str(host / "dhcp"))
    try:
        driver.apply(Delta({"net": _dnsmasq(host, f"{FIRST},host-1,10.9.0.5\n")}, {}))
        assert exchange(FIRST, 1) == (OFFER, "10.9.0.5")
        assert exchange(FIRST, 3, bytes([50, 4, 10, 9, 0, 5, 54, 4, 10, 9, 0, 1])) == (ACK, "10.9.0.5")
        driver.apply(Delta({"net": _dnsmasq(host, "")}, {}))
        driver.apply(Delta({"net": _dnsmasq(host, f"{SECOND},host-2,10.9.0.5\n")}, {}))
        assert exchange(SECOND, 1) == (OFFER, "10.9.0.5")
        assert driver.writes["dnsmasq lease ended"] == 1
        assert driver.writes["dnsmasq started"] == 1
    finally:
        driver.apply(Delta({}, {"net": _dnsmasq(host, "")}))
        sockets.close()
        namespaces.close()
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fa:16:3e:00:00:01,host-10-9-0-5.local,10.9.0.5", {(FIRST, "10.9.0.5")}),
        ("fa:16:3e:00:00:01,id:ff:01,host.local,10.9.0.5,set:port-1", {(FIRST, "10.9.0.5")}),
        ("fa:16:3e:00:00:01,tag:dhcpv6,host.local,[fd00::5]", set()),
        ("", set()),
    ],
)
def test_leases_are_read_from_the_lines_of_the_host_file(line: str, found: set[tuple[str, str]]) -> None:
    assert leases(line + "\n") == found


def _dnsmasq(host: Path, hosts: str) -> Dnsmasq:
    folder = f"{host}/dhcp/net"
    arguments = (
        "dnsmasq", "--no-hosts", "--no-resolv", "--bind-dynamic", "--interface=server", "--except-interface=lo",
        "--conf-file=/dev/null", "--leasefile-ro", "--dhcp-authoritative", "--user=root", f"--pid-file={folder}/pid",
        f"--dhcp-hostsfile={folder}/host", "--dhcp-range=10.9.0.0,static,255.255.255.0,86400s",
    )  # fmt: skip
    return Dnsmasq(NAMESPACE, "net", folder, arguments, (("host", hosts),))
