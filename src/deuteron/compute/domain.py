"""libvirt's description of a server, as a pure function of what the server should be.

    IntentServer + HostWiring  ->  DomainRow  ->  XML

The mark of ownership is the `<deuteron:server>` element in the domain's metadata: a domain without it is
somebody else's and is never touched. It also holds what was last applied (power, reboot and build
generation), so that the driver needs no memory of its own.
"""

from __future__ import annotations

import string
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from deuteron.compute import hardware
from deuteron.model.connections import FileConnection, GuestConnection
from deuteron.model.hardware import Hardware
from deuteron.model.intent import IntentServer, Plug, ServerPort, ServerVolume

_RECONNECT_S = 120
"""How long a guest waits for the process that holds its disk."""

MARK_NAMESPACE = "urn:deuteron:server:1"
MARK_PREFIX = "deuteron"
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
QEMU_PREFIX = "qemu"

VirtType = hardware.VirtType
Display = Literal["vnc", "spice"]

SERIAL = "/run/deuteron/serial"
"""The folder of the sockets of serial consoles. QEMU gets them open; no cell shows them."""

_VIDEO_KIB = 16384
"""QEMU's own default."""


class HostWiring(msgspec.Struct, frozen=True):
    """How this host runs guests and connects them."""

    virt_type: VirtType
    plug: Callable[[ServerPort], Plug]
    """What a card is connected to, which the mechanism that wires its port says."""
    emulator: str
    """The program that libvirt runs as QEMU; see `emulator`."""
    version: str = "0"
    displays: tuple[Display, ...] = ("vnc",)
    """What this host's QEMU shows screens with."""


class Mark(msgspec.Struct, frozen=True):
    """What the domain's metadata says: whose it is, and what was last applied to it."""

    server_id: str
    power: str = "running"
    reboot_generation: int = 0
    build_generation: int = 0
    shape_generation: int = 0


class InterfaceRow(msgspec.Struct, frozen=True):
    """One network card: a tap that the agent made and wired, or (hybrid) a bridge that libvirt puts its own tap on."""

    mac_address: str
    tap: str
    bridge: str | None
    mtu_bytes: int
    offloads: bool
    virt_type: VirtType
    model: str = "virtio"
    packed_ring: bool = False


class DiskRow(msgspec.Struct, frozen=True):
    path: str
    target: str
    format: Literal["qcow2", "raw"] = "qcow2"
    serial: str = ""
    is_readonly: bool = False
    device: Literal["disk", "cdrom"] = "disk"
    bus: Literal["virtio", "ide", "sata", "scsi", "usb"] = "virtio"
    boots: bool = False
    """Whether the guest starts from it, wherever it stands among the others."""
    is_shared: bool = False
    """Whether other guests may write to it, too."""
    is_socket: bool = False
    """Whether NBD is spoken at the path, to the process that holds the disk (`units`)."""
    limits: dict[str, int] = {}
    """What libvirt calls `iotune`."""
    packed_ring: bool = False


class DomainRow(msgspec.Struct, frozen=True):
    """Everything libvirt is told about one server."""

    mark: Mark
    instance_name: str
    server_name: str
    vcpus: int
    memory_mib: int
    virt_type: VirtType
    machine_type: str
    emulator: str
    console_log: str
    interfaces: tuple[InterfaceRow, ...] = ()
    disks: tuple[DiskRow, ...] = ()
    kernel: str | None = None
    ramdisk: str | None = None
    kernel_args: str = ""
    version: str = "0"
    hardware: Hardware = Hardware()
    genid: str | None = None
    """By which a guest learns that it is a copy of another one's memory; it has none where that is never so."""
    displays: tuple[Display, ...] = ("vnc",)


def instance_name(server_id: str) -> str:
    """The domain's name as Nova's default template writes it, `instance-%08x`; the number is the id's first 32 bits."""
    return f"instance-{server_id.replace('-', '')[:8]}"


def serial_socket(server_id: str) -> str:
    """Where the server's serial console is reached on its host."""
    return f"{SERIAL}/{server_id}"


def interface_row(port: ServerPort, wiring: HostWiring, made_of: Hardware) -> InterfaceRow:
    plug = wiring.plug(port)
    return InterfaceRow(
        mac_address=port.mac_address,
        tap=plug.device,
        bridge=plug.bridge,
        mtu_bytes=port.mtu_bytes,
        offloads=plug.offloads,
        virt_type=wiring.virt_type,
        model=made_of.nic,
        packed_ring=made_of.packed_ring,
    )


