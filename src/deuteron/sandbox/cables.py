"""The cables between hosts: each is a pair of interfaces, one end in a host, the other on a bridge of the sandbox.

The sandbox's own network namespace, where bridges and the outer ends are, is that of whoever calls: the sandbox's init.
"""

from __future__ import annotations

import contextlib
import subprocess
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from .errors import NamespaceError
from .link_properties import LinkProperties, Links, discipline
from .processes import SYSTEM_PATH
from .topology import OUTSIDE, Host, Topology

BRIDGES = ("mgmt", "tunnel", "trunk", "provider")
_ROLES = dict(zip(BRIDGES, Links.__struct_fields__, strict=True))
# The userspace datapath reads these links through AF_PACKET and sees frames as the sender left them:
# unfinished checksums and segments larger than the MTU would be forwarded as they are.
_OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")


class Link(NamedTuple):
    """One cable: `inside` on the host, `outside` on a bridge of the sandbox."""

    inside: str
    outside: str
    bridge: str
    address: str | None
    mac: str
    """Of the inner end; made from the names alone."""
    properties: LinkProperties = LinkProperties()


def links_of(host: Host, topology: Topology) -> tuple[Link, ...]:
    """The cables of `host`, with what they do to packets."""
    return tuple(
        link._replace(properties=getattr(host.links, _ROLES[link.bridge]) or link.properties)
        for link in _cables(host, topology)
    )


def _cables(host: Host, topology: Topology) -> tuple[Link, ...]:
    """The cables of `host`; `outside` has only those to physical networks, a host without an agent only the others."""
    if host.name == OUTSIDE:
        trunk, provider = host.interfaces.vlan_interface, host.interfaces.neutron_external_interface
        return (
            Link(trunk, _peer(host, trunk, 2), "trunk", None, _mac(host, 2)),
            Link(provider, _peer(host, provider, 3), "provider", topology.external.outside_address, _mac(host, 3)),
        )
    addresses = (
        f"{host.management_ip}/{_length(topology.networks.management)}",
        # With an agent, the address is that of the bridge which the agent puts the interface in.
        None if host.roles else f"{host.tunnel_ip}/{_length(topology.networks.tunnel)}",
        None,
        None,
    )
    cables = tuple(
        Link(inside, _peer(host, inside, number), bridge, address, _mac(host, number))
        for number, (inside, bridge, address) in enumerate(zip(host.interfaces.names, BRIDGES, addresses, strict=True))
    )
    return cables if host.roles else cables[:2]


def make_networks() -> None:
    """Lay the sandbox's bridges, in the calling process's network namespace."""
    lines = ["link set lo up"]
    for bridge in BRIDGES:
        # Without multicast snooping neighbour discovery and every tunnel's flood reach all ports from the first packet.
        lines.append(f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
    sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    for name in ("iptables", "ip6tables", "arptables"):
        sysctl(f"net.bridge.bridge-nf-call-{name}", "0")
    lines += [f"link set {bridge} up" for bridge in BRIDGES]
    ip(lines)


def plug(links: Iterable[Link], down: Collection[str] = ()) -> None:
    """Put the outer ends on their bridges, where they are not yet. An interface in `down` hears and says nothing."""
    lines = []
    for link in links:
        state = "down" if link.inside in down else "up"
        lines.append(f"link set {link.outside} master {link.bridge} {state}")
    ip(lines)


def shape(links: Iterable[Link]) -> None:
    """Have the outer ends do to packets what their cables do; `make_links` does it for the inner ones."""
    for link in links:
        if link.properties.mtu is not None:
            ip([f"link set {link.outside} mtu {link.properties.mtu}"])
        _queue(link.outside, link)


def _queue(interface: str, link: Link) -> None:
    words = discipline(link.properties)
    if not words:
        return
    try:
        run("tc", "qdisc", "replace", "dev", interface, "root", *words)
    except NamespaceError as error:
        raise NamespaceError(
            f'cannot do to packets what [links] says of "{interface}": {error.message} '
            f"(the kernel needs sch_{words[0]}: modprobe sch_{words[0]})",
            "without delay_ms, jitter_ms and loss_percent sch_netem is not needed",
        ) from error


def unplug(links: Iterable[Link]) -> None:
    """Remove cables whose host is gone; the kernel does it too, a moment later."""
    for link in links:
        subprocess.run(["ip", "link", "del", link.outside], env={"PATH": SYSTEM_PATH}, capture_output=True, check=False)


def make_links(links: Iterable[Link]) -> None:
    links = tuple(links)
    lines = ["link set lo up"]
    for link in links:
        # A machine that is switched off and on has the addresses that its neighbours know.
        mac = f"address {link.mac}"
        lines.append(f"link add {link.inside} {mac} type veth peer name {link.outside} netns 1")
        if link.properties.mtu is not None:
            lines.append(f"link set {link.inside} mtu {link.properties.mtu}")
    ip(lines)
    for link in links:
        _queue(link.inside, link)
    lines = []
    for link in links:
        if link.address is not None:
            lines.append(f"addr add {link.address} dev {link.inside}")
        else:
            sysctl(f"net.ipv6.conf.{link.inside.replace('.', '/')}.disable_ipv6", "1")
        lines.append(f"link set {link.inside} up")
    ip(lines)
    without_offloads(link.inside for link in links if link.bridge != "mgmt")


def _peer(host: Host, inside: str, number: int) -> str:
    """The name of a cable's end on the bridge: `aio-eth2` where the kernel's 15 bytes allow it."""
    name = f"{host.name}-{inside}"
    # Made from the name alone: a host keeps its cables when others come and go.
    return name if len(name) <= 15 else f"h{zlib.crc32(host.name.encode()):08x}-{number}"


def _mac(host: Host, number: int) -> str:
    """Locally administered."""
    return ":".join(f"{byte:02x}" for byte in (2, *zlib.crc32(host.name.encode()).to_bytes(4, "big"), number))


def _length(network: str) -> str:
    return network.rpartition("/")[2]


def sysctl(name: str, value: str) -> None:
    """Set a kernel setting of the own network namespace; one that this kernel does not have is let be."""
    with contextlib.suppress(OSError):
        Path("/proc/sys", *(part.replace("/", ".") for part in name.split("."))).write_text(value)


def without_offloads(interfaces: Iterable[str]) -> None:
    arguments = [word for offload in _OFFLOADS for word in (offload, "off")]
    for interface in interfaces:
        subprocess.run(
            ["ethtool", "-K", interface, *arguments], env={"PATH": SYSTEM_PATH}, capture_output=True, check=False
        )


def ip(lines: list[str]) -> None:
    run("ip", "-batch", "-", given="\n".join(lines) + "\n")


def run(*arguments: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            arguments, input=given, env={"PATH": SYSTEM_PATH}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise NamespaceError(f"cannot find the program {arguments[0]}", "deuteron doctor") from error
    if done.returncode:
        raise NamespaceError(f"{' '.join(arguments)}: {done.stderr.strip()}", "deuteron doctor")
    return done.stdout
