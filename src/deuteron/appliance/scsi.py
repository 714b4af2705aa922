"""The commands of a disk: what a LUN answers to SCSI.

A logical block has 512 bytes. The write cache is told as volatile: what an initiator wants to be sure of it flushes.

Source: SPC-4 and SBC-3 (T10), the commands named at each function.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

import msgspec

from .disks import Disk, DiskGone
from .document import Lun
from .layers import CLUSTER, NoSpace

BLOCK: Final = 512
MOST_BYTES: Final = 8 << 20
"""The longest transfer of one command."""

_VENDOR, _PRODUCT, _REVISION = b"SUN     ", b"ZFS Storage 7000", b"1.0 "


class Sense(Exception):
    """A command failed: key, and additional code with its qualifier."""

    def __init__(self, key: int, code: int, qualifier: int = 0) -> None:
        super().__init__(f"{key:02x}/{code:02x}/{qualifier:02x}")
        self.key, self.code, self.qualifier = key, code, qualifier

    @property
    def data(self) -> bytes:
        """In fixed format, SPC-4 4.5.3."""
        return struct.pack(">BBBIBIBBBBH", 0x70, 0, self.key, 0, 10, 0, self.code, self.qualifier, 0, 0, 0)


def wrong_field() -> Sense:
    return Sense(0x05, 0x24)


def unknown_command() -> Sense:
    return Sense(0x05, 0x20)


def no_unit() -> Sense:
    return Sense(0x05, 0x25)


class Need(msgspec.Struct, frozen=True):
    """How many bytes a command takes from the initiator."""

    length: int


def bytes_wanted(cdb: bytes) -> int:
    """How much data the command brings. Raises: Sense for more than is taken."""
    code = cdb[0]
    if code in (0x2A, 0x8A, 0xAA) or (code in (0x2F, 0x8F) and cdb[1] >> 1 & 3 == 1):
        length = _place(cdb)[1]
    elif code in (0x41, 0x93):
        # NDOB: none comes, and zeros are meant.
        length = 0 if code == 0x93 and cdb[1] & 0x01 else BLOCK
    elif code in (0x42, 0x55, 0x15):
        length = cdb[4] if code == 0x15 else int.from_bytes(cdb[7:9], "big")
    else:
        length = 0
    if length > MOST_BYTES:
        raise wrong_field()
    return length


def execute(cdb: bytes, data: bytes | bytearray, lun: Lun, disk: Disk) -> bytes:
    """What the command answers. Raises: Sense."""
    try:
        return _execute(cdb, data, lun, disk)
    except NoSpace:
        # Data protect, space allocation failed write protect: what QEMU hands to its guest as "no space left".
        raise Sense(0x07, 0x27, 0x07) from None
    except DiskGone:
        raise Sense(0x02, 0x3A) from None
    except OSError as error:
        raise (Sense(0x07, 0x27, 0x07) if error.errno == errno.ENOSPC else Sense(0x03, 0x0C)) from None


def report_luns(cdb: bytes, numbers: list[int]) -> bytes:
    """REPORT LUNS (A0h). Peripheral addressing to 255, flat beyond."""
    entries = b"".join(
        struct.pack(">H6x", number if number < 256 else 0x4000 | number) for number in sorted({0, *numbers})
    )
    return _cut(struct.pack(">I4x", len(entries)) + entries, int.from_bytes(cdb[6:10], "big"))


def inquire_nothing(cdb: bytes) -> bytes:
    """INQUIRY of a number without a LUN: no device can be there."""
    if cdb[1] & 1:
        raise wrong_field()
    return _cut(_standard(0x7F), int.from_bytes(cdb[3:5], "big"))


def _execute(cdb: bytes, data: bytes | bytearray, lun: Lun, disk: Disk) -> bytes:
    code = cdb[0]
    if code in (0x00, 0x1B, 0x1E):  # TEST UNIT READY, START STOP, PREVENT REMOVAL
        return b""
    if code in (0x2F, 0x8F):
        offset, length = _within(cdb, disk)
        if cdb[1] >> 1 & 3 not in (0, 1):
            raise wrong_field()
        if cdb[1] & 2 and disk.read(offset, length) != data:
            raise Sense(0x0E, 0x1D)
        return b""
    if code == 0x03:
        return _cut(Sense(0, 0).data, cdb[4])
    if code == 0x12:
        return _inquiry(cdb, lun)
    if code in (0x1A, 0x5A):
        return _mode_sense(cdb)
    if code == 0x25:
        blocks = disk.size_bytes // BLOCK
        return struct.pack(">II", min(blocks - 1, 0xFFFFFFFF), BLOCK)
    if code == 0x9E and cdb[1] & 0x1F == 0x10:
        # LBPME and LBPRZ: thin, and what is unmapped reads as zeros.
        shown = struct.pack(">QIBBH16x", disk.size_bytes // BLOCK - 1, BLOCK, 0, _exponent(lun), 0xC000)
        return _cut(shown, int.from_bytes(cdb[10:14], "big"))
    if code == 0x9E and cdb[1] & 0x1F == 0x12:
        return _lba_status(cdb, disk)
    if code in (0x28, 0x88, 0xA8):
        return disk.read(*_within(cdb, disk))
    if code in (0x2A, 0x8A, 0xAA):
        offset, length = _within(cdb, disk)
        if len(data) != length:
            raise wrong_field()
        if length:
            disk.write(offset, memoryview(data))
        if cdb[1] & 0x08:
            disk.flush()
        return b""
    if code in (0x35, 0x91):
        disk.flush()
        return b""
    if code in (0x41, 0x93):
        _write_same(cdb, data, disk)
        return b""
    if code == 0x42:
        _unmap(bytes(data), disk)
        return b""
    raise unknown_command()


def _inquiry(cdb: bytes, lun: Lun) -> bytes:
    length = int.from_bytes(cdb[3:5], "big")
    page = cdb[2]
    if not cdb[1] & 1:
        if page:
            raise wrong_field()
        return _cut(_standard(0x00), length)
    if page == 0x00:
        body = bytes((0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2))
    elif page == 0x80:
        body = lun.lunguid.encode()
    elif page == 0x83:
        guid = bytes.fromhex(lun.lunguid)
        body = struct.pack(">BBBB", 0x01, 0x03, 0, len(guid)) + guid
    elif page == 0xB0:
        blocks = MOST_BYTES // BLOCK
        preferred = max(lun.volblocksize, BLOCK) // BLOCK
        body = struct.pack(
            ">BBHIIIIIIIQ20x", 0, 0, preferred, blocks, blocks, 0, 1 << 22, 256, CLUSTER // BLOCK, 0, 1 << 22
        )
    elif page == 0xB1:
        body = struct.pack(">H58x", 1)  # a medium that does not rotate
    elif page == 0xB2:
        body = bytes((0, 0xE4, 0x02 if lun.sparse else 0x01, 0))  # UNMAP, WRITE SAME (16) and (10), zeros
    else:
        raise wrong_field()
    return _cut(struct.pack(">BBH", 0, page, len(body)) + body, length)


def _standard(peripheral: int) -> bytes:
    tail = _VENDOR + _PRODUCT + _REVISION
    return struct.pack(">BBBBBBBB", peripheral, 0, 0x06, 0x02, len(tail) + 3, 0, 0, 0x02) + tail


def _mode_sense(cdb: bytes) -> bytes:
    """MODE SENSE (6) and (10): caching and control, without block descriptors."""
    caching = bytes((0x08, 18, 0x04)) + bytes(17)
    control = bytes((0x0A, 10, 0x02)) + bytes(9)
    pages = {0x08: caching, 0x0A: control, 0x3F: caching + control}
    body = pages.get(cdb[2] & 0x3F)
    if body is None:
        raise wrong_field()
    if cdb[2] >> 6 == 1:  # which of it can be changed: nothing
        body = b"".join(
            page[:2] + bytes(len(page) - 2) for page in ((caching, control) if cdb[2] & 0x3F == 0x3F else (body,))
        )
    if cdb[0] == 0x1A:
        return _cut(bytes((len(body) + 3, 0, 0x10, 0)) + body, cdb[4])
    return _cut(struct.pack(">HBBHH", len(body) + 6, 0, 0x10, 0, 0) + body, int.from_bytes(cdb[7:9], "big"))


def _lba_status(cdb: bytes, disk: Disk) -> bytes:
    """GET LBA STATUS (9Eh/12h): one descriptor, of as much from the block on as is alike."""
    offset, _ = _checked(int.from_bytes(cdb[2:10], "big"), 1, disk)
    is_here, length = disk.extent(offset)
    shown = struct.pack(">I4xQIB3x", 20, offset // BLOCK, min(length // BLOCK, 0xFFFFFFFF), 0 if is_here else 1)
    return _cut(shown, int.from_bytes(cdb[10:14], "big"))


def _write_same(cdb: bytes, data: bytes | bytearray, disk: Disk) -> None:
    is_long = cdb[0] == 0x93
    start = int.from_bytes(cdb[2:10] if is_long else cdb[2:6], "big")
    count = int.from_bytes(cdb[10:14] if is_long else cdb[7:9], "big")
    if count > 1 << 22:
        raise wrong_field()
    count = count or disk.size_bytes // BLOCK - start
    offset, length = _checked(start, count, disk)
    if not any(data):
        disk.discard(offset, length)
        return
    for at in range(offset, offset + length, 1 << 20):
        disk.write(at, bytes(data) * (min(1 << 20, offset + length - at) // BLOCK))


def _unmap(data: bytes, disk: Disk) -> None:
    if len(data) < 8:
        return
    told = min(int.from_bytes(data[2:4], "big"), len(data) - 8)
    places = [struct.unpack_from(">QI", data, 8 + at) for at in range(0, told - told % 16, 16)]
    if len(places) > 256 or sum(count for _, count in places) > 1 << 22:
        raise wrong_field()
    for start, count in places:
        if count:
            disk.discard(*_checked(start, count, disk))


def _place(cdb: bytes) -> tuple[int, int]:
    """Offset and length of READ and WRITE, in bytes."""
    if cdb[0] in (0x88, 0x8A):
        start, count = struct.unpack_from(">QI", cdb, 2)
    elif cdb[0] in (0xA8, 0xAA):
        start, count = struct.unpack_from(">II", cdb, 2)
    else:
        start, count = struct.unpack_from(">IxH", cdb, 2)
    return start * BLOCK, count * BLOCK


def _within(cdb: bytes, disk: Disk) -> tuple[int, int]:
    offset, length = _place(cdb)
    if length > MOST_BYTES or cdb[1] & 0xE0:
        raise wrong_field()
    return _checked(offset // BLOCK, length // BLOCK, disk)


def _checked(start: int, count: int, disk: Disk) -> tuple[int, int]:
    if start + count > disk.size_bytes // BLOCK or count < 0:
        raise Sense(0x05, 0x21)
    return start * BLOCK, count * BLOCK


def _exponent(lun: Lun) -> int:
    """Logical blocks in a physical one, as a power of two."""
    return max(0, min(lun.volblocksize, 1 << 15).bit_length() - BLOCK.bit_length())


def _cut(shown: bytes, length: int) -> bytes:
    return shown[:length]
