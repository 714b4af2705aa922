"""A connection to a cluster's pool: its objects, and what the monitors tell.

One connection serves all threads. The library connects again by itself; a connection that the cluster shut out (its
lock of an image was broken while it seemed dead) is replaced by a new one.

Invariant: nothing is waited for longer than `rados_connect_timeout`, each answer by itself.
"""

from __future__ import annotations

import contextlib
import errno
import json
import threading
import weakref
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_size_t, c_void_p, create_string_buffer, string_at
from typing import Any, Final, NamedTuple

from deuteron.volume.contract import BackendAway, VolumeFailure
from deuteron.volume.rbd.library import CephAway, CephError, Library
from deuteron.volume.rbd.options import RbdOptions

_MOST_BYTES: Final = 64 << 10
_CREATE_EXCLUSIVE: Final = 1


class Changed(CephError):
    """An object is not any more what it was when it was read."""


class _Handles(NamedTuple):
    """A connection, as the library wants it."""

    rados: c_void_p
    pool: c_void_p
    objects: c_void_p


class Cluster:
    """Functions raise CephError and CephAway, beside what they say."""

    def __init__(self, library: Library, options: RbdOptions) -> None:
        """Raises: VolumeFailure."""
        self.library = library
        self._options = options
        self._lock = threading.Lock()
        """Of the connection."""
        self._objects = threading.Lock()
        """The version that was read last is known by handle: objects have one, and are asked for one at a time."""
        self._at = self._connected()

    @contextlib.contextmanager
    def pool(self) -> Iterator[c_void_p]:
        """The pool, as the library wants it."""
        at = self._at
        with self._renewing(at):
            yield at.pool

    def told(self, **command: Any) -> Any:
        """What the monitors answer."""
        ask = json.dumps(command | {"format": "json"}).encode()
        answer, words = c_void_p(), c_void_p()
        answer_bytes, words_bytes = c_size_t(), c_size_t()
        try:
            self.library.ask(
                "rados_mon_command",
                *(self._at.rados, (c_char_p * 1)(ask), 1, b"", 0),
                *(byref(answer), byref(answer_bytes), byref(words), byref(words_bytes)),
            )
            return json.loads(string_at(answer, answer_bytes.value)) if answer_bytes.value else None
        finally:
            for each in (answer, words):
                if each.value:
                    self.library.call("rados_buffer_free", each)

    # --- objects ------------------------------------------------------------------------------------------------------

    def read(self, name: str) -> tuple[bytes, int] | None:
        """What a small object holds, and its version; None for one that is not there."""
        buffer = create_string_buffer(_MOST_BYTES)
        at = self._at
        with self._renewing(at), self._objects:
            try:
                length = self.library.ask("rados_read", at.objects, name.encode(), buffer, _MOST_BYTES, 0)
            except CephError as error:
                if error.number == errno.ENOENT:
                    return None
                raise
            return buffer.raw[:length], int(self.library.call("rados_get_last_version", at.objects))

    def write(self, name: str, data: bytes, version: int | None) -> None:
        """Let the object hold this, if it is of this version still; None: if there is none. Raises: Changed."""
        with self._writing(name) as operation:
            if version is None:
                self.library.call("rados_write_op_create", operation, _CREATE_EXCLUSIVE, None)
            else:
                self.library.call("rados_write_op_assert_version", operation, version)
            self.library.call("rados_write_op_write_full", operation, data, len(data))

    def remove(self, name: str, version: int) -> None:
        """Remove the object, if it is of this version still. Raises: Changed."""
        with self._writing(name) as operation:
            self.library.call("rados_write_op_assert_version", operation, version)
            self.library.call("rados_write_op_remove", operation)

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        operation, at = self.library.call("rados_create_write_op"), self._at
        try:
            yield operation
            with self._renewing(at), self._objects:
                self.library.ask("rados_write_op_operate", operation, at.objects, name.encode(), None, 0)
        except CephError as error:
            if error.number in (errno.EEXIST, errno.ENOENT, errno.ERANGE, errno.EOVERFLOW):
                raise Changed(f"object {name} was changed by somebody else meanwhile", error.number) from error
            raise
        finally:
            self.library.call("rados_release_write_op", operation)

    # --- the connection -----------------------------------------------------------------------------------------------

    def _connected(self) -> _Handles:
        options, library = self._options, self.library
        rados, pool, objects = c_void_p(), c_void_p(), c_void_p()
        library.ask("rados_create", byref(rados), options.rbd_user.encode())
        try:
            self._connect(rados)
            for each in (pool, objects):
                library.ask("rados_ioctx_create", rados, options.rbd_pool.encode(), byref(each))
        except BaseException as error:
            library.call("rados_shutdown", rados)
            if isinstance(error, CephError):
                words = f'the cluster has no pool "{options.rbd_pool}" (rbd_pool): make it there, or name another'
                raise VolumeFailure(words) from error
            raise
        # Not when the process ends: a thread may be asking still, and to shut down below it aborts.
        weakref.finalize(self, library.call, "rados_shutdown", rados).atexit = False
        return _Handles(rados, pool, objects)

    def _connect(self, rados: c_void_p) -> None:
        """Raises: VolumeFailure that is no CephError."""
        options, library = self._options, self.library
        try:
            library.ask("rados_conf_read_file", rados, options.rbd_ceph_conf.encode())
        except CephError as error:
            raise VolumeFailure(f"cannot read {options.rbd_ceph_conf} (rbd_ceph_conf): {error}") from error
        times = ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout")
        most_s = options.rados_connect_timeout
        settings = dict.fromkeys(times, str(most_s))
        # A client asks where an OSD is now only for what waits longer than this: with the library's own 10 s, one whose
        # calls end sooner would never find an OSD that started again.
        settings |= {
            "objecter_timeout": f"{min(10, most_s / 4):g}",
            "objecter_tick_interval": f"{min(5, most_s / 4):g}",
            "mon_client_ping_interval": f"{min(10, most_s):g}",
        }
        # What the library has to say goes to the log that ceph.conf names, not among the agent's own words.
        settings |= {"log_to_stderr": "false", "err_to_stderr": "false"}
        if options.rbd_key:
            settings["key"] = options.rbd_key
        for key, value in settings.items():
            library.ask("rados_conf_set", rados, key.encode(), value.encode())
        try:
            library.ask("rados_connect", rados)
        except CephAway as error:
            words = f"no monitor of {options.rbd_ceph_conf} answered in {options.rados_connect_timeout} s"
            raise BackendAway(words) from error
        except CephError as error:
            raise VolumeFailure(f"{_why(error, options)}: {error}") from error

    @contextlib.contextmanager
    def _renewing(self, at: _Handles) -> Iterator[None]:
        """Replace a connection that was shut out; other threads may be asking by the old one, which stays."""
        try:
            yield
        except CephAway as away:
            if away.number == errno.ESHUTDOWN:
                with self._lock, contextlib.suppress(VolumeFailure):
                    if self._at is at:
                        self._at = self._connected()
            raise


def _why(error: CephError, options: RbdOptions) -> str:
    if error.number == errno.ENOENT:
        where = "rbd_key" if options.rbd_key else options.rbd_ceph_conf
        return f'there is no key of user "client.{options.rbd_user}" by {where}'
    if error.number in (errno.EACCES, errno.EPERM):
        return f'the cluster does not let user "client.{options.rbd_user}" in'
    return f'cannot connect to the cluster of {options.rbd_ceph_conf} as "client.{options.rbd_user}"'
