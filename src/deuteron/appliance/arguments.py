"""Bodies of requests: each key is known and of its kind, or the request is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from .faults import Fault

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_SIZE: Final = re.compile(r"([0-9]{1,15})(?:\.0*)?([kmgtp]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}

BLOCK_SIZES: Final = tuple(1 << power for power in range(9, 21))
COMPRESSIONS: Final = ("off", "lzjb", "lz4", "gzip-2", "gzip", "gzip-9")
LOG_BIASES: Final = ("latency", "throughput")

Body = Mapping[str, object]


def refuse_unknown(body: Body, known: Collection[str]) -> None:
    for key in body:
        if key not in known and not key.startswith("custom:"):
            raise Fault("ERR_UNKNOWN_ARG", f'unknown argument "{key}"')


def text(body: Body, key: str, default: str | None = None) -> str:
    value = body.get(key, default)
    if value is None:
        raise Fault("ERR_MISSING_ARG", f'missing argument "{key}"')
    if not isinstance(value, str) or len(value) > 1024:
        raise Fault("ERR_INVALID_ARG", f'"{key}" takes a string')
    return value


def name(body: Body, key: str) -> str:
    value = text(body, key)
    if not _NAME.fullmatch(value):
        raise Fault("ERR_INVALID_ARG", f'"{value}" is no name: letters, digits, "_", "-", "." and ":"')
    return value


def one_of(body: Body, key: str, words: Collection[str], default: str) -> str:
    value = text(body, key, default)
    if value not in words:
        raise Fault("ERR_INVALID_ARG", f'"{key}" is one of {", ".join(words)}, and not "{value}"')
    return value


def truth(body: Body, key: str, default: bool) -> bool:
    value = body.get(key, default)
    if not isinstance(value, bool):
        raise Fault("ERR_INVALID_ARG", f'"{key}" takes true or false')
    return value


def words(body: Body, key: str) -> list[str]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Fault("ERR_INVALID_ARG", f'"{key}" takes a list of strings')
    return list(dict.fromkeys(value))


def size(body: Body, key: str, default: int | None = None) -> int:
    """Bytes, from a number or from words as `2g`."""
    value = body.get(key, default)
    if value is None:
        raise Fault("ERR_MISSING_ARG", f'missing argument "{key}"')
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 60:
        return int(value)
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Fault("ERR_INVALID_ARG", f'"{key}" takes a size, as 2g')
    return int(found[1]) * _UNITS[found[2].lower()]


def block_size(body: Body) -> int:
    value = size(body, "volblocksize", 8192)
    if value not in BLOCK_SIZES:
        raise Fault("ERR_INVALID_ARG", f'"volblocksize" is a power of two from 512 to 1m, and not {value}')
    return value
