"""Stable names for what each cloud has otherwise: ids, MACs, names of devices.

A name stands in angle brackets. Sources use them in commands, where they become what the running cloud has; what a
command prints is told in them. Of `vm1`, a server with one port:

    <id of vm1>                 the server's id
    <port of vm1>               its port's id
    tap<vm1>, qvo<vm1>, …       devices, which have the first 11 characters of that id
    <MAC of vm1>                its MAC; <EUI-64 of vm1> what an IPv6 address is made of from that

Other ports are called `dhcp net1`, `my-router net1` (an interface), `my-router gateway`. Where two objects of a kind
have one name, it begins with the project: `tenant1/vm1`.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

Row = Mapping[str, Any]
SHORT = 11
"""So many characters of a port's id are in the names of its devices."""


class Names(msgspec.Struct, frozen=True):
    """What each name means now. Longer texts are replaced before shorter ones."""

    meaning: dict[str, str]

    def real(self, text: str) -> str:
        """A command as the running cloud understands it; brackets that are no names stay."""
        return re.sub(r"<[^<>\n]+>", lambda found: self.meaning.get(found[0], found[0]), text)

    def stable(self, text: str) -> str:
        """What a command printed, in names."""
        for name, real in sorted(self.meaning.items(), key=lambda item: (-len(item[1]), item[0])):
            text = text.replace(real, name)
        return text

    def plus(self, more: Mapping[str, str]) -> Names:
        return Names({**self.meaning, **more})


def names_of(rows: Mapping[str, Sequence[Row]]) -> Names:
    """Names of these objects, by kind as in the Network, Compute and Identity APIs: `port`, `server`, `project`, …"""
    projects = {str(row["id"]): str(row["name"]) for row in rows["project"]}
    labels: dict[str, str] = {}
    meaning: dict[str, str] = {}
    for kind, objects in rows.items():
        if kind in ("port", "floatingip"):
            continue
        for row, label in _labelled(objects, projects):
            labels[str(row["id"])] = label
            what = "project" if kind == "project" else kind.replace("_", " ")
            short = f"<id of {label}>"
            meaning[short if short not in meaning else f"<id of {what} {label}>"] = str(row["id"])
    for row in rows["floatingip"]:
        meaning[f"<id of {row['floating_ip_address']}>"] = str(row["id"])
    for row in rows["port"]:
        label = _port_label(row, labels)
        identity = str(row["id"])
        meaning[f"<port of {label}>"] = identity
        meaning[f"<{label}>"] = identity[:SHORT]
        meaning[f"<{label}->"] = identity[: SHORT - 1]
        meaning[f"<MAC of {label}>"] = str(row["mac_address"])
        meaning[f"<EUI-64 of {label}>"] = _eui_64(str(row["mac_address"]))
    return Names(meaning)


def _labelled(objects: Iterable[Row], projects: Mapping[str, str]) -> Iterable[tuple[Row, str]]:
    rows = list(objects)
    often = Counter(str(row["name"]) for row in rows)
    for row in rows:
        name = str(row["name"])
        owner = projects.get(str(row.get("project_id") or row.get("tenant_id") or ""), "")
        yield row, name if often[name] == 1 or not owner else f"{owner}/{name}"


def _port_label(row: Row, labels: Mapping[str, str]) -> str:
    owner, device = str(row["device_owner"]), str(row["device_id"])
    network = labels.get(str(row["network_id"]), "?")
    if owner.startswith("compute:"):
        return labels.get(device, device)
    if owner == "network:dhcp":
        return f"dhcp {network}"
    if owner == "network:router_gateway":
        return f"{labels.get(device, device)} gateway"
    if owner == "network:floatingip":
        return f"floating {row['fixed_ips'][0]['ip_address']}"
    return f"{labels.get(device, device)} {network}"


def _eui_64(mac: str) -> str:
    """The last 64 bits of the link-local address that an interface with this MAC gives itself, as it is printed.

    Source: RFC 4291, appendix A.
    """
    parts = [int(part, 16) for part in mac.split(":")]
    parts[0] ^= 2
    octets = bytes([0xFE, 0x80, *[0] * 6, *parts[:3], 0xFF, 0xFE, *parts[3:]])
    return str(ipaddress.IPv6Address(octets)).removeprefix("fe80::")
