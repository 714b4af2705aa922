"""What Keystone says of a body that cannot be taken."""

from __future__ import annotations

from collections.abc import Sequence

from deuteron.model.errors import BadRequest
from deuteron.model.resource import Words


def _not_known(verb: str, names: Sequence[str]) -> BadRequest:
    """Keystone keeps what it does not know: this is for kinds that would not."""
    return BadRequest(
        f"Additional properties are not allowed ({', '.join(repr(name) for name in names)} unexpected)",
        type="ValidationError",
    )


WORDS = Words(
    unknown=_not_known,
    read_only=_not_known,
    missing=lambda name: BadRequest(f"'{name}' is a required property", type="ValidationError"),
    invalid=lambda attribute, error: BadRequest(
        f"Invalid input for field '{attribute.name}': {error.reason}", type="ValidationError"
    ),
)
