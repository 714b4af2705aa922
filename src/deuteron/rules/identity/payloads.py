"""What is inside a token, and what it is for: small enough that a token fits in a header.

Ids are kept in few bytes, methods and kinds of scopes as numbers. Only `tokens` makes and reads them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Scope:
    """`kind` is project, domain, system or unscoped; `id` the object's id ("" for unscoped)."""

    kind: str = "unscoped"
    id: str = ""


UNSCOPED = Scope()
KINDS = ("unscoped", "project", "domain", "system")
METHODS = ("password", "token", "application_credential", "external", "totp", "ec2credential")


class Payload(msgspec.Struct, frozen=True, array_like=True):
    """What is inside a token. Ids as `pack` makes them."""

    version: int
    user: bytes
    methods: int
    scope_kind: int
    scope_id: bytes
    issued_us: int
    expires_s: int
    audits: tuple[bytes, ...]
    credential: bytes | None = None
    generation: int | None = None
    """The user's `tokens_valid_after_us`; tokens of before this was written down go by their time."""
    trust: bytes | None = None
    """Then `user` is the trustee."""
    trustor_generation: int | None = None
    """The same of the trustor."""

    @property
    def user_id(self) -> str:
        return unpack(self.user)

    @property
    def scope(self) -> Scope:
        return Scope(KINDS[self.scope_kind], unpack(self.scope_id))

    @property
    def method_names(self) -> list[str]:
        return [name for bit, name in enumerate(METHODS) if self.methods & (1 << bit)]

    @property
    def is_delegated(self) -> bool:
        """Whether it was made with anything that does not prove the user itself.

        Source: keystone, api/_shared/delegation.py: what is not known to prove the user does not.
        """
        return not set(self.method_names) <= {"password", "token", "external", "totp"} or not self.methods

    @property
    def trust_id(self) -> str | None:
        return None if self.trust is None else unpack(self.trust)

    @property
    def is_narrowed(self) -> bool:
        """Whether it stands for less than the user may: delegated, or of a trust."""
        return self.is_delegated or self.trust is not None

    @property
    def audit_ids(self) -> tuple[str, ...]:
        return tuple(base64.urlsafe_b64encode(raw).decode().rstrip("=") for raw in self.audits)

    @property
    def credential_id(self) -> str | None:
        return None if self.credential is None else unpack(self.credential)


def pack(text: str) -> bytes:
    """An id in few bytes: `u` and 16 bytes for 32 hexadecimal digits, `t` and the text for any other."""
    if len(text) == 32:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if raw.hex() == text:
            return b"u" + raw
    return b"t" + text.encode()


def unpack(value: bytes) -> str:
    return value[1:].hex() if value[:1] == b"u" else value[1:].decode()
