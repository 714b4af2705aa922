"""Tokens: Fernet texts that prove who a caller is, in which scope, until when.

A token carries only ids: whom, scope, method, time. What it is worth is worked out from the rows when it is
used, so that a disabled user, a deleted project or a role that was taken away counts at once:

    token --decrypt--> Payload --rows--> Proof (user, scope, roles) ----> Caller
                                  ^ kept in memory while `identity_revision` stands still

Invariants:
- expiry is checked at every use, kept or not;
- a proof is used only at the identity revision it was made at, read in the caller's own transaction;
- a token that was revoked proves nothing;
- a token names its user's `tokens_valid_after_us` as the transaction that issued it read it, and proves nothing once
  that is another. A time of issue would not do: a change of the password that began before the token was made, and
  is committed after, has the older time.

Nothing of a token is stored unless it is revoked; a copy of the database cannot be turned into tokens.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.fernet import InvalidToken
from sqlalchemy import delete, select

from deuteron.model.caller import Caller
from deuteron.model.errors import Forbidden, NotFound, Unauthorized
from deuteron.model.scalars import ProjectId
from deuteron.rules.identity import keys
from deuteron.rules.identity.access_rules import rules_of
from deuteron.rules.identity.delegations import Delegation, delegation
from deuteron.rules.identity.effective import SYSTEM, expand, roles_on
from deuteron.rules.identity.payloads import KINDS, METHODS, UNSCOPED, Payload, Scope, pack
from deuteron.rules.identity.times import is_past, seconds, timestamp
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    application_credentials,
    identity_revision,
    projects,
    revocations,
    tokens_may_change,
    users,
)

REFUSED = "The request you have made requires authentication."
"""The one message of every 401, so that a stranger learns nothing from it."""

MAX_TOKEN_LENGTH = 1024
_CACHE_SIZE = 4096
_KEY_CHECK_S = 60.0


@dataclass(frozen=True)
class Named:
    """An object as tokens show it."""

    id: str
    name: str
    domain_id: str | None = None
    domain_name: str | None = None


@dataclass(frozen=True)
class Proof:
    """A token with what it is worth now."""

    payload: Payload
    user: Named
    scope: Scope
    target: Named | None
    """The project or domain of the scope."""
    is_domain: bool
    roles: dict[str, str]
    caller: Caller
    ends_s: float
    """When it proves nothing any more: at its own end, or at that of its application credential."""
    credential_unrestricted: bool = False
    credential_name: str | None = None
    access_rule_ids: tuple[str, ...] = ()
    trust: Delegation | None = None


class Tokens:
    """Issues, proves and revokes tokens. One per process; safe to use from several threads."""

    def __init__(
        self,
        key_dir: Path,
        expiration_s: int = 24 * 3600,
        clock: Callable[[], float] = time.time,
        cache_size: int = _CACHE_SIZE,
    ) -> None:
        self._key_dir = key_dir
        self._expiration_s = expiration_s
        self._clock = clock
        self._cache_size = cache_size
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[int, Proof]] = OrderedDict()
        self._fernet = keys.load_keys(key_dir)
        self._key_stamp = self._stamp()
        self._next_check = 0.0

    def caller(self, tx: Tx, token: str) -> Caller:
        """The caller that `token` proves. Raises: Unauthorized."""
        try:
            return self.prove(tx, token).caller
        except NotFound:
            raise Unauthorized(REFUSED) from None

    def prove(self, tx: Tx, token: str) -> Proof:
        """The token and what it is worth in this transaction. Raises: NotFound, as Keystone answers for a bad one."""
        revision = identity_revision(tx)
        with self._lock:
            kept = self._cache.get(token)
            if kept is not None:
                self._cache.move_to_end(token)
        if kept is not None and kept[0] == revision:
            if kept[1].ends_s <= self._clock():
                raise _bad()
            return kept[1]
        proof = self.worth(tx, self._decode(token), token)
        with self._lock:
            self._cache[token] = (revision, proof)
            self._cache.move_to_end(token)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return proof

    def issue(
        self,
        user_id: str,
        methods: tuple[str, ...],
        scope: Scope,
        *,
        generation: int = 0,
        expires_s: int | None = None,
        chain: str | None = None,
        credential_id: str | None = None,
        trust: Delegation | None = None,
    ) -> tuple[str, Payload]:
        """A new token. `chain` is the first audit id of the token it was made with; `expires_s` caps its end.

        `generation` is the user's `tokens_valid_after_us`, read in the transaction that the login was checked in.
        """
        now = self._clock()
        self._keep_keys_fresh(now)
        audits = [uuid.uuid4().bytes]
        if chain is not None:
            audits.append(base64.urlsafe_b64decode(chain + "=="))
        end = int(now) + self._expiration_s
        if trust is not None and trust.trust["expires_at"] is not None:
            end = min(end, int(seconds(trust.trust["expires_at"])))
        payload = Payload(
            version=1,
            user=pack(user_id),
            methods=sum(1 << METHODS.index(name) for name in set(methods)),
            scope_kind=KINDS.index(scope.kind),
            scope_id=pack(scope.id),
            issued_us=int(now * 1_000_000),
            expires_s=end if expires_s is None else min(end, expires_s),
            audits=tuple(audits),
            credential=None if credential_id is None else pack(credential_id),
            generation=generation,
            trust=None if trust is None else pack(trust.trust["id"]),
            trustor_generation=None if trust is None else trust.trustor_generation,
        )
        return self.seal(msgspec.msgpack.encode(payload), now), payload

    def revoke(self, tx: Tx, proof: Proof) -> None:
        """From the end of this transaction on, the token proves nothing."""
        tx.execute(delete(revocations).where(revocations.c.expires_at < int(self._clock())))
        audit_id = proof.payload.audit_ids[0]
        if tx.first(select(revocations.c.audit_id).where(revocations.c.audit_id == audit_id)) is None:
            tx.insert(revocations, {"audit_id": audit_id, "expires_at": proof.payload.expires_s})
        tokens_may_change(tx)

    def worth(self, tx: Tx, payload: Payload, token: str = "") -> Proof:
        """What a payload proves now. Raises: NotFound when it is expired, revoked, or its objects are gone."""
        if payload.expires_s <= self._clock():
            raise _bad()
        revoked = tx.first(select(revocations.c.audit_id).where(revocations.c.audit_id == payload.audit_ids[0]))
        if revoked is not None:
            raise _bad()
        who = self._live_user(tx, payload)
        trust: Delegation | None = None
        if payload.trust_id is not None:
            try:
                trust = delegation(tx, payload.trust_id, payload.user_id, self._clock())
            except (NotFound, Forbidden):
                raise _bad() from None
            if trust.trustor_generation != payload.trustor_generation:
                raise _bad()
            who = _named(tx, trust.speaks_as) or who
        scope = payload.scope
        target: Named | None = None
        is_domain = False
        if scope.kind in ("project", "domain"):
            row = live_project(tx, scope.id)
            if row is None:
                raise _bad()
            is_domain = bool(row.is_domain)
            above = None if row.domain_id is None else live_project(tx, row.domain_id)
            if row.domain_id is not None and above is None:
                raise _bad()
            target = Named(row.id, row.name, None if above is None else above.id, None if above is None else above.name)
        roles: dict[str, str] = {}
        unrestricted = False
        credential_name = None
        rule_ids: tuple[str, ...] = ()
        ends_s: float = payload.expires_s
        if scope.kind != "unscoped":
            roles = roles_on(tx, who.id, scope.kind, scope.id) if trust is None else dict(trust.roles)
        if payload.credential_id is not None:
            credential = tx.first(
                select(application_credentials).where(application_credentials.c.id == payload.credential_id)
            )
            if credential is None or is_past(credential.expires_at, self._clock()):
                raise _bad()
            unrestricted, credential_name = bool(credential.unrestricted), credential.name
            rule_ids = tuple(credential.access_rules or ())
            if credential.expires_at is not None:
                ends_s = min(ends_s, seconds(credential.expires_at))
            granted = expand(tx, credential.roles)
            roles = {id: name for id, name in roles.items() if id in granted}
        if scope.kind != "unscoped" and not roles:
            raise _bad()
        caller = Caller(
            user_id=who.id,
            user_name=who.name,
            user_domain_id=who.domain_id or "",
            roles=frozenset(name.lower() for name in roles.values()),
            project_id=ProjectId(scope.id) if scope.kind == "project" else None,
            project_name=target.name if target is not None and scope.kind == "project" else None,
            project_domain_id=target.domain_id if target is not None and scope.kind == "project" else None,
            domain_id=scope.id if scope.kind == "domain" else None,
            system_scope=SYSTEM if scope.kind == "system" else None,
            audit_ids=payload.audit_ids,
            expires_at=timestamp(payload.expires_s),
            token=token,
            access_rules=rules_of(tx, rule_ids) if rule_ids else None,
        )
        if trust is not None and trust.trust["expires_at"] is not None:
            ends_s = min(ends_s, seconds(trust.trust["expires_at"]))
        return Proof(
            payload,
            who,
            scope,
            target,
            is_domain,
            roles,
            caller,
            ends_s,
            unrestricted,
            credential_name,
            rule_ids,
            trust,
        )

    def _live_user(self, tx: Tx, payload: Payload) -> Named:
        """Whom the token was made for. Raises: NotFound when it is gone or disabled, or its tokens have ended."""
        user = tx.first(
            select(users.c.id, users.c.name, users.c.domain_id, users.c.enabled, users.c.tokens_valid_after_us).where(
                users.c.id == payload.user_id
            )
        )
        if user is None or not user.enabled:
            raise _bad()
        if payload.generation is None:
            if payload.issued_us < user.tokens_valid_after_us:
                raise _bad()
        elif payload.generation != user.tokens_valid_after_us:
            raise _bad()
        domain = live_project(tx, user.domain_id)
        if domain is None:
            raise _bad()
        return Named(user.id, user.name, domain.id, domain.name)

    def seal(self, data: bytes, now_s: float) -> str:
        """A text that only this cloud can make, and open."""
        return self._fernet.encrypt_at_time(data, int(now_s)).rstrip(b"=").decode()

    def unseal(self, text: str) -> bytes:
        """What was sealed. Raises: ValueError for a text that was not sealed here."""
        if not text or len(text) > MAX_TOKEN_LENGTH or not text.isascii():
            raise ValueError("no sealed text")
        data = text.encode() + b"=" * (-len(text) % 4)
        try:
            try:
                return self._fernet.decrypt(data)
            except InvalidToken:
                # Another server of this cloud may have rotated the keys.
                if not self._reload_keys():
                    raise
                return self._fernet.decrypt(data)
        except InvalidToken:
            raise ValueError("no sealed text") from None

    def _decode(self, token: str) -> Payload:
        try:
            return msgspec.msgpack.decode(self.unseal(token), type=Payload)
        except (msgspec.DecodeError, ValueError):
            raise _bad() from None

    def _keep_keys_fresh(self, now: float) -> None:
        # Rotating once per lifetime of a token keeps every token valid: MAX_ACTIVE keys outlive it.
        if now < self._next_check:
            return
        with self._lock:
            self._next_check = now + _KEY_CHECK_S
        if keys.primary_age_s(self._key_dir, now) > max(self._expiration_s, 3600):
            keys.rotate_keys(self._key_dir)
        self._reload_keys()

    def _reload_keys(self) -> bool:
        stamp = self._stamp()
        if stamp == self._key_stamp:
            return False
        self._fernet = keys.load_keys(self._key_dir)
        self._key_stamp = stamp
        return True

    def _stamp(self) -> tuple[int, tuple[int, ...]]:
        return os.stat(self._key_dir).st_mtime_ns, tuple(keys.key_numbers(self._key_dir))


def live_project(tx: Tx, project_id: str) -> _ProjectRow | None:
    """The project or domain, if it and its domain exist and are enabled."""
    row = tx.first(
        select(projects.c.id, projects.c.name, projects.c.domain_id, projects.c.enabled, projects.c.is_domain).where(
            projects.c.id == project_id
        )
    )
    if row is None or not row.enabled:
        return None
    return _ProjectRow(row.id, row.name, row.domain_id, bool(row.is_domain))


@dataclass(frozen=True)
class _ProjectRow:
    id: str
    name: str
    domain_id: str | None
    is_domain: bool


def _named(tx: Tx, user_id: str) -> Named | None:
    row = tx.first(select(users.c.id, users.c.name, users.c.domain_id).where(users.c.id == user_id))
    domain = None if row is None else live_project(tx, row.domain_id)
    return None if row is None or domain is None else Named(row.id, row.name, domain.id, domain.name)


def _bad() -> NotFound:
    return NotFound("Could not find token.", type="TokenNotFound")


__all__ = [
    "REFUSED",
    "UNSCOPED",
    "Named",
    "Payload",
    "Proof",
    "Scope",
    "Tokens",
    "live_project",
]