def volume_row(volume: ServerVolume, at: GuestConnection, made_of: Hardware) -> DiskRow:
    return DiskRow(
        at.path,
        volume.target,
        at.format if isinstance(at, FileConnection) else "raw",
        serial=volume.volume_id,
        is_readonly=volume.is_readonly,
        is_shared=volume.is_shared,
        is_socket=not isinstance(at, FileConnection),
        packed_ring=made_of.packed_ring,
    )


def domain_row(
    server: IntentServer,
    wiring: HostWiring,
    instance_dir: str,
    image_dir: str,
    volumes: Mapping[str, GuestConnection] | None = None,
) -> DomainRow:
    """What libvirt should be told about `server`, whose files are in `instance_dir`.

    `volumes` are the files of those of its volumes that it is to have now, by id; a rescued server has none of them,
    unless the rescue disk stands beside all others.
    """
    disks = disk_rows(server, instance_dir)
    files = volumes or {}
    if server.rescue is None or server.rescue.device is not None:
        plugged = [
            volume_row(each, files[each.volume_id], server.hardware)
            for each in server.volumes
            if each.volume_id in files
        ]
        disks = [
            *(row for row in plugged if row.target == "vda"),
            *disks,
            *(row for row in plugged if row.target != "vda"),
        ]
    local = {"limits": server.hardware.disk_limits, "packed_ring": server.hardware.packed_ring}
    disks = [row if row.serial in files else msgspec.structs.replace(row, **local) for row in disks]
    boot = server if server.rescue is None else server.rescue
    machine = server.machine_type or "pc"
    if server.config_drive:
        # A CD-ROM at the end of its bus, as Nova attaches it; the newer of QEMU's machines has no IDE.
        # Source: nova/virt/libvirt/blockinfo.py get_disk_bus_for_device_type, get_config_drive_type.
        bus: Literal["ide", "sata"] = "sata" if "q35" in machine else "ide"
        last = "sdd" if bus == "sata" else "hdd"
        drive = "disk.config" if server.rescue is None else "disk.config.rescue"
        disks.append(DiskRow(f"{instance_dir}/{drive}", last, "raw", device="cdrom", bus=bus))
    return DomainRow(
        mark=mark_of(server),
        instance_name=instance_name(server.id),
        server_name=server.name,
        vcpus=server.vcpus,
        memory_mib=server.memory_mib,
        virt_type=wiring.virt_type,
        machine_type=machine,
        emulator=wiring.emulator,
        console_log=f"{instance_dir}/console.log",
        interfaces=tuple(interface_row(port, wiring, server.hardware) for port in server.ports),
        disks=tuple(disks),
        kernel=f"{image_dir}/{boot.kernel.id}" if boot.kernel else None,
        ramdisk=f"{image_dir}/{boot.ramdisk.id}" if boot.ramdisk else None,
        kernel_args=boot.kernel_args,
        version=wiring.version,
        hardware=server.hardware,
        genid=server.id if server.starts_warm else None,
        displays=wiring.displays,
    )


def mark_of(server: IntentServer) -> Mark:
    """What is recorded once the domain is as the server should be."""
    generations = (server.reboot_generation, server.build_generation, server.shape_generation)
    return Mark(server.id, server.power, *generations)


def disk_rows(server: IntentServer, instance_dir: str) -> list[DiskRow]:
    """The server's disks; while it is rescued the one that it starts from, and those beside it.

    Source: nova/virt/libvirt/blockinfo.py `get_disk_mapping`: a rescued server has its own root disk as the second, and
    no others, unless the rescue image says what device it is to be.
    """
    rescue = server.rescue
    own = []
    if server.image is not None or server.root_disk_gib:
        own.append(DiskRow(f"{instance_dir}/disk", "vda", serial=server.id[:20]))
    if rescue is not None and rescue.device is None:
        return [
            DiskRow(f"{instance_dir}/disk.rescue", "vda", boots=True),
            *(msgspec.structs.replace(disk, target="vdb") for disk in own),
        ]
    if server.ephemeral_disk_gib:
        own.append(DiskRow(f"{instance_dir}/disk.eph0", "vdb"))
    if server.swap_mib:
        own.append(DiskRow(f"{instance_dir}/disk.swap", "vdc" if server.ephemeral_disk_gib else "vdb"))
    if rescue is not None and rescue.device is not None:
        # The virtio disks are numbered one after the other; the other buses hold nothing but the config drive's end.
        taken = {row.target for row in own} | {volume.target for volume in server.volumes}
        free = next((letter for letter in string.ascii_lowercase if f"vd{letter}" not in taken), "")
        target = {"virtio": f"vd{free}", "ide": "hda", "sata": "sda", "scsi": "sda", "usb": "sda"}[rescue.bus]
        own.append(DiskRow(f"{instance_dir}/disk.rescue", target, device=rescue.device, bus=rescue.bus, boots=True))
    return own


