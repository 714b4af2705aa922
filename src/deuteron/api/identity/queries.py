"""Queries of the identity API."""

from __future__ import annotations

from collections.abc import Iterable

from deuteron.api.call import Call
from deuteron.model.errors import BadRequest
from deuteron.rules.identity.listing import Asked, means_true


def asked(call: Call) -> Asked:
    """What a list asks for."""
    return Asked(
        pairs=call.query,
        sort_key=call.get("sort_key"),
        sort_dir=call.get("sort_dir", "asc") or "",
        marker=call.get("marker"),
        limit=call.get("limit"),
    )


def is_true(call: Call, name: str) -> bool:
    """Whether a flag of the query is set: `?effective` and `?effective=1` are, `?effective=0` is not."""
    text = call.get(name)
    return text is not None and means_true(text)


def refuse_unknown(call: Call, known: Iterable[str]) -> None:
    """For lists whose parameters Keystone knows one by one. Raises: BadRequest naming one that is none of them."""
    for name, _ in call.query:
        if name not in known:
            raise BadRequest(f"Additional properties are not allowed ('{name}' was unexpected)", type="ValidationError")
