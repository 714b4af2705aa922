"""What a domain that libvirt has is like: read off its XML, and of what is in it, how libvirt wants it said back."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from deuteron.compute.domain import MARK_NAMESPACE, MARK_PREFIX, QEMU_NAMESPACE, QEMU_PREFIX, Mark
from deuteron.model.codecs import is_uuid


def displays(xml: str) -> tuple[str, ...]:
    """The kinds of screens in a domain's XML, in libvirt's order."""
    return tuple(element.attrib.get("type", "") for element in ElementTree.fromstring(xml).iterfind("devices/graphics"))


def read_mark(xml: str) -> Mark | None:
    """The mark in a domain's XML, or in its metadata element alone; None if the domain is not ours."""
    root = ElementTree.fromstring(xml)
    tags = (f"{{{MARK_NAMESPACE}}}server", "server")
    element = root if root.tag in tags else root.find(f"metadata/{tags[0]}")
    if element is None or "id" not in element.attrib:
        return None
    return Mark(
        server_id=element.attrib["id"],
        power=element.attrib.get("power", "running"),
        reboot_generation=int(element.attrib.get("reboot_generation", "0")),
        build_generation=int(element.attrib.get("build_generation", "0")),
        shape_generation=int(element.attrib.get("shape_generation", "0")),
    )


def interface_taps(xml: str) -> dict[str, str]:
    """MAC address by tap name of the interfaces in a domain's XML."""
    found = {}
    for element in ElementTree.fromstring(xml).iterfind("devices/interface"):
        mac, target = element.find("mac"), element.find("target")
        if mac is not None and target is not None:
            found[target.attrib.get("dev", "")] = mac.attrib.get("address", "")
    return found


def present_interface(xml: str, tap: str) -> str | None:
    """The element of one interface as the domain has it now, as libvirt wants it for detaching; None without one."""
    for element in ElementTree.fromstring(xml).iterfind("devices/interface"):
        target = element.find("target")
        if target is not None and target.attrib.get("dev") == tap:
            return ElementTree.tostring(element, encoding="unicode")
    return None


def volume_disks(xml: str) -> dict[str, str]:
    """Names in the guest of the volumes in a domain's XML, by id: disks of ours have shorter serials."""
    found = {}
    for element in ElementTree.fromstring(xml).iterfind("devices/disk"):
        serial, target = element.findtext("serial", ""), element.find("target")
        if target is not None and is_uuid(serial):
            found[serial] = target.attrib.get("dev", "")
    return found


def disk_aliases(xml: str) -> dict[str, str]:
    """Of the disks that a guest that runs writes to, what libvirt calls them, by their names in the guest."""
    found = {}
    for element in ElementTree.fromstring(xml).iterfind("devices/disk"):
        target, alias = element.find("target"), element.find("alias")
        if element.find("readonly") is None and target is not None and alias is not None:
            found[target.attrib.get("dev", "")] = alias.attrib.get("name", "")
    return found


def is_held(xml: str, volume_id: str) -> bool:
    """Whether a process of the host holds the volume for the domain (`units`)."""
    disks = ElementTree.fromstring(xml).iterfind("devices/disk")
    return any(disk.get("type") == "network" and disk.findtext("serial") == volume_id for disk in disks)


def present_disk(xml: str, volume_id: str) -> str | None:
    """The element of a volume as the domain has it now, as libvirt wants it for detaching; None without one."""
    for element in ElementTree.fromstring(xml).iterfind("devices/disk"):
        if element.findtext("serial") == volume_id:
            return ElementTree.tostring(element, encoding="unicode")
    return None


def with_emulator(xml: str, emulator: str) -> str | None:
    """A domain's XML with another emulator; None if it has that one already."""
    root = ElementTree.fromstring(xml)
    element = root.find("devices/emulator")
    if element is not None and element.text == emulator:
        return None
    ElementTree.register_namespace(MARK_PREFIX, MARK_NAMESPACE)
    ElementTree.register_namespace(QEMU_PREFIX, QEMU_NAMESPACE)
    if element is None:
        devices = root.find("devices")
        element = ElementTree.SubElement(root if devices is None else devices, "emulator")
    element.text = emulator
    return ElementTree.tostring(root, encoding="unicode")
