"""What the keeper of a host's volumes is given: its driver, the images it makes volumes of, the way back to the API.

Images lie in the driver's folder while volumes stand on them, apart from those of servers, which are pruned by age.
"""

from __future__ import annotations

import threading
from pathlib import Path

from deuteron.compute.images import ImageCache, send_file
from deuteron.compute.tools import DiskFailure
from deuteron.model.connections import Connection
from deuteron.model.intent import HostSettings, ImageRef
from deuteron.volume import VolumeFailure, VolumeKeeper
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import Place, VolumeDriver
from deuteron.volume.registry import open_driver
from deuteron.volume.simulated import SimulatedDriver


def open_volumes(settings: HostSettings) -> VolumeKeeper:
    """The keeper that the settings ask for. Raises: UnknownDriver; OSError."""
    folder = Path(settings.state_dir) / "volumes"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    caches: dict[Path, ImageCache] = {}
    guard = threading.Lock()

    def fetch(image: ImageRef, into: Path) -> tuple[Path, str]:
        with guard:
            cache = caches.get(into) or ImageCache(into, settings.api_socket, settings.token)
            caches[into] = cache
        try:
            return cache.base(image)
        except DiskFailure as error:
            raise VolumeFailure(str(error), error.details) from error

    driver: VolumeDriver
    if settings.dataplane == "none":
        driver = SimulatedDriver()
    else:
        driver = open_driver(settings.volume_driver, Place(settings.volume_driver, settings.host, folder, fetch), {})
    backups = BackupStore(Path(settings.state_dir) / "backups")
    return VolumeKeeper(driver, lambda *what: _deliver(settings, *what), folder, backups)


class Exports:
    """The volumes of a driver as servers of the host need them (`deuteron.compute.contract.VolumeSource`)."""

    def __init__(self, driver: VolumeDriver) -> None:
        self._driver = driver

    def export(self, volume_id: str, folder: Path) -> Connection:
        """Raises: DiskFailure."""
        try:
            return self._driver.export(volume_id, folder)
        except VolumeFailure as error:
            raise DiskFailure(str(error), error.details) from error

    def withdraw(self, volume_id: str, folder: Path) -> None:
        """Raises: DiskFailure."""
        try:
            self._driver.withdraw(volume_id, folder)
        except VolumeFailure as error:
            raise DiskFailure(str(error), error.details) from error


def _deliver(settings: HostSettings, volume_id: str, image_id: str, path: Path) -> None:
    """Hand the data of a volume to the API as those of an image. Raises: VolumeFailure."""
    attempt = f"cannot make image {image_id} of volume {volume_id}"
    target = f"/internal/volumes/{volume_id}/images/{image_id}"
    try:
        send_file(settings.api_socket, settings.token, target, path, attempt)
    except DiskFailure as error:
        raise VolumeFailure(str(error), error.details) from error
