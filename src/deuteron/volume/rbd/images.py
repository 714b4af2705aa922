"""The images of a pool by their names, their snapshots and what they were cloned of. All is looked up each time.

A name of an image is an object (`rbd_id.NAME`, which holds the image's id) and a line of the pool's directory. A client
that dies while it makes, renames or removes an image leaves one without the other; the directory is right (`id_of`).

Source: ceph/ceph src/librbd/image/CreateRequest.cc, RemoveRequest.cc and src/librbd/operation/RenameRequest.cc.
"""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Iterator
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p, create_string_buffer
from typing import Final

import msgspec

from deuteron.volume.rbd.cluster import Cluster
from deuteron.volume.rbd.library import (
    FEATURE_EXCLUSIVE_LOCK,
    FEATURES_OF_ONE_WRITER,
    OPTION_CLONE_FORMAT,
    OPTION_ORDER,
    CephError,
    ImageSpec,
    LinkedImageSpec,
    SnapInfo,
    SnapSpec,
    Watcher,
)

_NAME_BYTES: Final = 4096


class Parent(msgspec.Struct, frozen=True):
    """What an image was cloned of: `pool` is another than ours only if somebody else made the clone."""

    pool: str
    image_id: str
    snapshot: str


class Snap(msgspec.Struct, frozen=True):
    name: str
    size_bytes: int


class Image:
    """An image that is open. Functions raise CephError and CephAway."""

    def __init__(self, cluster: Cluster, at: c_void_p) -> None:
        self._library = cluster.library
        self._at = at

    @property
    def size_bytes(self) -> int:
        size = c_uint64()
        self._library.ask("rbd_get_size", self._at, byref(size))
        return size.value

    @property
    def id(self) -> str:
        buffer = create_string_buffer(_NAME_BYTES)
        self._library.ask("rbd_get_id", self._at, buffer, _NAME_BYTES)
        return buffer.value.decode()

    @property
    def name(self) -> str:
        """As the directory has it, of an image that was opened by its id."""
        buffer, length = create_string_buffer(_NAME_BYTES), c_size_t(_NAME_BYTES)
        self._library.ask("rbd_get_name", self._at, buffer, byref(length))
        return buffer.value.decode()

    @property
    def parent(self) -> Parent | None:
        image, snapshot = LinkedImageSpec(), SnapSpec()
        try:
            self._library.ask("rbd_get_parent", self._at, byref(image), byref(snapshot))
        except CephError as error:
            if error.number == errno.ENOENT:
                return None
            raise
        try:
            return Parent(image.pool_name.decode(), image.image_id.decode(), snapshot.name.decode())
        finally:
            self._library.call("rbd_linked_image_spec_cleanup", byref(image))
            self._library.call("rbd_snap_spec_cleanup", byref(snapshot))

    @property
    def watchers(self) -> list[str]:
        """The addresses of the clients that have it open for writing: not this one, which reads."""
        room = c_size_t(64)
        while True:
            found = (Watcher * room.value)()
            try:
                self._library.ask("rbd_watchers_list", self._at, found, byref(room))
            except CephError as error:
                if error.number == errno.ERANGE:
                    continue
                raise
            told = [each.addr.decode() for each in found[: room.value]]
            self._library.call("rbd_watchers_list_cleanup", found, room)
            return told

    @property
    def is_for_one(self) -> bool:
        """Whether the cluster lets one client at a time write."""
        return bool(self._features & FEATURE_EXCLUSIVE_LOCK)

    def let_write(self, *, several: bool) -> None:
        """Let several clients write at once, or one at a time, which takes the lock from the other."""
        if not several:
            self._library.ask("rbd_update_features", self._at, FEATURE_EXCLUSIVE_LOCK, 1)
            return
        for features in FEATURES_OF_ONE_WRITER:
            present = features & self._features
            if present:
                self._library.ask("rbd_update_features", self._at, present, 0)

    def resize(self, size_bytes: int) -> None:
        self._library.ask("rbd_resize", self._at, size_bytes)

    def flatten(self) -> None:
        """Let it have all data itself; one that has is left alone."""
        if self.parent is not None:
            self._library.ask("rbd_flatten", self._at)

    def snapshots(self) -> list[Snap]:
        room = c_int(64)
        while True:
            found = (SnapInfo * room.value)()
            try:
                count = self._library.ask("rbd_snap_list", self._at, found, byref(room))
            except CephError as error:
                if error.number == errno.ERANGE:
                    continue
                raise
            told = [Snap(each.name.decode(), each.size) for each in found[:count]]
            if count:
                self._library.call("rbd_snap_list_end", found)
            return told

    def has(self, snapshot: str) -> bool:
        return any(each.name == snapshot for each in self.snapshots())

    def keep(self, snapshot: str) -> None:
        """A snapshot of what it holds now."""
        self._library.ask("rbd_snap_create", self._at, snapshot.encode())

    def rename_snapshot(self, snapshot: str, new: str) -> None:
        self._library.ask("rbd_snap_rename", self._at, snapshot.encode(), new.encode())

    def protect(self, snapshot: str) -> None:
        """Let it be cloned of, and not removed; one that is protected is left alone."""
        if not self._is_protected(snapshot):
            with _suppressing(errno.EBUSY):
                self._library.ask("rbd_snap_protect", self._at, snapshot.encode())

    def drop(self, snapshot: str) -> bool:
        """Remove a snapshot; False where something was cloned of it. One that is not there is no error."""
        try:
            if self._is_protected(snapshot):
                self._library.ask("rbd_snap_unprotect", self._at, snapshot.encode())
            self._library.ask("rbd_snap_remove", self._at, snapshot.encode())
        except CephError as error:
            if error.number not in (errno.ENOENT, errno.EBUSY):
                raise
            return error.number == errno.ENOENT
        return True

    def _is_protected(self, snapshot: str) -> bool:
        told = c_int()
        self._library.ask("rbd_snap_is_protected", self._at, snapshot.encode(), byref(told))
        return bool(told.value)

    @property
    def _features(self) -> int:
        features = c_uint64()
        self._library.ask("rbd_get_features", self._at, byref(features))
        return features.value


