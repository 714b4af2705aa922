"""Passwords and secrets, kept as salted scrypt hashes.

The stored text carries its parameters, so that they can grow without touching stored hashes:

    scrypt$<log2 n>$<r>$<p>$<salt, base64>$<hash, base64>

One hash takes some 40 ms and 16 MiB by design. It never runs in the writer's thread, and only a few run at a
time: a storm of logins must not take the cores and the memory of everything else.
Source: RFC 7914; OWASP password storage (n=2^14, r=8, p=5 or n=2^17, p=1 are its stronger settings).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

_LOG_N, _R, _P = 14, 8, 1
_MAX_LOG_N = 20
_MAX_MEMORY_BYTES = 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """The text to store for `password`, with a fresh salt."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _LOG_N, _R, _P)
    return f"scrypt${_LOG_N}${_R}${_P}${_text(salt)}${_text(digest)}"


def verify_password(password: str, stored: str | None) -> bool:
    """Whether `password` is the one `stored` was made of; as slow when there is none (`stored` is None)."""
    if stored is None:
        verify_password(password, _nobody())
        return False
    try:
        kind, log_n, r, p, salt, digest = stored.split("$")
        if kind != "scrypt" or int(log_n) > _MAX_LOG_N:
            return False
        wanted = base64.b64decode(digest)
        found = _scrypt(password, base64.b64decode(salt), int(log_n), int(r), int(p))
    except ValueError:
        return False
    return hmac.compare_digest(wanted, found)


class Workers:
    """The few threads in which hashing, and the short reads around it, run."""

    def __init__(self, threads: int = 3) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")

    async def run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MAX_MEMORY_BYTES, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash of nobody's password: what the password of an unknown user is compared with."""
    return hash_password(secrets.token_hex(16))