def domain_xml(row: DomainRow) -> str:
    """The domain as libvirt reads it. Source: libvirt, formatdomain."""
    root = ElementTree.Element("domain", type=row.virt_type)
    _text(root, "name", row.instance_name)
    _text(root, "uuid", row.mark.server_id)
    if row.genid is not None:
        _text(root, "genid", row.genid)
    _text(root, "title", row.server_name.replace("\n", " "))
    metadata = ElementTree.SubElement(root, "metadata")
    metadata.append(_mark_element(row.mark))
    _text(root, "memory", str(row.memory_mib), unit="MiB")
    _text(root, "vcpu", str(row.vcpus), placement="static")
    # cloud-init recognises OpenStack by these names. Source: cloud-init tools/ds-identify, dscheck_OpenStack.
    sysinfo = ElementTree.SubElement(root, "sysinfo", type="smbios")
    system = ElementTree.SubElement(sysinfo, "system")
    names = {"manufacturer": "OpenStack Foundation", "product": "OpenStack Nova", "version": row.version}
    for name, value in {**names, "serial": row.mark.server_id, "uuid": row.mark.server_id}.items():
        _text(system, "entry", value, name=name)
    _append_os(root, row)
    hardware.append_features(root, row.hardware)
    hardware.append_cpu(root, row.hardware, row.virt_type, row.vcpus, row.memory_mib)
    _append_clock(root, row)
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(root, event, action)
    _append_devices(root, row)
    # QEMU (7.2) forgets which VLANs a guest listens to when it goes on from a saved machine or on another host:
    # `virtio_net_set_features` clears what was loaded before. Guests with a trunk heard nothing of it then. Cards that
    # cannot filter by VLAN leave that to the guest's kernel, which does so anyway.
    append_arguments(root, "-global", "virtio-net-device.ctrl_vlan=off")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def append_arguments(root: ElementTree.Element, *words: str) -> None:
    """Words for QEMU's command line, after those that are there already."""
    ElementTree.register_namespace(QEMU_PREFIX, QEMU_NAMESPACE)
    line = root.find(f"{{{QEMU_NAMESPACE}}}commandline")
    if line is None:
        line = ElementTree.SubElement(root, f"{{{QEMU_NAMESPACE}}}commandline")
    for word in words:
        ElementTree.SubElement(line, f"{{{QEMU_NAMESPACE}}}arg", value=word)


def interface_xml(row: InterfaceRow) -> str:
    """One interface alone, for attaching it to and detaching it from a running server."""
    element = _interface_element(row)
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode")


def mark_xml(mark: Mark) -> str:
    """The metadata element alone, for updating it in place. libvirt adds the prefix and namespace itself."""
    return ElementTree.tostring(ElementTree.Element("server", _mark_attributes(mark)), encoding="unicode")


def _mark_attributes(mark: Mark) -> dict[str, str]:
    return {
        "id": mark.server_id,
        "power": mark.power,
        "reboot_generation": str(mark.reboot_generation),
        "build_generation": str(mark.build_generation),
        "shape_generation": str(mark.shape_generation),
    }


def _mark_element(mark: Mark) -> ElementTree.Element:
    ElementTree.register_namespace(MARK_PREFIX, MARK_NAMESPACE)
    return ElementTree.Element(f"{{{MARK_NAMESPACE}}}server", _mark_attributes(mark))


def _append_os(root: ElementTree.Element, row: DomainRow) -> None:
    element = ElementTree.SubElement(root, "os")
    _text(element, "type", "hvm", arch="x86_64", machine=row.machine_type)
    if row.kernel:
        _text(element, "kernel", row.kernel)
        if row.ramdisk:
            _text(element, "initrd", row.ramdisk)
        _text(element, "cmdline", row.kernel_args or "console=ttyS0 root=/dev/vda")
    elif not any(disk.boots for disk in row.disks):
        ElementTree.SubElement(element, "boot", dev="hd")
    if row.hardware.boot_menu:
        ElementTree.SubElement(element, "bootmenu", enable="yes")
    ElementTree.SubElement(element, "smbios", mode="sysinfo")


def _append_clock(root: ElementTree.Element, row: DomainRow) -> None:
    clock = ElementTree.SubElement(root, "clock", offset="utc")
    if row.virt_type == "kvm":
        ElementTree.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
        ElementTree.SubElement(clock, "timer", name="pit", tickpolicy="delay")
        ElementTree.SubElement(clock, "timer", name="hpet", present="no")


