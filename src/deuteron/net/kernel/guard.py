"""What may enter the host's Linux bridges, before anything else sees it: chains of nftables for each device.

    PREROUTING ── by device ── neutronMAC-tap… ── from its MACs, without tags ── neutronARP-tap… ── ARP of its addresses

iptables sees neither ARP, nor frames with VLAN tags, nor the MAC of what is not IP. A guest that may send tagged frames
would choose its VLAN on a flat network, and pass its firewall.

Mark: the table `neutron` of the family `bridge` is ours whole. A row is the text of its chains, as nft prints them,
and its entry in the map; while the rule that asks the map is missing, no row counts as written. Each write is one
transaction of nftables, so a crash leaves the old rules or the new ones.

Source: openstack/neutron, neutron/plugins/ml2/drivers/linuxbridge/agent/arp_protect.py, for what is checked and the
names of the chains; Neutron writes them with ebtables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv6Network, ip_network

from deuteron.net.bridge_rows import FrameGuard
from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.programs import finish, run, start

_TABLE = "bridge neutron"
_MAP = "ports"
_HOOK = "type filter hook prerouting priority dstnat; policy accept;"
_ASKS = f"iifname vmap @{_MAP}"
_BASE = (
    f"add table {_TABLE}",
    f"add map {_TABLE} {_MAP} {{ type ifname : verdict; }}",
    f"add chain {_TABLE} PREROUTING {{ {_HOOK} }}",
    f"flush chain {_TABLE} PREROUTING",
    f"add rule {_TABLE} PREROUTING {_ASKS}",
)
_CHAIN = re.compile(r"^\tchain (\S+) \{\n(.*?)^\t\}", re.MULTILINE | re.DOTALL)
_ELEMENT = re.compile(r'"([^"]+)" : jump (\S+?),?(?=\s|$)')
_ADVERTISEMENT = "icmpv6 type nd-neighbor-advert"
_TARGET_BIT = 64
"""Where the address stands that a neighbour advertisement is about, in its ICMPv6 (RFC 4861 section 4.4)."""


class GuardDriver:
    mark = "the nftables table neutron of the family bridge"

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()

    def observe(self, wanted: Mapping[str, FrameGuard], scope: Scope = None) -> dict[str, FrameGuard]:
        shown = _listed()
        chains = {name: _rules(body) for name, body in _CHAIN.findall(shown)}
        if chains.get("PREROUTING") != [_HOOK, _ASKS]:
            return {}
        known = dict(_ELEMENT.findall(shown))
        devices = known.keys() | {device for name in chains if (device := _device_of(name)) is not None}
        rows: dict[str, FrameGuard] = {}
        for device in devices:
            row = wanted.get(device)
            is_right = (
                row is not None
                and known.get(device) == _mac_chain(device)
                and all(chains.get(name) == rules for name, rules in _chains(row).items())
                and (bool(row.macs) or _arp_chain(device) not in chains)
            )
            rows[device] = row if is_right and row is not None else FrameGuard(device, ("?",))
        return rows

    def apply(self, delta: Delta[str, FrameGuard]) -> Applied[str]:
        if not delta.put and not delta.remove:
            return Applied()
        try:
            _write(delta.put.values(), delta.remove)
        except KernelError as error:
            if len(delta.put) + len(delta.remove) == 1:
                return Applied(failed={key: str(error) for key in (*delta.put, *delta.remove)})
            return self._one_by_one(delta)
        self.writes["frame guard put"] += len(delta.put)
        self.writes["frame guard removed"] += len(delta.remove)
        return Applied(done={*delta.put, *delta.remove})

    def _one_by_one(self, delta: Delta[str, FrameGuard]) -> Applied[str]:
        applied: Applied[str] = Applied()
        for key, row in delta.remove.items():
            one = self.apply(Delta(put={}, remove={key: row}))
            applied.done |= one.done
            applied.failed |= one.failed
        for key, row in delta.put.items():
            one = self.apply(Delta(put={key: row}, remove={}))
            applied.done |= one.done
            applied.failed |= one.failed
        return applied


def _listed() -> str:
    """The table as nft prints it; "" when it is not there."""
    if f"table {_TABLE}" not in run(["nft", "list", "tables", "bridge"]).splitlines():
        return ""
    status, output, complaints = finish(start(["nft", "--stateless", "list", "table", *_TABLE.split()]))
    if status and "No such file" not in complaints:
        raise KernelError(f"nft failed: {complaints}")
    return output


def _write(put: Collection[FrameGuard], remove: Collection[str]) -> None:
    lines = list(_BASE)
    for row in put:
        own = _chains(row)
        for name in (_mac_chain(row.device), _arp_chain(row.device)):
            # Also those of a filtered port that is none any more.
            lines += [f"add chain {_TABLE} {name}", f"flush chain {_TABLE} {name}"]
        for name, rules in own.items():
            lines += [f"add rule {_TABLE} {name} {rule}" for rule in rules]
        lines += _linked(row.device, "add")
        lines += [f"delete chain {_TABLE} {name}" for name in (_arp_chain(row.device),) if name not in own]
    for device in remove:
        names = (_mac_chain(device), _arp_chain(device))
        # What is not there cannot be deleted, but what is there can be added again.
        lines += [f"add chain {_TABLE} {name}" for name in names]
        # An entry that leads elsewhere is not ours to add again.
        lines += [*_linked(device, "add"), *_linked(device, "delete")]
        lines += [f"flush chain {_TABLE} {name}" for name in names]
        lines += [f"delete chain {_TABLE} {name}" for name in names]
    run(["nft", "-f", "-"], "\n".join(lines) + "\n")


def _linked(device: str, verb: str) -> list[str]:
    return [f'{verb} element {_TABLE} {_MAP} {{ "{device}" : jump {_mac_chain(device)} }}']


def _mac_chain(device: str) -> str:
    return f"neutronMAC-{device}"


def _arp_chain(device: str) -> str:
    return f"neutronARP-{device}"


def _device_of(chain: str) -> str | None:
    prefix, dash, device = chain.partition("-")
    return device if dash and prefix in ("neutronMAC", "neutronARP") else None


def _chains(row: FrameGuard) -> dict[str, list[str]]:
    """The rules of the chains of a device, as nft prints them."""
    first = ["ether type { 8021q, 8021ad } drop"]
    if not row.macs:
        return {_mac_chain(row.device): first}
    macs = row.macs[0] if len(row.macs) == 1 else f"{{ {', '.join(row.macs)} }}"
    first += [f"ether saddr != {macs} drop", f"jump {_arp_chain(row.device)}"]
    return {_mac_chain(row.device): first, _arp_chain(row.device): list(_claims(row))}


def _claims(row: FrameGuard) -> Iterator[str]:
    """ARP and neighbour advertisements: those of the own addresses return, all others are dropped."""
    networks = [ip_network(text, strict=False) for text in row.addresses]
    for network in networks:
        if network.version == 4:
            own = network.network_address if network.prefixlen == 32 else network
            yield f"arp saddr ip {own} return" if network.prefixlen else "ether type arp return"
    yield "ether type arp drop"
    for network in networks:
        if isinstance(network, IPv6Network):
            yield f"{_ADVERTISEMENT} {_about(network)}return"
    yield f"{_ADVERTISEMENT} drop"


def _about(network: IPv6Network) -> str:
    """The match of the address that an advertisement is about; of a length that is no number of bytes, with a mask."""
    length = network.prefixlen
    if length == 0:
        return ""
    width = (length + 7) // 8 * 8
    value, mask = int(network.network_address) >> (128 - width), (1 << width) - (1 << (width - length))
    masked = "" if width == length else f"& {mask:#x} == "
    return f"@th,{_TARGET_BIT},{width} {masked}{value:#x} "


def _rules(body: str) -> list[str]:
    return [line.strip() for line in body.splitlines() if line.strip()]
