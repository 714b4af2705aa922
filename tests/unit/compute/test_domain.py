"""Domain XML as a value."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Literal

import msgspec
import pytest

from deuteron.compute import described
from deuteron.compute import domain as domains
from deuteron.model.connections import FileConnection, SocketConnection
from deuteron.model.hardware import Hardware
from deuteron.model.intent import (
    FirewallDriver,
    HostSettings,
    ImageRef,
    IntentServer,
    RescueDisk,
    ServerPort,
    ServerVolume,
)
from deuteron.net.mechanisms.openvswitch.host import openvswitch
from deuteron.net.mechanisms.wiring import plug_of

Datapath = Literal["netdev", "system"]


def wired(virt_type: domains.VirtType, firewall: FirewallDriver, datapath: Datapath) -> domains.HostWiring:
    settings = HostSettings("h1", "/s", "/a", "t", firewall_driver=firewall, datapath_type=datapath)
    return domains.HostWiring(virt_type, plug_of([openvswitch()], settings), emulator="/e")


OVS = wired("qemu", "openvswitch", "netdev")
HYBRID = wired("kvm", "iptables_hybrid", "system")
IMAGE = ImageRef("11111111-1111-4111-8111-111111111111", "qcow2", 1, "00")
SERVER = IntentServer(
    id="53903a95-8200-4000-8000-000000000001",
    name='vm <1> & "x"',
    project_id="p",
    user_id="u",
    hostname="vm1",
    flavor_name="m1.tiny",
    vcpus=2,
    memory_mib=512,
    root_disk_gib=1,
    image=IMAGE,
    ports=(ServerPort("53903a95-82aa-4bbb-8ccc-000000000002", "fa:16:3e:fe:c7:87", "n", 1450),),
    reboot_generation=3,
    build_generation=1,
)


def parsed(server: IntentServer, wiring: domains.HostWiring = OVS) -> ElementTree.Element:
    return ElementTree.fromstring(domains.domain_xml(domains.domain_row(server, wiring, "/i", "/m")))


def attributes(root: ElementTree.Element, path: str) -> dict[str, str]:
    found = root.find(path)
    assert found is not None, path
    return found.attrib


def test_no_card_of_a_guest_filters_by_vlan() -> None:
    """QEMU forgets the filter of a guest that goes on elsewhere, which then hears nothing of its VLANs."""
    root = parsed(SERVER)
    words = [each.attrib["value"] for each in root.iterfind(f"{{{domains.QEMU_NAMESPACE}}}commandline/*")]
    assert words == ["-global", "virtio-net-device.ctrl_vlan=off"]


def test_the_hybrid_interface_is_the_seeds() -> None:
    interface = parsed(SERVER, HYBRID).find("devices/interface")

    assert interface is not None and interface.attrib == {"type": "bridge"}
    assert attributes(interface, "mac") == {"address": "fa:16:3e:fe:c7:87"}
    assert attributes(interface, "source") == {"bridge": "qbr53903a95-82"}
    assert attributes(interface, "target") == {"dev": "tap53903a95-82"}


def test_the_native_interface_takes_the_agents_tap_without_offloads() -> None:
    interface = parsed(SERVER).find("devices/interface")

    assert interface is not None and interface.attrib == {"type": "ethernet"}
    assert attributes(interface, "target") == {"dev": "tap53903a95-82", "managed": "no"}
    assert attributes(interface, "mtu") == {"size": "1450"}
    assert set(attributes(interface, "driver/host").values()) == {"off"}
    assert attributes(interface, "driver/guest")["csum"] == "off"


def test_the_kernel_datapath_keeps_the_offloads() -> None:
    wiring = wired("qemu", "openvswitch", "system")

    assert parsed(SERVER, wiring).find("devices/interface/driver/host") is None


def test_the_mark_is_read_back() -> None:
    xml = domains.domain_xml(domains.domain_row(SERVER, OVS, "/i", "/m"))

    assert described.read_mark(xml) == domains.Mark(SERVER.id, "running", 3, 1)
    assert described.read_mark(domains.mark_xml(domains.Mark("s", "paused", 1, 2))) == domains.Mark("s", "paused", 1, 2)
    assert described.read_mark("<domain><name>other</name></domain>") is None


def test_a_server_is_named_and_recognised_as_openstack() -> None:
    root = parsed(SERVER)

    assert root.findtext("name") == "instance-53903a95"
    assert root.findtext("uuid") == SERVER.id
    assert root.findtext("title") == SERVER.name
    assert root.findtext("sysinfo/system/entry[@name='product']") == "OpenStack Nova"
    assert attributes(root, "os/smbios") == {"mode": "sysinfo"}


def test_a_kernel_is_booted_directly_and_a_disk_by_the_firmware() -> None:
    kernel = msgspec.structs.replace(SERVER, kernel=IMAGE, ramdisk=IMAGE, kernel_args="console=ttyS0 quiet")

    assert parsed(kernel).findtext("os/kernel") == f"/m/{IMAGE.id}"
    assert parsed(kernel).findtext("os/cmdline") == "console=ttyS0 quiet"
    assert parsed(SERVER).find("os/kernel") is None
    assert attributes(parsed(SERVER), "os/boot") == {"dev": "hd"}


@pytest.mark.parametrize(
    ("wiring", "virt_type", "mode"), [(OVS, "qemu", "custom"), (HYBRID, "kvm", "host-passthrough")]
)
def test_the_processor_fits_the_accelerator(wiring: domains.HostWiring, virt_type: str, mode: str) -> None:
    root = parsed(SERVER, wiring)

    assert root.attrib["type"] == virt_type
    assert attributes(root, "cpu")["mode"] == mode


def test_extra_disks_follow_the_root_disk() -> None:
    server = msgspec.structs.replace(SERVER, ephemeral_disk_gib=2, swap_mib=64)

    targets = [element.attrib["dev"] for element in parsed(server).iterfind("devices/disk/target")]
    files = [element.attrib["file"] for element in parsed(server).iterfind("devices/disk/source")]

    assert targets == ["vda", "vdb", "vdc"]
    assert files == ["/i/disk", "/i/disk.eph0", "/i/disk.swap"]


def test_volumes_are_disks_that_are_found_by_their_ids() -> None:
    root, data, absent = (f"{n}1111111-1111-4111-8111-111111111111" for n in (2, 3, 4))
    volumes = (ServerVolume(data, "vdc", is_readonly=True), ServerVolume(absent, "vdd"), ServerVolume(root, "vda"))
    server = msgspec.structs.replace(SERVER, image=None, root_disk_gib=0, ephemeral_disk_gib=1, volumes=volumes)
    row = domains.domain_row(
        server, OVS, "/i", "/m", {root: FileConnection("/v/r"), data: FileConnection("/v/d", "raw")}
    )

    xml = domains.domain_xml(row)

    disks = ElementTree.fromstring(xml).findall("devices/disk")
    assert [attributes(disk, "target")["dev"] for disk in disks] == ["vda", "vdb", "vdc"]
    assert attributes(disks[0], "source") == {"file": "/v/r"} and disks[0].findtext("serial") == root
    assert [disk.find("readonly") is not None for disk in disks] == [False, False, True]
    assert [attributes(disk, "driver")["type"] for disk in disks] == ["qcow2", "qcow2", "raw"]
    assert described.volume_disks(xml) == {root: "vda", data: "vdc"}
    assert "/v/d" in (described.present_disk(xml, data) or "") and described.present_disk(xml, absent) is None


def test_a_volume_that_others_have_too_is_shared_and_not_kept_back() -> None:
    shared, own = "21111111-1111-4111-8111-111111111111", "31111111-1111-4111-8111-111111111111"
    volumes = (ServerVolume(shared, "vdb", is_shared=True), ServerVolume(own, "vdc"))
    files = {shared: FileConnection("/v/raw", "raw"), own: FileConnection("/v/own")}
    server = msgspec.structs.replace(SERVER, volumes=volumes)
    root = ElementTree.fromstring(domains.domain_xml(domains.domain_row(server, OVS, "/i", "/m", files)))
    disks = {disk.findtext("serial"): disk for disk in root.findall("devices/disk")}
    assert [attributes(disks[each], "driver")["type"] for each in (shared, own)] == ["raw", "qcow2"]
    assert [attributes(disks[each], "driver")["cache"] for each in (shared, own)] == ["writethrough", "writeback"]
    assert [disks[each].find("shareable") is not None for each in (shared, own)] == [True, False]


def test_nothing_is_added_that_nobody_asked_for() -> None:
    root = parsed(SERVER)

    assert attributes(root, "devices/controller[@type='usb']")["model"] == "none"
    assert attributes(root, "devices/memballoon") == {"model": "none"}
    assert root.find("devices/sound") is None and attributes(root, "devices/audio") == {"id": "1", "type": "none"}
    assert attributes(root, "devices/serial/log") == {"file": "/i/console.log", "append": "on"}
    path = f"/run/deuteron/serial/{SERVER.id}"
    assert attributes(root, "devices/serial/source") == {"mode": "bind", "path": path}


def test_a_screen_listens_nowhere() -> None:
    root = parsed(SERVER)

    assert [(each.get("type"), attributes(each, "listen")) for each in root.findall("devices/graphics")] == [
        ("vnc", {"type": "none"})
    ]
    assert attributes(root, "devices/video/model")["type"] == "vga"
    row = domains.domain_row(SERVER, msgspec.structs.replace(OVS, displays=("vnc", "spice")), "/i", "/c")
    assert described.displays(domains.domain_xml(row)) == ("vnc", "spice")


def test_interfaces_are_found_by_their_tap() -> None:
    xml = domains.domain_xml(domains.domain_row(SERVER, OVS, "/i", "/m"))

    assert described.interface_taps(xml) == {"tap53903a95-82": "fa:16:3e:fe:c7:87"}
    assert "fa:16:3e:fe:c7:87" in (described.present_interface(xml, "tap53903a95-82") or "")
    assert described.present_interface(xml, "tapother") is None


@pytest.mark.parametrize(("machine", "bus", "target"), [(None, "ide", "hdd"), ("pc-q35-7.2", "sata", "sdd")])
def test_a_config_drive_is_a_read_only_cdrom_on_a_bus_the_machine_has(
    machine: str | None, bus: str, target: str
) -> None:
    wanted = msgspec.structs.replace(SERVER, config_drive=True, machine_type=machine)

    drive = parsed(wanted).findall("devices/disk")[-1]

    assert drive.attrib["device"] == "cdrom" and drive.find("readonly") is not None
    assert attributes(drive, "target") == {"dev": target, "bus": bus}
    assert attributes(drive, "source") == {"file": "/i/disk.config"}
    assert len(parsed(SERVER).findall("devices/disk")) == 1


def test_a_rescued_server_starts_from_its_rescue_disk_with_its_own_as_the_second() -> None:
    kernel = ImageRef("22222222-2222-4222-8222-222222222222", "aki", 1, "00")
    rescue = RescueDisk(IMAGE, kernel, None, "quiet")
    root = parsed(msgspec.structs.replace(SERVER, ephemeral_disk_gib=1, swap_mib=8, config_drive=True, rescue=rescue))

    assert [(source.attrib["file"], target.attrib["dev"]) for source, target in _disks(root)] == [
        ("/i/disk.rescue", "vda"),
        ("/i/disk", "vdb"),
        ("/i/disk.config.rescue", "hdd"),
    ]
    assert (root.findtext("os/kernel"), root.findtext("os/cmdline")) == (f"/m/{kernel.id}", "quiet")
    plain = parsed(msgspec.structs.replace(SERVER, rescue=RescueDisk(IMAGE)))
    assert plain.find("os/boot") is None and attributes(plain, "devices/disk/boot") == {"order": "1"}


def test_a_rescue_disk_comes_beside_volumes_too() -> None:
    one, other = "0b0c0d0e-1111-4111-8111-111111111111", "0b0c0d0e-2222-4222-8222-222222222222"
    volumes = (ServerVolume(one, "vda"), ServerVolume(other, "vdb"))
    wanted = msgspec.structs.replace(
        SERVER, image=None, root_disk_gib=0, volumes=volumes, rescue=RescueDisk(IMAGE, device="disk", bus="virtio")
    )
    paths = {each.volume_id: FileConnection(f"/v/{each.target}") for each in volumes}
    row = domains.domain_row(wanted, OVS, "/i", "/images", paths)
    assert [(disk.path, disk.target, disk.boots) for disk in row.disks] == [
        ("/v/vda", "vda", False), ("/i/disk.rescue", "vdc", True), ("/v/vdb", "vdb", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("device", "bus", "target"), [("disk", "virtio", "vdd"), ("cdrom", "ide", "hda"), ("cdrom", "sata", "sda")]
)
def test_a_rescue_disk_that_says_what_it_is_comes_beside_all_the_others(device: str, bus: str, target: str) -> None:
    rescue = RescueDisk(IMAGE, device=device, bus=bus)  # type: ignore[arg-type]  # both are among the words
    root = parsed(msgspec.structs.replace(SERVER, ephemeral_disk_gib=1, swap_mib=8, rescue=rescue))

    assert [place.attrib["dev"] for _, place in _disks(root)] == ["vda", "vdb", "vdc", target]
    last = root.findall("devices/disk")[-1]
    assert (last.attrib["device"], last.find("boot") is not None) == (device, True)
    assert [disk.find("boot") is not None for disk in root.findall("devices/disk")][:3] == [False] * 3


def _disks(root: ElementTree.Element) -> list[tuple[ElementTree.Element, ElementTree.Element]]:
    found = []
    for disk in root.findall("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        assert source is not None and target is not None
        found.append((source, target))
    return found


def test_a_volume_that_a_process_holds_is_opened_at_its_socket() -> None:
    volume = ServerVolume(SERVER.id, "vdb")
    row = domains.volume_row(volume, SocketConnection("/run/deuteron/units/a/b"), Hardware())
    element = domains.disk_element(row)
    assert (element.get("type"), row.format) == ("network", "raw")
    source, host = element.find("source"), element.find("source/host")
    assert source is not None and host is not None
    assert (source.get("protocol"), source.get("file")) == ("nbd", None)
    assert host.attrib == {"transport": "unix", "socket": "/run/deuteron/units/a/b"}
    assert element.findtext("serial") == SERVER.id
    shown = f"<domain><devices>{ElementTree.tostring(element, encoding='unicode')}</devices></domain>"
    assert described.is_held(shown, SERVER.id) and not described.is_held(shown, "another")
