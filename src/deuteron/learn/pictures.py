"""The two pictures of a chapter: what a project has, and what a host has made of it.

`topology` shows networks as bars with routers and servers between them, as the dashboard does. `devices` shows the way
from guests and namespaces through the switches of a host to its interfaces.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from deuteron.learn.drawing import CHARACTER, EXTERNAL, Drawing

Row = Mapping[str, Any]
_GAP, _HIGH, _WIDE, _BAR, _REACH, _STEP = 16, 40, 130, 22, 112, 362


class Station(msgspec.Struct, frozen=True):
    """A router or a server, with its address in each network that it is in."""

    what: str
    name: str
    addresses: tuple[tuple[str, str], ...]
    """Id of the network, and address there."""
    below: str = ""


def topology(title: str, rows: Mapping[str, Sequence[Row]], project: str | None) -> str:
    """The networks of a project, or of all, with what is in them; of external networks, those that routers lead to."""
    mine = [row for row in rows["network"] if project in (None, row["project_id"]) or row["router:external"]]
    stations = [each for each in _stations(rows, project) if each.addresses]
    used = {network for each in stations for network, _ in each.addresses}
    networks = sorted(
        (row for row in mine if row["id"] in used or not row["router:external"] or project is None),
        key=lambda row: (not row["router:external"], _number(row), str(row["name"])),
    )
    cidrs: dict[str, list[str]] = {}
    for row in rows["subnet"]:
        cidrs.setdefault(str(row["network_id"]), []).append(str(row["cidr"]))
    drawing = Drawing(title)
    place = {str(row["id"]): 16.0 + _STEP * number for number, row in enumerate(networks)}
    y = 44.0 + _GAP
    boxes = []
    for each in stations:
        known = [(place[network], address) for network, address in each.addresses if network in place]
        if not known:
            continue
        left = min(known)[0] + _BAR
        farther = sorted(known)[1:]
        for bar, address in sorted(known):
            if bar < left:
                drawing.wire(bar + _BAR, y + _HIGH / 2, left + _REACH, y + _HIGH / 2)
                drawing.text(bar + _BAR + 6, y + _HIGH / 2 - 4, address, "quiet")
            else:
                # Each on a height of its own, as the way to one bar leads behind those before it.
                at = y + _HIGH * (farther.index((bar, address)) + 1) / (len(farther) + 1)
                drawing.wire(left + _REACH + _WIDE, at, bar, at)
                drawing.text(bar - 6, at - 4, address, "quiet", "end")
        boxes.append((left + _REACH, y, (f"{each.what} {each.name}", *((each.below,) if each.below else ()))))
        y += _HIGH + _GAP
    # Bars and boxes lie on wires that pass to others.
    colours = itertools.count()
    for row in networks:
        x = place[str(row["id"])]
        drawing.text(x, 20, str(row["name"]), "title")
        drawing.text(x, 36, ", ".join(sorted(cidrs.get(str(row["id"]), []))) or "no subnet", "quiet")
        drawing.bar(x, 44, max(y - 44, 120), EXTERNAL if row["router:external"] else next(colours), _provider(row))
    for x, y, lines in boxes:
        drawing.box(x, y, _WIDE, _HIGH, lines)
    return drawing.svg()


def _stations(rows: Mapping[str, Sequence[Row]], project: str | None) -> list[Station]:
    floating = {str(row["port_id"]): str(row["floating_ip_address"]) for row in rows["floatingip"] if row["port_id"]}
    found = []
    for kind in ("router", "server"):
        for row in sorted(rows[kind], key=lambda row: (str(row["name"]), str(row["id"]))):
            if project not in (None, row.get("project_id") or row.get("tenant_id")):
                continue
            ports = [port for port in rows["port"] if port["device_id"] == row["id"]]
            addresses = sorted(
                (str(port["network_id"]), str(fixed["ip_address"])) for port in ports for fixed in port["fixed_ips"][:1]
            )
            public = sorted(floating[str(port["id"])] for port in ports if str(port["id"]) in floating)
            found.append(Station(kind, str(row["name"]), tuple(addresses), ", ".join(public)))
    return found


def _number(row: Row) -> int:
    return int(row["provider:segmentation_id"] or 0)


def _provider(row: Row) -> str:
    kind, number = str(row["provider:network_type"]), row["provider:segmentation_id"]
    return {
        "vlan": f"VLAN {number}",
        "vxlan": f"VXLAN, VNI {number}",
        "flat": f"flat on {row['provider:physical_network']}",
    }.get(kind, kind)


# --- a host -------------------------------------------------------------------------------------------------------


class Looked(msgspec.Struct, frozen=True):
    """What was asked of a host: `ovs-vsctl show`, `ip -o link`, and lines of a namespace, a tab and a device."""

    switches: str
    links: str
    namespaces: str


class _Port(msgspec.Struct, frozen=True):
    name: str
    tag: str
    peer: str
    kind: str


def devices(title: str, looked: Looked) -> str:
    """The way of packets on a host: guests and namespaces left, its interfaces right."""
    bridges = _bridges(looked.switches)
    inside = {device: space for space, _, device in (line.partition("\t") for line in looked.namespaces.splitlines())}
    links = set(re.findall(r"(?m)^[^:]*: ([^:@]+)", looked.links))
    drawing = Drawing(title)
    rows = []
    for port in bridges.get("br-int", []):
        short = port.name[3:]
        if port.name.startswith("qvo"):
            guest = [
                f"server {short.strip('<>')}",
                *(f"{part}{short}" for part in ("tap", "qbr", "qvb") if f"{part}{short}" in links),
            ]
            rows.append((guest, port))
        elif port.name in inside:
            rows.append(([inside[port.name]], port))
        elif port.name.startswith("tap"):
            rows.append(([f"server {short.strip('<>')}"], port))
    high, top = 34.0, 40.0
    wide = max([len(name) for names, port in rows for name in (*names, port.name)] + [12]) * CHARACTER + 14
    columns = max([len(names) for names, _ in rows] + [1])
    bar = 16 + (columns + 1) * (wide + 20)
    others = [port for port in bridges.get("br-int", []) if port.peer]
    height = max(len(rows) * (high + 12), len(others) * 68, 68) + 12
    drawing.text(16, 20, title, "title")
    y = top + 12
    for names, port in sorted(rows, key=lambda row: (-len(row[0]), row[0])):
        boxes = [*((name, "") for name in names), (port.name, f"tag {port.tag}" if port.tag else "no tag")]
        for number, (name, below) in enumerate(boxes):
            x = bar - (len(boxes) - number) * (wide + 20)
            drawing.wire(x + wide, y + high / 2, x + wide + 20, y + high / 2)
            drawing.box(x, y, wide, high, (name, below) if below else (name,))
        y += high + 12
    drawing.bar(bar, top, height, 0, "br-int")
    y = top + 12
    for port in others:
        far = next((name for name, ports in bridges.items() if any(each.name == port.peer for each in ports)), "")
        beyond = [each for each in bridges.get(far, []) if not each.peer and each.kind != "internal"]
        x = bar + 22
        reach = max(1, len(beyond)) * (high + 12)
        for words in (port.name, port.peer):
            drawing.wire(x, y + high / 2, x + 20, y + high / 2)
            drawing.box(x + 20, y, 110, high, (words,))
            x += 130
        drawing.wire(x, y + high / 2, x + 20, y + high / 2)
        drawing.bar(x + 20, y - 6, max(reach, 56), 1 + others.index(port), far)
        for number, each in enumerate(beyond):
            down = y + number * (high + 12)
            drawing.wire(x + 42, down + high / 2, x + 62, down + high / 2)
            drawing.box(x + 62, down, 120, high, (each.name,))
        y += max(reach, 68)
    return drawing.svg()


def _bridges(text: str) -> dict[str, list[_Port]]:
    """From `ovs-vsctl show`: bridges, with their ports but the one that is called as they are."""
    found: dict[str, list[_Port]] = {}
    for bridge in re.split(r"(?m)^    Bridge ", text)[1:]:
        name, *ports = re.split(r"(?m)^        Port ", bridge)
        title = name.split("\n")[0].strip('"')
        found[title] = []
        for port in ports:
            said = port.split("\n")[0].strip('"')
            tag, peer, kind = (
                re.search(rf"\b{what}{mark} ?\"?([\w<>. -]+)", port)
                for what, mark in (("tag", ":"), ("peer", "="), ("type", ":"))
            )
            if said != title:
                found[title].append(
                    _Port(said, tag[1] if tag else "", peer[1] if peer else "", kind[1] if kind else "")
                )
    return found
