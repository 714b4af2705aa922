"""What a guest that moves while it runs has to find again on its new host: pure, from and to libvirt's XML.

A guest's memory knows its devices by their places on the buses, which depend on when they were plugged in. So the host
that it leaves says where they are, and the other one puts its own devices there. Nothing else of the description is
taken from another host: its files, cards and the program that runs it are of this one.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Final

import msgspec

from deuteron.compute import domain as domains

_MACHINE: Final = re.compile(r"pc-(i440fx|q35)-[0-9.]{1,8}")
_WORD: Final = re.compile(r"[a-z0-9.-]{1,24}")
_PLACED: Final = ("interface", "disk", "controller", "rng", "video")
_MOST_PLACES: Final = 200


class UnfitLayout(ValueError):
    """Another host says something that no guest of ours has."""


class Place(msgspec.Struct, frozen=True):
    """Where one device is."""

    kind: str
    key: str
    """A card's address, a disk's target, a controller's type and number, the number of another device."""
    address: dict[str, str]
    """The attributes of libvirt's `<address>`."""


class Disk(msgspec.Struct, frozen=True):
    """A disk that the guest writes to."""

    target: str
    size_bytes: int


class Layout(msgspec.Struct, frozen=True):
    machine: str
    """The version of the machine that a name like `pc` stood for."""
    places: tuple[Place, ...]
    disks: tuple[Disk, ...] = ()
    drive_bytes: int = 0
    """Of the config drive; 0 without one."""


def layout_of(xml: str, sizes: dict[str, int], drive_bytes: int = 0) -> Layout:
    """The layout of a guest that runs; `sizes` of the disks that it writes to, in bytes, by target."""
    root = ElementTree.fromstring(xml)
    kind = root.find("os/type")
    machine = "" if kind is None else kind.attrib.get("machine", "")
    places = []
    for element, name, key in _devices(root):
        address = element.find("address")
        if address is not None:
            places.append(Place(name, key, dict(address.attrib)))
    disks = tuple(Disk(target, size) for target, size in sorted(sizes.items()))
    return Layout(machine, tuple(places), disks, drive_bytes)


def check(layout: Layout, largest: dict[str, int]) -> None:
    """Refuse what cannot be of the server; `largest` says how large its disks may be, in bytes, by target.

    Raises: UnfitLayout.
    """
    if _MACHINE.fullmatch(layout.machine) is None:
        raise UnfitLayout(f'the guest runs on a machine "{layout.machine}", which is none of ours')
    if {disk.target for disk in layout.disks} != largest.keys() or len(layout.disks) != len(largest):
        named = ", ".join(disk.target for disk in layout.disks) or "none"
        raise UnfitLayout(f"the guest has the disks {named}, and the server {', '.join(sorted(largest)) or 'none'}")
    for disk in layout.disks:
        if not 0 < disk.size_bytes <= largest[disk.target]:
            raise UnfitLayout(f"the guest's disk {disk.target} has {disk.size_bytes} bytes, more than the server's")
    if len(layout.places) > _MOST_PLACES:
        raise UnfitLayout(f"the guest has {len(layout.places)} devices")
    for place in layout.places:
        if any(_WORD.fullmatch(word) is None for item in place.address.items() for word in item):
            raise UnfitLayout(f"the guest's {place.kind} has the place {place.address}")


def awaiting(xml: str, layout: Layout) -> str:
    """A domain's XML for a guest that comes: its devices are where the layout says, and QEMU waits for its memory."""
    root = placed(xml, layout)
    domains.append_arguments(root, "-incoming", "defer")
    return ElementTree.tostring(root, encoding="unicode")


def placed(xml: str, layout: Layout) -> ElementTree.Element:
    """A domain whose devices are where the layout says."""
    ElementTree.register_namespace(domains.MARK_PREFIX, domains.MARK_NAMESPACE)
    root = ElementTree.fromstring(xml)
    kind = root.find("os/type")
    if kind is not None:
        kind.set("machine", layout.machine)
    there = {(name, key): element for element, name, key in _devices(root)}
    devices = root.find("devices")
    assert devices is not None  # every domain of ours has some
    if not any(place.kind == "video" for place in layout.places):
        # It was started before guests had screens, and has none until it is started again.
        for screen in (*devices.findall("video"), *devices.findall("graphics")):
            devices.remove(screen)
    for place in layout.places:
        element = there.get((place.kind, place.key))
        if element is None and place.kind == "controller":
            element = _controller(devices, place.key)
        if element is None:
            continue
        for old in element.findall("address"):
            element.remove(old)
        ElementTree.SubElement(element, "address", place.address)
    return root


def _controller(devices: ElementTree.Element, key: str) -> ElementTree.Element | None:
    kind, _, rest = key.partition("/")
    index, _, model = rest.partition("/")
    if any(_WORD.fullmatch(word) is None for word in (kind, index)) or (model and _WORD.fullmatch(model) is None):
        return None
    more = {"model": model} if model else {}
    return ElementTree.SubElement(devices, "controller", {"type": kind, "index": index, **more})


def _devices(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str, str]]:
    """The devices that have a place, each with its kind and key."""
    numbers: dict[str, int] = {}
    for element in root.iterfind("devices/*"):
        if element.tag not in _PLACED:
            continue
        numbers[element.tag] = numbers.get(element.tag, -1) + 1
        key = str(numbers[element.tag])
        if element.tag == "interface":
            mac = element.find("mac")
            key = "" if mac is None else mac.attrib.get("address", "").lower()
        elif element.tag == "disk":
            target = element.find("target")
            key = "" if target is None else target.attrib.get("dev", "")
        elif element.tag == "controller":
            said = element.attrib
            key = f"{said.get('type', '')}/{said.get('index', '0')}/{said.get('model', '')}"
        yield element, element.tag, key
