"""What the keeper of a host's volumes is given: its drivers, the images it makes volumes of, the way back to the API.

    STATE/volumes/             of the back end that is there where nothing is said of any, and what is on its way
    STATE/backends/NAME/       of each other back end
    STATE/backups/             backups of all of them

Images lie in the folder of a back end while volumes stand on them, apart from those of servers, which are pruned by
age.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from deuteron.compute.images import ImageCache, fetch_file, fetch_text, send_file
from deuteron.compute.tools import ApiAway, DiskFailure
from deuteron.model.connections import FileConnection, HeldConnection, SealedConnection
from deuteron.model.intent import VOLUME_DRIVER, BackendSettings, HostSettings, ImageRef, ServerVolume, Unmanaged
from deuteron.volume import VolumeFailure, VolumeKeeper
from deuteron.volume.backends import Backends, Drivers
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import Handover, Place, VolumeDriver
from deuteron.volume.file.qcow2 import NotQcow2, read_head
from deuteron.volume.registry import open_driver
from deuteron.volume.sealing import KeyOf, NoSealer, QemuSealer
from deuteron.volume.simulated import SimulatedDriver

_MOST_UNMANAGED: Final = 4096
"""So many are told of: an answer is one message."""


def open_volumes(settings: HostSettings) -> VolumeKeeper:
    """The keeper that the settings ask for. Raises: OSError."""
    state = Path(settings.state_dir)
    coming = state / "volumes"
    coming.mkdir(mode=0o700, parents=True, exist_ok=True)

    caches: dict[Path, ImageCache] = {}
    guard = threading.Lock()

    def fetch(image: ImageRef, into: Path) -> tuple[Path, str]:
        with guard:
            cache = caches.get(into) or ImageCache(into, settings.api_socket, settings.token)
            caches[into] = cache
        try:
            return cache.base(image)
        except DiskFailure as error:
            raise _failure(error) from error

    def fetch_once(image: ImageRef, into: Path) -> tuple[Path, str]:
        try:
            return ImageCache(into, settings.api_socket, settings.token).base(image)
        except DiskFailure as error:
            raise _failure(error) from error

    def key_of(volume_id: str) -> str:
        try:
            return fetch_key(settings, volume_id)
        except DiskFailure as error:
            raise _failure(error) from error

    def open_one(backend: BackendSettings) -> VolumeDriver:
        if settings.dataplane == "none":
            return SimulatedDriver()
        folder = coming if backend.name == VOLUME_DRIVER else state / "backends" / backend.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open_driver(backend.driver, Place(backend.name, settings.host, folder, fetch), backend.options)

    there = {backend.name for backend in settings.volume_backends}
    kept = sorted(each.name for each in (state / "backends").glob("*") if each.is_dir())
    if any(coming.glob("*-????????-*")):
        kept.insert(0, VOLUME_DRIVER)
    former = [name for name in kept if name not in there]
    drivers = Backends(settings.host, settings.volume_backends, open_one, former=former)
    backups = BackupStore(state / "backups")
    return VolumeKeeper(
        drivers,
        lambda *what: _deliver(settings, *what),
        coming,
        backups,
        parcels=ApiParcels(settings),
        sealer=NoSealer() if settings.dataplane == "none" else QemuSealer(key_of, fetch_once),
    )


class ApiParcels:
    """`deuteron.volume.steps.Parcels` by way of the API."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings

    def give(self, move_id: str, path: Path) -> None:
        attempt = f"cannot give the volume of move {move_id} to the API"
        try:
            send_file(*self._way(move_id), path, attempt, unwanted=(404,))
        except DiskFailure as error:
            raise _failure(error) from error

    def take(self, move_id: str, path: Path) -> None:
        """Another host made the file, which may be in others' hands: one that needs any other is not opened."""
        try:
            fetch_file(*self._way(move_id), path, f"cannot fetch the volume of move {move_id} from the API")
            head = read_head(path) if self._settings.dataplane != "none" else None
        except DiskFailure as error:
            raise _failure(error) from error
        except NotQcow2 as error:
            raise VolumeFailure(f"the volume of move {move_id} cannot be used: {error}") from error
        if head is not None and (head.below is not None or head.needs):
            why = head.needs or "the file below it"
            raise VolumeFailure(f"the volume of move {move_id} cannot be used: it needs {why}")

    def _way(self, move_id: str) -> tuple[str, str, str]:
        return self._settings.api_socket, self._settings.token, f"/internal/volume-moves/{move_id}"


class NoVolumes(Exception):
    """Nobody can say what a back end has."""


def unmanaged(drivers: Drivers, backend: str) -> list[Unmanaged]:
    """What the back end has that is nobody's; of very many, the first. Raises: NoVolumes."""
    try:
        return list(drivers.driver(backend).unmanaged())[:_MOST_UNMANAGED]
    except (VolumeFailure, OSError) as error:
        raise NoVolumes(str(error)) from error


class Exports:
    """The volumes of a host's back ends as servers of it need them (`deuteron.compute.contract.VolumeSource`)."""

    def __init__(self, drivers: Drivers, key_of: KeyOf) -> None:
        """`key_of` raises DiskFailure."""
        self._drivers = drivers
        self._key_of = key_of

    def export(self, volume: ServerVolume, folder: Path) -> FileConnection | HeldConnection:
        """Raises: DiskFailure."""
        handover = Handover(volume.beside, volume.after)
        secret = self._key_of(volume.volume_id) if volume.is_encrypted else None
        try:
            found = self._drivers.driver(volume.backend).export(volume.volume_id, folder, handover)
        except VolumeFailure as error:
            raise DiskFailure(str(error), error.details) from error
        return found if secret is None else SealedConnection(found, secret)

    def withdraw(self, backend: str, volume_id: str, folder: Path) -> None:
        """Raises: DiskFailure."""
        try:
            self._drivers.driver(backend).withdraw(volume_id, folder)
        except VolumeFailure as error:
            raise DiskFailure(str(error), error.details) from error


def fetch_key(settings: HostSettings, volume_id: str) -> str:
    """What opens the data of an encrypted volume; nobody keeps it. Raises: DiskFailure."""
    attempt = f"cannot fetch the key of volume {volume_id} from the API"
    return fetch_text(settings.api_socket, settings.token, f"/internal/volumes/{volume_id}/key", attempt)


def _deliver(settings: HostSettings, volume_id: str, image_id: str, path: Path) -> None:
    """Hand the data of a volume to the API as those of an image. Raises: VolumeFailure; TimeoutError, as below."""
    attempt = f"cannot make image {image_id} of volume {volume_id}"
    target = f"/internal/volumes/{volume_id}/images/{image_id}"
    try:
        send_file(settings.api_socket, settings.token, target, path, attempt)
    except DiskFailure as error:
        raise _failure(error) from error


def _failure(error: DiskFailure) -> Exception:
    """What the keeper hears of it: an API that is away is waited for, as a busy guest is."""
    return TimeoutError(str(error)) if isinstance(error, ApiAway) else VolumeFailure(str(error), error.details)
