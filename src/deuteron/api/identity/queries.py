"""Queries of the identity API."""

from __future__ import annotations

from collections.abc import Iterable

from deuteron.api.call import Call
from deuteron.model.errors import BadRequest
from deuteron.rules.identity.listing import WORDS, means_true
from deuteron.store import listing
from deuteron.store.listing import Asked


def asked(call: Call) -> Asked:
    """What a list asks for."""
    return listing.read(call.query, WORDS)


def is_true(call: Call, name: str) -> bool:
    """Whether a flag of the query is set: `?effective` and `?effective=1` are, `?effective=0` is not."""
    text = call.get(name)
    return text is not None and means_true(text)


def refuse_unknown(call: Call, known: Iterable[str]) -> None:
    """For lists whose parameters Keystone knows one by one. Raises: BadRequest naming one that is none of them."""
    for name, _ in call.query:
        if name not in known:
            raise BadRequest(f"Additional properties are not allowed ('{name}' was unexpected)", type="ValidationError")
