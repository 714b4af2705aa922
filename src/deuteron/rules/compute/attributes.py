"""What people hang on a server: metadata and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.compute import lifecycle, quotas
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_unlocked
from deuteron.store.database import Tx

MAX_TAGS: Final = 50
"""Source: nova/objects/instance.py."""


def item(row: ServerRow, key: str) -> str:
    """One item of the server's metadata. Raises: NotFound."""
    value = (row.metadata or {}).get(key)
    if value is None:
        raise NotFound("Metadata item was not found", type="InstanceMetadataNotFound")
    return str(value)


def set_metadata(tx: Tx, caller: Caller, row: ServerRow, metadata: Mapping[str, str]) -> dict[str, str]:
    """Make `metadata` all that the server has; returns it. Raises: Conflict for a locked server, Forbidden."""
    require_unlocked(caller, row)
    quotas.check_metadata(tx, row.project_id, caller.user_id, metadata)
    lifecycle.set_server(tx, row.id, metadata=dict(metadata))
    return dict(metadata)


def merge_metadata(tx: Tx, caller: Caller, row: ServerRow, given: Mapping[str, str]) -> dict[str, str]:
    """As `set_metadata`, with what the server has besides."""
    return set_metadata(tx, caller, row, {**(row.metadata or {}), **given})


def remove_item(tx: Tx, caller: Caller, row: ServerRow, key: str) -> None:
    """Raises: NotFound, Conflict."""
    item(row, key)
    set_metadata(tx, caller, row, {name: value for name, value in row.metadata.items() if name != key})


def require_tag(row: ServerRow, tag: str) -> None:
    """Raises: NotFound."""
    if tag not in (row.tags or ()):
        raise NotFound(f"Server {row.id} has no tag '{tag}'", type="ServerTagNotFound")


def add_tag(tx: Tx, row: ServerRow, tag: str) -> bool:
    """Whether the server had it not. Raises: BadRequest."""
    if tag in (row.tags or ()):
        return False
    if len(row.tags or ()) >= MAX_TAGS:
        raise BadRequest(f"The number of tags exceeded the per-server limit {MAX_TAGS}", type="HTTPBadRequest")
    set_tags(tx, row, [*(row.tags or ()), tag])
    return True


def remove_tag(tx: Tx, row: ServerRow, tag: str) -> None:
    """Raises: NotFound."""
    require_tag(row, tag)
    set_tags(tx, row, [each for each in row.tags if each != tag])


def set_tags(tx: Tx, row: ServerRow, tags: Sequence[str]) -> None:
    lifecycle.set_server(tx, row.id, tags=list(tags))
