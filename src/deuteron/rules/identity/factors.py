"""Several factors: which methods a user has to prove itself by together, and receipts for those that it has.

A user's rules are lists of methods; one list has to be proven whole. Who proved less gets a receipt instead of a token,
good for some minutes, and gives the rest with it. A receipt is sealed as tokens are, and nothing of it is stored.
Source: keystone 30.0, auth/core.py UserMFARulesValidator and models/receipt_model.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from deuteron.model.errors import NotFound
from deuteron.model.user_options import MFA_RULES
from deuteron.rules.identity.payloads import METHODS, pack, unpack
from deuteron.rules.identity.tokens import Tokens

ACTIVE: Final = frozenset({"password", "token", "application_credential", "totp"})
"""The methods that one logs in with here: a rule asks for no others, so that none can lock a user out for ever."""


@dataclass(frozen=True)
class Receipt:
    """What a user has proven so far."""

    user_id: str
    methods: tuple[str, ...]
    issued_s: float
    expires_s: float


class Insufficient(Exception):
    """More has to be proven before there is a token."""

    def __init__(self, user_id: str, methods: tuple[str, ...], generation: int, rules: list[list[str]]) -> None:
        super().__init__(f"user {user_id} has to prove more than {', '.join(methods)}")
        self.user_id = user_id
        self.methods = methods
        self.generation = generation
        self.rules = rules
        """Those of which something is proven."""


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    """What is in a receipt. No token is one: its second field is no text."""

    version: int
    kind: str
    user: bytes
    methods: int
    expires_s: int
    generation: int


def refuse_insufficient(
    options: Mapping[str, object] | None, user_id: str, methods: Iterable[str], generation: int
) -> None:
    """Raises: Insufficient unless the methods are all of one of the user's rules, or it has none."""
    rules = _rules(options or {})
    proven = set(methods)
    if rules and not any(rule <= proven for rule in rules):
        begun = [sorted(rule) for rule in rules if rule & proven]
        raise Insufficient(user_id, tuple(sorted(proven)), generation, begun)


def seal(tokens: Tokens, found: Insufficient, now_s: float, seconds: int) -> tuple[str, Receipt]:
    """A receipt for what was proven."""
    made = Receipt(found.user_id, found.methods, now_s, now_s + seconds)
    methods = sum(1 << METHODS.index(name) for name in found.methods)
    data = _Sealed(1, "receipt", pack(found.user_id), methods, int(made.expires_s), found.generation)
    return tokens.seal(msgspec.msgpack.encode(data), now_s), made


def proven_before(tokens: Tokens, text: str, user_id: str, generation: int, now_s: float) -> tuple[str, ...]:
    """The methods that a receipt of this user's stands for. Raises: NotFound for any other."""
    try:
        sealed = msgspec.msgpack.decode(tokens.unseal(text), type=_Sealed)
        is_good = sealed.kind == "receipt" and unpack(sealed.user) == user_id and sealed.generation == generation
    except (msgspec.DecodeError, ValueError):
        is_good = False
    if not is_good or sealed.expires_s <= now_s:
        raise NotFound("Could not find auth receipt.", type="ReceiptNotFound")
    return tuple(name for bit, name in enumerate(METHODS) if sealed.methods & (1 << bit))


def _rules(options: Mapping[str, object]) -> list[frozenset[str]]:
    """Each rule with the methods of it that there are here; none where they are turned off."""
    given = options.get(MFA_RULES)
    if options.get("multi_factor_auth_enabled") is False or not isinstance(given, list):
        return []
    return [rule for each in given if (rule := ACTIVE.intersection(each))]
