"""Volumes of servers on this host: brought below the server's folder, plugged into its guest, let go again.

    instances/<server>/volumes/   what is exported to the server; its cell shows this folder and no other (`cell`)
    …/volumes/.held-ID            the volume of this id is exported, or was on its way when this process ended

A guest finds its volumes by name, those that come while it runs as well. One that is no file but a logical unit of
iSCSI is held for it by a process of the host (`units`).

Mark: `.held-ID`, which names the back end that keeps the volume, written before the export and removed after the
withdrawal. A crash in between leaves a volume that is held, and that is withdrawn when nobody wants it.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import libvirt

from deuteron.compute import described
from deuteron.compute import domain as domains
from deuteron.compute.contract import VolumeSource
from deuteron.compute.domain import DiskRow
from deuteron.compute.images import InstanceFiles
from deuteron.compute.tools import DiskFailure
from deuteron.compute.units import Units
from deuteron.model.connections import FileConnection, GuestConnection
from deuteron.model.intent import VOLUME_DRIVER, IntentServer, ServerVolume

_HELD: Final = ".held-"
_PIDS: Final = Path("/run/libvirt/qemu")


class ServerVolumes:
    """The volumes of all servers of a host."""

    def __init__(self, files: InstanceFiles, source: VolumeSource | None) -> None:
        self._files = files
        self._source = source
        self._units = Units()
        self._ready: dict[str, frozenset[str]] = {}
        self._refused: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """End what runs beside the guests; they go on."""
        self._units.close()

    # --- what is known of a server while this process runs; all of it can be found out again -------------------------

    def expect(self, server_id: str, ready: frozenset[str], *, anew: bool) -> None:
        """These of the server's volumes are there; `anew`, something else is wanted of it than before."""
        self._ready[server_id] = ready
        if anew:
            self._refused.pop(server_id, None)

    def forget(self, server_id: str) -> None:
        self._ready.pop(server_id, None)
        self._refused.pop(server_id, None)

    def refuse(self, server_id: str, volume_id: str, why: str) -> None:
        """It could not be plugged in, and is not tried again and again."""
        self._refused[server_id] = {**self._refused.get(server_id, {}), volume_id: why}

    def refused(self, server_id: str) -> Mapping[str, str]:
        return self._refused.get(server_id, {})

    def allowed(self, wanted: IntentServer | None, observed: frozenset[str] = frozenset()) -> frozenset[str]:
        """The volumes that a server may have now: what it has already stays, whatever is known of it just now."""
        if wanted is None:
            return frozenset()
        named = frozenset(each.volume_id for each in wanted.volumes)
        return (named & (self._ready.get(wanted.id, frozenset()) | observed)) - self.refused(wanted.id).keys()

    # --- what is done -------------------------------------------------------------------------------------------------

    def prepare(self, server_id: str) -> None:
        """Make the folder that the server's cell shows. Only its names are to be guessed, by nobody else."""
        folder = self._folder(server_id)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        self._units.prepare(server_id)

    def held(self, server_id: str) -> frozenset[str]:
        """Ids of the volumes that a server's folder has."""
        folder = self._folder(server_id)
        if not folder.is_dir():
            return frozenset()
        return frozenset(path.name.removeprefix(_HELD) for path in folder.glob(f"{_HELD}*"))

    def bring(self, server: IntentServer, ids: Iterable[str]) -> dict[str, GuestConnection]:
        """Where the server finds these volumes of it, by id. Raises: DiskFailure."""
        wanted = set(ids)
        return {each.volume_id: self._bring(server.id, each) for each in server.volumes if each.volume_id in wanted}

    def let_go(self, server_id: str, keep: Iterable[str] = ()) -> None:
        """Give back all but these. Raises: DiskFailure."""
        for volume_id in sorted(self.held(server_id) - set(keep)):
            mark = self._folder(server_id) / f"{_HELD}{volume_id}"
            self._units.close_unit(server_id, volume_id)
            if self._source is not None:
                self._source.withdraw(_backend(mark), volume_id, self._folder(server_id))
            mark.unlink(missing_ok=True)

    def remove(self, server_id: str) -> None:
        """Give back all, of a server that is no more. Raises: DiskFailure."""
        self.let_go(server_id)
        self._units.forget(server_id)

    def plug(self, dom: libvirt.virDomain, row: DiskRow) -> None:
        """Give a running guest a disk. Raises: libvirtError; OSError; DiskFailure."""
        identity = _identity_of(dom)
        os.chown(row.path, identity, identity)
        xml = ElementTree.tostring(domains.disk_element(row), encoding="unicode")
        dom.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def unplug(self, dom: libvirt.virDomain, volume_id: str) -> None:
        """Ask a running guest to let a disk go; it does so in its own time. Raises: libvirtError."""
        xml = described.present_disk(dom.XMLDesc(0), volume_id)
        if xml is not None:
            dom.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def _bring(self, server_id: str, volume: ServerVolume) -> GuestConnection:
        volume_id = volume.volume_id
        if self._source is None:
            raise DiskFailure(f"cannot attach volume {volume_id}: this host keeps no volumes")
        self.prepare(server_id)
        folder = self._folder(server_id)
        mark = folder / f"{_HELD}{volume_id}"
        if not mark.exists():
            new = folder / f".new-{volume_id}"
            new.write_text(volume.backend, encoding="ascii")
            new.rename(mark)
        found = self._source.export(volume, folder)
        return found if isinstance(found, FileConnection) else self._units.open(server_id, volume_id, found)

    def _folder(self, server_id: str) -> Path:
        return self._files.path(server_id) / "volumes"


def _backend(mark: Path) -> str:
    """What keeps a volume that is held. Marks of before there were several back ends are empty."""
    return mark.read_text(encoding="ascii") or VOLUME_DRIVER


def _identity_of(dom: libvirt.virDomain) -> int:
    """Who the guest's QEMU is on this host. Raises: OSError; DiskFailure."""
    pid = (_PIDS / f"{dom.name()}.pid").read_text().strip()
    found = re.search(r"^Uid:\t(\d+)\t", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise DiskFailure(f"cannot find out who process {pid} of {dom.name()} is")
    return int(found[1])
