"""Interfaces and volumes of guests that run: given, and taken when the guest lets them go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Set

import libvirt
import structlog

from deuteron.compute import described
from deuteron.compute import domain as domains
from deuteron.compute.domain import InterfaceRow
from deuteron.compute.libvirtd import ServerFailure, is_away, unless
from deuteron.compute.tools import DiskFailure
from deuteron.compute.volumes import ServerVolumes
from deuteron.model.intent import IntentServer

log = structlog.get_logger("deuteron.compute")


class Hotplug:
    """What one host plugs in and out; nothing is waited for any more once `closing` is set."""

    def __init__(
        self, volumes: ServerVolumes, closing: threading.Event, detach_timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self._volumes = volumes
        self._closing = closing
        self._detach_timeout_s = detach_timeout_s
        self._clock = clock

    def rewire(self, dom: libvirt.virDomain, rows: Mapping[str, InterfaceRow]) -> None:
        """Give a running guest these interfaces, by tap, and no others. Raises: ServerFailure, libvirtError.

        What is defined of it is for the caller to write: libvirt would refuse to take an interface from both where the
        definition has it at another place.
        """
        present = described.interface_taps(dom.XMLDesc(0))
        for tap in sorted(present.keys() - rows.keys()):
            xml = described.present_interface(dom.XMLDesc(0), tap)
            if xml is None:
                continue
            with unless(libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED):
                dom.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self._wait(dom, present.keys() - rows.keys(), described.interface_taps)
        for tap in sorted(rows.keys() - present.keys()):
            dom.attachDeviceFlags(domains.interface_xml(rows[tap]), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def unplug(self, dom: libvirt.virDomain, volume_ids: Set[str]) -> None:
        """Take volumes from a running guest. Raises: ServerFailure, libvirtError."""
        for volume_id in sorted(volume_ids):
            with unless(libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED):
                self._volumes.unplug(dom, volume_id)
        self._wait(dom, volume_ids, described.volume_disks)

    def plug(self, dom: libvirt.virDomain, wanted: IntentServer, volume_ids: Set[str]) -> None:
        """Give a running guest volumes; those that it cannot have are refused.

        Raises: libvirtError while libvirtd is away.
        """
        for each in wanted.volumes:
            if each.volume_id not in volume_ids:
                continue
            try:
                files = self._volumes.bring(wanted, (each.volume_id,))
                self._volumes.plug(dom, domains.volume_row(each, files[each.volume_id], wanted.hardware))
            except (libvirt.libvirtError, DiskFailure, OSError) as error:
                if is_away(error):
                    raise
                log.warning("volume not attached", server=wanted.id, volume=each.volume_id, reason=str(error))
                self._volumes.refuse(wanted.id, each.volume_id, str(error))

    def _wait(self, dom: libvirt.virDomain, gone: Set[str], present: Callable[[str], Mapping[str, str]]) -> None:
        """Wait until the guest has let go of these; `present` finds what it has in a domain's XML."""
        deadline = self._clock() + self._detach_timeout_s
        while left := present(dom.XMLDesc(0)).keys() & gone:
            if self._clock() > deadline:
                raise ServerFailure(f"the guest does not let go of {', '.join(sorted(left))}")
            if self._closing.wait(0.1):
                return
