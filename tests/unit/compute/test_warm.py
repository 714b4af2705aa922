"""Who may go on from a saved machine, what that machine is, and what stands in its file."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest

from deuteron.compute import described
from deuteron.compute import domain as domains
from deuteron.compute.layout import layout_of, placed
from deuteron.compute.saved import NotSaved, prefix, read_saved, write_other
from deuteron.compute.warm import MARK_NAMESPACE, machine_row, machine_xml, may_start_warm
from deuteron.model.intent import IntentServer, RescueDisk, ServerVolume
from tests.unit.compute.test_domain import IMAGE, OVS, SERVER

MACHINE_ID = "b33a7c1d-0000-4000-8000-00000000000a"
PLAIN = msgspec.structs.replace(
    SERVER, image=IMAGE, starts_warm=True, volumes=(), config_drive=False, ephemeral_disk_gib=0, swap_mib=0
)


def test_a_plain_server_with_a_network_interface_may_start_warm() -> None:
    assert may_start_warm(PLAIN)


@pytest.mark.parametrize(
    "changes",
    [
        {"starts_warm": False},
        {"image": None},
        {"ports": ()},
        {"config_drive": True},
        {"ephemeral_disk_gib": 1},
        {"swap_mib": 1},
        {"machine_type": "q35"},
        {"memory_mib": 1 << 20},
        {"vcpus": 64},
        {"volumes": (ServerVolume("22222222-2222-4222-8222-222222222222", "vdb"),)},
        {"rescue": RescueDisk(IMAGE)},
    ],
)
def test_who_has_more_than_the_machine_does_not(changes: dict[str, object]) -> None:
    assert not may_start_warm(msgspec.structs.replace(PLAIN, **changes))


def machine_described(server: IntentServer, machine_id: str = MACHINE_ID) -> str:
    return machine_xml(machine_row(server, OVS, machine_id, "/warm", "/images"))


def test_the_machine_has_nothing_of_the_server_and_is_no_server() -> None:
    xml = machine_described(PLAIN)
    assert described.read_mark(xml) is None and f'xmlns:warm="{MARK_NAMESPACE}"' in xml
    root = ElementTree.fromstring(xml)
    assert root.findtext("uuid") == MACHINE_ID and root.findtext("genid") == MACHINE_ID
    said = {entry.get("name"): entry.text for entry in root.iterfind("sysinfo/system/entry")}
    assert said["serial"] == "warm" and said["uuid"] == MACHINE_ID
    assert root.findall("devices/interface") == []
    for own in (PLAIN.id, PLAIN.id[:20], PLAIN.name, PLAIN.ports[0].mac_address):
        assert own not in xml


def test_servers_of_one_size_and_image_have_the_same_machine_whatever_is_their_own() -> None:
    other = msgspec.structs.replace(
        PLAIN, id=MACHINE_ID, name="other", ports=(), project_id="other", reboot_generation=4, build_generation=2
    )
    assert machine_described(other) == machine_described(PLAIN)
    for changes in (
        {"memory_mib": 99},
        {"vcpus": 7},
        {"kernel": IMAGE, "kernel_args": "quiet"},
        {"machine_type": "pc-i440fx-6.0"},
    ):
        assert machine_described(msgspec.structs.replace(PLAIN, **changes)) != machine_described(PLAIN), changes


def test_only_a_server_that_may_be_a_copy_has_a_generation_id() -> None:
    for starts_warm, found in ((True, PLAIN.id), (False, None)):
        server = msgspec.structs.replace(PLAIN, starts_warm=starts_warm)
        xml = domains.domain_xml(domains.domain_row(server, OVS, "/here", "/images"))
        assert ElementTree.fromstring(xml).findtext("genid") == found


STREAM = bytes(range(256)) * 100_000


@pytest.mark.parametrize("cookie", [b"", b"<qemuSaveCookie/>\0"])
def test_the_memory_of_a_machine_is_copied_behind_another_description(tmp_path: Path, cookie: bytes) -> None:
    machine, copy = tmp_path / "machine", tmp_path / "copy"
    machine.write_bytes(prefix(machine_described(PLAIN), cookie) + STREAM)
    saved = read_saved(machine)
    assert (saved.xml, saved.cookie) == (machine_described(PLAIN), cookie)

    own = domains.domain_xml(domains.domain_row(PLAIN, OVS, "/here", "/images"))
    write_other(machine, saved, own, copy)

    written = read_saved(copy)
    assert (written.xml, written.cookie) == (own, cookie)
    assert copy.read_bytes()[written.stream_at :] == STREAM


def test_what_libvirt_pads_is_no_part_of_the_description(tmp_path: Path) -> None:
    file = tmp_path / "machine"
    head = struct.pack("<16sIIIII56x", b"LibvirtQemudSave", 2, 64, 1, 0, 0)
    file.write_bytes(head + b"<domain/>".ljust(64, b"\0") + STREAM)
    saved = read_saved(file)
    assert (saved.xml, saved.cookie, saved.stream_at) == ("<domain/>", b"", 92 + 64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"LibvirtQemudPart".ljust(200, b"\0"),
        struct.pack("<16sIIIII56x", b"LibvirtQemudSave", 3, 9, 0, 0, 0) + b"<domain/>",
        struct.pack("<16sIIIII56x", b"LibvirtQemudSave", 2, 9, 0, 1, 0) + b"<domain/>",
        struct.pack("<16sIIIII56x", b"LibvirtQemudSave", 2, 1 << 31, 0, 0, 0) + b"<domain/>",
        struct.pack("<16sIIIII56x", b"LibvirtQemudSave", 2, 9, 0, 0, 10) + b"<domain/>",
        struct.pack("<16sIIIII56x", b"LibvirtQemudSave", 2, 90, 0, 0, 0) + b"<domain/>",
    ],
)
def test_what_is_not_saved_in_a_known_way_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "machine"
    file.write_bytes(data)
    with pytest.raises(NotSaved):
        read_saved(file)


def test_devices_of_a_server_are_where_those_of_the_machine_are() -> None:
    live = machine_described(PLAIN).replace(
        "</devices>",
        "<controller type='pci' index='0' model='pci-root'/></devices>",
    )
    root = ElementTree.fromstring(live)
    disk = root.find("devices/disk")
    assert disk is not None
    ElementTree.SubElement(disk, "address", type="pci", bus="0x00", slot="0x0b")
    own = domains.domain_xml(domains.domain_row(PLAIN, OVS, "/here", "/images"))

    made = placed(own, layout_of(ElementTree.tostring(root, encoding="unicode"), {}))

    address = made.find("devices/disk/address")
    assert address is not None and address.get("slot") == "0x0b"
    assert made.findtext("uuid") == PLAIN.id and "/warm" not in ElementTree.tostring(made, encoding="unicode")