class Images:
    """Functions raise CephError and CephAway, beside what they say."""

    def __init__(self, cluster: Cluster, order: int) -> None:
        self._cluster = cluster
        self._library = cluster.library
        self._order = order

    @contextlib.contextmanager
    def opened(self, name: str, *, writing: bool = False) -> Iterator[Image]:
        with self._opened("rbd_open" if writing else "rbd_open_read_only", name) as image:
            yield image

    @contextlib.contextmanager
    def opened_by_id(self, image_id: str, *, writing: bool = False) -> Iterator[Image]:
        with self._opened("rbd_open_by_id" if writing else "rbd_open_by_id_read_only", image_id) as image:
            yield image

    def size_bytes(self, name: str) -> int | None:
        """None for an image that is not there."""
        try:
            with self.opened(name) as image:
                return image.size_bytes
        except CephError as error:
            if error.number == errno.ENOENT:
                return None
            raise

    def id_of(self, name: str) -> str | None:
        """Which image is called so; None for none. What a client that died left of a name is taken away."""
        found = self._cluster.read(f"rbd_id.{name}")
        if found is None:
            return None
        image_id = _text(found[0])
        try:
            with self.opened_by_id(image_id) as image:
                if image.name == name:
                    return image_id
        except CephError as error:
            if error.number != errno.ENOENT:
                raise
            # It has a line in the directory and nothing else, or not even that: both is what removing takes away.
            with _suppressing(errno.ENOENT):
                self._ask("rbd_remove", name.encode())
        with _suppressing(errno.ENOENT):
            self._ask("rados_remove", f"rbd_id.{name}".encode())
        return None

    def names(self) -> list[str]:
        with self._cluster.pool() as pool:
            room = c_size_t(1024)
            while True:
                found = (ImageSpec * room.value)()
                try:
                    self._library.ask("rbd_list2", pool, found, byref(room))
                except CephError as error:
                    if error.number == errno.ERANGE:
                        continue
                    raise
                told = [each.name.decode() for each in found[: room.value]]
                self._library.call("rbd_image_spec_list_cleanup", found, room.value)
                return told

    def create(self, name: str, size_bytes: int) -> None:
        """A new image; one of that name is left alone."""
        for is_last in (False, True):
            try:
                with self._options() as options:
                    self._ask("rbd_create4", name.encode(), size_bytes, options)
                return
            except CephError as error:
                if error.number != errno.EEXIST or is_last or self.id_of(name) is not None:
                    if error.number == errno.EEXIST:
                        return
                    raise

    def clone(self, parent: str, snapshot: str, name: str) -> None:
        """An image that stands on a protected snapshot; one of that name is an error."""
        self.id_of(name)
        with self._options() as options, self._cluster.pool() as pool:
            self._library.ask("rbd_image_options_set_uint64", options, OPTION_CLONE_FORMAT, 1)
            self._library.ask("rbd_clone3", pool, parent.encode(), snapshot.encode(), pool, name.encode(), options)

    def rename(self, name: str, new: str) -> None:
        try:
            self._ask("rbd_rename", name.encode(), new.encode())
        except CephError as error:
            if error.number != errno.EEXIST or self.id_of(new) is not None:
                raise
            self._ask("rbd_rename", name.encode(), new.encode())

    def remove(self, name: str) -> None:
        """Remove an image that has no snapshots; one that is not there is no error."""
        with _suppressing(errno.ENOENT):
            self._ask("rbd_remove", name.encode())

    @contextlib.contextmanager
    def _opened(self, function: str, which: str) -> Iterator[Image]:
        at = c_void_p()
        with self._cluster.pool() as pool:
            self._library.ask(function, pool, which.encode(), byref(at), None)
            try:
                yield Image(self._cluster, at)
            finally:
                self._library.ask("rbd_close", at)

    @contextlib.contextmanager
    def _options(self) -> Iterator[c_void_p]:
        options = c_void_p()
        self._library.call("rbd_image_options_create", byref(options))
        try:
            self._library.ask("rbd_image_options_set_uint64", options, OPTION_ORDER, self._order)
            yield options
        finally:
            self._library.call("rbd_image_options_destroy", options)

    def _ask(self, function: str, *arguments: object) -> None:
        with self._cluster.pool() as pool:
            self._library.ask(function, pool, *arguments)


@contextlib.contextmanager
def _suppressing(number: int) -> Iterator[None]:
    try:
        yield
    except CephError as error:
        if error.number != number:
            raise


def _text(data: bytes) -> str:
    """A string as Ceph writes it: its length in four bytes, then itself."""
    (length,) = struct.unpack_from("<I", data)
    return data[4 : 4 + length].decode()
