"""The addresses of a topology: what hosts have, and what is refused."""

from __future__ import annotations

import ipaddress

from .errors import TopologyError
from .topology import OUTSIDE, External, Host


def checked_external(external: External, source: str) -> External:
    try:
        network = ipaddress.ip_network(external.cidr)
        addresses = [ipaddress.ip_address(text) for text in (external.gateway, *external.pool)]
    except ValueError as error:
        hint = 'it has cidr = "172.24.4.0/24", gateway = "172.24.4.1" and pool = ["172.24.4.10", "172.24.4.250"]'
        raise TopologyError(f"cannot read [external] of {source}: {error}", hint) from error
    for address in addresses:
        if address not in network:
            raise TopologyError(
                f'"{address}" of [external] in {source} is not in "{external.cidr}"',
                f"gateway and pool are given with cidr, from {network[0]} to {network[-1]}",
            )
    if int(addresses[1]) > int(addresses[2]):
        raise TopologyError(
            f'the pool of [external] in {source} ends before it begins: "{addresses[1]}"',
            "a pool is its first and its last address",
        )
    return external


def nth(network: str, number: int, key: str, source: str) -> str:
    try:
        return str(ipaddress.ip_network(network)[number])
    except (ValueError, IndexError) as error:
        message = f'cannot take address {number} of {key} = "{network}" in {source}: {error}'
        raise TopologyError(message, 'a network with room for all hosts: "172.30.0.0/16"') from error


def refuse_stray_address(address: str, network: str, host: str, source: str) -> None:
    try:
        inside = ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except ValueError as error:
        message = f'cannot read address "{address}" of host "{host}" in {source}: {error}'
        raise TopologyError(message, f"an address in {network}") from error
    if not inside:
        message = f'address "{address}" of host "{host}" in {source} is not in "{network}"'
        raise TopologyError(message, "give one that is, or another network under [networks]")


def refuse_doubled_addresses(hosts: tuple[Host, ...], source: str) -> None:
    seen: dict[str, str] = {}
    for host in hosts:
        if host.name == OUTSIDE:
            continue  # it is in neither network
        for address in (host.management_ip, host.tunnel_ip, host.external_ip):
            if address is None:
                continue
            if address in seen:
                raise TopologyError(
                    f'hosts "{seen[address]}" and "{host.name}" of {source} both have "{address}"',
                    "host number n, in order of mention from 0, has address n + 10 unless it is given one",
                )
            seen[address] = host.name
