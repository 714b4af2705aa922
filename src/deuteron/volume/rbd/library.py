"""Ceph's own libraries, librados and librbd, by their C interface.

They are what QEMU reaches Ceph with (Debian's qemu-block-extra brings them), so a host whose guests may have an image
has them, whatever Python runs the agent: the distribution's modules `rados` and `rbd` are built for its own Python
alone (decision 0026). A call lets other threads run, and ends by the times that `Cluster` sets.

Source: ceph/ceph src/include/rados/librados.h and src/include/rbd/librbd.h, of 16.2 and later.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any, Final

from deuteron.volume.contract import BackendAway, VolumeFailure

HINT: Final = "install the package qemu-block-extra, which brings librados2 and librbd1"

FEATURE_EXCLUSIVE_LOCK: Final = 1 << 2
FEATURES_OF_ONE_WRITER: Final = (1 << 6 | 1 << 4, 1 << 3, FEATURE_EXCLUSIVE_LOCK)
"""Journaling and fast-diff, object-map, exclusive-lock: in the order in which they can be taken from an image."""
OPTION_ORDER: Final = 2
OPTION_CLONE_FORMAT: Final = 12

_AWAY: Final = (errno.ETIMEDOUT, errno.ESHUTDOWN, errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH)


class CephError(VolumeFailure):
    """A call failed; `number` is its errno."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class CephAway(BackendAway):
    """The cluster did not answer in time, or does not hear this client any more."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class SnapInfo(ctypes.Structure):
    """rbd_snap_info_t"""

    _fields_ = (("id", c_uint64), ("size", c_uint64), ("name", c_char_p))


class ImageSpec(ctypes.Structure):
    """rbd_image_spec_t"""

    _fields_ = (("id", c_char_p), ("name", c_char_p))


class LinkedImageSpec(ctypes.Structure):
    """rbd_linked_image_spec_t"""

    _fields_ = (
        ("pool_id", c_int64),
        ("pool_name", c_char_p),
        ("pool_namespace", c_char_p),
        ("image_id", c_char_p),
        ("image_name", c_char_p),
        ("trash", ctypes.c_bool),
    )


class SnapSpec(ctypes.Structure):
    """rbd_snap_spec_t"""

    _fields_ = (("id", c_uint64), ("namespace_type", c_int), ("name", c_char_p))


class Watcher(ctypes.Structure):
    """rbd_image_watcher_t"""

    _fields_ = (("addr", c_char_p), ("id", c_int64), ("cookie", c_uint64))


_ADDRESS: Final = POINTER(c_void_p)
_RADOS: Final[dict[str, tuple[Any, ...]]] = {
    "rados_create": (_ADDRESS, c_char_p),
    "rados_conf_read_file": (c_void_p, c_char_p),
    "rados_conf_set": (c_void_p, c_char_p, c_char_p),
    "rados_connect": (c_void_p,),
    "rados_ioctx_create": (c_void_p, c_char_p, _ADDRESS),
    "rados_read": (c_void_p, c_char_p, c_void_p, c_size_t, c_uint64),
    "rados_remove": (c_void_p, c_char_p),
    "rados_write_op_operate": (c_void_p, c_void_p, c_char_p, c_void_p, c_int),
    "rados_mon_command": (
        *(c_void_p, POINTER(c_char_p), c_size_t, c_char_p, c_size_t),
        *(_ADDRESS, POINTER(c_size_t), _ADDRESS, POINTER(c_size_t)),
    ),
}
"""Those that answer 0 or more, or an errno below 0."""
_RADOS_OTHERS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "rados_shutdown": (None, (c_void_p,)),
    "rados_buffer_free": (None, (c_void_p,)),
    "rados_get_last_version": (c_uint64, (c_void_p,)),
    "rados_create_write_op": (c_void_p, ()),
    "rados_release_write_op": (None, (c_void_p,)),
    "rados_write_op_assert_version": (None, (c_void_p, c_uint64)),
    "rados_write_op_create": (None, (c_void_p, c_int, c_char_p)),
    "rados_write_op_write_full": (None, (c_void_p, c_char_p, c_size_t)),
    "rados_write_op_remove": (None, (c_void_p,)),
}
_RBD: Final[dict[str, tuple[Any, ...]]] = {
    "rbd_create4": (c_void_p, c_char_p, c_uint64, c_void_p),
    "rbd_clone3": (c_void_p, c_char_p, c_char_p, c_void_p, c_char_p, c_void_p),
    "rbd_remove": (c_void_p, c_char_p),
    "rbd_rename": (c_void_p, c_char_p, c_char_p),
    "rbd_list2": (c_void_p, POINTER(ImageSpec), POINTER(c_size_t)),
    "rbd_open": (c_void_p, c_char_p, _ADDRESS, c_char_p),
    "rbd_open_read_only": (c_void_p, c_char_p, _ADDRESS, c_char_p),
    "rbd_open_by_id": (c_void_p, c_char_p, _ADDRESS, c_char_p),
    "rbd_open_by_id_read_only": (c_void_p, c_char_p, _ADDRESS, c_char_p),
    "rbd_close": (c_void_p,),
    "rbd_get_size": (c_void_p, POINTER(c_uint64)),
    "rbd_get_features": (c_void_p, POINTER(c_uint64)),
    "rbd_get_id": (c_void_p, c_char_p, c_size_t),
    "rbd_get_name": (c_void_p, c_char_p, POINTER(c_size_t)),
    "rbd_get_parent": (c_void_p, POINTER(LinkedImageSpec), POINTER(SnapSpec)),
    "rbd_update_features": (c_void_p, c_uint64, ctypes.c_uint8),
    "rbd_resize": (c_void_p, c_uint64),
    "rbd_flatten": (c_void_p,),
    "rbd_snap_list": (c_void_p, POINTER(SnapInfo), POINTER(c_int)),
    "rbd_snap_create": (c_void_p, c_char_p),
    "rbd_snap_remove": (c_void_p, c_char_p),
    "rbd_snap_rename": (c_void_p, c_char_p, c_char_p),
    "rbd_snap_protect": (c_void_p, c_char_p),
    "rbd_snap_unprotect": (c_void_p, c_char_p),
    "rbd_snap_is_protected": (c_void_p, c_char_p, POINTER(c_int)),
    "rbd_watchers_list": (c_void_p, POINTER(Watcher), POINTER(c_size_t)),
    "rbd_image_options_set_uint64": (c_void_p, c_int, c_uint64),
}
_RBD_OTHERS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "rbd_image_options_create": (None, (_ADDRESS,)),
    "rbd_image_options_destroy": (None, (c_void_p,)),
    "rbd_snap_list_end": (None, (POINTER(SnapInfo),)),
    "rbd_image_spec_list_cleanup": (None, (POINTER(ImageSpec), c_size_t)),
    "rbd_linked_image_spec_cleanup": (None, (POINTER(LinkedImageSpec),)),
    "rbd_snap_spec_cleanup": (None, (POINTER(SnapSpec),)),
    "rbd_watchers_list_cleanup": (None, (POINTER(Watcher), c_size_t)),
}


class Library:
    """Both libraries."""

    def __init__(self, rados: str = "librados.so.2", rbd: str = "librbd.so.1") -> None:
        """Raises: VolumeFailure where they are missing, or too old."""
        self._functions: dict[str, Any] = {}
        for file, checked, others in (
            (rados, _RADOS, _RADOS_OTHERS),
            (rbd, _RBD, _RBD_OTHERS),
        ):
            try:
                found = ctypes.CDLL(file)
                for name, arguments in checked.items():
                    self._functions[name] = _declared(found, name, c_int, arguments)
                for name, (result, arguments) in others.items():
                    self._functions[name] = _declared(found, name, result, arguments)
            except OSError as error:
                raise VolumeFailure(f"this host has no {file}: {HINT}") from error
            except AttributeError as error:
                raise VolumeFailure(f"{file} of this host is too old: {error}") from error

    def ask(self, name: str, *arguments: Any) -> int:
        """Call what answers 0 or more, or an errno. Raises: CephError; CephAway."""
        number = int(self._functions[name](*arguments))
        if number < 0:
            words = os.strerror(-number).lower()
            if -number in _AWAY:
                raise CephAway(f"the cluster does not answer {name}: {words}", -number)
            raise CephError(f"{name} answered {words}", -number)
        return number

    def call(self, name: str, *arguments: Any) -> Any:
        """Call what cannot fail."""
        return self._functions[name](*arguments)


def _declared(library: ctypes.CDLL, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function
