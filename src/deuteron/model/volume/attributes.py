"""Attributes as the declarations of Block Storage write them: in short, as each has many."""

from __future__ import annotations

from typing import Any

from deuteron.model.codecs import Codec
from deuteron.model.resource import Attribute


def shown(name: str, codec: Codec, description: str, **more: Any) -> Attribute:
    """A column that answers show."""
    return Attribute(name, codec, description, **more)


def kept(name: str, codec: Codec, description: str, **more: Any) -> Attribute:
    """A column that no answer shows under this name."""
    return Attribute(name, codec, description, read=False, **more)
