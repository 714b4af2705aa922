"""The header of an encrypted disk: LUKS, version 1, which QEMU and cryptsetup read.

    0        what the disk is encrypted with, and eight slots for secrets that open it, of which the first is used
    4096     its disk key, encrypted with the secret and spread over 4,000 stripes
    2 MiB    the data

It is written here and not by `qemu-img`, which measures for seconds how often it may hash a password, and fails on a
busy machine. What opens our disks is no password but as random as their keys: the least that LUKS allows is enough.

Source: LUKS On-Disk Format Specification 1.2.3.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from deuteron.model.luks import HEADER_BYTES

_SECTOR: Final = 512
_HEAD: Final = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT: Final = struct.Struct(">II32sII")
_MAGIC: Final = b"LUKS\xba\xbe"
_ENABLED, _DISABLED = 0x00AC71F3, 0x0000DEAD
_SLOTS: Final = 8
_STRIPES: Final = 4000
_FIRST_SLOT: Final = 8
"""Where the stripes of the first slot begin, in sectors; each other one begins at a multiple of it."""
_ITERATIONS: Final = 1000
_DIGEST_BYTES: Final = 20
_HASH: Final = "sha256"


def header(secret: bytes, key_bits: int, disk_id: str, random: Callable[[int], bytes]) -> bytes:
    """The first bytes of a disk that this secret opens, with a key of AES in XTS of so many bits in both halves.

    `random` gives so many random bytes; `disk_id` is a UUID.
    """
    size = key_bits // 8
    key = random(size)
    salt, digest_salt = random(32), random(32)
    opener = hashlib.pbkdf2_hmac(_HASH, secret, salt, _ITERATIONS, size)
    stripes = _encrypted(opener, _split(key, random))
    digest = hashlib.pbkdf2_hmac(_HASH, key, digest_salt, _ITERATIONS, _DIGEST_BYTES)
    sectors = -(-size * _STRIPES // _SECTOR)
    step = -(-sectors // _FIRST_SLOT) * _FIRST_SLOT
    said = _HEAD.pack(
        _MAGIC, 1, b"aes", b"xts-plain64", _HASH.encode(), HEADER_BYTES // _SECTOR, size, digest, digest_salt,
        _ITERATIONS, disk_id.encode(),
    )  # fmt: skip
    slots = [_SLOT.pack(_ENABLED, _ITERATIONS, salt, _FIRST_SLOT, _STRIPES)]
    slots += [_SLOT.pack(_DISABLED, 0, bytes(32), _FIRST_SLOT + n * step, _STRIPES) for n in range(1, _SLOTS)]
    head = (said + b"".join(slots)).ljust(_FIRST_SLOT * _SECTOR, b"\0")
    return (head + stripes).ljust(HEADER_BYTES, b"\0")


def _split(key: bytes, random: Callable[[int], bytes]) -> bytes:
    """Spread so that without any one stripe nothing is known of the key."""
    stripes, mixed = [], bytes(len(key))
    for _ in range(_STRIPES - 1):
        stripe = random(len(key))
        stripes.append(stripe)
        mixed = _diffused(_xor(mixed, stripe))
    return b"".join([*stripes, _xor(mixed, key)])


def _diffused(block: bytes) -> bytes:
    size = hashlib.new(_HASH).digest_size
    pieces = (block[at : at + size] for at in range(0, len(block), size))
    hashed = (hashlib.new(_HASH, struct.pack(">I", n) + piece).digest()[: len(piece)] for n, piece in enumerate(pieces))
    return b"".join(hashed)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(len(one))


def _encrypted(key: bytes, data: bytes) -> bytes:
    """Sector by sector, counted from the first of the data."""
    out = []
    for n in range(0, len(data), _SECTOR):
        sector = data[n : n + _SECTOR].ljust(_SECTOR, b"\0")
        tweak = struct.pack("<QQ", n // _SECTOR, 0)
        out.append(Cipher(AES(key), XTS(tweak)).encryptor().update(sector))
    return b"".join(out)
