"""DNS and DHCP that the host `outside` serves on the external network: the table `[outside]` of a topology.

    dnsmasq ── names of the topology and of the cloud, host-192-168-111-25.openstacklocal
       │                        (`outside_names` writes them, and whom DHCP leaves alone)
       └── 127.0.0.1:5300 ── the API's socket ── the machine's resolver, with `forward`

The router VM of seed E is a router with `named` and `dhcpd`; dnsmasq is both here, as on the hosts of the cloud.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from deuteron.model.outside import RESOLVER_PORT

from .errors import TopologyError
from .topology import OUTSIDE, External, Host, Outside

PROCESS = "dnsmasq"
NAMES, STATIONS, LEASES = "names", "stations", "leases"
"""Files in the folder of its dnsmasq."""
PID_FILE = "/run/outside-dnsmasq.pid"
_DOMAIN = re.compile(r"(?=.{1,200}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_LEASE_TIME = "1h"
_QUESTIONS_AT_ONCE = 64
_MOST_LEASES = 65536


def checked_outside(outside: Outside, external: External, hosts: Iterable[Host], source: str) -> Outside:
    """What `[outside]` says, as it is. Raises: TopologyError for what does not fit [external] or the hosts."""
    if not _DOMAIN.fullmatch(outside.domain):
        raise TopologyError(
            f'cannot use "{outside.domain}" as the domain of [outside] in {source}',
            'labels of lower case letters, digits and hyphens: "openstacklocal", "cloud.example"',
        )
    if outside.forward and not outside.dns:
        raise TopologyError(
            f"[outside] of {source} has `forward` without `dns`",
            "forward = true is for dns = true, which asks where it does not know",
        )
    if outside.dhcp is not None:
        _refuse_range(outside.dhcp, external, {host.external_ip: host.name for host in hosts}, source)
    return outside


def arguments(outside: Outside, external: External, interface: str, folder: str) -> tuple[str, ...]:
    """The command line of the dnsmasq on `interface`; it stays in the foreground, and its log is its output.

    Names that clients of DHCP give themselves are not told: any could take another's.
    """
    return (
        *("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=", "--user=root"),
        *(f"--pid-file={PID_FILE}", f"--interface={interface}", "--except-interface=lo", "--bind-interfaces"),
        *("--no-hosts", "--no-resolv"),
        *(_dns(outside, external, folder) if outside.dns else ("--port=0",)),
        *(_dhcp(outside.dhcp, external, folder) if outside.dhcp is not None else ()),
    )


def records(outside: Outside, external: External, hosts: Iterable[Host]) -> tuple[tuple[str, str], ...]:
    """The names of hosts that have an address in the external network, and of `outside` itself."""
    known = [(host.name, host.external_ip) for host in hosts if host.external_ip is not None]
    found = [*known, (OUTSIDE, external.gateway)] if outside.dns else []
    return tuple((f"{name}.{outside.domain}", address) for name, address in found)


def _dns(outside: Outside, external: External, folder: str) -> list[str]:
    domain = outside.domain
    ranges = [external.pool] if outside.dhcp is None else [external.pool, outside.dhcp]
    forward = [f"--server=127.0.0.1#{RESOLVER_PORT}"] if outside.forward else []
    return [
        *(f"--domain={domain}", f"--local=/{domain}/", f"--addn-hosts={folder}/{NAMES}"),
        *(f"--synth-domain={domain},{first},{last},host-" for first, last in ranges),
        *("--domain-needed", "--bogus-priv", f"--dns-forward-max={_QUESTIONS_AT_ONCE}", *forward),
    ]


def _dhcp(leased: tuple[str, str], external: External, folder: str) -> list[str]:
    first, last = leased
    count = min(int(ipaddress.ip_address(last)) - int(ipaddress.ip_address(first)) + 1, _MOST_LEASES)
    return [
        f"--dhcp-range={first},{last},{ipaddress.ip_network(external.cidr).netmask},{_LEASE_TIME}",
        f"--dhcp-option=option:router,{external.gateway}",
        *(f"--dhcp-leasefile={folder}/{LEASES}", f"--dhcp-hostsfile={folder}/{STATIONS}"),
        *("--dhcp-ignore-names", f"--dhcp-lease-max={count}"),
    ]


def _refuse_range(leased: tuple[str, str], external: External, taken: dict[str | None, str], source: str) -> None:
    network = ipaddress.ip_network(external.cidr)
    accepted = f"the first and the last address of a range in {external.cidr}, beside the pool and what hosts have"
    if network.version != 4:
        raise TopologyError(
            f'cannot lease addresses of "{external.cidr}" in {source}: [outside] has `dhcp`',
            "dhcp is for IPv4; leave it out",
        )
    try:
        first, last = (ipaddress.IPv4Address(address) for address in leased)
    except ValueError as error:
        raise TopologyError(f"cannot read `dhcp` of [outside] in {source}: {error}", accepted) from error
    ends = (int(network[0]), int(network[-1]))
    for address in (first, last):
        if not ends[0] < int(address) < ends[1]:
            raise TopologyError(f'"{address}" of [outside] in {source} is no address of "{external.cidr}"', accepted)
    if first > last:
        raise TopologyError(f'the range `dhcp` of [outside] in {source} ends before it begins: "{first}"', accepted)
    pool = tuple(ipaddress.ip_address(address) for address in external.pool)
    if int(first) <= int(pool[1]) and int(pool[0]) <= int(last):
        raise TopologyError(
            f'the range `dhcp` of [outside] in {source}, from "{first}", has addresses of the pool of [external], '
            f"{pool[0]} to {pool[1]}",
            accepted,
        )
    for owner, name in [*taken.items(), (external.gateway, OUTSIDE)]:
        if owner is not None and int(first) <= int(ipaddress.ip_address(owner)) <= int(last):
            raise TopologyError(
                f'the range `dhcp` of [outside] in {source}, from "{first}", has {owner}, the address of host {name}',
                accepted,
            )
