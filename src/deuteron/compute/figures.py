"""How a guest does: what libvirt counts of its processors, memory, disks and interfaces.

Source: nova/virt/libvirt/driver.py `get_diagnostics`, `get_instance_diagnostics`.
"""

from __future__ import annotations

from xml.etree import ElementTree

import libvirt

from deuteron.model.intent import DiskFigures, GuestFigures, NicFigures


def figures_of(dom: libvirt.virDomain, virt_type: str) -> GuestFigures | None:
    """None when it does not run, or is paused. Raises: libvirtError."""
    state, _, _, _, _ = dom.info()
    if state not in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        return None
    root = ElementTree.fromstring(dom.XMLDesc(0))
    _, maximum_kib, used_kib, _, _ = dom.info()
    disks = []
    for element in root.iterfind("devices/disk/target"):
        device = element.attrib["dev"]
        disks.append(DiskFigures(device, *dom.blockStats(device)))
    nics = []
    for element in root.iterfind("devices/interface"):
        mac, target = element.find("mac"), element.find("target")
        if mac is not None and target is not None:
            device = target.attrib["dev"]
            nics.append(NicFigures(device, mac.attrib["address"], *dom.interfaceStats(device)))
    times = tuple(cpu[2] for cpu in dom.vcpus()[0])
    memory = {str(name): int(value) for name, value in dom.memoryStats().items()}
    return GuestFigures(virt_type, maximum_kib, used_kib, times, memory, tuple(disks), tuple(nics))
