"""Answers as JSON, without holding anybody up.

The encoder keeps the interpreter for itself until it has done: for 100,000 ports half a second, in which the event loop
answers nobody. A long list is therefore encoded in pieces, between which others have their turn.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

AT_ONCE: Final = 500
"""Items of a list that are encoded without a break: some 2 ms."""

_ENCODER: Final = msgspec.json.Encoder()


def encoded(body: Any) -> bytes:
    """The body as compact JSON. Raises: TypeError for what JSON has no word for."""
    if not isinstance(body, dict) or not any(_is_long(value) for value in body.values()):
        return _ENCODER.encode(body)
    pieces: list[bytes] = []
    for name, value in body.items():
        pieces.append(b"," if pieces else b"{")
        pieces.append(_ENCODER.encode(name))
        pieces.append(b":")
        if not _is_long(value):
            pieces.append(_ENCODER.encode(value))
            continue
        for first in range(0, len(value), AT_ONCE):
            part = _ENCODER.encode(value[first : first + AT_ONCE])
            pieces.append(b"," if first else b"[")
            pieces.append(part[1:-1])
        pieces.append(b"]")
    pieces.append(b"}")
    return b"".join(pieces)


def _is_long(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > AT_ONCE
