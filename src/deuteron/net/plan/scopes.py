"""Address scopes in routers: packets go on within the scope of the network that they came from, and no further.

    mangle  PREROUTING ──> scope          a packet has the mark of the scope of the interface that it came in by
            PREROUTING     floatingip     to a floating IP: the mark of the scope inside, where it goes
            FORWARD    ──> float-snat     from a fixed IP with a floating one: the mark of the scope outside
    filter  FORWARD    ──> scope          out by an interface with another mark: DROP
    nat     snat                          out by the gateway within its scope: ACCEPT, before SNAT

A connection keeps the mark in its upper 16 bits (connmark), so that answers to a translated address find back. To be in
no scope has a mark as well, the first; only there, SNAT goes on. What SNAT translates is free to leave, from whichever
scope it is, as no address of it is seen outside.

Source: neutron/agent/l3/router_info.py (`_initialize_address_scope_iptables`, `_add_address_scope_mark`,
`process_floating_ip_address_scope_rules`, `process_external_port_address_scope_routing`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from deuteron.model.intent import FloatingIp, RouterGateway, RouterPort
from deuteron.net.plan.addresses import version

NO_SCOPE: Final = 0x400
"""Neutron's agent gives numbers from here on; this is the first, what has no scope."""
MASK: Final = "0xffff0000"
SAVE: Final = f"-m connmark --mark 0x0/{MASK} -j CONNMARK --save-mark --nfmask {MASK} --ctmask {MASK}"
RESTORE: Final = f"-m connmark ! --mark 0x0/{MASK} -j CONNMARK --restore-mark --nfmask {MASK} --ctmask {MASK}"


def mark(number: int) -> str:
    """The mark of the scope with this number; of no scope with 0."""
    return f"{(NO_SCOPE + number) << 16:#x}/{MASK}"


class RouterScopes:
    """The rules of one router: `ports` are its interfaces and its gateway, with the names of their devices."""

    def __init__(self, ports: Sequence[tuple[RouterPort, str]], gateway: RouterGateway | None, qg: str | None) -> None:
        self._ports = ports
        self._gateway = gateway
        self._qg = qg
        self.outside = 0 if gateway is None else gateway.port.scopes[0]
        """The number of the IPv4 scope outside."""
        self.has_snat = gateway is not None and gateway.enable_snat

    def marking(self, family: int) -> list[str]:
        """Chain `scope` of the table `mangle`."""
        return [f"-i {name} -j MARK --set-xmark {mark(number)}" for name, number in self._devices(family)]

    def dropping(self, family: int) -> list[str]:
        """Chain `scope` of the table `filter`."""
        return [
            f"-o {name} -m mark ! --mark {mark(number)} -j DROP"
            for name, number in self._devices(family)
            # SNAT of IPv4 takes them out of their scope.
            if not (name == self._qg and family == 4 and self.has_snat)
        ]

    def crossing(self, floating_ips: Sequence[FloatingIp], chain: str) -> tuple[list[str], list[str], list[str]]:
        """What `FORWARD`, `floatingip` and `float-snat` (called `chain`) of `mangle` have for floating IPs."""
        between = [(item, self.inside(item.fixed_ip_address)) for item in floating_ips]
        between = [(item, number) for item, number in between if number != self.outside]
        if not between:
            return [], [], []
        return (
            [f"-s {item.fixed_ip_address}/32 -j {chain}" for item, _ in between],
            [f"-d {item.floating_ip_address}/32 -j MARK --set-xmark {mark(number)}" for item, number in between],
            [
                f"-o {name} -j MARK --set-xmark {mark(number)}"
                for name, number in self._devices(4)
                if number == self.outside
            ],
        )

    def untranslated(self) -> list[str]:
        """What chain `snat` begins with after floating IPs."""
        if not self.has_snat or not self.outside:
            return []
        return [f"-o {self._qg} -m connmark --mark {mark(self.outside)} -j ACCEPT"]

    def inside(self, address: str) -> int:
        """The number of the IPv4 scope of the interface whose network has the address."""
        wanted = ipaddress.IPv4Address(address)
        for port, name in self._ports:
            if name != self._qg and any(
                wanted in ipaddress.IPv4Interface(text).network for text in port.addresses if version(text) == 4
            ):
                return port.scopes[0]
        return 0

    def _devices(self, family: int) -> list[tuple[str, int]]:
        found = [
            (name, port.scopes[0 if family == 4 else 1])
            for port, name in self._ports
            if any(version(text) == family for text in port.addresses)
        ]
        names = {name for name, _ in found}
        if family == 6 and found and self._gateway is not None and self._qg is not None and self._qg not in names:
            # Its IPv6 addresses may come from the provider's advertisements, and packets by it all the same.
            found.append((self._qg, self._gateway.port.scopes[1]))
        return found
