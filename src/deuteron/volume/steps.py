"""What is done for one object of a host, through the driver of its back end: look, do what lacks, look again.

No step depends on which came before, so an interruption anywhere is continued by doing it once more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal, Protocol

import msgspec
import structlog

from deuteron.model.intent import (
    ImageRef,
    IntentBackup,
    IntentSnapshot,
    IntentVolume,
    Key,
    VolumeMove,
    VolumeReimage,
    VolumeUpload,
)
from deuteron.volume.backends import Drivers
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import BackendAway, Guests, Origin, VolumeDriver, VolumeFailure
from deuteron.volume.sealing import Sealer

log = structlog.get_logger("deuteron.volume")

Deliver = Callable[[str, str, Path], None]
"""Hands the data of a volume to the API as an image: volume, image, file. Raises: VolumeFailure."""


class Parcels(Protocol):
    """The way of volumes to other hosts, and from them: each in a qcow2 file."""

    def give(self, move_id: str, path: Path) -> None:
        """Hand it to the API; nothing when nobody wants it any more. Raises: VolumeFailure."""
        ...

    def take(self, move_id: str, path: Path) -> None:
        """What the API was given, in a new file. Raises: VolumeFailure."""
        ...


class NoParcels:
    """Of a host that is alone."""

    def give(self, move_id: str, path: Path) -> None:
        raise VolumeFailure("there is no way to another host")

    def take(self, move_id: str, path: Path) -> None:
        raise VolumeFailure("there is no way from another host")


_FORMATS: Final = {"vhd": "vpc", "ploop": "parallels"}
"""What `qemu-img` calls formats that Glance calls otherwise."""


class Waiting(Exception):
    """Something else has to be there first; the message says what."""


class NotDone(Exception):
    """The volume is well, and something else that was asked of it could not be done: `number` says what."""

    is_whole: ClassVar[bool] = True
    """Whether it is well indeed."""

    def __init__(self, number: str, message: str) -> None:
        super().__init__(message)
        self.number = number


class NotUploaded(NotDone):
    """No image could be made of it."""


class NotRestored(NotDone):
    """It could not be given the data of a backup."""


class NotReverted(NotDone):
    """It could not be made what it was in a snapshot."""


class NotMoved(NotDone):
    """Another back end could not be given its data."""


class NotGiven(NotDone):
    """Its data could not be given to the API, for another host."""


class NotTaken(NotDone):
    """It could not be made of what the API was given of it."""


class NotReimaged(NotDone):
    """It could not be made anew, and holds nothing."""

    is_whole = False


class NotLeft(NotDone):
    """The back end that it was moved from still has it."""


class Done(msgspec.Struct):
    """What of a volume's wishes was fulfilled; all of it can be done again."""

    uploaded: str | None = None
    restored: str | None = None
    reverted: str | None = None
    moved: str | None = None
    reimaged: str | None = None
    given: str | None = None
    taken: str | None = None
    left: str | None = None
    is_shared: bool | None = None
    is_let_go: bool = False
    is_sealed: bool = False
    """Whether it is encrypted: before it is, a new one that is to be holds nothing."""


