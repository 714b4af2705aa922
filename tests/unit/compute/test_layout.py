"""What a host takes of another one's word for a guest that comes: the places of devices, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import msgspec
import pytest

from deuteron.compute.domain import domain_row, domain_xml
from deuteron.compute.layout import Disk, Layout, Place, UnfitLayout, awaiting, check, layout_of
from tests.unit.compute.test_domain import OVS, SERVER

GIB = 1 << 30
LIVE = """<domain type='qemu'><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/elsewhere/disk'/><target dev='vda' bus='virtio'/>
<address type='pci' domain='0x0000' bus='0x00' slot='0x09' function='0x0'/></disk>
<controller type='pci' index='0' model='pci-root'/>
<controller type='ide' index='0'>
<address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x1'/></controller>
<interface type='ethernet'><mac address='FA:16:3E:FE:C7:87'/><script path='/elsewhere/run'/>
<address type='pci' domain='0x0000' bus='0x00' slot='0x07' function='0x0'/></interface>
<rng model='virtio'><address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/></rng>
</devices></domain>"""


def test_devices_come_to_where_they_were_and_everything_else_is_the_hosts_own() -> None:
    layout = layout_of(LIVE, {"vda": GIB})
    check(layout, {"vda": GIB})
    own = domain_xml(domain_row(SERVER, OVS, "/here", "/images"))
    made = ElementTree.fromstring(awaiting(own, layout))
    text = ElementTree.tostring(made, encoding="unicode")
    assert "/elsewhere" not in text and "/here/disk" in text
    kind = made.find("os/type")
    assert kind is not None and kind.attrib["machine"] == "pc-i440fx-7.2"
    for path, slot in (("disk", "0x09"), ("interface", "0x07"), ("rng", "0x05")):
        (address,) = made.findall(f"devices/{path}[1]/address")
        assert address.attrib["slot"] == slot, path
    assert [each.attrib["value"] for each in made.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")][-2:] == [
        "-incoming", "defer",
    ]  # fmt: skip
    assert "-incoming" not in own


GOOD = Layout("pc-i440fx-7.2", (Place("rng", "0", {"type": "pci", "slot": "0x05"}),), (Disk("vda", GIB),))


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": "pc"},
        {"machine": "pc-i440fx-7.2,accel=kvm"},
        {"disks": ()},
        {"disks": (Disk("vda", GIB), Disk("vdb", GIB))},
        {"disks": (Disk("vda", GIB), Disk("vda", GIB))},
        {"disks": (Disk("vda", GIB + 1),)},
        {"disks": (Disk("vda", 0),)},
        {"disks": (Disk("../disk", GIB),)},
        {"places": (Place("rng", "0", {"type": "pci'/><source"}),)},
        {"places": (Place("rng", "0", {"Type": "pci"}),)},
        {"places": GOOD.places * 201},
    ],
    ids=str,
)
def test_what_no_guest_of_the_server_has_is_refused(changes: dict[str, object]) -> None:
    check(GOOD, {"vda": GIB})
    with pytest.raises(UnfitLayout):
        check(msgspec.structs.replace(GOOD, **changes), {"vda": GIB})