def _append_devices(root: ElementTree.Element, row: DomainRow) -> None:
    devices = ElementTree.SubElement(root, "devices")
    _text(devices, "emulator", row.emulator)
    for disk in row.disks:
        devices.append(disk_element(disk, boots=disk.boots and not row.kernel))
    for interface in row.interfaces:
        devices.append(_interface_element(interface))
    # A terminal for people (`consoles`, `virsh console`), and everything that was written to it in a file. The file is
    # opened for appending, so the driver can cut it while the guest writes. libvirt listens, and QEMU gets it open.
    serial = ElementTree.SubElement(devices, "serial", type="unix")
    ElementTree.SubElement(serial, "source", mode="bind", path=serial_socket(row.mark.server_id))
    ElementTree.SubElement(serial, "log", file=row.console_log, append="on")
    ElementTree.SubElement(serial, "target", port="0")
    # A screen that listens nowhere: who looks at it is given to QEMU as an open socket (`consoles`).
    for kind in row.displays:
        ElementTree.SubElement(ElementTree.SubElement(devices, "graphics", type=kind), "listen", type="none")
    if row.displays:
        ElementTree.SubElement(devices, "audio", id="1", type="none")
    if row.displays and row.hardware.video is None:
        # What every firmware, boot loader and kernel can write to; its memory is touched when it is used.
        video = ElementTree.SubElement(devices, "video")
        ElementTree.SubElement(video, "model", type="vga", vram=str(_VIDEO_KIB), heads="1", primary="yes")
    hardware.append_devices(devices, row.hardware, frozenset(disk.bus for disk in row.disks))
    # What libvirt would add by itself and no server asks for; each device costs boot time.
    ElementTree.SubElement(devices, "memballoon", model="none")


def disk_element(disk: DiskRow, *, boots: bool = False) -> ElementTree.Element:
    """One disk, as libvirt reads it; `boots`, the guest starts from it."""
    element = ElementTree.Element("disk", type="network" if disk.is_socket else "file", device=disk.device)
    # What one guest wrote, another one reads at once, and no QEMU keeps it back.
    cache = "writethrough" if disk.is_shared else "writeback"
    driver = ElementTree.SubElement(element, "driver", name="qemu", type=disk.format, cache=cache)
    if disk.device == "disk":
        driver.set("discard", "unmap")
    if disk.packed_ring and disk.bus == "virtio":
        driver.set("packed", "on")
    if disk.is_socket:
        source = ElementTree.SubElement(element, "source", protocol="nbd")
        ElementTree.SubElement(source, "host", transport="unix", socket=disk.path)
        ElementTree.SubElement(source, "reconnect", delay=str(_RECONNECT_S))
    else:
        ElementTree.SubElement(element, "source", file=disk.path)
    ElementTree.SubElement(element, "target", dev=disk.target, bus=disk.bus)
    if disk.device == "cdrom" or disk.is_readonly:
        ElementTree.SubElement(element, "readonly")
    if disk.is_shared:
        # QEMU lets others have the file open for writing.
        ElementTree.SubElement(element, "shareable")
    if disk.limits:
        tune = ElementTree.SubElement(element, "iotune")
        for name, amount in sorted(disk.limits.items()):
            _text(tune, name, str(amount))
    if boots:
        ElementTree.SubElement(element, "boot", order="1")
    if disk.serial:
        _text(element, "serial", disk.serial)
    return element


def _interface_element(row: InterfaceRow) -> ElementTree.Element:
    element = ElementTree.Element("interface", type="bridge" if row.bridge else "ethernet")
    ElementTree.SubElement(element, "mac", address=row.mac_address)
    if row.bridge:
        ElementTree.SubElement(element, "source", bridge=row.bridge)
        ElementTree.SubElement(element, "target", dev=row.tap)
    else:
        ElementTree.SubElement(element, "target", dev=row.tap, managed="no")
    ElementTree.SubElement(element, "model", type=row.model)
    if row.model == "virtio":
        # Without vhost-net the packets are QEMU's own work; the kernel device may not be there (rootless).
        driver = ElementTree.SubElement(element, "driver", name="qemu")
        if row.packed_ring:
            driver.set("packed", "on")
    if row.model == "virtio" and not row.offloads:
        off = {"csum": "off", "gso": "off", "tso4": "off", "tso6": "off", "ecn": "off", "ufo": "off"}
        ElementTree.SubElement(driver, "host", off)
        ElementTree.SubElement(driver, "guest", {name: value for name, value in off.items() if name != "gso"})
    ElementTree.SubElement(element, "mtu", size=str(row.mtu_bytes))
    # No firmware on the card: nobody boots from the network here, and the BIOS would spend time to offer it.
    ElementTree.SubElement(element, "rom", enabled="no")
    return element


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