class Steps:
    """`guests` says who may have the volumes; `is_wanted`, whether an object is to be there."""

    def __init__(
        self,
        drivers: Drivers,
        backups: BackupStore,
        deliver: Deliver,
        folder: Path,
        guests: Callable[[], Guests],
        is_wanted: Callable[[Key], bool],
        parcels: Parcels,
        sealer: Sealer,
    ) -> None:
        self._drivers = drivers
        self._backups = backups
        self._deliver = deliver
        self._folder = folder
        self._guests = guests
        self._is_wanted = is_wanted
        self._parcels = parcels
        self._sealer = sealer

    def volume(self, done: Done, wanted: IntentVolume) -> None:
        driver = self._drivers.driver(wanted.backend)
        if wanted.is_let_go:
            log.info("volume changed", id=wanted.id, step="let go")
            driver.let_go("volume", wanted.id, wanted.id)
            done.is_let_go = True
            return
        if wanted.is_elsewhere:
            log.info("volume changed", id=wanted.id, step="leave")
            driver.delete("volume", wanted.id)
            done.left = wanted.backend
            return
        if wanted.take is not None:
            if done.taken != wanted.take:
                self._take(driver, wanted, wanted.take)
                done.taken = wanted.take
            return
        if wanted.reimage is not None and done.reimaged != wanted.reimage.id:
            self._reimage(driver, wanted, wanted.reimage)
            done.reimaged, done.is_sealed = wanted.reimage.id, True
        size = driver.size_gib(wanted.id)
        if size is not None and _is_to_be_sealed(wanted) and not done.is_sealed:
            # An attempt was cut short.
            driver.delete("volume", wanted.id)
            size = None
        if size is None and wanted.manage is not None:
            log.info("volume changed", id=wanted.id, step="manage")
            driver.adopt("volume", wanted.id, wanted.manage, wanted.id)
        elif size is None:
            _refuse_lost(driver, wanted, f"volume {wanted.id}")
            log.info("volume changed", id=wanted.id, step="make")
            if wanted.snapshot_id is not None:
                self._wait(("volume_snapshot", wanted.snapshot_id), driver)
                driver.clone(wanted.id, wanted.size_gib, Origin("snapshot", wanted.snapshot_id))
            elif wanted.source_id is not None:
                self._wait(("volume", wanted.source_id), driver)
                driver.clone(wanted.id, wanted.size_gib, Origin("volume", wanted.source_id))
            else:
                self._make(driver, wanted, wanted.image)
                done.is_sealed = True
        elif size < wanted.size_gib:
            log.info("volume changed", id=wanted.id, step="extend")
            if not self._guests().grow(wanted.id, wanted.size_gib):
                with self._guests().quiet(wanted.id):
                    driver.extend(wanted.id, wanted.size_gib, is_quiet=True)
        driver.share(wanted.id, is_shared=wanted.is_shared)
        done.is_shared = wanted.is_shared
        if wanted.move is not None and done.moved != wanted.move.id:
            try:
                self._move(driver, wanted, wanted.move)
            except (BackendAway, TimeoutError):
                raise
            except (VolumeFailure, OSError) as error:
                raise NotMoved(wanted.move.id, str(error)) from error
            done.moved = wanted.move.id
        if wanted.give is not None and done.given != wanted.give:
            try:
                self._give(driver, wanted, wanted.give)
            except (BackendAway, TimeoutError):
                raise
            except (VolumeFailure, OSError) as error:
                raise NotGiven(wanted.give, str(error)) from error
            done.given = wanted.give
        if wanted.restore is not None and done.restored != wanted.restore.id:
            try:
                self._wait(("backup", wanted.restore.backup_id), driver)
                log.info("volume changed", id=wanted.id, step="restore")
                driver.load(wanted.id, self._backups.path(wanted.restore.backup_id))
            except (BackendAway, TimeoutError):
                raise
            except (VolumeFailure, OSError) as error:
                raise NotRestored(wanted.restore.id, str(error)) from error
            done.restored = wanted.restore.id
        if wanted.revert is not None and done.reverted != wanted.revert.id:
            try:
                log.info("volume changed", id=wanted.id, step="revert")
                driver.revert(wanted.id, wanted.revert.snapshot_id)
            except (BackendAway, TimeoutError):
                raise
            except (VolumeFailure, OSError) as error:
                raise NotReverted(wanted.revert.id, str(error)) from error
            done.reverted = wanted.revert.id
        if wanted.upload is not None and done.uploaded != wanted.upload.image_id:
            try:
                self._upload(driver, wanted, wanted.upload)
            except (BackendAway, TimeoutError):
                raise
            except (VolumeFailure, OSError) as error:
                raise NotUploaded(wanted.upload.image_id, str(error)) from error
            done.uploaded = wanted.upload.image_id
        if wanted.left is not None and done.left != wanted.left:
            try:
                self._drivers.driver(wanted.left).delete("volume", wanted.id)
            except (VolumeFailure, OSError) as error:
                raise NotLeft(wanted.left, str(error)) from error
            done.left = wanted.left

    def snapshot(self, done: Done, wanted: IntentSnapshot) -> None:
        driver = self._drivers.driver(wanted.backend)
        if wanted.is_let_go:
            log.info("volume changed", id=wanted.volume_id, step="let snapshot go")
            driver.let_go("snapshot", wanted.id, wanted.volume_id)
            done.is_let_go = True
        elif wanted.manage is not None:
            log.info("volume changed", id=wanted.volume_id, step="manage snapshot")
            driver.adopt("snapshot", wanted.id, wanted.manage, wanted.volume_id)
        elif not driver.has_snapshot(wanted.id):
            _refuse_lost(driver, wanted, f"snapshot {wanted.id}")
            self._wait(("volume", wanted.volume_id), driver)
            log.info("volume changed", id=wanted.volume_id, step="snapshot")
            with self._guests().quiet(wanted.volume_id):
                driver.snapshot(wanted.id, wanted.volume_id, is_quiet=True)

    def backup(self, wanted: IntentBackup) -> None:
        if self._backups.has(wanted.id):
            return
        if wanted.is_made:
            raise VolumeFailure(f"the data of backup {wanted.id} are not there any more")
        log.info("volume changed", id=wanted.volume_id, step="backup")
        if wanted.copy_of is not None:
            self._backups.adopt(wanted.id, wanted.copy_of)
            return
        driver = self._drivers.driver(wanted.backend)
        if wanted.snapshot_id is None:
            key, origin = ("volume", wanted.volume_id), Origin("volume", wanted.volume_id)
            still: AbstractContextManager[None] = self._guests().quiet(wanted.volume_id)
        else:
            key, origin = ("volume_snapshot", wanted.snapshot_id), Origin("snapshot", wanted.snapshot_id)
            still = nullcontext()
        self._wait(key, driver)
        if wanted.parent_id is not None:
            self._wait(("backup", wanted.parent_id), driver)
        with still:
            save = partial(driver.save, origin, is_quiet=True)
            self._backups.keep(wanted.id, wanted.parent_id, save)

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str, backend: str) -> None:
        """Where nobody knows which back end has it, each is asked.

        Raises: BackendAway when one that is may have it; VolumeFailure.
        """
        away: BackendAway | None = None
        is_found = False
        for name in (backend,) if backend else self._drivers.names():
            try:
                driver = self._drivers.driver(name)
                was_there = (
                    (driver.size_gib(object_id) is not None) if kind == "volume" else driver.has_snapshot(object_id)
                )
                driver.delete(kind, object_id)
            except BackendAway as error:
                away = error
                continue
            is_found = is_found or was_there
        if away is not None and not is_found:
            raise away

    def _make(self, driver: VolumeDriver, wanted: IntentVolume, image: ImageRef | None) -> None:
        """An encrypted one that gets a backup is made as any: the backup's data are encrypted already."""
        if wanted.key_bits is None or wanted.restore is not None:
            driver.make(wanted.id, wanted.size_gib, image)
            return
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as name:
            sealed = self._sealer.seal(wanted.id, wanted.size_gib, wanted.key_bits, image, Path(name))
            if sealed is None:
                driver.make(wanted.id, wanted.size_gib, image)
                return
            try:
                driver.make(wanted.id, wanted.size_gib)
                driver.load(wanted.id, sealed)
            except (VolumeFailure, OSError):
                driver.delete("volume", wanted.id)
                raise

    def _move(self, driver: VolumeDriver, wanted: IntentVolume, move: VolumeMove) -> None:
        """Let another back end have the data, too; what it has of an attempt that was cut short is not whole."""
        log.info("volume changed", id=wanted.id, step="move")
        other = self._drivers.driver(move.backend)
        other.delete("volume", wanted.id)
        try:
            with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as name:
                data = Path(name) / "data"
                driver.save(Origin("volume", wanted.id), data, None)
                other.make(wanted.id, wanted.size_gib)
                other.load(wanted.id, data)
            other.share(wanted.id, is_shared=move.is_shared)
        except (VolumeFailure, OSError):
            other.delete("volume", wanted.id)
            raise

    def _give(self, driver: VolumeDriver, wanted: IntentVolume, move_id: str) -> None:
        log.info("volume changed", id=wanted.id, step="give")
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as name:
            data = Path(name) / "data"
            driver.save(Origin("volume", wanted.id), data, None)
            self._parcels.give(move_id, data)

    def _take(self, driver: VolumeDriver, wanted: IntentVolume, move_id: str) -> None:
        """What is here of an attempt that was cut short is not whole."""
        log.info("volume changed", id=wanted.id, step="take")
        try:
            driver.delete("volume", wanted.id)
            try:
                with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as name:
                    data = Path(name) / "data"
                    self._parcels.take(move_id, data)
                    driver.make(wanted.id, wanted.size_gib)
                    driver.load(wanted.id, data)
                driver.share(wanted.id, is_shared=wanted.is_shared)
            except (VolumeFailure, OSError):
                driver.delete("volume", wanted.id)
                raise
        except (BackendAway, TimeoutError):
            raise
        except (VolumeFailure, OSError) as error:
            raise NotTaken(move_id, str(error)) from error

    def _reimage(self, driver: VolumeDriver, wanted: IntentVolume, reimage: VolumeReimage) -> None:
        """Raises: NotReimaged, BackendAway."""
        log.info("volume changed", id=wanted.id, step="reimage")
        try:
            driver.delete("volume", wanted.id)
            self._make(driver, wanted, reimage.image)
        except (BackendAway, TimeoutError):
            raise
        except (VolumeFailure, OSError) as error:
            raise NotReimaged(reimage.id, str(error)) from error

    def _upload(self, driver: VolumeDriver, wanted: IntentVolume, upload: VolumeUpload) -> None:
        log.info("volume changed", id=wanted.id, step="upload")
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as name:
            target = Path(name) / "image"
            driver.read(wanted.id, _FORMATS.get(upload.disk_format, upload.disk_format), target)
            self._deliver(wanted.id, upload.image_id, target)

    def _wait(self, key: Key, driver: VolumeDriver) -> None:
        """Raises: Waiting for what is wanted here too, and is not there yet."""
        kind, object_id = key
        if kind == "volume":
            is_there = driver.size_gib(object_id) is not None
        elif kind == "backup":
            is_there = self._backups.has(object_id)
        else:
            is_there = driver.has_snapshot(object_id)
        if not is_there and self._is_wanted(key):
            raise Waiting(f"waits for {kind.replace('_', ' ')} {object_id}")


def _is_to_be_sealed(wanted: IntentVolume) -> bool:
    """Whether it is made as an encrypted one here, of nothing or an image, and nobody has it yet."""
    is_copy = wanted.snapshot_id is not None or wanted.source_id is not None or wanted.restore is not None
    return wanted.key_bits is not None and not wanted.is_made and not is_copy


def _refuse_lost(driver: VolumeDriver, wanted: IntentVolume | IntentSnapshot, what: str) -> None:
    """Raises: VolumeFailure for what was there once: an empty one in its place would be a lie."""
    if wanted.is_made and driver.is_lasting:
        raise VolumeFailure(f"the data of {what} are not there any more")
